"""Replicates of a fitted `Lmer`: refits of simulated and of shuffled outcomes, here or in worker processes.

The deviance engine refits linear models, all outcomes of a block at once; R those that it can't take, and generalized
ones, one after the other.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from pymer4.errors import DataError, RError
from pymer4.infer.resample import counted, untestable
from pymer4.models.lmer_profile import LmerProfiles, of_a_fit
from pymer4.rbridge import bridge
from pymer4.work import Advance, Note, each_chunk, progress

if TYPE_CHECKING:
    from pymer4.infer.mixed_replicates import Wanted
    from pymer4.models.lmer_refits import Refits

_WHAT = {"bootstrap": "bootstrap draws", "permuted": "permutations"}
_MANY = 0.1  # of replicates that fail, from which on those left may be another kind of data


_Ask = Callable[..., bridge.Reply]


class Sent(NamedTuple):
    """A model on its way to workers: a name that no other has, and bytes of R's, which joblib has workers share."""

    name: str
    content: np.ndarray


_received: tuple[str, bridge.Handle] | None = None


How: TypeAlias = tuple[np.ndarray, int, int]
"""Seeds, one a replicate; workers; whether progress is shown."""


class LmerDraws(LmerProfiles):
    """What is fitted again to other outcomes, a replicate a seed."""

    @of_a_fit()
    def _parameter_draws(self, *how: Any) -> dict[str, Any]:
        """Return `values` of all parameters in fits to outcomes drawn from the model, their `names`, what is `told`."""
        native = self._on_engine()
        if native is None:
            return self._looped("bootstrap", _bootstrapped, self._handle, how)
        return self._at_once("bootstrap", native, native.parameter_draws(), how)

    @of_a_fit()
    def _shuffles(self, L: np.ndarray, within: str | None, *how: Any) -> dict[str, Any]:
        """Return statistics of rows of L in fits to outcomes shuffled within the levels of a grouping factor.

        They are in `values`, those of the fit in `observed`; `untested` says of which rows shuffles say nothing, and
        `offset` how far from 0 the offsets of the fit reach.
        """
        native = self._on_engine()
        if native is not None:
            return self._at_once("permuted", native, native.shuffles(L, within), how)
        asked: dict[str, Any] = {"L": L, "within": within}
        found = bridge.call("shuffled_mixed", model=self._handle, **asked).value
        drawn = self._looped("permuted", _permuted, self._handle, how, **asked)
        untested = untestable(np.asarray(found["X"]), np.asarray(found["cluster"]), L)
        return {**drawn, "observed": np.asarray(found["observed"]), "untested": untested, "offset": found["offset"]}

    @of_a_fit()
    def _residual_shuffles(self, L: np.ndarray, null: np.ndarray, *how: Any) -> dict[str, Any]:
        """Return the same of shuffled residuals of the fits where l b is `null`, and which share of it they keep."""
        parts, native = [], self._on_engine()
        for row, value in zip(L, map(float, null), strict=True):
            if native is not None:
                parts.append(self._at_once("permuted", native, native.residual_shuffles(row, value), how))
                continue
            found = bridge.call("with_residuals", model=self._handle, l=row, null=value).value
            drawn = self._looped("permuted", _shuffled_residuals, found["model"], how)
            parts.append({**drawn, "observed": found["observed"], "kept": found["kept"]})
        values = np.hstack([part["values"] for part in parts])
        told = list(dict.fromkeys(text for part in parts for text in part["told"]))
        numbers = {name: np.array([part[name] for part in parts]) for name in ("observed", "kept")}
        return {"values": values, "told": told, "engine": parts[0]["engine"], **numbers}

    def _at_once(self, kind: str, native: Refits, asked: tuple[Wanted, dict[str, Any]], how: How) -> dict[str, Any]:
        """Return what the deviance engine makes of seeds, as `_looped` does."""
        wanted, found = asked
        seeds, n_jobs, shown = how
        with progress(_WHAT[kind], len(seeds), shown) as advance:
            parts = native.parts(wanted, seeds, n_jobs, _noted(advance))
        return self._gathered(kind, parts, in_r=False) | found | {"engine": "native"}

    def _looped(self, kind: str, ask: _Ask, model: bridge.Handle, how: How, **given: Any) -> dict[str, Any]:
        """Return what R makes of seeds: `values`, a row each, NaN where a fit failed, `told`, and what else it says."""
        seeds, n_jobs, shown = how
        sent = within_reach(model, n_jobs)
        # What waits for workers hears Ctrl-C by itself.
        here = bridge.in_parts() if n_jobs == 1 else contextlib.nullcontext()
        with here, progress(_WHAT[kind], len(seeds), shown) as advance:
            parts = each_chunk(_drawn, seeds, n_jobs, sent, ask, given, note=_noted(advance))
        return parts[0] | self._gathered(kind, parts, in_r=True) | {"engine": "R"}

    def _gathered(self, kind: str, parts: list[dict[str, Any]], in_r: bool) -> dict[str, Any]:
        """Return the values of all parts, and what is to be told of those that failed."""
        values, reasons = (np.concatenate([part[key] for part in parts]) for key in ("values", "reasons"))
        told = list(dict.fromkeys(text for part in parts for text in part["said"]))
        n, failed = len(values), np.array([bool(reason) for reason in reasons])
        if failed.any():
            why = counted(list(reasons[failed]), n)
            if failed.all() and not in_r:
                raise DataError(f"None of the {n} {kind} fits succeeded. {why}")
            if failed.all():
                raise RError(f"none of the {n} {kind} fits succeeded. {why}", f"{kind} draws", self.formula)
            told.append(f"{failed.sum()} of {n} {kind} fits failed and were left out. {why}")
            if failed.mean() > _MANY:
                told.append(
                    f"{failed.mean():.0%} of the {_WHAT[kind]} are missing, so that limits and p may be off: those "
                    "left are such as can be fitted. Simplify the random part, or take limits that need no refits."
                )
        return {"values": values, "told": told}


