"""The arguments of `infer()`, each checked once, and which way of inference answers which question."""

from __future__ import annotations

import contextlib
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from pymer4.errors import (
    OptionError,
    among,
    confidence_level,
    count,
    one_of,
    shown,
    truth,
    verbosity,
    without_effect,
    workers,
)
from pymer4.fit.robust_errors import Named, error_name
from pymer4.infer.asymptotic import Alternative
from pymer4.infer.draws import Interval
from pymer4.work import seed_stream, whole_seed

How = Literal["asymp", "boot", "perm", "cv", "profile", "joint"]
"""The ways of inference."""

On = Literal["coefs", "marginal", "predictions", "variance", "simulations"]
"""What is inferred."""

Which = Literal["fixef", "ranef", "all"]
"""Which parameters of a mixed model a bootstrap is about."""

Shuffles = Literal["raw", "freedman-lane"]
"""What a permutation shuffles."""

WAYS: Mapping[How, tuple[On, ...]] = {
    "asymp": ("coefs", "marginal", "predictions", "simulations"),
    "boot": ("coefs", "marginal", "predictions", "variance"),
    "perm": ("coefs", "marginal"),
    "cv": ("coefs", "predictions"),
    "profile": ("variance",),
    "joint": ("coefs", "marginal"),
}
"""What each way of inference can be about."""

_SEVERAL = 2


class Drawing(NamedTuple):
    """How many replicates, from which seed, by how many workers, with how much shown."""

    n: int
    seed: int
    n_jobs: int
    verbose: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InferOptions:
    """What `infer()` was given, in plain form; see there."""

    how: How
    on: On
    conf_level: float
    errors: Named
    null: float
    alternative: Alternative
    n_boot: int
    n_perm: int
    ci_type: Interval | None
    scheme: Shuffles
    which: Which
    cluster: str | None
    seed: int
    n_jobs: int
    save_resamples: bool
    k: int | Literal["loo"]
    holdout_group: str | Literal[False] | None
    n_steps: int
    threshold: float | None
    profile_auto: bool
    verbose: int
    is_mixed: bool

    @classmethod
    def of(cls, latest: On, able: tuple[On, ...], level: float, what: str, **given: Any) -> InferOptions:
        """Return the arguments checked and in plain form.

        Args:
            latest: what was computed last.
            able: what a model can be asked about.
            level: the level of limits where none is given.
            what: the kind of model, for messages.
            **given: the arguments of `infer()`.

        Raises:
            OptionError: an argument out of its range, or a question that the way of inference does not answer.
        """
        how: Any = one_of("how", given["how"], get_args(How))
        given["conf_level"] = level if given["conf_level"] is None else confidence_level(given["conf_level"])
        given["errors"] = error_name(given["errors"])
        one_of("alternative", given["alternative"], get_args(Alternative))
        one_of("ci_type", given["ci_type"], (None, *get_args(Interval)))
        one_of("scheme", given["scheme"], get_args(Shuffles))
        one_of("which", given["which"], get_args(Which))
        given["null"] = _finite("null", given["null"])
        given["threshold"] = None if given["threshold"] is None else _finite("threshold", given["threshold"], above=0)
        for name, least in (("n_boot", _SEVERAL), ("n_perm", 1), ("n_steps", _SEVERAL)):
            given[name] = count(name, given[name], least=least)
        given["k"] = "loo" if among(given["k"], ("loo",)) else count("k", given["k"], least=_SEVERAL)
        for name in ("save_resamples", "profile_auto"):
            given[name] = truth(name, given[name])
        for name, allowed in (("cluster", None), ("holdout_group", False)):
            if not isinstance(given[name], str) and not among(given[name], (None, allowed)):
                raise OptionError(f"{name}={shown(given[name])} is not the name of a column of the data.")
        seed = whole_seed(given["seed"])
        # One seed for all that is drawn: tables of one call come from the same replicates.
        given |= {"seed": int(seed_stream(None, 1)[0]) if seed is None else seed, "n_jobs": workers(given["n_jobs"])}
        given["verbose"] = verbosity(given["verbose"])
        given["is_mixed"] = "variance" in able
        return cls(**given | {"on": _about(how, given["on"], given["which"], latest, able, what)})

    @property
    def drawing(self) -> Drawing:
        """How replicates are drawn: with the seeds that `fit(conf_int="boot", permute=)` takes too."""
        boot, perm = map(int, seed_stream(self.seed, 2))
        n, seed = (self.n_perm, perm) if self.how == "perm" else (self.n_boot, boot)
        return Drawing(n, seed, self.n_jobs, self.verbose)

    def idle(self, method: Callable[..., Any], level: float) -> list[str]:
        """Return a warning for each argument of `infer()` that was set and has no effect; see `without_effect`."""
        draws, limits = self.how in ("boot", "perm"), self.on not in ("variance", "simulations")
        tested, shown = self.how in ("asymp", "boot", "perm") and limits, self.how in ("asymp", "boot", "perm")
        ways, about = "how='asymp', 'boot' or 'perm'", "on='coefs', 'marginal' or 'predictions'"
        acting = {
            "errors": (
                self.how in ("asymp", "perm", "joint") and limits,
                f"how='asymp', 'perm' or 'joint' and {about}",
            ),
            "null": (tested and (self.how, self.on) != ("asymp", "predictions"), f"{ways} and a table that has p"),
            "alternative": (tested, f"{ways} and {about}"),
            "n_boot": (self.how == "boot", "how='boot'"),
            "ci_type": (self.how == "boot", "how='boot'"),
            "which": (self.how == "boot" and self.is_mixed, "how='boot' of an Lmer"),
            "n_perm": (self.how == "perm", "how='perm'"),
            "scheme": (self.how == "perm", "how='perm'"),
            "k": (self.how == "cv", "how='cv'"),
            "holdout_group": (self.how == "cv", "how='cv'"),
            "cluster": (draws or self.errors in ("CR0", "CR2"), "errors='CR0' or 'CR2', how='boot' or 'perm'"),
            "conf_level": (shown or (self.how == "profile" and self.threshold is None), f"{ways}, or a profile"),
        }
        profiled = self.how == "profile" or (draws and self.profile_auto and self.is_mixed)
        acting |= {name: (profiled, "how='profile'") for name in ("n_steps", "threshold")}
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return without_effect(method, given | ({"conf_level": None} if self.conf_level == level else {}), acting)


