"""Rows with a missing value: whatever refits or simulates does so on the rows used, as if the others had never been."""

from __future__ import annotations

import copy
import functools
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from samples import fitted

from pymer4 import Lmer
from pymer4.errors import ModelWarning, RError
from pymer4.rbridge import bridge

pytestmark = pytest.mark.r

RIGHT = "x + cond + (1 | g)"
SIZES = {"weights": "w", "offset": "o"}
MODELS = {
    "gaussian": (f"y ~ {RIGHT}", SIZES),
    "slopes": ("y ~ cond + (x | g) + (1 | h)", {}),
    "gaussian log": (f"amount ~ {RIGHT}", {"link": "log"} | SIZES),
    "binary": (f"hit ~ {RIGHT}", {"family": "binomial", "offset": "o"}),
    "labels": (f"label ~ {RIGHT}", {"family": "binomial"}),
    "cbind": (f"cbind(hits, n - hits) ~ {RIGHT}", {"family": "binomial", "offset": "o"}),
    "share": (f"share ~ {RIGHT}", {"family": "binomial", "weights": "n"}),
    "poisson": (f"count ~ {RIGHT} + offset(o)", {"family": "poisson", "weights": "w"}),
    "nbinom": (f"count ~ {RIGHT}", {"family": "nbinom"} | SIZES),
    "gamma": (f"amount ~ {RIGHT}", {"family": "gamma", "link": "log"} | SIZES),
    "inverse gaussian": (f"amount ~ {RIGHT}", {"family": "inverse_gaussian", "link": "log"} | SIZES),
}
PLACES = {
    "y": 3, "amount": 3, "hit": 3, "label": 3, "hits": 3, "share": 3, "count": 3, "n": 5, "x": 17, "cond": 29, "g": 41,
    "h": 43, "w": 53, "o": 67,
}  # fmt: skip


