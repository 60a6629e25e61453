"""Permutations of many outcomes beside a loop of refits, runs that are stopped, workers, parts of the data."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
from samples import dataset, fitted, trial
from test_fit_many import SLEEP, SLEEPING, TIGHT, holes

from pymer4 import Lmer
from pymer4.errors import FileError, ModelWarning, OptionError
from pymer4.infer.many import restricted
from pymer4.infer.resample import shuffles
from pymer4.models import many_runs
from pymer4.models.many_cache import function_mark
from pymer4.work import seed_stream

pytestmark = [pytest.mark.r, pytest.mark.filterwarnings("ignore::pymer4.errors.ModelWarning")]

N_PERM = 12


def sleep() -> Lmer:
    return Lmer(SLEEP, dataset("sleepstudy"))


def by_a_loop(model: Lmer, Y: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return t of `Days` for each permutation and outcome, each of a call of its own, shape (n, R)."""
    within = np.repeat(np.arange(18), 10)
    found = []
    for seed in seed_stream(3, N_PERM):
        order = shuffles(180, 1, int(seed), within)[0]
        moved, rows = Y.copy(), []
        for j, y in enumerate(Y.T):
            there = np.flatnonzero(~np.isnan(y))
            rows.append(restricted(order, there, within))
            moved[there, j] = y[rows[-1]]
        own = None if weights is None else weights[order]
        found.append(model.fit_many(moved, weights=own).to_array("T-stat", "Days"))
    return np.array(found)


@pytest.mark.parametrize("kind", ["plain", "holes", "weights"])
def test_permutations_are_those_of_a_loop_of_fits(kind):
    model, Y = sleep(), holes(SLEEPING) if kind == "holes" else SLEEPING
    weights = np.random.default_rng(2).uniform(0.5, 2, 180) if kind == "weights" else None
    many = model.fit_many(Y, weights=weights, permute=N_PERM, seed=3, statistic=lambda t: [np.abs(t).sum(), t[0]])
    t, observed = by_a_loop(model, Y, weights), many.to_array("T-stat", "Days")
    largest = np.abs(t).max(axis=1)
    np.testing.assert_allclose(many.permuted.maxima["Days"], largest, rtol=1e-6)
    assert many.permuted.maxima["(Intercept)"].isna().all()
    one = (1 + (np.abs(t) >= np.abs(observed)).sum(axis=0)) / (N_PERM + 1)
    np.testing.assert_allclose(many.to_array("Perm-P-val", "Days"), one)
    family = (1 + (largest[:, None] >= np.abs(observed)).sum(axis=0)) / (N_PERM + 1)
    np.testing.assert_allclose(many.to_array("MaxT-P-val", "Days"), family)
    assert many.table["Num_perm"].unique().tolist() == [N_PERM] and "DF" not in many.table
    null = np.column_stack([np.abs(t).sum(axis=1), t[:, 0]])
    np.testing.assert_allclose(many.permuted.null["Days"], null, rtol=1e-6)
    seen = [np.abs(observed).sum(), observed[0]]
    np.testing.assert_allclose(many.permuted.p("Days"), (1 + (null >= seen).sum(axis=0)) / (N_PERM + 1))
    with pytest.raises(OptionError, match="has no statistic"):
        many.permuted.p("(Intercept)")


def test_a_term_that_is_constant_within_clusters_is_named():
    with pytest.warns(ModelWarning, match=r"No p for \(Intercept\): constant within"):
        many = sleep().fit_many(SLEEPING, permute=3)
    assert np.isnan(many.to_array("Perm-P-val", "(Intercept)")).all()


@pytest.mark.parametrize(
    ("statistic", "said"),
    [(np.max, "returned NaN for a map of 5 t, of which 1 are NaN.*np.nanmax"), (lambda t: None, "returned None")],
)
def test_a_statistic_that_is_no_number_is_refused_before_permutations(statistic, said, monkeypatch):
    Y = SLEEPING.copy()
    Y[:, 2] = 1
    monkeypatch.setattr("pymer4.models.lmer_outcomes.run_shuffles", None)
    with pytest.raises(OptionError, match=said):
        sleep().fit_many(Y, permute=3, statistic=statistic)


def test_a_statistic_of_a_permutation_that_is_none_is_refused():
    with pytest.raises(OptionError, match="returned NaN"):
        sleep().fit_many(SLEEPING, permute=3, seed=1, statistic=lambda t: t[0] if t[0] > 5 else np.nan)


def test_permutations_are_as_those_of_a_fit():
    """Other seeds, so that p agree as those of 200 draws do."""
    frame = trial()
    model = fitted("y ~ z + x + (1 | g)", frame, permute=200, seed=1)
    many = model.fit_many(["y"], permute=200, seed=2)
    for term, p in model.coefs["Perm-P-val"].dropna().items():
        assert abs(many.to_array("Perm-P-val", term)[0] - p) < 4 * np.sqrt(max(p * (1 - p), 0.005) / 100)


