"""Work on a cluster of dask's: the numbers of one process, and what happens where it ends early."""

from __future__ import annotations

import os
import signal
import threading
import time
from unittest import mock

import hermetic
import numpy as np
import pandas as pd
import pytest
from cases import refit
from joblib import parallel_config
from samples import trial
from test_workers import waited

from pymer4 import Lm, Lm2, Lmer, boot_func
from pymer4.errors import WorkerError
from pymer4.work import each_chunk, map_chunks

ignored = pytest.mark.filterwarnings("ignore::pymer4.errors.ModelWarning")
DRAWN = {"conf_int": "boot", "seed": 3, "summarize": False}


@pytest.fixture(scope="module")
def cluster():
    """Two processes of one thread, of which one may die."""
    distributed = hermetic.of_python("distributed")
    from dask import config

    with (
        config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.Client(n_workers=2, threads_per_worker=1, dashboard_address=None) as client,
        parallel_config(backend="dask"),
    ):
        yield client


def limits_of_lm(n_jobs):
    model = Lm("y ~ x * cond", trial())
    model.fit(n_boot=3000, permute=3000, n_jobs=n_jobs, **DRAWN)
    return [model.coefs, model.infer("boot", n_boot=3000, seed=3, n_jobs=n_jobs)]


def limits_of_counts(n_jobs):
    model = Lm("count ~ x", trial(), family="poisson")
    model.fit(n_boot=600, n_jobs=n_jobs, **DRAWN)
    return [model.coefs]


def limits_of_lm2(n_jobs):
    model = Lm2("y ~ x", trial(), group="g")
    model.fit(n_boot=3000, permute=3000, n_jobs=n_jobs, **DRAWN)
    return [model.coefs]


def limits_of_a_function_made_here(n_jobs):
    x = trial()["x"].to_numpy()
    return [pd.DataFrame(boot_func(x, func=lambda a: a.mean(), n_boot=300, seed=3, n_jobs=n_jobs)[1])]


@mock.patch.object(Lmer, "_refits", "R")
def limits_of_lmer(n_jobs):
    model = refit("holes", n_boot=30, permute=30, n_jobs=n_jobs, **DRAWN)
    given = {"seed": 3, "n_jobs": n_jobs}
    shuffled = model.infer("perm", n_perm=30, scheme="freedman-lane", **given)
    return [model.coefs, model.confint("boot", n_boot=30, **given), shuffled, model.infer("cv", k=3, **given)]


def limits_of_many_outcomes(n_jobs):
    frame = trial()
    many = Lmer("y ~ x + (x | g)", frame).fit_many(["y", "s", "v", "o"], permute=20, seed=3, n_jobs=n_jobs)
    return [many.table, many.permuted.maxima]


@pytest.mark.parametrize(
    "limits",
    [
        limits_of_lm,
        limits_of_counts,
        limits_of_lm2,
        limits_of_a_function_made_here,
        pytest.param(limits_of_lmer, marks=pytest.mark.r),
        pytest.param(limits_of_many_outcomes, marks=[pytest.mark.r, ignored]),
    ],
)
def test_a_cluster_gives_the_numbers_of_one_process_and_of_loky(cluster, limits):
    found = {"one process": limits(1), "dask": limits(-1)}
    if limits is not limits_of_lmer:  # test_lmer_draws has loky
        with parallel_config(backend="loky"):
            found["loky"] = limits(2)
    for one, *others in zip(*found.values(), strict=True):
        for other in others:
            pd.testing.assert_frame_equal(one, other, rtol=1e-12)


def _dead_once(flag: str, items: np.ndarray) -> np.ndarray:
    with open(flag, "a") as file:
        first = not file.tell()
        file.write("died")
    return _dead(items) if first else items


def _dead(_: np.ndarray) -> np.ndarray:
    os._exit(3)


def _slowly(items: np.ndarray) -> np.ndarray:
    time.sleep(0.02 * len(items))
    return items


def test_the_share_of_a_worker_that_dies_is_done_by_another(cluster, tmp_path):
    assert np.array_equal(map_chunks(_dead_once, np.arange(9), 2, str(tmp_path / "flag")), np.arange(9))


def test_a_share_that_kills_workers_is_told_of(cluster):
    with pytest.raises(WorkerError, match=r"(?s)different workers.*tcp://.*n_jobs=1"):
        each_chunk(_dead, np.arange(9), 2)
    with parallel_config(backend="loky"), pytest.raises(WorkerError, match=r"(?s)exit codes.*\(3\).*n_jobs=1"):
        each_chunk(_dead, np.arange(9), 2)


@pytest.mark.skipif(os.name != "posix", reason="a process elsewhere can't press Ctrl-C for itself alone")
def test_ctrl_c_ends_the_work_of_a_cluster(cluster):
    """The chunks at hand, of a second each, are worked off; none is begun."""
    before, sent = signal.signal(signal.SIGINT, signal.default_int_handler), []
    try:
        threading.Timer(2, lambda: sent.append(time.monotonic()) or os.kill(os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            each_chunk(_slowly, np.arange(10**6), 2)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - sent[0] < 1
    assert waited(lambda: not any(cluster.run(_at_work).values()), 4)
    assert np.array_equal(map_chunks(_slowly, np.arange(3), 2), np.arange(3))


def _at_work(dask_worker) -> int:
    return len(dask_worker.state.executing) + len(dask_worker.state.ready)
