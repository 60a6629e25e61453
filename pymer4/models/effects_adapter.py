"""A fitted model behind the interface of the package marginaleffects, which is imported when it is used."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.errors import MissingLibrary, OptionError, shown
from pymer4.fit.distributions import link_function
from pymer4.models.effects_rows import Handed, Rows

_KNOWN = {"gaussian", "binomial", "poisson", "gamma"}  # families, and links, that it has derivatives of
_LINKS = {"identity", "log", "logit", "probit", "inverse", "sqrt", "cloglog"}


def adapted(handed: Handed) -> Any:
    """Return a model as the functions of marginaleffects take it.

    Raises:
        MissingLibrary: marginaleffects is not installed; the message has the command that installs it.
    """
    return _adapter()(handed)


@cache
def _adapter() -> Any:
    """Return the class that does so, whose base is of that package."""
    try:
        import polars as pl
        from marginaleffects.classes import ModelAbstract, ModelVault
    except ImportError as error:
        raise MissingLibrary('This needs the package marginaleffects: pip install "pymer4[marginaleffects]"') from error

    class PymerModel(ModelAbstract):
        """A model of this package, asked for its coefficients, their covariance, and x b of any rows."""

        def __init__(self, handed: Handed):
            model, self.handed, self.df_resid = handed.model, handed, handed.df
            self.asked = model._options  # of one fit: each has its own
            names = [handed.outcome, *handed.predictors]
            right = " + ".join(f"`{name}`" for name in handed.predictors) or "1"
            vault = ModelVault(
                coef=model.coefs[tables.ESTIMATE].to_numpy(dtype=float),
                coefnames=np.array([str(name) for name in model.vcov.index]),
                formula=f"`{handed.outcome}` ~ {right}",
                modeldata=_polars(handed.rows),
                package="pymer4",
                vcov=model.vcov.to_numpy(),
                variable_names=names,
            )
            super().__init__(model, vault)
            for name, column in handed.rows.columns.items():
                if column.kind == "logical":
                    self.set_variable_type(name, "binary")
                elif column.kind == "factor" or name in handed.factors:
                    self.set_variable_type(name, "character")

        def get_vcov(self, vcov: Any = True) -> np.ndarray | None:
            """Return the covariance of the coefficients that the fit has; None for `vcov=False`."""
            if isinstance(vcov, (bool, np.bool_)) or vcov is None:
                return self.vault.vcov if vcov else None
            raise OptionError(
                f"vcov={shown(vcov)} is none that pymer4 hands over. Use True for that of the fit, such as "
                "fit(robust='hc3'), False for none, or an array."
            )

        def get_df(self) -> float:
            """Return the df of limits."""
            return self.df_resid

        def get_exog(self, newdata: Any) -> np.ndarray:
            """Return the fixed part of rows, shape (n, p), and the known part behind it where the model has one."""
            if self.model._options is not self.asked:
                raise OptionError(
                    "The model was fitted again since to_marginaleffects(), and new rows would be coded for that fit. "
                    "Call to_marginaleffects() again."
                )
            frame = newdata.select([name for name in newdata.columns if name in self.handed.rows.columns]).to_pandas()
            X, known = self.model._fixed_rows(frame)
            return X if self.handed.is_plain else np.column_stack([X, known])

        def get_predict(self, params: np.ndarray, newdata: Any) -> Any:
            """Return predictions by other coefficients, one a row of what `get_exog()` gave."""
            exog, p = np.asarray(newdata, dtype=float), len(params)
            eta = exog[:, :p] @ np.asarray(params, dtype=float) + exog[:, p:].sum(axis=1)
            means = eta if self.handed.link == "identity" else link_function(self.handed.link).inverse(eta)
            return pl.DataFrame({"rowid": np.arange(len(means), dtype=np.int32), "estimate": means})

        def get_autodiff_args(self) -> dict[str, str | None] | None:
            """Return what marginaleffects differentiates by itself; None where it takes finite differences."""
            family, link = self.model.family, self.handed.link
            if not self.handed.is_plain:
                return None
            if link == "identity":
                return {"model_type": "linear", "family": None, "link": None}
            known = family in _KNOWN and link in _LINKS
            return {"model_type": "glm", "family": family, "link": link} if known else None

    return PymerModel


def _polars(rows: Rows) -> Any:
    """Return rows as a frame of polars, with factors as Enums of their levels."""
    import polars as pl

    found = {}
    for name, column in rows.columns.items():
        values = rows.frame[name]
        if column.kind == "factor":
            text = [None if pd.isna(value) else str(value) for value in values]
            found[name] = pl.Series(name, text, dtype=pl.Enum(list(column.levels)))
        else:
            numbers = pl.Series(name, values.to_numpy(), dtype=pl.Boolean if column.kind == "logical" else None)
            found[name] = numbers.fill_nan(None) if column.kind == "double" else numbers
    return pl.DataFrame(found)
