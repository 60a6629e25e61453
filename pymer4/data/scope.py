"""The names that a formula takes from the user's code: functions, modules, arrays, levels.

They are looked up once, where the model was made. Files and pickles keep plain values as they are, modules, functions
and classes by their address; what has none, such as a lambda, is looked up again in the code that asks for it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import pickle
import sys
from collections.abc import Iterable, Mapping
from types import FrameType, ModuleType
from typing import Any

from pymer4.errors import FormulaError, ModelWarning, issue

_BORROWING = ("<lambda>", "<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>")
"""Scopes that are part of another one: what is visible there is visible here."""

_LOST = ("lost",)


class Scope:
    """Names and their values.

    Attributes:
        values: what each name stands for.
        homes: name to the module from whose code it is.
        away: name to address, of what a file or a pickle tells of and has not been looked up yet.
    """

    def __init__(self, values: Mapping[str, Any], homes: Mapping[str, str]):
        self.values, self.homes = dict(values), dict(homes)
        self.away: dict[str, Any] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def find(self, formula: str) -> None:
        """Look up what is away, at its address or in the calling code; a FormulaError names what is not there."""
        for name, where in self.away.items():
            with contextlib.suppress(ImportError, AttributeError, LookupError, TypeError):
                self.values[name] = _found_at(*where)
        lost = [name for name in self.away if name not in self.values]
        found = capture(lost, None)
        self.values.update(found.values)
        self.homes.update(found.homes)
        self.away = {name: _LOST for name in lost if name not in found}
        if self.away:
            names = ", ".join(map(repr, self.away))
            raise FormulaError(
                f"The formula uses {names}, which the saved model could not keep: its definition is not there.\n"
                f"    {formula}\nDefine {names} under that name where you call this, or in the module it came from, "
                "and call again."
            )

    def told(self) -> dict[str, Any]:
        """Return where each name is found again, without pickles, since reading one runs code."""
        found = {name: _address(value, name, self.homes.get(name)) for name, value in self.values.items()} | self.away
        kept = {name: list(where) for name, where in found.items() if where != _LOST}
        lost = [name for name in found if name not in kept]
        return {"homes": self.homes, "kept": dict(sorted(kept.items())), "lost": lost}

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Scope:
        """Return the scope that a file tells of, after a warning where something of the formula is not there."""
        scope = cls({}, told["homes"])
        scope.away = told["kept"] | dict.fromkeys(told["lost"], _LOST)
        gone = [name for name, where in scope.away.items() if not _is_there(*where)]
        if gone:
            names = ", ".join(map(repr, gone))
            text = (
                f"The formula of the model uses {names}, not to be found where it was when the model was saved. Its "
                "tables are complete; what needs the design, such as predict(), looks for that name where it is called."
            )
            issue(text, ModelWarning)
        return scope

    def __deepcopy__(self, memo: dict[int, Any]) -> Scope:
        """Return the same names: functions and modules have no copies."""
        copied = Scope(self.values, self.homes)
        copied.away = self.away
        return copied

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle keeps: addresses, and objects of any kind that pickle."""
        told = self.told()
        away = {name: where for name, where in told["kept"].items() if where[0] != "value"}
        objects = {name: _pickled(value) for name, value in self.values.items() if name not in away}
        return {"homes": self.homes, "away": self.away | away, "objects": objects}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.values, self.homes, self.away = {}, state["homes"], state["away"]
        for name, content in state["objects"].items():
            try:
                self.values[name] = pickle.loads(content)
            except (ImportError, AttributeError, LookupError, pickle.UnpicklingError, TypeError, EOFError):
                self.away[name] = _LOST


def capture(names: Iterable[str], owner: object) -> Scope:
    """Return what names stand for in the code that called pymer4.

    That is the nearest frame outside this package which is no method of `owner`, the object that is being made, so
    that a subclass in the user's code sees its caller's names, and its own after those. A lambda or a comprehension
    sees the names around it. Names that are not found are left out.
    """
    frames = _frames(owner)
    spaces = [(space, frame.f_globals) for frame in frames for space in (frame.f_locals, frame.f_globals)]
    scope = Scope({}, {})
    for name in names:
        for space, around in spaces:
            if name in space:
                scope.values[name], scope.homes[name] = space[name], around.get("__name__", "")
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


def _address(value: Any, name: str, home: str | None) -> tuple[Any, ...]:
    """Return how a value, called `name` in the globals of `home`, is found again: plain data for `_found_at`."""
    if isinstance(value, ModuleType):
        return ("module", value.__name__)
    if type(value).__module__ == "patsy.contrasts":  # which patsy has no pickle of
        return ("patsy", type(value).__name__, vars(value))
    if not callable(value):
        return ("value", value)
    stateful = getattr(value, "__patsy_stateful_transform__", None)
    places = (
        ("attribute", value, *_place(value)),
        ("attribute", value, home, name),
        ("stateful", stateful, *_place(stateful)),
    )
    for how, made, module, path in places:
        if module and path and _is_at(made, module, path):
            return (how, module, path)
    return _LOST


def _place(value: Any) -> tuple[str | None, str | None]:
    return getattr(value, "__module__", None), getattr(value, "__qualname__", None)


def _pickled(value: Any) -> bytes:
    """Return an object as a pickle, nothing where it has none."""
    try:
        return pickle.dumps(value)
    except Exception:  # a user's object may raise anything here; it is told by name when it is missed
        return b""


def _found_at(how: str, *where: Any) -> Any:
    """Return the value at an address; a LookupError, ImportError or AttributeError where there is none any more."""
    if how == "value":
        return where[0]
    if how in ("module", "attribute"):
        return _attribute(*where)
    if how not in ("patsy", "stateful"):
        raise LookupError(how)
    import patsy

    if how == "stateful":
        return patsy.stateful_transform(_attribute(*where))
    made = object.__new__(getattr(patsy, where[0]))
    vars(made).update(where[1])
    return made


def _is_there(how: str, *where: Any) -> bool:
    """Whether an address leads somewhere, as far as that can be told without importing anything."""
    if how not in ("module", "attribute", "stateful"):
        return how in ("value", "patsy")
    found: Any = sys.modules.get(where[0])
    if found is None:
        return importlib.util.find_spec(where[0].partition(".")[0]) is not None
    if "__getattr__" in vars(found):  # which may import what it is asked for
        return True
    try:
        for part in ".".join(where[1:]).split(".") if where[1:] else ():
            found = inspect.getattr_static(found, part)
    except AttributeError:
        return False
    return True


def _is_at(value: Any, module: str, path: str) -> bool:
    try:
        return _attribute(module, path) is value
    except (ImportError, AttributeError):
        return False


def _attribute(module: str, path: str = "") -> Any:
    found: Any = sys.modules.get(module) or importlib.import_module(module)
    for part in path.split(".") if path else ():
        found = getattr(found, part)
    return found