def _noted(advance: Advance) -> Note:
    return lambda part: advance(len(part["reasons"]), sum(map(bool, part["reasons"])))


def within_reach(model: bridge.Handle, n_jobs: int) -> bridge.Handle | Sent:
    """Return a model for work in this process, or in workers."""
    if n_jobs == 1:
        return model
    content = bridge.call("serialize_model", model=model).value["bytes"]
    return Sent(uuid.uuid4().hex, np.frombuffer(content, dtype=np.uint8))


def _drawn(model: bridge.Handle | Sent, ask: _Ask, given: dict[str, Any], seeds: np.ndarray) -> dict[str, Any]:
    """Return replicates of some seeds, `values`, `reasons` of those that failed, and what was `said`."""
    reply = ask(in_process(model), seeds, **given)
    return {**reply.value, "said": reply.warnings}


def _bootstrapped(model: bridge.Handle, seeds: np.ndarray) -> bridge.Reply:
    return bridge.call("bootstrap_mixed", model=model, seeds=seeds)


def _permuted(model: bridge.Handle, seeds: np.ndarray, L: np.ndarray, within: str | None) -> bridge.Reply:
    return bridge.call("permute_mixed", model=model, seeds=seeds, L=L, within=within)


def _shuffled_residuals(model: bridge.Handle, seeds: np.ndarray) -> bridge.Reply:
    return bridge.call("permute_residuals", model=model, seeds=seeds)


def in_process(model: bridge.Handle | Sent) -> bridge.Handle:
    """Return a model in this process. A worker keeps the one that it was sent last, for its next chunk."""
    global _received
    if isinstance(model, bridge.Handle):
        return model
    held = _received
    if held is None or held[0] != model.name:
        held = model.name, bridge.call("unpack_model", bytes=model.content.tobytes()).value["model"]
        _received = held
    return held[1]
