"""Ctrl-C while R computes, in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.r

COMMON = """
    import asyncio, json, os, random, signal, sys, threading, time, warnings
    import numpy as np, pandas as pd
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from pymer4 import Lmer, load_dataset
    from pymer4.errors import ModelWarning
    from pymer4.rbridge import bridge
    warnings.simplefilter("ignore", ModelWarning)
    Lmer._refits = "R"

    def model():
        return Lmer("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy"))

    def clock():
        '''Return the time, less what the main thread has waited for a core, where the system tells.'''
        waited = "/proc/self/schedstat"
        return time.monotonic() - (int(open(waited).read().split()[1]) / 1e9 if os.path.exists(waited) else 0)

    def interrupted(ask, delay=1.0):
        '''Return the seconds from the signal to KeyboardInterrupt, None where it did not come.'''
        sent = []
        timer = threading.Timer(delay, lambda: sent.append(clock()) or os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        try:
            ask()
            timer.cancel()
            timer.join()
        except KeyboardInterrupt:
            return clock() - sent[0]
        finally:
            timer.join()

    def resample(model):
        return lambda: model.fit(conf_int="boot", n_boot=200_000, summarize=False)

    def days(model):
        model.fit(summarize=False)
        return round(float(model.coefs["Estimate"]["Days"]), 3)

    told = {}
"""


def told_by(script, silent=False):
    """Run a script in a fresh process, which may have to be silent, and return the dict `told` that it leaves."""
    code = f"{textwrap.dedent(COMMON)}{textwrap.dedent(script)}\nprint(json.dumps(told))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert not silent or done.stderr == ""
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("{"))
    return json.loads(line)


def soon(told):
    """Whether every question of which seconds are told stopped within one."""
    seconds = [value for name, value in told.items() if name.endswith("seconds")]
    return bool(seconds) and all(value is not None and value < 1 for value in seconds)


def test_a_fit_on_the_main_thread_is_interrupted_at_once_and_the_next_one_works():
    """By Python's own handler, one of the user's, and under an event loop, which are all left as they were."""
    told = told_by("""
        m = model()
        told["untouched"] = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        told["days"] = [days(m)]

        told["seconds"] = interrupted(resample(m))
        told["the fit before stays"] = m.fitted
        told["restored"] = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        told["no descriptor"] = signal.set_wakeup_fd(-1) == -1
        told["days"] += [days(m)]

        calls = []
        def mine(number, frame):
            calls.append(number)
        signal.signal(signal.SIGINT, mine)
        told["own: seconds"] = interrupted(resample(m))
        told["own: called once and restored"] = len(calls) == 1 and signal.getsignal(signal.SIGINT) is mine
        told["days"] += [days(m)]
        signal.signal(signal.SIGINT, signal.default_int_handler)

        async def main():
            loop, heard = asyncio.get_running_loop(), []
            loop.add_signal_handler(signal.SIGINT, heard.append, 1)
            descriptor = signal.set_wakeup_fd(-1)
            signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
            told["loop: seconds"] = interrupted(resample(m))
            await asyncio.sleep(0.1)
            told["loop: heard"] = len(heard) == 1
            told["loop: descriptor"] = signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False) == descriptor >= 0
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(0.1)
            told["loop: heard after"] = len(heard) == 2
        asyncio.run(main())
        told["days"] += [days(m)]
    """)
    assert soon(told)
    assert set(told.pop("days")) == {10.467}
    assert all(told.values()), told


def test_ctrl_c_is_intact_after_r_started_on_another_thread():
    told = told_by(
        """
        thread = threading.Thread(target=lambda: told.update(days=days(model())))
        thread.start()
        thread.join()
        told["handler"] = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        told["python: seconds"] = interrupted(lambda: time.sleep(5))
        m = model()
        told["seconds"] = interrupted(resample(m))
        told["days after"] = days(m)
    """,
        silent=True,
    )
    assert soon(told) and told["handler"]
    assert told["days"] == told["days after"] == 10.467


def test_signals_at_any_moment_end_in_keyboard_interrupt():
    """Before, in and after the question: neither another error, nor a lost process, nor a wrong number."""
    told = told_by("""
        m, chance, armed, over = model(), random.Random(1), threading.Event(), threading.Event()
        expected, told = days(m), {"answered": 0, "interrupted": 0}

        def press():
            while not over.is_set():
                time.sleep(chance.uniform(0.001, 0.02))
                if armed.is_set():
                    os.kill(os.getpid(), signal.SIGINT)

        signal.signal(signal.SIGINT, lambda number, frame: None)
        sender = threading.Thread(target=press)
        sender.start()
        end = time.monotonic() + 4
        while time.monotonic() < end:
            armed.set()
            try:
                bridge.call("echo", value=[0.5] * 10) if chance.random() < 0.5 else m.fit(summarize=False)
                told["answered"] += 1
            except KeyboardInterrupt:
                told["interrupted"] += 1
            armed.clear()
        over.set()
        sender.join()
        told["same"] = days(m) == expected
    """)
    assert told["same"] and told["answered"] and told["interrupted"]


def test_every_long_question_stops_within_a_second():
    """On 20,000 rows; a question that was answered before the signal came counts for nothing."""
    told = told_by("""
        from rpy2.rinterface_lib import callbacks
        rng = np.random.default_rng(1)
        g = np.arange(20_000) % 400
        x, u = rng.normal(size=20_000), rng.normal(size=(400, 2))
        data = pd.DataFrame({"y": x + u[g, 0] + u[g, 1] * x + rng.normal(size=20_000), "x": x, "g": g})
        m = Lmer("y ~ x + (x | g)", data)
        m.fit(summarize=False)
        m.confint("boot", n_boot=2, seed=1, n_jobs=2)  # so that the signal meets workers that have started
        estimate = m.coefs["Estimate"]["x"]
        questions = {
            "permute": lambda: m.fit(permute=500, seed=1, summarize=False),
            "bootstrap": lambda: m.confint("boot", n_boot=500, seed=1),
            "workers": lambda: m.confint("boot", n_boot=5000, seed=1, n_jobs=2),
            "profile": lambda: m.confint("profile"),
            "allfit": lambda: m.allfit(),
            "predict": lambda: m.predict(data, interval="prediction", skip_data_checks=True),
            "simulate": lambda: m.simulate(2000),
        }
        words = []
        callbacks.consolewrite_warnerror = words.append
        for _ in range(5):  # one long call in C, that ends before it sees the signal
            interrupted(lambda: bridge.call("serialize_model", model=m._handle), delay=0.02)
        told["words"] = len(words)
        told["fit"] = interrupted(lambda: m.fit(summarize=False), delay=0.1)
        told |= {name: interrupted(ask, delay=0.3) for name, ask in questions.items()}
        Lmer._refits = "native"
        told |= {f"native {name}": interrupted(questions[name], delay=0.3) for name in ("permute", "bootstrap")}
        m.fit(summarize=False)
        told["same"] = bool(m.coefs["Estimate"]["x"] == estimate)
    """)
    assert told.pop("same") and told.pop("words") == 0
    seconds = {name: value for name, value in told.items() if value is not None}
    assert {"permute", "bootstrap", "workers", "profile", "native permute", "native bootstrap"} <= set(seconds)
    assert max(seconds.values()) < 1, seconds
