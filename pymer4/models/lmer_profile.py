"""Profile likelihoods of a fitted `Lmer`: the limits that come from them, and the traces that `infer()` keeps."""

from __future__ import annotations

from typing import Any

from pymer4.errors import RError
from pymer4.infer import profile, verb
from pymer4.infer.options import InferOptions
from pymer4.models.lmer_options import check_profile
from pymer4.models.lmer_predict import LmerPredictions
from pymer4.rbridge import bridge
from pymer4.work import progress

_STEPS = 8
"""Points on either side, as lme4 has them by default."""


class LmerProfiles(LmerPredictions):
    """What asks lme4 for profiles."""

    def _profiled(self, options: InferOptions) -> verb.Answer:
        """Return profile limits of the variances, and keep their traces as `profile`."""
        check_profile("how", "profile", self.family, self.link, "how='boot', on='variance'")
        cutoff, level = profile.rise(options)
        made = self._parts(cutoff, options.verbose, options.n_steps, fixed=False)
        interval = {"method": "profile", "cutoff": cutoff, "made": made, "steps": options.n_steps}
        reply = bridge.call("variance_profile", model=self._handle, interval=interval)
        self.profile = profile.traces(reply.value, cutoff, level)
        return verb.Answer([self.profile.limits()], told=(*reply.warnings, *reply.messages))

    def _profiled_too(self, options: InferOptions) -> list[str]:
        """Profile the variances of a linear model after draws, where that is wanted; return what is to be said."""
        if not (options.profile_auto and self._linear):
            return []
        try:
            return list(self._profiled(options).told)
        except RError as error:
            return [f"No profile limits of the variances: {error} profile_auto=False leaves them out."]

    def _limits_by(self, method: str, level: float, shown: int) -> dict[str, Any]:
        """Return the argument `interval` of R's verbs, with the profile that limits come from."""
        if method != "profile":
            return {"method": method, "level": level}
        cutoff = profile.quantile(level)
        return {"method": method, "cutoff": cutoff, "made": self._parts(cutoff, shown)}

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
