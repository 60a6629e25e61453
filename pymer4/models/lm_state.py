"""What copies and files keep of a native model: formula, data and settings, from which its design is learned again."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from pymer4.data.scope import Scope, address, found_at
from pymer4.data.terms import Terms
from pymer4.errors import DataError, ModelWarning, issue
from pymer4.infer.asymptotic import Inference
from pymer4.infer.second_level import SecondLevel
from pymer4.models.options import Lm2Options, LmOptions


def _terms_written(terms: Terms) -> str:
    """Return the formula as text, as files keep it."""
    if not terms.is_text:
        raise DataError(
            "The model can't be saved: its formula is a patsy.ModelDesc, and files keep text. Make the model from "
            f"text, such as {terms.text!r}, or keep it with pickle or joblib."
        )
    return terms.text


def _terms_read(text: str) -> Terms:
    import patsy

    return Terms(text, patsy.ModelDesc.from_formula(text))


def _scope_written(scope: Scope | dict[str, Any]) -> dict[str, Any]:
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


def _scope_read(told: dict[str, Any]) -> dict[str, Any]:
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


def _scope_made(told: dict[str, Any]) -> Scope:
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


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NativeFit:
    """What a fit of a native model found.

    Attributes:
        names: coefficients, as the design has them.
        kept: which columns of the formula's design these are.
        used: which rows of the data were used, shape (rows,).
        vcov: covariance of the coefficients that are tested.
        df_resid: residual degrees of freedom.
    """

    names: tuple[str, ...]
    kept: np.ndarray
    used: np.ndarray
    vcov: np.ndarray
    df_resid: float

    def design_frame(self, matrices: Any, index: pd.Index) -> pd.DataFrame:
        """Return the design of the rows used, a column a coefficient, with the index of the data."""
        X = matrices.X[self.used[matrices.used]][:, self.kept]
        return pd.DataFrame(X, index=index[self.used], columns=pd.Index(self.names, dtype=object))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LmFit(NativeFit):
    """What a fit of an `Lm` found.

    Attributes:
        df: degrees of freedom of the tests, a number or one a coefficient; infinite for z.
        variances: of the groups that have one each, or None.
        tested: tests and limits that follow from the covariance.
    """

    df: float | np.ndarray
    variances: np.ndarray | None
    tested: Inference


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Lm2Fit(NativeFit):
    """What a fit of an `Lm2` found.

    Attributes:
        b: coefficients of each regression, a row a group.
        stage: what is tested of the groups, and how.
        means: over groups, shape (p,).
        df: degrees of freedom of their tests, shape (p,).
        tested: tests and limits that follow from the covariance.
    """

    b: pd.DataFrame
    stage: SecondLevel
    means: np.ndarray
    df: np.ndarray
    tested: Inference


class NativeState:
    """How a native model is copied, pickled and saved.

    Its design is learned again from the same formula, rows and settings, when it is first asked for.
    """

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a file keeps."""
        state = super().__getstate__()
        told = state.pop("_scope_told", None)
        return state | {"_scope": self.__dict__.get("_scope", told)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what a copy keeps; a scope from a file is looked up once it is needed."""
        scope = state["_scope"]
        if not isinstance(scope, Scope):
            state = {name: value for name, value in state.items() if name != "_scope"} | {"_scope_told": scope}
        super().__setstate__(state)

    _ANEW: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"_scope": lambda self: _scope_made(self._scope_told)}
    _RECORDS: ClassVar[tuple[type, ...]] = (Inference, SecondLevel, LmFit, Lm2Fit, LmOptions, Lm2Options)
    _PLAIN: ClassVar[Mapping[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]]] = {
        "_terms": (_terms_written, _terms_read),
        "_scope": (_scope_written, _scope_read),
    }


class LmState(NativeState):
    """What of an `Lm` is made anew: the design, and the fit as `estimate` or `generalized` returned it."""

    def _designed_anew(self) -> Any:
        self._designed = None
        if self.fitted:
            self._sample()
        return self._designed

    def _estimate_anew(self) -> Any:
        return self._estimated(self._sample()) if self.fitted else None

    _ANEW: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        **NativeState._ANEW,
        "_designed": _designed_anew,
        "_estimate": _estimate_anew,
    }


class Lm2State(NativeState):
    """What of an `Lm2` is made anew: the design."""

    _ANEW: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        **NativeState._ANEW,
        "_design": lambda self: self._sample()[0] if self.fitted else None,
    }
