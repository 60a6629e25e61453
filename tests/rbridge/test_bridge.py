"""The crossing: what R says beside a value, threads, and what R keeps to itself."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pymer4 import Lmer
from pymer4.errors import RError
from pymer4.rbridge import bridge, convert

pytestmark = pytest.mark.r


def echo(value):
    """Return a value as it comes back from R."""
    return bridge.call("echo", value=value).value


def in_r(text):
    """Return what R makes of a line of its own language."""
    with bridge._lock:
        r = bridge._started()
        return r.values.from_r(r.interface.evalr(text))


# ------------------------------------------------------------------ what R says beside the value


@pytest.fixture(scope="module")
def noise():
    rng = np.random.default_rng(5)
    return pd.DataFrame({"y": rng.normal(size=60), "x": rng.normal(size=60) * 1e7, "g": np.arange(60) % 6 + 1.0})


def test_answers_take_no_references_to_none():
    """Before Python 3.12 None is counted, and a process that runs out of references to it is aborted."""
    bridge.call("dataset", name="sleepstudy")
    before = sys.getrefcount(None)
    for _ in range(100):
        bridge.call("dataset", name="sleepstudy")
    assert sys.getrefcount(None) > before - 50


def test_warnings_and_messages_come_with_the_answer(noise):
    reply = bridge.call("fit_mixed", formula="y ~ x + (1 | g)", data=noise)
    assert any("very different scales" in text for text in reply.warnings)
    again = bridge.call("fit_mixed", formula="y ~ x + (1 | g)", data=noise)
    assert (again.warnings, again.messages) == (reply.warnings, reply.messages)
    flat = noise.assign(y=noise.y - noise.groupby("g").y.transform("mean"))
    reply = bridge.call("fit_mixed", formula="y ~ 1 + (1 | g)", data=flat)
    assert any("singular" in text for text in reply.messages)


def test_an_error_is_in_r_s_own_words(noise):
    with pytest.raises(RError) as caught:
        bridge.call("fit_mixed", formula="y ~ nowhere + (1 | g)", data=noise)
    error = caught.value
    assert error.message == "object 'nowhere' not found"
    assert (error.verb, error.formula) == ("fit_mixed", "y ~ nowhere + (1 | g)")
    assert str(error) == f"R stopped in fit_mixed: {error.message}\n  formula: {error.formula}"


@pytest.mark.parametrize("verb", ["no_such_verb", "mean", "lmer"])
def test_only_the_r_files_define_verbs(verb):
    with pytest.raises(RError, match=verb):
        bridge.call(verb, x=1)


def test_a_wrong_argument_is_r_s_error():
    with pytest.raises(RError, match="unused argument"):
        bridge.call("echo", value=1, more=2)


def test_nothing_is_printed_and_r_can_still_speak(capfd, noise):
    bridge.call("fit_mixed", formula="y ~ x + (1 | g)", data=noise)
    assert capfd.readouterr() == ("", "")
    in_r('cat("spoken\\n")')
    assert capfd.readouterr().out == "spoken\n"


# ------------------------------------------------------------------ what stays in R


def test_a_handle_goes_to_r_as_the_object_itself(sleep):
    model = bridge.call("fit_mixed", formula="Reaction ~ Days + (1 | Subject)", data=sleep).value["model"]
    assert isinstance(model, bridge.Handle)
    again = echo({"model": model})["model"]
    assert again.sexp.rid == model.sexp.rid


def test_an_object_is_let_go_under_the_lock_at_the_next_call():
    with bridge._lock:
        interface = bridge._started().interface
        freed, handle = interface.baseenv["new.env"](), bridge.Handle(interface.baseenv["new.env"]())
        handle.sexp["freed"] = freed
        finalizer = interface.evalr("function(e) assign('is', TRUE, envir = e$freed)")
        interface.baseenv["reg.finalizer"](handle.sexp, finalizer)
        echo(None)
        thread = threading.Thread(target=lambda held: held.clear(), args=([handle],))
        sexp = handle.sexp
        del handle
        thread.start()
        thread.join(10)
        assert not thread.is_alive(), "letting go of a handle waits for nobody"
        assert any(waiting is sexp for waiting in convert.retired)
        del sexp
    in_r("invisible(gc())")
    assert "is" not in freed
    echo(None)
    assert not convert.retired
    in_r("invisible(gc())")
    assert "is" in freed


def test_models_that_are_gone_take_no_memory(sleep):
    preserved = bridge._started().interface._rinterface._R_PRESERVED

    def fits(n):
        for _ in range(n):
            Lmer("Reaction ~ Days + (1 | Subject)", sleep).fit(summarize=False)
        echo(None)
        return len(preserved)

    before = fits(2)
    assert fits(4) == before


def test_the_global_environment_is_left_alone(sleep):
    asked = ("ls(globalenv(), all.names = TRUE)", "search()")
    before = [in_r(text) for text in asked]
    model = Lmer("Reaction ~ Days + (Days | Subject)", sleep)
    model.fit(conf_int="boot", n_boot=5, seed=1, summarize=False)
    model.predict(sleep, use_rfx=True)
    model.simulate(2, seed=1)
    with pytest.raises(RError):
        bridge.call("no_such_verb")
    assert [in_r(text) for text in asked] == before


@pytest.mark.parametrize("seeded", [True, False])
def test_the_user_s_random_stream_is_left_alone(seeded, sleep):
    model = Lmer("Reaction ~ Days + (1 | Subject)", sleep)
    in_r(
        "invisible(set.seed(3, kind = 'Wichmann-Hill'))"
        if seeded
        else "suppressWarnings(rm(.Random.seed, envir = globalenv()))"
    )
    before, of_numpy = in_r("globalenv()$.Random.seed"), np.random.get_state()
    model.fit(conf_int="boot", n_boot=5, seed=1, summarize=False)
    model.simulate(2, seed=1)
    model.emmeans("Days", at={"Days": [0, 4, 9]}, adjust="mvt")
    with pytest.raises(RError):
        bridge.call("simulate_mixed", model=model._handle, n="two", conditional=True, seed=1)
    after = in_r("globalenv()$.Random.seed")
    np.testing.assert_array_equal(before, after)
    np.testing.assert_equal(np.random.get_state(), of_numpy)
    assert (before is None) == (not seeded)
    in_r("suppressWarnings(RNGkind('default', 'default', 'default'))")
    in_r("rm(.Random.seed, envir = globalenv())")


# ------------------------------------------------------------------ threads

FORMULAS = [
    "Reaction ~ Days + (Days | Subject)",
    "Reaction ~ 1 + (1 | Subject)",
    "log(Reaction) ~ Days + (1 | Subject)",
    "Reaction ~ factor(Days) + (1 | Subject)",
]


def test_threads_give_the_numbers_of_one_after_another(sleep):
    def numbers(i):
        model = Lmer(FORMULAS[i % len(FORMULAS)], sleep.iloc[i:])
        model.fit(summarize=False)
        drawn = model.simulate(2, seed=4)
        return pd.concat([model.coefs, pd.Series(model.predict(sleep, use_rfx=True)), drawn.sum()])

    expected = [numbers(i) for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(numbers, [*range(8), *range(8)]))
    for got, wanted in zip(found, expected * 2, strict=True):
        pd.testing.assert_frame_equal(pd.DataFrame(got), pd.DataFrame(wanted), check_exact=True)


def test_an_error_in_one_thread_is_that_thread_s(sleep):
    def wrong():
        with pytest.raises(RError, match="nowhere"):
            bridge.call("fit_mixed", formula="Reaction ~ nowhere + (1 | Subject)", data=sleep)
        return True

    with ThreadPoolExecutor(4) as pool:
        right = [pool.submit(echo, i) for i in range(20)]
        assert all(pool.submit(wrong).result() for _ in range(5))
        assert [int(future.result()[0]) for future in right] == list(range(20))


@pytest.mark.parametrize(
    ("conf_int", "more"),
    [
        ("Wald", []),
        ("profile", ["profile_parts", *["profile_part"] * 6, "confint_mixed"]),
        ("boot", ["read_design"]),
    ],
)
def test_a_fit_crosses_once_and_once_a_part_of_its_limits(monkeypatch, conf_int, more, sleep):
    """Draws and profiles come in parts, so that progress is told and Ctrl-C is heard between them."""
    model = Lmer("Reaction ~ Days + (Days | Subject)", sleep)
    crossed = []
    door = bridge._started().door

    def counted(verb, arguments):
        crossed.append(verb)
        return door(verb, arguments)

    monkeypatch.setattr(bridge, "_running", replace(bridge._started(), door=counted))
    model.fit(conf_int=conf_int, n_boot=4, seed=1, summarize=False, no_warnings=True)
    assert list(dict.fromkeys(crossed)) == list(dict.fromkeys(["fit_mixed", *more]))
    assert len(crossed) <= 1 + len(more)
