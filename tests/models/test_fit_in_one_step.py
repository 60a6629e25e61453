"""A fit stores its results in one step: one that fails leaves the model as it was, and no thread sees half of one."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pandas as pd
import pytest

from pymer4 import Lm, Lm2, Lmer, tables
from pymer4.errors import DataError, ModelWarning, OptionError

CLASSES = {
    "Lm": lambda frame: Lm("y ~ x", frame),
    "Lm2": lambda frame: Lm2("y ~ x", frame, group="g"),
    "Lmer": lambda frame: Lmer("y ~ x + (1 | g)", frame),
}
MODELS = [pytest.param(name, marks=[pytest.mark.r] if name == "Lmer" else []) for name in CLASSES]


def rows() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"g": np.repeat(list("abcdefgh"), 10), "x": rng.normal(size=80)})
    return frame.assign(y=frame.x + rng.normal(size=8)[np.arange(80) // 10] + rng.normal(size=80))


def fitted(name: str):
    model = CLASSES[name](rows())
    model.fit(summarize=False)
    return model


def interrupted(model, monkeypatch):
    """Stop at the last table, when all else has been computed."""

    def stop(*arguments, **more):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tables, "mixed_coefs", stop)
        model.fit(summarize=False)


def warned(model, monkeypatch):
    model._frame.loc[:, "fits"] = 1.0  # a column of the user's, which is warned of late
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model.fit(summarize=False)
    finally:
        del model._frame["fits"]


def lost(model, monkeypatch):
    def gone(*arguments, **more):
        raise RuntimeError("a worker died")

    with monkeypatch.context() as patch:
        patch.setattr("joblib.Parallel.__call__", gone)
        patch.setattr("pymer4.fit.mixed.fit", gone)  # mixed models draw in this process
        model.fit(conf_int="boot", n_boot=20, permute=20, n_jobs=2, summarize=False)


FAILURES = {
    "an option": (OptionError, lambda model, _: model.fit(conf_int="nope")),
    "a factor that is not there": ((DataError, OptionError), lambda model, _: model.fit(factors={"nope": ["a", "b"]})),
    "an interrupt at the end": (KeyboardInterrupt, interrupted),
    "a warning made an error": (ModelWarning, warned),
    "a worker lost": (RuntimeError, lost),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("first", [True, False], ids=["fitted", "new"])
def test_a_fit_that_fails_leaves_the_model_as_it_was(name, failure, first, monkeypatch):
    model = fitted(name) if first else CLASSES[name](rows())
    before = {name: getattr(model, name) for name in (*vars(model), *type(model)._LATER)}
    kind, fail = FAILURES[failure]
    with pytest.raises(kind):
        fail(model, monkeypatch)
    after = vars(model)
    assert after.keys() == before.keys()
    assert [key for key in after if after[key] is not before[key]] == []
    if first:
        np.testing.assert_array_equal(model.predict(rows()), fitted(name).predict(rows()))


@pytest.mark.parametrize("name", MODELS)
def test_readers_see_the_last_fit_until_the_next_is_whole(name, monkeypatch):
    model, seen = fitted(name), []
    coefs, build = model.coefs, tables.mixed_coefs

    def read():
        seen.append((model.fitted, model.coefs is coefs, model.fits is not None, model.summary() is not None))

    def watched(*arguments, **more):
        reader = threading.Thread(target=read)
        reader.start()
        reader.join()
        return build(*arguments, **more)

    monkeypatch.setattr(tables, "mixed_coefs", watched)
    model.fit(summarize=False)
    assert set(seen) == {(True, True, True, True)}
    assert model.coefs is not coefs


@pytest.mark.parametrize("name", MODELS)
def test_what_a_user_hung_on_the_model_stays(name):
    model = fitted(name)
    model.note = "mine"
    model.fit(summarize=False)
    assert model.note == "mine"
