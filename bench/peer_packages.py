"""What the other packages do with the cases of the benchmark: each returns the (RE)ML criterion that it found.

Each is called as its own documentation has it, for the fit with tests of its coefficients; None where it can't.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

Fit = Callable[[str, pd.DataFrame], float | None]


def mixedlm(formula: str, data: pd.DataFrame) -> float | None:
    """Fit with mixedlm, and make its summary, which has Satterthwaite's df."""
    import mixedlm as package

    model = package.lmer(formula, data)
    model.summary()
    return float(model.REMLcrit())


def lme_python(formula: str, data: pd.DataFrame) -> float | None:
    """Fit with lme-python, and Satterthwaite's df."""
    import lme_python as package

    model = package.lmer(formula, data)
    model.with_satterthwaite(data)
    return float(model.reml_criterion)


def statsmodels(formula: str, data: pd.DataFrame) -> float | None:
    """Fit one grouping factor with statsmodels, by z."""
    from statsmodels.formula.api import mixedlm as package

    bars = formula.split("(")[1:]
    if len(bars) != 1 or "/" in bars[0]:
        return None
    random, group = (part.strip(" )") for part in bars[0].split("|"))
    fixed = formula.split("+ (")[0].strip(" +")
    fitted = package(fixed, data, groups=data[group], re_formula=f"~{random}").fit()
    fitted.summary()
    return float(-2 * fitted.llf)


FITS: dict[str, Fit] = {"mixedlm": mixedlm, "lme-python": lme_python, "statsmodels": statsmodels}


def mixedlm_boot(formula: str, data: pd.DataFrame, n: int) -> None:
    """Draw n parametric replicates."""
    import mixedlm as package

    package.bootMer(package.lmer(formula, data), nsim=n)


def lme_python_boot(formula: str, data: pd.DataFrame, n: int) -> None:
    """Draw n parametric replicates."""
    import lme_python as package

    package.boot_lmer(formula, data, package.lmer(formula, data), nsim=n, seed=1, n_jobs=1)


BOOTS = {"mixedlm": mixedlm_boot, "lme-python": lme_python_boot}


def mixedlm_many(formula: str, data: pd.DataFrame, Y: np.ndarray) -> None:
    """Fit each response again."""
    import mixedlm as package

    model = package.lmer(formula, data)
    for y in Y.T:
        model.refit(y)


def lme_python_many(formula: str, data: pd.DataFrame, Y: np.ndarray) -> None:
    """Fit each response to a prepared design."""
    import lme_python as package

    prepared = package.prepare_lmer(formula, data)
    for y in Y.T:
        package.fit_prepared(prepared, y=y.tolist())


def flash_mm_many(formula: str, data: pd.DataFrame, Y: np.ndarray) -> None:
    """Fit all responses with one random intercept, and the slope as a second variance component."""
    from flash_mm.lmmfit import lmmfit

    group = formula.split("|")[1].strip(" )")
    slope = formula.split("(")[1].split("|")[0].strip()
    Z = pd.get_dummies(data[group]).to_numpy(dtype=float)
    x = data[slope].to_numpy(dtype=float)
    X = np.column_stack([np.ones(len(x)), x])
    lmmfit(Y.T, X, np.hstack([Z, Z * x[:, None]]), d=[Z.shape[1], Z.shape[1]])


MANY = {"mixedlm": mixedlm_many, "lme-python": lme_python_many, "FLASH-MM": flash_mm_many}
