"""What all models share: the user's data, the guard before results, warnings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.data import frames
from pymer4.data.families import is_linear
from pymer4.errors import DataError, ModelWarning, NotFittedError, confidence_level, issue
from pymer4.models.options import FitOptions
from pymer4.papers.sheet import wrapped

Ddf = Literal["Satterthwaite", "Kenward-Roger", "asymptotic"]
"""Where denominator degrees of freedom come from."""

Interval = Literal["confidence", "prediction"]
"""What limits of a prediction are about: the mean of a row, or a new outcome."""


class Model:
    """A formula and the data it is fitted to.

    The frame given, of whatever kind, is copied and never changed; `data` is another copy, to which a fit adds the
    columns `fits` and `residuals`. It is a pandas frame. Of a lazy frame only the columns that the model names when it
    is made are computed and kept.

    Attributes:
        formula: the formula as given.
        data: copy of the data in pandas, with `fits` and `residuals` once fitted.
        family: error distribution.
        fitted: whether `fit()` has succeeded.
        warnings: what the last fit warned of, as text.
        fits: fitted values as long as the data, NaN where a row was left out.
        residuals: response residuals, shaped as `fits`.
        coefs: table of population coefficients; None before a fit, as all that follow.
        AIC: Akaike's information criterion.
        BIC: Schwarz's information criterion.
        logLike: log-likelihood (restricted, where the fit is by REML).
        factors: what `fit(factors=)` was given.
        contrast_codes: column to its coding matrix, shape (levels, levels - 1), as R's `contrasts()` has it.
        ranked_data: whether ranks were fitted.
        sig_type: where p comes from: `"parametric"`, `"bootstrapped"` or `"permutation (n)"`.
        ci_type: where limits come from: the method of `fit(conf_int=)`, or `"boot (n)"`.
        model_obj: the live R model of an `Lmer`, an `rpy2.rinterface` object; None where no R is involved.
        vcov: covariance of the coefficients, a frame with their names; of the kind that the standard errors are.
        nobs: rows that were fitted.
        df_resid: residual degrees of freedom, rows less parameters; of an `Lm2` groups less one.
    """

    formula: str
    data: pd.DataFrame
    family: str
    link: str
    fitted: bool
    warnings: list[str]
    fits: np.ndarray
    residuals: np.ndarray
    coefs: pd.DataFrame
    AIC: float | None
    BIC: float | None
    logLike: float | None
    factors: Mapping[str, Any] | None
    contrast_codes: dict[str, np.ndarray] | None
    ranked_data: bool
    sig_type: str | None
    ci_type: str | None
    marginal_estimates: pd.DataFrame
    marginal_contrasts: pd.DataFrame
    _frame: pd.DataFrame
    _marginal_asked: dict[str, Any] | None
    _options: Any
    _fit: Any

    _ANEW: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}
    """Attributes that no copy and no file keeps, each with what makes it once it is asked for there."""

    _LATER: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"data": lambda self: self._with_fits()}
    """Results that are made once they are asked for, or a copy or a file is made, each with what makes it."""

    _RECORDS: ClassVar[tuple[type, ...]] = ()
    """Dataclasses that attributes hold, as files know them by name."""

    _SHOWN: ClassVar[Mapping[str, str]] = {}
    """Properties that files hold as tables, each with the attribute that keeps it after loading."""

    _PLAIN: ClassVar[Mapping[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]]] = {}
    """Attributes that files hold in another form, each with the functions that make it and read it."""

    def __init__(self, formula: str, data: Any, family: str, named: frames.Chooser):
        self._frame = _checked_frame(data, named)
        self.formula = formula
        self.family = family
        self._forget()

    def _forget(self) -> None:
        """Set every result of a fit to what it is before one."""
        self.fits = self.residuals = self.coefs = self.marginal_estimates = self.marginal_contrasts = None
        self.AIC = self.BIC = self.logLike = self.factors = self.contrast_codes = self.sig_type = self.ci_type = None
        self._options = self._fit = self._marginal_asked = None
        vars(self).pop("data", None)
        self.warnings = []
        self.fitted = self.ranked_data = False

    def __repr__(self) -> str:
        """Return formula, family and state."""
        state = "fitted" if self.fitted else "not fitted"
        what = f"{self.formula!r}{self._grouped_by()}, family={self.family!r}"
        return "\n".join(wrapped([f"{type(self).__name__}({what}): {len(self._frame)} rows, {state}"]))

    def _grouped_by(self) -> str:
        return ""

    @property
    def _linear(self) -> bool:
        return is_linear(self.family, self.link)

    @property
    def vcov(self) -> pd.DataFrame | None:
        """The covariance of the coefficients, a frame with their names; None before `fit()`."""
        if self._fit is None:
            return None
        V, names = np.asarray(self._fit.vcov, dtype=float), self.coefs.index
        return pd.DataFrame((V + V.T) / 2, index=names, columns=names)

    @property
    def nobs(self) -> int | None:
        """How many rows have a fitted value; None before `fit()`."""
        return int(np.isfinite(self.fits).sum()) if self.fitted else None

    @property
    def df_resid(self) -> float | None:
        """Residual degrees of freedom; None before `fit()`."""
        return None if self._fit is None else float(self._fit.df_resid)

    @property
    def design_matrix(self) -> pd.DataFrame:
        """The design of the rows used, a column a coefficient, with the user's index; None before `fit()`."""

    # What a fit is, for each class: which rows and columns, the estimates, limits and p, and how it is told.
    fit: Callable[..., Any]
    _sample: Callable[[], Any]
    _told: Callable[[Any], str]
    _estimate_from: Callable[[Any], None]
    _infer_from: Callable[[Any], None]
    _idle: Callable[[Any], list[str]]
    _summary: Callable[[], str]

    def _fit_with(self, options: FitOptions, show: bool) -> pd.DataFrame | None:
        """Fit the model in one step: options, sample, estimates, inference; print and return the table where `show`."""
        options.check(self)
        draft = self._draft()
        draft._options = options
        found = draft._sample()
        if options.verbose:
            print(draft._told(found))
        draft._keep_options()
        draft._estimate_from(found)
        draft._infer_from(found)
        draft._warn(draft._idle(found))
        draft.fitted = True
        self._become(draft)
        return self.summary() if show else None

    def summary(self) -> pd.DataFrame:
        """Print the fit and return the coefficient table, rounded to 3 places.

        Raises:
            NotFittedError: before `fit()`.
        """
        self._require_fit("summary()")
        print(self._summary())
        return tables.rounded(self.coefs)

    def _keep_options(self) -> None:
        """Show in attributes what was asked for."""
        options = self._options
        self.factors, self.ranked_data = options.factors, options.rank
        self.ci_type, self.sig_type = options.conf_int, "parametric"
        if options.conf_int == "boot":
            self.ci_type, self.sig_type = f"boot ({options.n_boot})", "bootstrapped"
        if options.permute:
            self.sig_type = f"permutation ({options.permute})"

    def _keep_codings(self, codings: Mapping[str, Any]) -> None:
        self.contrast_codes = {name: how.matrix for name, how in codings.items()} or None

    def _draft(self) -> Model:
        """Return a model of the same formula and data that has no fit, to become this one once it has."""
        draft = object.__new__(type(self))
        vars(draft).update(vars(self))
        draft._forget()
        return draft

    def _become(self, draft: Model) -> None:
        """Take the results of a draft in one step: a fit that fails leaves the model as it was, and so do readers."""
        self.__dict__ = vars(draft)

    if not TYPE_CHECKING:  # else every name would be an attribute

        def __getattr__(self, name: str) -> Any:
            make = type(self)._ANEW.get(name) or type(self)._LATER.get(name)
            if make is None:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            self.__dict__[name] = value = make(self)
            return value

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a file keeps; the frame as what to leave out of `data`, where that is enough."""
        for name in type(self)._LATER.keys() - vars(self).keys():
            getattr(self, name)
        state = {name: value for name, value in vars(self).items() if name not in type(self)._ANEW}
        added = _added(self.data, self._frame)
        return state if added is None else state | {"_frame": added}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what a copy keeps; what is not there is as it was before a fit."""
        frame = state["_frame"]
        self._frame = frame if isinstance(frame, pd.DataFrame) else state["data"].drop(columns=list(frame)).copy()
        self._forget()
        self.__dict__.update({name: value for name, value in state.items() if name != "_frame"})
        for name in type(self)._ANEW.keys() - state.keys():
            self.__dict__.pop(name, None)

    def _level(self, asked: float | None) -> float:
        """Return the level of limits, by default the fit's."""
        return self._options.conf_level if asked is None else confidence_level(asked)

    def _require_fit(self, what: str) -> None:
        if not self.fitted:
            raise NotFittedError(f"{what} needs a fitted model. Call .fit() first.")

    def _warn(self, texts: Iterable[str], kind: type[ModelWarning] = ModelWarning, hint: str = "") -> None:
        """Keep each warning once, and issue it as a Python warning unless quiet, with a hint on a line of its own."""
        quiet = getattr(self._options, "no_warnings", False)
        for text in texts:
            if text not in self.warnings:
                self.warnings.append(text)
                if not quiet:
                    issue(f"{text}\n{hint}" if hint else text, kind)

    def _keep_fits(self, fits: np.ndarray, residuals: np.ndarray, used: np.ndarray) -> None:
        """Align fits and residuals with the data."""
        self.fits = spread(fits, used)
        self.residuals = spread(residuals, used)
        self._tell_taken()

    def _tell_taken(self) -> None:
        """Warn of names that `data` has already."""
        for name in (tables.FITS, tables.RESIDUALS):
            if name in self._frame.columns:
                self._warn(
                    [f"The data have a column {name!r} of their own, which stays as it is; the model's are in .{name}."]
                )

    def _with_fits(self) -> pd.DataFrame:
        """Return a copy of the data with fits and residuals, once fitted, where their names are free."""
        data = frames.handed_out(self._frame)
        if self.fits is not None:
            for name, values in ((tables.FITS, self.fits), (tables.RESIDUALS, self.residuals)):
                if name not in data.columns:
                    data[name] = values
        return data