def trial() -> pd.DataFrame:
    """Return 120 rows in 8 groups, crossed with 6."""
    rng = np.random.default_rng(7)
    frame = pd.DataFrame({"g": np.repeat(list("abcdefgh"), 15), "h": np.tile(list("uvwxyz"), 20)})
    frame["x"] = rng.normal(size=120).round(3)
    frame["cond"] = np.tile(["one", "two", "three"], 40)
    known = 0.4 * frame.x + 0.3 * (frame.cond == "two") + (rng.normal(size=8) * 0.5)[np.arange(120) // 15]
    frame["o"], frame["w"] = rng.normal(size=120) * 0.1, rng.integers(1, 4, 120).astype(float)
    frame["y"] = known + frame.o + rng.normal(size=120)
    frame["amount"] = np.exp(1 + known + frame.o) * rng.gamma(8, 1 / 8, 120)
    frame["n"] = rng.integers(3, 9, 120).astype(float)
    frame["hits"] = rng.binomial(frame.n.astype(int), 1 / (1 + np.exp(-known))).astype(float)
    frame["share"] = frame.hits / frame.n
    frame["hit"] = (frame.hits > frame.n / 2).astype(float)
    frame["label"] = np.where(frame.hit == 1, "yes", "no")
    frame["count"] = rng.poisson(np.exp(0.8 + known + frame.o) * rng.gamma(3, 1 / 3, 120)).astype(float)
    return frame


def with_holes() -> pd.DataFrame:
    """Return the trial with a gap in every column, each in a row of its own."""
    frame = trial()
    for name, row in PLACES.items():
        frame.loc[row, name] = np.nan if frame[name].dtype == float else None
    return frame


@functools.cache
def pair(name: str, arrays: bool = False) -> tuple[Lmer, Lmer]:
    """Return a model of the data with holes, and that of the rows which it used alone; bootstrapped and permuted."""
    formula, given = MODELS[name]

    def made(frame: pd.DataFrame) -> Lmer:
        own = {k: frame[v].to_numpy() if arrays and k in SIZES else v for k, v in given.items()}
        return fitted(formula, frame, **own, conf_int="boot", n_boot=3, permute=3, seed=2)

    holes = made(with_holes())
    used = np.isfinite(holes.fits)
    columns = set(PLACES) & (set(re.findall(r"\w+", formula)) | set(given.values()))
    assert list(np.flatnonzero(~used)) == sorted({PLACES[column] for column in columns})
    return holes, made(with_holes()[used])


def numbers(found: Any) -> np.ndarray:
    if isinstance(found, (list, tuple)):
        return np.concatenate([numbers(part).ravel() for part in found])
    return np.asarray(found.select_dtypes("number") if isinstance(found, pd.DataFrame) else found, dtype=float)


def assert_same(holes: Any, whole: Any) -> None:
    """Two optimizations of one function on one machine: equal, but for sums in the order of memory."""
    np.testing.assert_allclose(numbers(holes), numbers(whole), rtol=1e-6, atol=1e-8)


def limits_at_the_rows_used(model: Lmer) -> pd.DataFrame:
    return model.predict(model.data, use_rfx=True, interval="confidence")[np.isfinite(model.fits)]


def orthogonal(model: Lmer) -> list[pd.DataFrame]:
    twin = copy.deepcopy(model)
    table = twin.anova(force_orthogonal=True)
    return [table, twin.coefs]


VERBS = {
    "fit": lambda m: [m.coefs, m.ranef_var["Var"].dropna()],
    "draws": lambda m: m.confint("boot", n_boot=4, seed=3),
    "simulate": lambda m: m.simulate(2, seed=1),
    "simulate groups": lambda m: m.simulate(2, use_rfx=False, seed=1),
    "confidence": limits_at_the_rows_used,
    "anova": lambda m: [m.anova(type=t) for t in (1, 2, 3)],
    "emmeans": lambda m: m.emmeans("cond")[0],
    "post_hoc": lambda m: m.post_hoc("cond"),
    "emtrends": lambda m: m.emtrends("x", "cond")[0],
    "joint tests": lambda m: m.joint_tests(),
    "ranef_se": lambda m: m.ranef_se,
    "orthogonal": orthogonal,
    "prediction": lambda m: m.predict(m.data[np.isfinite(m.fits)], use_rfx=True, interval="prediction", seed=1),
    "r2": lambda m: [[m.r2().conditional, m.icc().adjusted]],
    "allfit": lambda m: m.allfit()["log-likelihood"].dropna(),
    "ranova": lambda m: m.ranova(),
    "likelihood": lambda m: [[m._likelihood(True).log_likelihood, m._likelihood(True).AIC]],
}


def without(*names: str) -> list[str]:
    return [name for name in MODELS if name not in names]


WHERE = {verb: list(MODELS) for verb in VERBS} | {
    "emtrends": without("slopes"),
    "prediction": without("binary", "labels"),
    "r2": without("gaussian log", "inverse gaussian"),
    "allfit": ["slopes", "cbind"],
    "ranova": ["gaussian", "slopes"],
    "orthogonal": ["gaussian", "cbind"],
}


@pytest.mark.parametrize(("name", "verb"), [(name, verb) for verb, names in WHERE.items() for name in names])
def test_verbs_take_the_rows_used(name, verb):
    holes, whole = pair(name)
    assert_same(VERBS[verb](holes), VERBS[verb](whole))


ARRAYS = [(name, verb) for name in ("gaussian", "poisson", "gamma") for verb in ("fit", "draws", "simulate groups")]
ARRAYS += [
    ("gaussian", "ranova"),
    ("gaussian", "emmeans"),
    ("poisson", "r2"),
    ("gamma", "confidence"),
    ("gamma", "emmeans"),
]


@pytest.mark.parametrize(("name", "verb"), ARRAYS)
def test_weights_and_offset_may_be_arrays(name, verb):
    named, (holes, whole) = pair(name)[0], pair(name, arrays=True)
    found = VERBS[verb](holes)
    assert_same(found, VERBS[verb](whole))
    assert_same(found, VERBS[verb](named))


@pytest.mark.parametrize(("outcome", "family"), [("y", "gaussian"), ("count", "poisson")])
def test_profiles_take_the_rows_used(outcome, family):
    frame = with_holes()[[outcome, "x", "g"]].head(75)
    holes, whole = (fitted(f"{outcome} ~ x + (1 | g)", f, family=family) for f in (frame, frame.dropna()))
    assert_same(holes.confint("profile"), whole.confint("profile"))


def test_workers_draw_what_one_process_draws():
    """So do those of a linear model: see the draws that fail, below."""
    how = {"family": "poisson", "conf_int": "boot", "n_boot": 6, "permute": 6, "seed": 4}
    one, two = (fitted("count ~ x + (1 | g)", with_holes(), n_jobs=jobs, **how) for jobs in (1, 2))
    pd.testing.assert_frame_equal(one.coefs, two.coefs)


# Another formula, the same rows


def test_a_smaller_random_part_keeps_the_rows_that_it_has_no_reason_to_drop():
    """Without its slope the model would use the rows where only x is missing."""
    frame = trial()
    frame.loc[[17, 40, 80], "x"] = np.nan
    model = fitted("y ~ cond + (1 + x | g)", frame)
    found = model.ranova()
    smaller = fitted("y ~ cond + (1 | g)", frame.dropna(subset="x"))
    assert found["log-likelihood"].iloc[1] == pytest.approx(smaller.logLike, rel=1e-8)
    assert found["log-likelihood"].iloc[1] != pytest.approx(fitted("y ~ cond + (1 | g)", frame).logLike, rel=1e-4)


def test_without_random_effects_the_rows_are_the_same():
    """y ~ cond by lm(), whose likelihood lmerTest's ranova() compares with."""
    frame = with_holes()
    found = fitted("y ~ cond + (1 | g)", frame, weights="w").ranova()
    rows = frame.dropna(subset=["y", "cond", "g", "w"])
    X, y, w = pd.get_dummies(rows["cond"]).to_numpy(float), rows["y"].to_numpy(), rows["w"].to_numpy()
    root = np.sqrt(w)[:, None] * X
    rss = float((w * (y - X @ np.linalg.lstsq(root, np.sqrt(w) * y, rcond=None)[0]) ** 2).sum())
    n, df = len(y), len(y) - 3
    by_hand = 0.5 * (np.log(w).sum() - df * (np.log(2 * np.pi) + 1 - np.log(df) + np.log(rss)))
    by_hand -= 0.5 * np.linalg.slogdet(root.T @ root)[1]
    assert n < 120 and found["log-likelihood"].iloc[1] == pytest.approx(by_hand, rel=1e-10)


def test_variables_of_a_smaller_model_are_computed_on_the_rows_of_the_fit():
    """scale() takes the mean of all values that there are, also of those whose row is left out."""
    frame = trial()
    frame.loc[:20, "y"] = np.nan
    known = fitted("y ~ cond + (1 | h) + (0 + scale(x) | g)", frame).ranova()
    made = frame.assign(z=(frame.x - frame.x.mean()) / frame.x.std())
    by_hand = fitted("y ~ cond + (1 | h) + (0 + z | g)", made).ranova()
    assert_same(known, by_hand)


def test_the_null_model_of_counts_keeps_the_rows():
    frame = trial()
    frame.loc[frame.index % 4 == 0, "x"] = np.nan
    model = fitted("count ~ x + (1 | g)", frame, family="poisson")
    whole = fitted("count ~ x + (1 | g)", frame.dropna(subset="x"), family="poisson")
    assert model.r2().marginal == pytest.approx(whole.r2().marginal, rel=1e-6)
    null = fitted("count ~ 1 + (1 | g)", frame.dropna(subset="x"), family="poisson")
    all_rows = fitted("count ~ 1 + (1 | g)", frame, family="poisson")
    parts = bridge.call("variance_parts", model=model._handle).value["null"]
    assert parts["intercept"] == pytest.approx(null.coefs["Estimate"].iloc[0], rel=1e-6)
    assert parts["intercept"] != pytest.approx(all_rows.coefs["Estimate"].iloc[0], rel=1e-3)


# Draws that fail

OPTIMIZER = """optimizer = eval(str2lang("function(fn, par, lower, upper, control, ...) {
    y <- environment(fn)$resp$y
    if (y[1] > 2.1) stop('the first is\n  large')
    if (y[1] < -1.2) stop('the first is small')
    lme4::nloptwrap(par, fn, lower, upper, control)
}"))"""
ONLY_THE_DATA = """optimizer = eval(str2lang("function(fn, par, lower, upper, control, ...) {
    if (abs(sum(environment(fn)$resp$y * 1:80) - %r) > 1e-6) stop('not the outcome of the data')
    lme4::nloptwrap(par, fn, lower, upper, control)
}"))"""


def few() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"g": np.repeat(np.arange(10), 8), "x": rng.normal(size=80)})
    return frame.assign(y=frame.x + rng.normal(size=80) + rng.normal(size=10)[frame.g])