@pytest.mark.parametrize("engine", ["native", "R"])
def test_a_run_that_is_stopped_goes_on_where_it_was(tmp_path, monkeypatch, engine):
    model, Y = sleep(), np.hstack([holes(SLEEPING), SLEEPING])
    given = {"permute": 6 if engine == "native" else 2, "engine": engine}
    stopped, keep = [], many_runs.Cache.keep

    def stops(self, kind, first, arrays):
        keep(self, kind, first, arrays)
        stopped.append(kind)
        if len(stopped) in (1, 3):
            raise KeyboardInterrupt

    monkeypatch.setattr(many_runs.Cache, "keep", stops)
    monkeypatch.setattr("pymer4.infer.many._LARGEST_BLOCK", 1)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            model.fit_many(Y, cache=tmp_path / "run", seed=4, **given)
    assert not model.fitted
    resumed = model.fit_many(Y, cache=tmp_path / "run", **given)
    whole = model.fit_many(Y, seed=4, **given)
    pd.testing.assert_frame_equal(resumed.table, whole.table, rtol=1e-9)
    pd.testing.assert_frame_equal(resumed.permuted.maxima, whole.permuted.maxima, rtol=1e-9)
    done = len(stopped)
    again = model.fit_many(Y, cache=tmp_path / "run", **given)
    pd.testing.assert_frame_equal(again.table, resumed.table)
    assert len(stopped) == done


def test_a_folder_of_another_run_is_refused(tmp_path):
    model = sleep()
    model.fit_many(SLEEPING, cache=tmp_path / "run")
    with pytest.raises(OptionError, match=r"holds another run: outcomes differ"):
        model.fit_many(SLEEPING + 1, cache=tmp_path / "run")
    other = Lmer("Reaction ~ Days + (1 | Subject)", dataset("sleepstudy"))
    with pytest.raises(OptionError, match=r"holds another run: design differ"):
        other.fit_many(SLEEPING, cache=tmp_path / "run")
    with pytest.raises(OptionError, match=r"holds another run: settings differ"):
        model.fit_many(SLEEPING, cache=tmp_path / "run", permute=9)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("dear")
    with pytest.raises(OptionError, match="holds other files"):
        model.fit_many(SLEEPING, cache=tmp_path / "letters")


def scaled(by: float):
    return lambda t: by * np.abs(t).max()


def by_helper(t: np.ndarray) -> float:
    return float(helper(t))


def helper(t: np.ndarray) -> np.ndarray:
    return t.max()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda t: t.max(), lambda t: t.min()),
        (lambda t: t.max() + 1, lambda t: t.max() + 2),
        (scaled(1), scaled(2)),
        (scaled(np.ones(3)), scaled(np.zeros(3))),
        (lambda t, k=1: k * t.max(), lambda t, k=2: k * t.max()),
        (partial(np.quantile, q=0.5), partial(np.quantile, q=0.9)),
        (partial(lambda t, k: k * t.max(), k=1), partial(lambda t, k: k * t.max(), k=2)),
        (lambda t: [abs(x) for x in t], lambda t: [-x for x in t]),
    ],
)
def test_functions_are_told_apart_by_what_they_do(one, other):
    assert function_mark(one) == function_mark(one) != function_mark(other) == function_mark(other)


def test_a_function_is_known_by_those_that_it_calls(monkeypatch):
    before = function_mark(by_helper)
    monkeypatch.setitem(globals(), "helper", lambda t: t.min())
    assert function_mark(by_helper) != before
    monkeypatch.setitem(globals(), "helper", (one for one in "ab"))
    with pytest.raises(OptionError, match="a cache can't tell whether it is the same"):
        function_mark(by_helper)


def test_a_cache_tells_weights_and_statistics_apart(tmp_path):
    model, (a, b) = sleep(), np.random.default_rng(3).uniform(0.5, 2, (2, 180))
    model.fit_many(SLEEPING, weights=np.column_stack([a, b, a, a, a]), cache=tmp_path / "w")
    with pytest.raises(OptionError, match="outcomes differ"):
        model.fit_many(SLEEPING, weights=np.column_stack([a, b, b, a, a]), cache=tmp_path / "w")
    given = {"permute": 2, "cache": tmp_path / "s"}
    model.fit_many(SLEEPING, statistic=lambda t: t.max(), **given)
    with pytest.raises(OptionError, match="settings differ"):
        model.fit_many(SLEEPING, statistic=lambda t: t.min(), **given)


@pytest.mark.parametrize("name", ["outcomes-*.npz", "run.json"])
@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"PK\x03\x04 cut", b"\xff"])
def test_a_damaged_cache_is_named(tmp_path, name, content):
    sleep().fit_many(SLEEPING, cache=tmp_path)
    path = next(tmp_path.glob(name))
    path.write_bytes(content)
    with pytest.raises(FileError, match=rf"{path.name} is .*Delete it.* run again"):
        sleep().fit_many(SLEEPING, cache=tmp_path)


