"""The names that a formula takes from the user's code: functions, modules, arrays, levels.

They are looked up once, where the model was made. A pickle keeps modules, functions and classes by their address and
plain values as they are; what has no address, such as a lambda, is looked up again in the code that asks for it.
"""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Callable, Iterable, Mapping
from types import FrameType, ModuleType
from typing import Any

from pymer4.errors import FormulaError

_BORROWING = ("<lambda>", "<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>")
"""Scopes that are part of another one: what is visible there is visible here."""


class Scope:
    """Names and their values.

    Attributes:
        values: what each name stands for.
        homes: name to the module in whose globals it was found.
        lost: names that a pickle could not keep.
    """

    def __init__(self, values: Mapping[str, Any], homes: Mapping[str, str]):
        self.values, self.homes = dict(values), dict(homes)
        self.lost: tuple[str, ...] = ()

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def find_lost(self, formula: str) -> None:
        """Look up again, in the calling code, what a pickle could not keep; a FormulaError names what is not there."""
        if not self.lost:
            return
        found = capture(self.lost, None)
        self.values.update(found.values)
        self.homes.update(found.homes)
        self.lost = tuple(name for name in self.lost if name not in self.values)
        if self.lost:
            names = ", ".join(map(repr, self.lost))
            raise FormulaError(
                f"The formula uses {names}, which the saved model could not keep: its definition is not there.\n"
                f"    {formula}\nDefine {names} under that name where you call this, or in the module it came from, "
                "and call again."
            )

    def __deepcopy__(self, memo: dict[int, Any]) -> Scope:
        """Return the same names: functions and modules have no copies."""
        copied = Scope(self.values, self.homes)
        copied.lost = self.lost
        return copied

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: address(value, name, self.homes.get(name)) for name, value in self.values.items()}
        return {"kept": kept, "homes": self.homes, "lost": self.lost}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.values, self.homes, lost = {}, state["homes"], list(state["lost"])
        for name, where in state["kept"].items():
            try:
                self.values[name] = found_at(where)
            except (ImportError, AttributeError, LookupError, pickle.UnpicklingError, TypeError):
                lost.append(name)
        self.lost = tuple(lost)


def capture(names: Iterable[str], owner: object) -> Scope:
    """Return what names stand for in the code that called pymer4.

    That is the nearest frame outside this package which is no method of `owner`, the object that is being made, so
    that a subclass in the user's code sees its caller's names, and its own after those. A lambda or a comprehension
    sees the names around it. Names that are not found are left out.
    """
    spaces: list[tuple[Mapping[str, Any], str | None]] = []
    for frame in _frames(owner):
        home = frame.f_globals.get("__name__", "")
        at_top = frame.f_locals is frame.f_globals or frame.f_code.co_name == "<module>"
        spaces += [(frame.f_locals, home if at_top else None), (frame.f_globals, home)]
    scope = Scope({}, {})
    for name in names:
        for space, within in spaces:
            if name in space:
                scope.values[name] = space[name]
                if within is not None:
                    scope.homes[name] = within
                break
    return scope


def _frames(owner: object) -> list[FrameType]:
    """Return the frames whose names count, the first to look in first."""
    frame: FrameType | None = sys._getframe(1)
    methods = []
    while frame is not None and (_is_own(frame) or (owner is not None and _first_argument(frame) is owner)):
        if not _is_own(frame):
            methods.append(frame)
        frame = frame.f_back
    found = []
    while frame is not None:
        found.append(frame)
        if frame.f_code.co_name not in _BORROWING:
            break
        around, frame = frame.f_globals, frame.f_back
        while frame is not None and frame.f_globals is not around:
            frame = frame.f_back
    return found + methods


def _is_own(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == "pymer4"


def _first_argument(frame: FrameType) -> Any:
    return frame.f_locals.get(frame.f_code.co_varnames[0]) if frame.f_code.co_argcount else None


def address(value: Any, name: str = "", home: str | None = None) -> tuple[Any, ...]:
    """Return how a value, called `name` in the globals of `home`, is found again: plain data for `found_at`."""
    if isinstance(value, ModuleType):
        return ("module", value.__name__)
    stateful = getattr(value, "__patsy_stateful_transform__", None)
    if stateful is not None or callable(value):
        for module, path in ((getattr(value, "__module__", None), getattr(value, "__qualname__", None)), (home, name)):
            if module and path and _is_at(value, module, path):
                return ("attribute", module, path)
        if stateful is not None and _is_at(stateful, stateful.__module__, stateful.__qualname__):
            return ("stateful", stateful.__module__, stateful.__qualname__)
        if isinstance(value, type) or stateful is not None or hasattr(value, "__code__"):
            return ("lost", name)
    if type(value).__module__ == "patsy.contrasts":
        return ("patsy", type(value).__name__, pickle.dumps(vars(value)))
    try:
        return ("value", pickle.dumps(value))
    except Exception:  # a user's object may raise anything here; it is told by name when it is missed
        return ("lost", name)


def found_at(where: tuple[Any, ...]) -> Any:
    """Return the value at an address; a LookupError, ImportError or AttributeError where there is none any more."""
    how, *rest = where
    return _FINDERS[how](*rest)


def _is_at(value: Any, module: str, path: str) -> bool:
    try:
        return _attribute(module, path) is value
    except (ImportError, AttributeError):
        return False


def _attribute(module: str, path: str) -> Any:
    found: Any = sys.modules.get(module) or importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _stateful(module: str, path: str) -> Any:
    import patsy

    return patsy.stateful_transform(_attribute(module, path))


def _patsy_object(name: str, state: bytes) -> Any:
    import patsy

    made = object.__new__(getattr(patsy, name))
    vars(made).update(pickle.loads(state))
    return made


def _lost(name: str) -> Any:
    raise LookupError(name)


_FINDERS: Mapping[str, Callable[..., Any]] = {
    "module": importlib.import_module,
    "attribute": _attribute,
    "stateful": _stateful,
    "patsy": _patsy_object,
    "value": pickle.loads,
    "lost": _lost,
}
