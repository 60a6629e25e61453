"""What copies and files keep of an `Lmer`: its R object as bytes, from which R makes it again when it is asked for."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.data.columns import Column
from pymer4.data.factors import Coding, conform
from pymer4.data.mixed_design import Plan
from pymer4.data.ranks import Ranks
from pymer4.data.recoding import contrast_matrices
from pymer4.data.rformula import FixedTerm, Grouping, RandomTerm, Response, RFormula
from pymer4.errors import FileError, MissingFileError, ModelWarning, RUnavailable, issue
from pymer4.infer.grids import Predictors
from pymer4.infer.profile import Traces
from pymer4.models.convergence import Convergence
from pymer4.models.inferring import Inferring
from pymer4.models.lmer_formula import read_formula
from pymer4.models.lmer_options import LmerOptions
from pymer4.rbridge import bridge

_OPENERS = ((b"\x1f\x8b", gzip.decompress), (b"BZh", bz2.decompress), (b"\xfd7zXZ", lzma.decompress))

_APART = 1e-3  # of the deviance, from which on R's object of a native fit is told of
_SAME = 1e-6  # relative; coefficients of a table and of the object that it was made from

_READY: WeakKeyDictionary[bridge.Handle, bridge.Handle] = WeakKeyDictionary()
"""Live models, with what they are for new rows."""

_HANDED_OUT: WeakKeyDictionary[bridge.Handle, bridge.Handle] = WeakKeyDictionary()
"""Live models, with what they are for users."""


@dataclass(frozen=True, slots=True)
class RObject:
    """A fitted R model outside of R: what `saveRDS` writes, compressed or not, or None where it is not there.

    Attributes:
        content: these bytes.
        source: where they come from, for messages.
        is_foreign: whether another program fitted it, so that it is to be adopted.
    """

    content: bytes | None
    source: str
    is_foreign: bool = False

    def unpacked(self) -> bridge.Handle:
        """Return the live model; a FileError where there is none, or its bytes are damaged."""
        if self.content is None:
            raise MissingFileError(
                f"This needs the R object of the model, and {self.source} is not there. Put the file back beside the "
                ".h5 and load the model again, or fit it again with .fit()."
            )
        opened = next((each for start, each in _OPENERS if self.content.startswith(start)), bytes)
        try:
            content = opened(self.content)
        except (OSError, EOFError, ValueError, lzma.LZMAError) as error:
            raise FileError(f"{self.source} is damaged: {error}. Put a sound copy in its place.") from error
        return bridge.call("unpack_model", bytes=content).value["model"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LmerFit:
    """What R found in a fit; by REML `log_likelihood` and `criterion`, else the deviance, are the restricted ones.

    Attributes:
        n_parameters: coefficients, variances, correlations and sigma.
        sigma: residual standard deviation, or its like.
        vcov: covariance of the coefficients, shape (p, p); None where only R's object tells.
        parameters: theta of lme4, shape (m,); None where a file does not tell.
        fixed: estimates, limits, standard errors, df, statistics and p of the coefficients as R gave them; None where a
            file does not tell.
    """

    AIC: float
    BIC: float
    log_likelihood: float
    criterion: float
    n_parameters: int
    n_used: int
    sigma: float
    vcov: np.ndarray | None
    theta: float | None = None
    parameters: np.ndarray | None = None
    fixed: pd.DataFrame | None = None

    @property
    def df_resid(self) -> int:
        """Rows less parameters, as R's `df.residual`."""
        return self.n_used - self.n_parameters


LEFT_OUT = "Left out, since other terms add up to them: "
"""What a warning begins with that names columns of the design."""

_FOUND = (
    *("grps", "theta", "ranef", "fixef", "ranef_var", "ranef_corr", "convergence", "factors_prev_", "anova_results"),
    *("_handle", "_native", "_used", "_design", "_saved", "_ranef_se", "_grid_variables", "_predicted"),
)


