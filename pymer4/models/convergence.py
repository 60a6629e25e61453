"""How an optimizer ended, and what to try where it ended badly."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from pymer4.errors import RError

_NEAR = 1e-4  # deviance above the least one, up to which theta is within a hundredth of its standard error


@dataclass(frozen=True, slots=True, eq=False)
class Certificate:
    """What the deviance engine sees at the theta where a fit ended, or why it sees nothing.

    Attributes:
        why: why there is no certificate; an empty text where there is one.
        gradient: of the deviance in lme4's theta, shape (m,).
        eigenvalues: of its Hessian, ascending, shape (m,).
        deviance_gap: deviance at theta less the least one found.
    """

    why: str
    gradient: np.ndarray | None = None
    eigenvalues: np.ndarray | None = None
    deviance_gap: float | None = None

    @property
    def at_optimum(self) -> bool:
        """Whether the deviance is the least one, as near as tells theta from it."""
        return self.deviance_gap is not None and self.deviance_gap <= _NEAR

    def __str__(self) -> str:
        """Return one sentence."""
        if self.deviance_gap is None:
            return f"No certificate: {self.why}."
        if self.at_optimum:
            above = f"{max(self.deviance_gap, 0):.1e} above the least that the native engine finds"
            return f"Certificate: the fit is at the optimum; its deviance is {above}."
        return (
            f"Certificate: the fit is not at the optimum; its deviance is {self.deviance_gap:.3g} above the least that "
            "the native engine finds. Refit with fit(engine='native')."
        )


class _Certified:
    """A record with the certificate of its fit, or what makes it; it is no field: no file and no comparison has it."""

    __slots__ = ("_seen",)
    _seen: Certificate | Callable[[], Certificate]

    def of(self: Any, made: Callable[[], Certificate]) -> Any:
        if not hasattr(self, "_seen"):
            object.__setattr__(self, "_seen", made)
        return self

    @property
    def certificate(self) -> Certificate:
        """What the deviance engine sees at theta, computed when first asked for; `str()` of it is one sentence."""
        seen = getattr(self, "_seen", None) or Certificate("the fit is gone")
        if not isinstance(seen, Certificate):
            seen = seen()
            object.__setattr__(self, "_seen", seen)  # what made it holds the data of the fit
        return seen

    @property
    def gradient(self) -> np.ndarray | None:
        """Return the gradient of the deviance in lme4's theta, shape (m,); None where `certificate` tells why."""
        return self.certificate.gradient

    @property
    def eigenvalues(self) -> np.ndarray | None:
        """Return the eigenvalues of its Hessian, ascending, shape (m,); None likewise."""
        return self.certificate.eigenvalues

    @property
    def deviance_gap(self) -> float | None:
        """Return the deviance less the least that the native engine finds; None likewise."""
        return self.certificate.deviance_gap


@dataclass(frozen=True, slots=True, repr=False)
class Convergence(_Certified):
    """How the optimizer ended, with a certificate for linear models.

    Attributes:
        optimizer: its name, as lme4 calls it.
        code: its return code; 0 is success.
        messages: what the checks of lme4 said, in its words.
        max_gradient: largest absolute derivative of the profiled deviance in theta; NaN where not computed.
        singular: whether a random-effects covariance matrix is (almost) not of full rank.
        singular_terms: which.
    """

    optimizer: str
    code: int
    messages: tuple[str, ...]
    max_gradient: float
    singular: bool
    singular_terms: tuple[str, ...]

    def __repr__(self) -> str:
        """Return one line a fact."""
        gradient = "not computed" if math.isnan(self.max_gradient) else f"{self.max_gradient:.2e}"
        singular = f"yes: {', '.join(self.singular_terms)}" if self.singular else "no"
        told = [("optimizer", f"{self.optimizer}, code {self.code}"), ("largest gradient", gradient)]
        told += [("singular", singular), ("messages", "\n".join(self.messages) or "none")]
        indent = "\n" + " " * 20
        return "\n".join(["Convergence", *(f"  {name:<18}{value}".replace("\n", indent) for name, value in told)])


_RESCALE = "rescale the predictors, such as scale(x) in the formula or other units in the data, and fit again."
_OTHER = (
    "rescale the predictors, try another optimizer such as fit(control=\"optimizer='{other}'\"), or see with allfit() "
    "whether all of them agree."
)
_SIMPLIFY = (
    "simplify the random effects of {terms} (convergence.singular_terms), with (x || group) for no correlations, or "
    "without an effect whose variance is near 0."
)
_GO_ON = 'let the optimizer go on, with fit(control="optCtrl=list(maxfun=1e5)"), or rescale the predictors.'
_FALSE_ALARM = "nothing has to be done, since the certificate shows a false alarm."
_STEPS = {
    "boundary (singular)": _SIMPLIFY,
    **dict.fromkeys(("very different scales", "nearly unidentifiable"), _RESCALE),
    "maximum number of function evaluations": _GO_ON,
    **dict.fromkeys(("converge", "Hessian", "scaled gradient"), _OTHER),
}
"""Words of a warning of R's to what is to be tried; the first that is found counts."""


def next_step(text: str, convergence: Convergence, certificate: Certificate | None = None) -> str:
    """Return one sentence on what to try after a warning of R; an empty text where it is about something else.

    Where a certificate is given and shows the optimum, doubts of the optimizer's end need no other one.
    """
    step = next((step for words, step in _STEPS.items() if words in text), None)
    if step is None:
        return ""
    if step is _OTHER and certificate is not None and certificate.at_optimum:
        step = _FALSE_ALARM
    terms = ", ".join(dict.fromkeys(convergence.singular_terms)) or "a random-effects term"
    return f"Next: {step.format(terms=terms, other='Nelder_Mead' if convergence.optimizer == 'bobyqa' else 'bobyqa')}"


_BARE = ("is not TRUE", "are not all TRUE", "valid starting values", "PIRLS", "Downdated VtV", "that are not finite")
"""What R and lme4 say, without a way out, where a start or a step leads nowhere."""


def way_out(message: str, family: str, link: str) -> str:
    """Return what to try after an error of a fit; an empty text where it is about something else."""
    if "<= number of random effects" in message:
        return (
            "Next: take effects out on the left of the bar of that term. Its groups times its effects have to be fewer "
            "than the rows."
        )
    if "pwrssUpdate did not converge" in message:
        apart = "check whether a predictor tells all successes from all failures, and take it out; otherwise "
        told = apart if family == "binomial" else ""
        return f"Next: {told}rescale the predictors, such as scale(x) in the formula."
    if not any(words in message for words in _BARE):
        return ""
    safe = {"gaussian": "identity", "binomial": "logit"}.get(family, "log")
    if link == safe or (family == "binomial" and link != "log"):
        other = "rescale the predictors, such as scale(x) in the formula, or "
    else:
        other = (
            f"the start or a step of the fit has means that link {link!r} of family {family!r} does not take, as 0 has "
            f"no inverse and no logarithm. Use link={safe!r}, or "
        )
    return f"Next: {other}try another optimizer, fit(control=\"optimizer='bobyqa'\")."


@contextmanager
def told_with_way_out(family: str, link: str) -> Iterator[None]:
    """Add what to try to an error of R that has no advice."""
    try:
        yield
    except RError as error:
        advice = error.advice or way_out(error.message, family, link)
        raise RError(error.message, error.verb, error.formula, advice) from None
