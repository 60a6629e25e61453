"""Whatever a public callable is given, it answers, or says in an error of pymer4's what is wrong; see `fuzz`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import fuzz
import fuzz_judge as judge
import numpy as np
import pandas as pd
import pytest

from pymer4 import Lm, errors

pytestmark = pytest.mark.r

FUZZ = Path(fuzz.__file__)


def made(seed: int, calls: int, folder: Path, minutes: float) -> list[dict]:
    """Return the calls of a seed, made by a process of its own, which may die of them."""
    told = folder / "calls.json"
    command = [sys.executable, str(FUZZ), str(seed), str(calls), "--json", str(told)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60 * minutes)
    if done.returncode:
        last = Path(f"{told}.log").read_text("utf-8").splitlines()[-1:]
        pytest.fail(f"The process ended with {done.returncode} at call {seed}:{''.join(last)}\n{done.stderr[-3000:]}")
    return json.loads(told.read_text("utf-8"))


def require_sound(seed: int, calls: list[dict]) -> None:
    bad = [call for call in calls if call["outcome"] not in judge.FINE]
    told = "\n".join(f"{seed}:{c['number']} {c['outcome']}: {c['told']}\n    {c['why']}" for c in bad)
    assert not bad, f"{len(bad)} of {len(calls)} calls (python tests/fuzz.py SEED 1 --case CALL):\n{told}"


def test_calls_succeed_or_are_refused(tmp_path):
    calls = made(1, 2000, tmp_path, minutes=10)
    require_sound(1, calls)
    ended = pd.Series([call["outcome"] for call in calls]).value_counts()
    assert min(ended["ok"], ended["refused"]) > 300


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_many_calls_succeed_or_are_refused(seed, tmp_path):
    require_sound(seed, made(seed, 2000, tmp_path, minutes=20))


# ------------------------------------------------------------------ the fuzz itself


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return fuzz.Generator(tmp_path_factory.mktemp("fuzz"))


def test_every_public_callable_is_called(generator):
    names = {subject.full_name for subject in generator.subjects}
    assert {"Lmer", "vif", "simulate_lmm", "load_model", "compare", "isPSD", "checks"} <= names
    assert {"Lmer.fit", "Lmer.emtrends", "Lmer.ranef_se", "Lm.test", "Lm2.predict", "Lm.design_matrix"} <= names


def test_a_seed_makes_the_same_calls(generator):
    def told(seed):
        return [[(name, text) for name, _, text in generator.call(seed, i)[2]] for i in range(200)]

    assert told(5) == told(5) != told(6)


def looks_up(value):
    return value["nowhere"]


def squares(value):
    return np.float64(value) ** 2


def adds_a_column(value):
    value["new"] = 1


def is_told(value):
    raise errors.OptionError(f"value={value!r} is not known.")


@pytest.mark.parametrize(
    "function, value, kind",
    [
        (looks_up, {"nowhere": 1}, "ok"),
        (is_told, 1, "refused"),
        (looks_up, {}, "foreign"),
        (looks_up, pd.DataFrame(), "foreign"),
        (squares, 1e300, "warned"),
        (adds_a_column, {}, "changed"),
        (adds_a_column, pd.DataFrame({"x": [1]}), "changed"),
    ],
)
def test_the_judge_tells_what_came_of_a_call(function, value, kind):
    call = judge.Call(0, "", "")
    judge.judged(lambda: function(value), None, [("value", value, "")], call)
    assert call.outcome == kind


def test_the_judge_knows_an_error_that_nobody_raised(monkeypatch):
    monkeypatch.setattr(judge, "raises", lambda filename: set())
    with pytest.raises(TypeError) as caught:
        Lm("y ~ x", pd.DataFrame({"y": [1.0, 2, 4], "x": [1.0, 2, 3]})).fit(nope=1)
    assert judge.verdict(caught.value)[0] == "internal"


def test_an_error_that_changes_a_model_is_found():
    model = Lm("y ~ x", pd.DataFrame({"y": [1.0, 2, 4], "x": [1.0, 2, 3]}))
    before = judge.imprint(model)
    model.coefs = pd.DataFrame()
    assert judge.differing(before, judge.imprint(model)) == ["coefs"]