def _checked_frame(given: Any, named: frames.Chooser) -> pd.DataFrame:
    data = frames.frame("data", given, named, eager=False)
    if data.empty:
        raise DataError(f"The data are empty ({data.shape[0]} rows, {data.shape[1]} columns). Give at least one row.")
    if not data.columns.is_unique:
        twice = list(dict.fromkeys(data.columns[data.columns.duplicated()]))
        raise DataError(
            f"The data have more than one column named {', '.join(map(repr, twice))}. "
            "Rename them, or drop the later ones: data.loc[:, ~data.columns.duplicated()]."
        )
    return data.copy() if data is given else data


def _added(data: Any, frame: pd.DataFrame) -> tuple[str, ...] | None:
    """Return the columns that `data` has beside those of the frame; None where the rest of it is not the frame."""
    if not isinstance(data, pd.DataFrame) or not data.columns.is_unique:
        return None
    names = tuple(name for name in data.columns if name not in frame.columns)
    rest = data.drop(columns=list(names))
    same = set(names) <= {tables.FITS, tables.RESIDUALS} and rest.index.identical(frame.index) and rest.equals(frame)
    return names if same else None


def spread(values: np.ndarray | float, used: np.ndarray) -> np.ndarray:
    """Return the values of the rows used at their places, and NaN at the others."""
    whole = np.full(len(used), np.nan)
    whole[used] = values
    return whole