@pytest.mark.usefixtures("refits_in_r")
@pytest.mark.parametrize(
    ("kind", "how"), [("bootstrap", {"conf_int": "boot", "n_boot": 15}), ("permuted", {"permute": 15})]
)
def test_reasons_of_failed_draws_are_counted(kind, how):
    how |= {"control": OPTIMIZER, "seed": 1}
    with pytest.warns(ModelWarning, match="failed") as issued:
        model = fitted("y ~ x + (1 | g)", few(), no_warnings=False, **how)
    told = re.fullmatch(
        rf"(\d+) of 15 {kind} fits failed and were left out. (\d+) of 15: the first is (?:large|small); "
        r"(\d+) of 15: the first is (?:large|small)",
        model.warnings[0],
    )
    lost, most, least = map(int, told.groups())
    assert most + least == lost < 15 and most >= least > 0
    assert model.warnings[0] in {str(warning.message) for warning in issued}
    other = fitted("y ~ x + (1 | g)", few(), n_jobs=2, **how)
    assert other.warnings[0] == model.warnings[0]
    pd.testing.assert_frame_equal(other.coefs, model.coefs)


FAILING = {
    "bootstrap": ({"conf_int": "boot", "n_boot": 4}, "none of the 4 bootstrap fits succeeded"),
    "permuted": ({"permute": 4}, "none of the 4 permuted fits succeeded"),
}


