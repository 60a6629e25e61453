"""What a fitted `Lmer` says of its own soundness: other optimizers, shares of variance, precision of the groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import exp, log1p, pi
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from pymer4 import tables
from pymer4.data.families import LINKS
from pymer4.errors import ModelWarning, OptionError, issue, issue_all, one_of, verbosity
from pymer4.fit.quantile_residuals import normal_scores
from pymer4.models import reporting
from pymer4.models.base import spread
from pymer4.models.convergence import Certificate, Convergence
from pymer4.models.lmer_groups import shown
from pymer4.models.lmer_state import LmerState
from pymer4.plots.residuals import Residuals
from pymer4.rbridge import bridge
from pymer4.work import progress, seed_stream

Approximation = Literal["lognormal", "delta", "trigamma"]
Rate = Literal["mean", "median"]

# Distribution-specific variances on the link scale, Nakagawa, Johnson & Schielzeth (2017), table 1.
_CONSTANT = {
    ("binomial", "logit"): pi**2 / 3,
    ("binomial", "probit"): 1.0,
    ("binomial", "cloglog"): pi**2 / 6,
    ("poisson", "sqrt"): 0.25,
}
_KNOWN = (("gaussian", "identity"), *_CONSTANT, ("poisson", "log"), ("nbinom", "log"), ("gamma", "log"))

_CERTIFIED = ("formula", "family", "link", "_frame", "_weights", "_offset", "_reading", "_plan", "_options", "_fit")

_SIMULATED = 250  # outcomes a row, for quantile residuals


@dataclass(frozen=True, slots=True)
class ICC:
    """Intraclass correlation coefficients.

    Attributes:
        adjusted: share of the random effects in the variance that the fixed part leaves.
        unadjusted: their share in all of it.
    """

    adjusted: float
    unadjusted: float


@dataclass(frozen=True, slots=True)
class R2:
    """Coefficients of determination of a mixed model.

    Attributes:
        conditional: share of the fixed and the random part in the variance.
        marginal: share of the fixed part alone.
    """

    conditional: float
    marginal: float


class LmerDiagnosis(LmerState):
    """The methods of `Lmer` that judge a fit, in numbers and pictures. Nothing is computed before it is asked for."""

    def allfit(self, *, verbose: bool | int = False) -> pd.DataFrame:
        """Fit the model again by each optimizer that R has, as lme4's `allFit`; the model itself stays as it is.

        Where all of them come to about the same log-likelihood and coefficients, a warning about convergence is a
        false alarm (lme4, `help("convergence")`). The others are measured against the best, the first with the highest
        log-likelihood, which those within 1e-6 of it share. Those of the packages optimx and dfoptim are left out where
        these are not installed, and a warning says so.

        Args:
            verbose: show the progress on standard error.

        Returns:
            One row an optimizer: log-likelihood (NaN where it failed), Converged (whether it stopped by itself and
            lme4's checks found nothing but singularity), Max_abs_diff and Max_rel_diff (largest difference of a
            coefficient from the best fit's, and that over the coefficient), Messages, and the coefficients.
            `attrs` holds `best`, `model` (the optimizer of the model itself) and `left_out`.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: `verbose` is none of 0, 1, 2 and truth values.

        Examples:
            >>> from pymer4 import Lmer, load_dataset
            >>> model = Lmer("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy"))
            >>> _ = model.fit(summarize=False)
            >>> model.allfit()[["log-likelihood", "Converged"]].round(3).drop_duplicates()
                    log-likelihood  Converged
            bobyqa        -871.814       True
        """
        self._require_fit("allfit()")
        shown, known = verbosity(verbose), bridge.call("known_optimizers").value
        if known["absent"]:
            issue(
                f"allfit() leaves out {', '.join(known['absent'])}: R does not have {', '.join(known['packages'])}. "
                "conda has them as r-dfoptim and r-optimx, Debian as r-cran-dfoptim and r-cran-optimx.",
                ModelWarning,
            )
        fits = []
        with bridge.in_parts(), progress("optimizers", len(known["optimizers"]), shown) as advance:
            for name in known["optimizers"]:
                fits.append(bridge.call("fit_by_optimizer", model=self._handle, optimizer=name).value)
                advance(1, int(np.isnan(fits[-1]["log_likelihood"])))
        found = {name: [fit[name] for fit in fits] for name in fits[0]}
        found |= {"optimizers": known["optimizers"], "terms": list(self.coefs.index)}
        attrs = {"model": self.convergence.optimizer, "left_out": tuple(known["absent"])}
        return tables.optimizer_table(found, attrs)

    def icc(self, *, approximation: Approximation = "lognormal", rate: Rate = "mean") -> ICC:
        """Return the intraclass correlation of Nakagawa, Johnson & Schielzeth (2017), J. R. Soc. Interface 14.

        With s_f the variance of x b over the rows, s_r that of z u (for random slopes the mean of z G z' over the
        rows, Johnson 2014, Methods Ecol. Evol. 5) and s_e the residual or distribution-specific variance on the link
        scale: adjusted s_r / (s_r + s_e), unadjusted s_r / (s_f + s_r + s_e). s_e is sigma^2 for a linear model,
        pi^2 / 3, 1 or pi^2 / 6 for a binomial one with logit, probit or cloglog link, 1/4 for counts with a sqrt
        link. A random effect of single rows counts as overdispersion, in s_e.

        Args:
            approximation: s_e with a log link, where v is 1 / rate for poisson, 1 / rate + 1 / theta for nbinom
                and the squared coefficient of variation for gamma: log(1 + v), v, or trigamma(1 / v).
            rate: the rate of counts, from the model of the random effects and the intercept alone: its mean
                exp(intercept + s_r / 2) as in the paper and today's R package performance (which leaves slopes and
                effects of single rows out of this s_r), or its median exp(intercept), which that package took up to
                version 0.10.

        Returns:
            `adjusted` and `unadjusted`, between 0 and 1.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: an unknown option, or a family or link without such a variance.

        Examples:
            >>> from pymer4 import Lmer, load_dataset
            >>> model = Lmer("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy"))
            >>> _ = model.fit(summarize=False)
            >>> round(model.icc().adjusted, 3)
            0.722
        """
        fixed, random, residual = self._variances("icc()", approximation, rate)
        return ICC(_share(random, random + residual), _share(random, fixed + random + residual))

    def r2(self, *, approximation: Approximation = "lognormal", rate: Rate = "mean") -> R2:
        """Return R² of Nakagawa, Johnson & Schielzeth (2017): (s_f + s_r) / s and s_f / s, s = s_f + s_r + s_e.

        The variances are those of `icc()`.

        Args:
            approximation: as in `icc()`.
            rate: as in `icc()`.

        Returns:
            `conditional` and `marginal`, between 0 and 1.

        Raises:
            NotFittedError: before `fit()`.
            OptionError: an unknown option, or a family or link without such a variance.

        Examples:
            >>> from pymer4 import Lmer, load_dataset
            >>> model = Lmer("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy"))
            >>> _ = model.fit(summarize=False)
            >>> round(model.r2().marginal, 3)
            0.279
        """
        fixed, random, residual = self._variances("r2()", approximation, rate)
        total = fixed + random + residual
        return R2(_share(fixed + random, total), _share(fixed, total))

    def _story(self) -> reporting.Story:
        return reporting.mixed(self)

    def _term_names(self) -> list[str]:
        return [term.label for term in self._reading.terms]

    def _ranked(self) -> list[Any]:
        return list(self._ranks)

    def _packages(self) -> tuple[str, ...]:
        tests = {"Satterthwaite": "lmerTest", "Kenward-Roger": "pbkrtest"}
        if not self._linear or self._options.ddf not in tests:
            return ("R", "lme4")
        return ("R", "lme4", tests[self._options.ddf])

    def _ending(self) -> list[str]:
        found = self.convergence
        if found is None:  # a file of another program does not tell
            return []
        singular = ", ".join(dict.fromkeys(found.singular_terms))
        return [f"Optimizer: {found.optimizer}, code {found.code}{f'; singular: {singular}' if singular else ''}."]

    def _shares(self) -> dict[str, float]:
        if (self.family, self.link) not in _KNOWN:
            return {}
        fixed, random, residual = self._variances("r2()", "lognormal", "mean", told=False)
        total = fixed + random + residual
        found = {"marginal R²": fixed, "conditional R²": fixed + random}
        shares = {name: _share(part, total) for name, part in found.items()}
        return shares | {"adjusted ICC": _share(random, random + residual)}

    def _variances(self, what: str, approximation: str, rate: str, told: bool = True) -> tuple[float, float, float]:
        """Return the variances of the fixed part, the random part and the rest, on the link scale."""
        self._require_fit(what)
        one_of("approximation", approximation, get_args(Approximation))
        one_of("rate", rate, get_args(Rate))
        if (self.family, self.link) not in _KNOWN:
            raise OptionError(_no_variance(what, self.family, self.link))
        reply = bridge.call("variance_parts", model=self._handle)
        issue_all(reply.warnings if told else ())
        found = reply.value
        if told and self.convergence.singular:
            terms = ", ".join(self.convergence.singular_terms) or "a random-effects term"
            issue(
                f"{what} of a singular fit: the variance of {terms} is estimated as 0, at least in some direction, and "
                "so is its share. Compare with a simpler model.",
                ModelWarning,
            )
        residual = _residual_variance(self.family, self.link, found, approximation, rate)
        if not self._linear:
            residual += found["random"][found["by_row"]].sum()
            found["random"] = found["random"][~found["by_row"]]
        return found["fixed"], float(found["random"].sum()), float(residual)

    def _quantile_residuals(self, seed: int | None) -> Residuals | None:
        """Return the normal quantiles of the ranks of the outcome among simulated ones; see `plot_residuals()`.

        With `less` of n below it and `equal` as large its place is (less + v (equal + 1)) / (n + 1), v uniform: under
        the right model all n + 1 can change places, so that it is uniform too.
        """
        for_draws, for_places = (int(one) for one in seed_stream(seed, 2))
        found = bridge.call("simulated_ranks", model=self._handle, n=_SIMULATED, seed=for_draws).value
        if found["population"] is None:
            return None
        n, v = found["drawn"], np.random.default_rng(for_places).random(len(found["drawn"]))
        share = np.where(n > 0, (found["less"] + v * (found["equal"] + 1)) / (n + 1), np.nan)
        values, means = (spread(part, self._used) for part in (normal_scores(share, 1 - share), found["population"]))
        about = f"{self._fits_named()} of the population"
        return Residuals("Quantile residuals", means, about, values, is_standard=True)

    @property
    def convergence(self) -> Convergence:
        """How the optimizer ended; None before `fit()`. What a certificate tells is computed when it is asked for."""
        record: Any = vars(self)["convergence"]
        return record and record.of(partial(_certificate, self._as_fitted()))

    @convergence.setter
    def convergence(self, record: Convergence) -> None:
        vars(self)["convergence"] = record

    def _as_fitted(self) -> LmerState:
        """Return what a certificate is made of, which the next fit does not touch."""
        kept = object.__new__(type(self))
        vars(kept).update({name: getattr(self, name) for name in _CERTIFIED}, fitted=True)
        return kept

    @property
    def ranef_se(self) -> pd.DataFrame | list[pd.DataFrame] | None:
        """Conditional standard deviations of the random effects, shaped as `ranef`; None before `fit()`.

        Those of R's `ranef(condVar = TRUE)`, which hold the coefficients and the variances for known; for families
        with a dispersion lme4 2.1 multiplies by it once too often, these do not. They are computed when first asked
        for.
        """
        if self._ranef_se is None and self.fitted:
            if self._native is None:
                spread = list(bridge.call("random_spread", model=self._handle).value["spread"].values())
            else:
                spread = self._native.ranef_se()
            self._ranef_se = shown(spread)
        return self._ranef_se


def _certificate(model: LmerState) -> Certificate:
    from pymer4.models.lmer_certificate import certificate  # scipy's sparse matrices are not for every import

    return certificate(model)


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")


def _residual_variance(family: str, link: str, found: Mapping[str, Any], approximation: str, rate: str) -> float:
    if family == "gaussian":
        return float(found["sigma"] ** 2)
    if (family, link) in _CONSTANT:
        return _CONSTANT[family, link]
    v = float(found["sigma"]) ** 2
    if family != "gamma":
        null = found["null"]
        v = 1 / exp(null["intercept"] + (null["random"] / 2 if rate == "mean" else 0))
        v += 1 / found["theta"] if family == "nbinom" else 0
    if approximation == "trigamma":
        from scipy.special import polygamma

        return float(polygamma(1, 1 / v))
    return v if approximation == "delta" else log1p(v)


def _no_variance(what: str, family: str, link: str) -> str:
    links = [name for name in LINKS[family] if (family, name) in _KNOWN]
    remedy = f"Fit it with link={' or '.join(map(repr, links))}" if links else "There is none for this family"
    known = ", ".join(f"{name} ({', '.join(k for n, k in _KNOWN if n == name)})" for name in dict(_KNOWN))
    return (
        f"{what} needs the distribution-specific variance of a {family} model with link {link!r}, for which Nakagawa, "
        f"Johnson & Schielzeth (2017) have no formula. {remedy}. They have: {known}."
    )