def _about(how: How, on: Any, which: Which, latest: On, able: tuple[On, ...], what: str) -> On:
    """Return what is inferred: by default what was computed last, or what is all that the way can be about."""
    one_of("on", on, (None, *get_args(On)))
    can = [name for name in WAYS[how] if name in able]
    if not can:
        ways = ", ".join(repr(way) for way, about in WAYS.items() if set(about) & set(able))
        raise OptionError(
            f"infer(how={how!r}) is about {' and '.join(map(repr, WAYS[how]))}, which is not for {what}. For "
            f"{', '.join(map(repr, able))} use how={ways}."
        )
    if on is None:
        if how == "boot" and which != "fixef" and "variance" in able:
            return "variance"
        on = can[0] if len(can) == 1 or (how in ("cv", "joint") and latest not in can) else latest
    if on not in able:
        raise OptionError(f"on={on!r} is not for {what}. It can be asked about: {', '.join(map(repr, able))}.")
    if on not in can:
        others = [name for name, about in WAYS.items() if on in about]
        raise OptionError(
            f"infer(how={how!r}) has no answer for on={on!r}. For that use how={' or '.join(map(repr, others))}. "
            f"how={how!r} answers for on={' or '.join(map(repr, can))}."
        )
    chosen: On = on
    return chosen


def _finite(argument: str, value: Any, above: float = -np.inf) -> float:
    with contextlib.suppress(OverflowError):
        if isinstance(value, numbers.Real) and not isinstance(value, bool) and above < float(value) < np.inf:
            return float(value)
    raise OptionError(f"{argument}={shown(value)} is not a finite number{' above 0' if above == 0 else ''}.")