@pytest.mark.usefixtures("refits_in_r")
@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("kind", FAILING)
def test_a_fit_without_one_good_draw_says_why_and_leaves_the_model_as_it_was(kind, n_jobs):
    how, words = FAILING[kind]
    frame = few()
    control = ONLY_THE_DATA % float((frame.y * np.arange(1, 81)).sum())
    model = fitted("y ~ x + (1 | g)", frame, control=control)
    before = {name: getattr(model, name) for name in (*vars(model), *type(model)._LATER)}
    with pytest.raises(RError, match=rf"{words}\. 4 of 4: not the outcome of the data"):
        model.fit(control=control, n_jobs=n_jobs, seed=1, summarize=False, no_warnings=True, **how)
    assert [key for key, value in vars(model).items() if value is not before[key]] == []
    with pytest.raises(RError, match="4 of 4: not the outcome of the data"):
        model.confint("boot", n_boot=4, n_jobs=n_jobs)


def test_weights_that_are_no_trials_draw_nothing():
    frame = few().assign(w=np.tile([0.5, 1.5], 40), hit=lambda d: (d.y > 0).astype(float))
    model = fitted("hit ~ x + (1 | g)", frame, family="binomial", weights="w")
    boot = {"conf_int": "boot", "n_boot": 4}
    for ask in (lambda: model.fit(**boot), lambda: model.fit(n_jobs=2, **boot), lambda: model.simulate(1)):
        with pytest.raises(RError, match="prior weights of a binomial model have to be whole numbers of trials"):
            ask()
    assert model.fitted and model.ci_type == "Wald"


def test_a_mean_that_the_family_does_not_have_is_a_reason():
    rng = np.random.default_rng(3)
    frame = few().assign(k=lambda d: rng.poisson(np.clip(1.2 + rng.normal(size=10)[d.g], 0.1, None)).astype(float))
    model = fitted("k ~ 1 + (1 | g)", frame, family="poisson", link="identity")
    with pytest.warns(ModelWarning, match=r"of 12 bootstrap fits failed .* of 12: the link gives means") as issued:
        model.confint("boot", n_boot=12, seed=1)
    assert any("75% of the bootstrap draws are missing" in str(warning.message) for warning in issued)


def test_rows_without_trials_have_no_successes():
    frame = trial().assign(hits=lambda d: d.hits.where(d.index != 3, 0), n=lambda d: d.n.where(d.index != 3, 0))
    model = fitted("cbind(hits, n - hits) ~ x + (1 | g)", frame, family="binomial")
    drawn = model.simulate(3, use_rfx=False, seed=1)
    assert (drawn.loc[3] == 0).all() and (drawn.drop(index=3) > 0).any(axis=None)
    assert model.confint("boot", n_boot=4, seed=1).notna().all(axis=None)