def test_shuffles_stand_in_their_order_where_a_chunk_reaches_over_kept_ones(tmp_path, monkeypatch):
    monkeypatch.setattr("pymer4.infer.many._LARGEST_BLOCK", 1)
    monkeypatch.setattr(many_runs, "each_chunk", chunks_of(1))
    given = {"permute": 6, "seed": 4, "statistic": np.max, "cache": tmp_path}
    whole = sleep().fit_many(SLEEPING, **given)
    for start in (0, 1, 3, 5):
        (tmp_path / f"shuffles-{start:09d}.npz").unlink()
    monkeypatch.setattr(many_runs, "each_chunk", chunks_of(9))
    for _ in range(2):
        resumed = sleep().fit_many(SLEEPING, **given)
        assert len(list(tmp_path.glob("shuffles-*"))) == 3
        pd.testing.assert_frame_equal(resumed.permuted.maxima, whole.permuted.maxima)
        np.testing.assert_array_equal(resumed.permuted.null["Days"], whole.permuted.null["Days"])


def chunks_of(size: int):
    """Return an `each_chunk` whose chunks do not hang on time."""

    def each(work, items, n_jobs, *fixed, note):
        parts = [work(*fixed, items[i : i + size]) for i in range(0, len(items), size)]
        for part in parts:
            note(part)
        return parts

    return each


def test_workers_give_the_numbers_of_one_process(capsys):
    alone, beside = (
        sleep().fit_many(holes(SLEEPING), permute=8, seed=1, n_jobs=n_jobs, verbose=n_jobs > 1) for n_jobs in (1, 2)
    )
    pd.testing.assert_frame_equal(alone.table, beside.table, rtol=1e-12)
    pd.testing.assert_frame_equal(alone.permuted.maxima, beside.permuted.maxima, rtol=1e-12)
    assert "permutations" in capsys.readouterr().err


PARTS = trial().assign(part=lambda d: np.where(d.z < 2.7, "a", "b"), odd=lambda d: np.arange(240) == 5)


@pytest.mark.parametrize("engine", ["native", "R"])
def test_parts_are_fitted_each_by_itself(engine):
    model = Lmer("y ~ x + cond + (1 | g)", PARTS, weights="w")
    model.fit(summarize=False, no_warnings=True, **({"control": TIGHT} if engine == "R" else {}))
    many = model.fit_by(["part", "odd"], engine=engine)
    assert many.table.columns[:3].tolist() == ["part", "odd", "term"]
    assert many.flags.index.tolist() == [("a", False), ("b", False), ("b", True)]
    assert many.flags.tolist()[:2] == ["", ""] and "one level" in many.flags.iloc[2]
    for part, rows in PARTS[~PARTS.odd].groupby("part"):
        one = fitted("y ~ x + cond + (1 | g)", rows, weights="w", control=TIGHT)
        found = many.table[(many.table.part == part) & ~many.table.odd].set_index("term")
        for column in ("Estimate", "SE", "DF", "P-val"):
            np.testing.assert_allclose(found[column], one.coefs[column], rtol=1e-4)
        spread = many.variances[(many.variances.part == part) & ~many.variances.odd]
        np.testing.assert_allclose(spread["Var"], one.ranef_var["Var"], rtol=1e-4)
        np.testing.assert_allclose(many.logLike[part, False], one.logLike, rtol=1e-9)


def test_a_level_that_a_part_lacks_is_none_of_its_terms():
    few = PARTS[(PARTS.part == "a") | (PARTS.cond != "b")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        many = Lmer("y ~ x + cond + (1 | g)", few).fit_by("part")
    assert np.isnan(many.to_array("Estimate", "condb")).tolist() == [False, True]
    one = fitted("y ~ x + cond + (1 | g)", few[few.part == "b"], control=TIGHT)
    assert many.to_array("Estimate", "conda")[1] == pytest.approx(one.coefs.loc["conda", "Estimate"], rel=1e-5)


@pytest.mark.parametrize("engine", ["native", "R"])
def test_parts_without_a_column_or_an_optimum_say_so(engine):
    frame = PARTS.assign(twice=np.where(PARTS.part == "a", 2 * PARTS.x, PARTS.z))
    model = Lmer("y ~ x + twice + (1 | g)", frame)
    if engine == "R":
        model.fit(control="optimizer='Nelder_Mead', optCtrl=list(maxfun=3)", summarize=False, no_warnings=True)
    also = ", not converged" if engine == "R" else ""
    flags = model.fit_by("part", engine=engine).flags
    assert flags.tolist() == [f"terms not told{also}", also[2:]]


def test_what_is_wrong_with_parts_is_said():
    model = Lmer("y ~ x + (1 | g)", PARTS)
    with pytest.raises(OptionError, match=r"columns names 'parts', which the data do not have. Did you mean 'part'"):
        model.fit_by("parts")
    with pytest.raises(OptionError, match=r"columns names \(\[1\],\), which the data do not have"):
        model.fit_by([([1],)])
    with pytest.raises(OptionError, match="columns names part more than once"):
        model.fit_by(["part", "part"])
    with pytest.raises(OptionError, match="None of the 240 parts can be fitted"):
        model.fit_by("z")
    model.fit(ddf="Kenward-Roger", summarize=False)
    with pytest.raises(OptionError, match="The native engine has no ddf='Kenward-Roger'"):
        model.fit_by("part")