class LmerState(Inferring):
    """What an `Lmer` holds, and how it is copied, pickled and saved."""

    grps: dict[str, int]
    theta: float | None
    ranef: pd.DataFrame | list[pd.DataFrame]
    fixef: pd.DataFrame | list[pd.DataFrame]
    ranef_var: pd.DataFrame
    ranef_corr: pd.DataFrame
    factors_prev_: Mapping[str, Any] | None
    anova_results: pd.DataFrame
    _options: LmerOptions
    _fit: LmerFit
    _reading: RFormula
    _weights: str | np.ndarray | None
    _offset: str | np.ndarray | None
    _codings: dict[str, Coding]
    _kinds: dict[str, Column]
    _ranks: Mapping[str, Ranks]
    _handle: bridge.Handle
    _native: Any
    _used: np.ndarray
    _design: pd.DataFrame
    _saved: RObject | None
    _plan: tuple[Any, Plan] | None
    _ranef_se: pd.DataFrame | list[pd.DataFrame] | None
    _grids: dict[str, bridge.Handle]
    _grid_variables: Predictors | None

    def _forget(self) -> None:
        super()._forget()
        vars(self).update(dict.fromkeys(_FOUND))
        self._codings, self._kinds, self._ranks, self._grids = {}, {}, {}, {}

    def _coef_table(self, fixed: pd.DataFrame) -> pd.DataFrame:
        options = self._options
        return tables.mixed_coefs(fixed, fixed.index, options.conf_level, self.family, self.link, options.permute)

    def _r_object(self, own: bool = False) -> RObject | None:
        """Return the R object as bytes, adopted first where `own`; R is asked only where it has the object."""
        if not self.fitted:
            return None
        saved = self.__dict__.get("_saved")
        must_adopt = own and saved is not None and saved.is_foreign and saved.content is not None
        if "_handle" not in self.__dict__ and saved is not None and not must_adopt:
            return saved
        return RObject(bridge.call("pack_model", model=self._handle).value["bytes"], "this copy of the model")

    @property
    def vcov(self) -> pd.DataFrame | None:
        """The covariance of the coefficients, a frame with their names; None before `fit()`."""
        if self.fitted and self._fit.vcov is None:
            _ = self._handle  # a file of another program leaves it to the R object, which is now adopted
        return super().vcov

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a file keeps."""
        reading = {"_reading": self._reading} if "_reading" in vars(self) else {}
        return super().__getstate__() | reading | {"_saved": self._r_object()}

    def _handle_anew(self) -> bridge.Handle | None:
        """Return the live R model of a copy, or of a native fit, once it is asked for."""
        saved = self.__dict__.get("_saved")
        if saved is None:
            return None if self._fit is None else self._built()
        handle = self._adopted(saved) if saved.is_foreign else saved.unpacked()
        self._saved = None
        return handle

    def _built(self) -> bridge.Handle:
        """Return R's object at the theta that the native engine found."""
        options, (data, codings) = self._options, self._sample()
        wanted = self._native is not None and options.ddf == "Satterthwaite"
        reply = bridge.call(
            "model_at",
            formula=self._reading.written,
            data=data.columns,
            theta=self._fit.parameters,
            contrasts=contrast_matrices(codings),
            weights=data.weights,
            offset=data.offset,
            REML=options.REML,
            ddf=options.ddf,
            satterthwaite=self._native.satterthwaite() if wanted else None,
        ).value
        apart = float(reply["criterion"][0]) - self._fit.criterion
        if abs(apart) > _APART:
            issue(
                f"R's object of this fit has lost digits: there the deviance is {apart:.3g} from that of the native "
                "engine, and what R computes of it (anova, marginal means, predictions) is wrong. Centre and scale the "
                "predictors, above all those of the random effects.",
                ModelWarning,
            )
        return reply["model"]

    @property
    def _for_new_rows(self) -> bridge.Handle:
        """The R model whose formula computes a new row as the fit did, whatever stands beside it."""
        model = self._handle
        if not self._reading.functions:
            return model
        if model not in _READY:
            _READY[model] = bridge.call("for_new_rows", model=model).value["model"]
        return _READY[model]

    @property
    def model_obj(self) -> Any:
        """The live R model, usable with any rpy2 code; None before `fit()`."""
        model = self._handle
        if model is None:
            return None
        if model not in _HANDED_OUT:
            _HANDED_OUT[model] = bridge.call("handed_out", model=model).value["model"]
        return _HANDED_OUT[model].sexp

    def _adopted(self, saved: RObject) -> bridge.Handle:
        data, model = self._sample()[0], saved.unpacked()
        fitted = _levels(model, own=False)
        found = bridge.call(
            "adopt_model",
            model=model,
            formula=self._reading.written,
            data={n: conform(c, fitted[n], n, False) if n in fitted else c for n, c in data.columns.items()},
            weights=data.weights,
            offset=data.offset,
        ).value
        expected = self.coefs[tables.ESTIMATE].to_numpy()
        b = np.asarray(found["coefficients"])
        if b.shape != expected.shape or not np.allclose(b, expected, rtol=_SAME, atol=_SAME * np.abs(expected).max()):
            raise FileError(
                f"{saved.source} holds another model: its coefficients are {np.round(b, 6).tolist()}, those of the "
                f"table {np.round(expected, 6).tolist()}. Put the file that was saved with the .h5 in its place."
            )
        if not found["same_design"]:
            raise FileError(
                f"{saved.source} was fitted to other predictors than the data of the .h5 give today, so that it can't "
                "predict. Its tables can be read; fit the model again with .fit() for the rest."
            )
        self._fit = replace(self._fit, vcov=found["vcov"])
        return found["model"]

    def _kinds_anew(self) -> dict[str, Column]:
        if self._options is None:
            return {}
        kinds = self._sample()[0].kinds()
        try:
            return kinds | {name: c for name, c in _levels(self._handle, own=True).items() if name in kinds}
        except (MissingFileError, RUnavailable):
            return kinds

    _ANEW: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        **Inferring._ANEW,
        "_handle": _handle_anew,
        "_native": lambda self: None,
        "_reading": lambda self: read_formula(self.formula, list(self._frame.columns), beside=True),
        "_kinds": _kinds_anew,
        "_codings": lambda self: self._sample()[1] if self._options else {},
        "_ranks": lambda self: self._sample()[0].ranks if self.ranked_data else {},
        "_design": lambda self: None,
        "_plan": lambda self: None,
        "_grids": lambda self: {},
        "_grid_variables": lambda self: None,
        "_predicted": lambda self: None,
    }
    _RECORDS: ClassVar[tuple[type, ...]] = (
        Convergence, LmerFit, LmerOptions, RFormula, Response, FixedTerm, RandomTerm, Grouping, Traces,
    )  # fmt: skip
    _SHOWN: ClassVar[Mapping[str, str]] = {"design_matrix": "_design"}


def _levels(model: bridge.Handle, own: bool) -> dict[str, Column]:
    """Return the factors of a fit, as columns without rows; `own` says whether the model was fitted here."""
    found = dict(bridge.call("fitted_levels", model=model, own=own).value)
    none = np.array([], dtype=np.int32)
    return {name: Column("factor", none, tuple(told["levels"]), told["ordered"]) for name, told in found.items()}
