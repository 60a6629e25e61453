"""Profile likelihoods of a fitted `Lmer`: the limits that come from them, and the traces that `infer()` keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from pymer4.errors import DataError, OptionError, Pymer4Error, RError
from pymer4.infer import profile, verb
from pymer4.infer.options import InferOptions
from pymer4.models.lmer_options import check_profile
from pymer4.models.lmer_predict import LmerPredictions
from pymer4.rbridge import bridge
from pymer4.work import progress

if TYPE_CHECKING:
    from pymer4.models.lmer_refits import Refits

_STEPS = 8
"""Points on either side, as lme4 has them by default."""


@contextmanager
def of_a_fit() -> Iterator[None]:
    """Say of a fitted model, whose engine is no longer to be chosen, what the deviance engine can't take."""
    from pymer4.fit.mixed_terms import Unsuited

    try:
        yield
    except Unsuited as error:
        raise DataError(f"{error.why}: no refits of this model. Take limits that need none, such as Wald's.") from error


class LmerProfiles(LmerPredictions):
    """What profiles the likelihood: on the deviance engine, or in lme4."""

    _refits: ClassVar[Literal["native", "R"]] = "native"

    def _on_engine(self, may_be_short: bool = False) -> Refits | None:
        """Return the model on the deviance engine; None where R is to do the work, as where its fit stopped short.

        Args:
            may_be_short: whether that does not matter.
        """
        if self._refits == "R" or not self._linear:
            return None
        from pymer4.models.lmer_refits import refits

        return refits(self, may_be_short)

    def _parameters(self) -> tuple[np.ndarray, list[str]]:
        """Return estimates of all parameters in the order of `confint()`, and their names."""
        if self._native is not None and (engine := self._on_engine()) is not None:
            return engine.parameters, engine.names
        found = bridge.call("parameters_mixed", model=self._handle).value
        return np.asarray(found["estimates"]), list(found["names"])

    def _profiled(self, options: InferOptions) -> verb.Answer:
        """Return profile limits of the variances, and keep their traces as `profile`."""
        check_profile("how", "profile", self.family, self.link, "how='boot', on='variance'")
        cutoff, level = profile.rise(options)
        how = cutoff, options.verbose, options.n_steps
        engine = self._on_engine(may_be_short=True)
        if engine is not None:
            found, said = self._on_likelihood(engine, *how, fixed=False)
        else:
            self._refuse_weights()
            interval = {"made": self._parts(*how, fixed=False)}
            reply = bridge.call("variance_profile", model=self._handle, interval=interval)
            found, said = reply.value, [*reply.warnings, *reply.messages, *self._doubts(reply.value)]
        found = {**found, "estimate": self._parameters()[0][: len(found["names"])]}
        self.profile = profile.traces(found, cutoff, level)
        table = self.profile.limits()
        table.attrs["engine"] = "R" if engine is None else "native"
        return verb.Answer([table], told=said)

    def _profiled_too(self, options: InferOptions) -> list[str]:
        """Profile the variances of a linear model after draws, where that is wanted; return what is to be said."""
        if not (options.profile_auto and self._linear):
            return []
        try:
            return list(self._profiled(options).told)
        except Pymer4Error as error:
            return [f"No profile limits of the variances: {error} profile_auto=False leaves them out."]

    def _profile_limits(self, level: float, shown: int, random: bool = True) -> tuple[dict[str, Any], list[str]]:
        """Return `names`, `lower` and `upper` of all parameters, or of the coefficients alone, and what is said.

        They are lme4's, but for linear models with weights, of which its profile is another model's (issue 192 there),
        and where it fails or is not monotonic.
        """
        cutoff = profile.quantile(level)
        weighted, said = self._linear and self._weights is not None, []
        if not weighted:
            interval = {"method": "profile", "made": self._parts(cutoff, shown)}
            reply = bridge.call("confint_mixed", model=self._handle, interval=interval)
            said = [*reply.warnings, *reply.messages]
            if not reply.value["doubt"]:
                return dict(reply.value), said
        engine = self._on_engine(may_be_short=True)
        if engine is None:
            self._refuse_weights()
            said += self._doubts(reply.value)
            return dict(reply.value), said
        if not weighted:
            said.append(
                f"{reply.value['doubt']} Those given are of the likelihood itself; bootstrap limits need no profile."
            )
        found, more = self._on_likelihood(engine, cutoff, shown, 0, random=random)
        return found, said + more

    def _refuse_weights(self) -> None:
        if self._linear and self._weights is not None:
            raise OptionError(
                "lme4's profile of a linear model with weights is that of another model, and the deviance engine does "
                "not take this one. Use bootstrap or Wald limits."
            )

    def _doubts(self, told: Any) -> list[str]:
        """Return what is to be said of lme4's limits; an RError where it has none."""
        doubt = told["doubt"]
        if doubt and not len(told["lower"]):
            raise RError(doubt, "profile", self.formula)
        return [f"{doubt} Use bootstrap or Wald limits."] if doubt else []

    @of_a_fit()
    def _on_likelihood(
        self, engine: Refits, cutoff: float, shown: int, steps: int, random: bool = True, fixed: bool = True
    ) -> tuple[dict[str, Any], list[str]]:
        """Return what profiles on the engine come to, and what is said of them."""
        parts = random, fixed
        with progress("profiled parameters", engine.count(*parts), shown) as advance:
            found, better = engine.profiles(cutoff, steps, parts, lambda: advance(1, 0))
        said = ["Profiling found a likelihood above the fit's; its limits are around that. See allfit()."] * better
        return found, said

    def _parts(self, cutoff: float, shown: int, steps: int = _STEPS, fixed: bool = True) -> list[dict[str, Any]]:
        """Return lme4's profile of each parameter, up to one that it can't profile; none where limits are not its.

        Args:
            cutoff: rise of the deviance that the limits are at.
            shown: whether progress is shown.
            steps: points on either side.
            fixed: whether coefficients are profiled too.
        """
        parts: list[dict[str, Any]] = []
        n = bridge.call("profile_parts", model=self._handle, fixed=fixed).value["n"]
        how = {"model": self._handle, "cutoff": cutoff, "steps": steps}
        with bridge.in_parts(), progress("profiled parameters", n, shown and n > 0) as advance:
            while len(parts) < n and not (parts and "error" in parts[-1]):
                part = bridge.call("profile_part", which=len(parts) + 1, **how).value
                parts.append(part)
                advance(1, int("error" in part or not part["monotonic"].all()))
        return parts
