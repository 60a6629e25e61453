"""Which covariance of the coefficients inference takes: by name, with the degrees of freedom that go with it."""

from __future__ import annotations

from functools import partial
from typing import Literal, TypeAlias, cast, get_args

import numpy as np

from pymer4.errors import OptionError, one_of
from pymer4.fit.cluster_robust import clustered
from pymer4.fit.distributions import link_function
from pymer4.fit.glm import GeneralizedFit
from pymer4.fit.linear import LinearFit
from pymer4.fit.sandwich import Errors, Kind, covariance, unequal_variances

Array: TypeAlias = np.ndarray
ErrorKind = Literal["iid", "hc0", "hc1", "hc2", "hc3", "cr0", "cr2", "unequal_var"]

Named = Literal["iid", "HC0", "HC1", "HC2", "HC3", "hetero", "CR0", "CR2", "unequal_var"]
"""What `errors` may be; in any case."""


def error_name(errors: object) -> Named:
    """Return the name of errors as it is spelled; an OptionError tells those that there are."""
    spelled = {name.lower(): name for name in get_args(Named)}
    name = spelled.get(errors.lower(), errors) if isinstance(errors, str) else errors
    return cast(Named, one_of("errors", name, get_args(Named)))


def resolve_error_type(errors: object, is_linear: bool = True) -> ErrorKind:
    """Return the kind of errors that a user named.

    `hetero` is HC3, which small samples need, or HC0 where the model is not linear.

    Args:
        errors: a name, in any case.
        is_linear: gaussian with the identity link.

    Raises:
        OptionError: another name, or unequal_var for a model that is not linear.

    Examples:
        >>> resolve_error_type("cr2"), resolve_error_type("hetero"), resolve_error_type("Hetero", is_linear=False)
        ('cr2', 'hc3', 'hc0')
    """
    name = error_name(errors)
    if name == "unequal_var" and not is_linear:
        raise OptionError(
            "errors='unequal_var' is one variance of a gaussian outcome in each cell, and the model is not linear. "
            "Use errors='hetero'."
        )
    if name == "hetero":
        return "hc3" if is_linear else "hc0"
    return cast(ErrorKind, name.lower())


def errors_of(
    fit: LinearFit | GeneralizedFit,
    X: Array,
    kind: ErrorKind,
    *,
    clusters: Array | None = None,
    cells: Array | None = None,
    df: float | None = None,
) -> Errors:
    """Return the errors of a regression.

    | kind | covariance | degrees of freedom |
    | --- | --- | --- |
    | `iid`, `hc0` to `hc3` | `sandwich.covariance` | `df` |
    | `cr0`, `cr2` | `cluster_robust.clustered` | G − 1, Satterthwaite's |
    | `unequal_var` | `sandwich.unequal_variances` | Satterthwaite's |

    Args:
        fit: a fitted model; a linear one for `unequal_var`.
        X: its design, shape (n, p).
        kind: see the table.
        clusters: code of the cluster of each row, shape (n,), for `cr0` and `cr2`.
        cells: code of the cell of each row, shape (n,), for `unequal_var`.
        df: of the model's own tests, inf where these are by z; None for n − k.

    Raises:
        DataError: fewer than two clusters.

    Examples:
        >>> from pymer4.fit.linear import least_squares
        >>> X, y = np.column_stack([np.ones(6), np.arange(6.0)]), np.array([1.0, 1, 2, 4, 3, 7])
        >>> found = errors_of(least_squares(X, y), X, "hc1")
        >>> np.sqrt(found.variances(np.array([[1.0, 2.5]]))).round(4).tolist(), found.df_of(np.eye(2)).tolist()
        ([0.4731], [4.0, 4.0])
    """
    if kind in ("cr0", "cr2"):
        assert clusters is not None
        x, e, weights = _of_the_outcome(fit, X)
        return clustered(x, e, clusters, kind, weights)
    if kind == "unequal_var":
        assert cells is not None
        return unequal_variances(fit, X, cells)
    return Errors(covariance(fit, X, cast(Kind, kind)), partial(_constant, float(fit.df_resid) if df is None else df))


def _constant(df: float, L: Array) -> Array:
    return np.full(len(L), df)


def _of_the_outcome(fit: LinearFit | GeneralizedFit, X: Array) -> tuple[Array, Array, Array | None]:
    """Return design, residuals and inverse variances on the scale of the outcome, where CR2 takes its roots."""
    if isinstance(fit, LinearFit):
        return X, fit.residuals, fit.weights
    slope = link_function(fit.link).derivative(fit.eta)
    with np.errstate(divide="ignore", invalid="ignore"):
        return X * slope[:, None], fit.working_residuals * slope, fit.working_weights / slope**2
