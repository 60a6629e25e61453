"""The names that a patsy formula takes from the user's code, as files keep them."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

from pymer4.data.scope import Scope, address, found_at
from pymer4.errors import ModelWarning, issue


def scope_written(scope: Scope | dict[str, Any]) -> dict[str, Any]:
    """Return where each name of the user's code is found again; plain values as they are, and no pickle."""
    if not isinstance(scope, Scope):
        return scope
    found = {}
    for name, value in scope.values.items():
        kind, *rest = address(value, name, scope.homes.get(name))
        if kind == "patsy":
            rest = [type(value).__name__, vars(value)]
        found[name] = [kind, *([value] if kind == "value" else rest)]
    return {"kept": found, "homes": dict(scope.homes), "lost": list(scope.lost)}


def scope_read(told: dict[str, Any]) -> dict[str, Any]:
    """Return what a file tells of the scope, after a warning where a function of the formula is not there."""
    gone = [*told["lost"], *(name for name, where in told["kept"].items() if not _is_there(*where))]
    if gone:
        names = ", ".join(map(repr, gone))
        text = (
            f"The formula of the model uses {names}, not to be found where it was when the model was saved. Its tables "
            "are complete; what needs the design, such as predict(), looks for that name where it is called."
        )
        issue(text, ModelWarning)
    return told


def _is_there(kind: str, *rest: Any) -> bool:
    """Whether an address leads somewhere, as far as that can be told without importing anything."""
    if kind in ("value", "patsy"):
        return True
    if kind == "lost":
        return False
    module = sys.modules.get(rest[0])
    if module is not None:
        for part in rest[1].split(".") if len(rest) > 1 else ():
            if not hasattr(module, part):
                return False
            module = getattr(module, part)
        return True
    return importlib.util.find_spec(rest[0].partition(".")[0]) is not None


def scope_made(told: dict[str, Any]) -> Scope:
    """Return the scope that a file tells of; what is not there any more is lost."""
    values, lost = {}, list(told["lost"])
    for name, (kind, *rest) in told["kept"].items():
        try:
            values[name] = _value_at(kind, *rest)
        except (ImportError, AttributeError, LookupError, TypeError):
            lost.append(name)
    scope = Scope(values, told["homes"])
    scope.lost = tuple(lost)
    return scope


def _value_at(kind: str, *rest: Any) -> Any:
    if kind == "value":
        return rest[0]
    if kind == "patsy":
        import patsy

        made = object.__new__(getattr(patsy, rest[0]))
        vars(made).update(rest[1])
        return made
    if kind not in ("module", "attribute", "stateful"):
        raise LookupError(kind)
    return found_at((kind, *rest))
