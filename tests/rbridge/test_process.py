"""What R may not do to the process: end it, change it for its children, or hang one that was forked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pymer4 import Lmer, load_dataset
from pymer4.errors import RError, RUnavailable
from pymer4.rbridge import bridge
from pymer4.rbridge.process import LEAST, Stack, guarded, stack

# By its file: packages of others may be named `tests` too.
ITSELF = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_process as t"

pytestmark = pytest.mark.r

FORMULA = "Reaction ~ Days + (Days | Subject)"


def fitted() -> float:
    model = Lmer(FORMULA, load_dataset("sleepstudy"))
    model.fit(summarize=False)
    return round(float(model.coefs.loc["Days", "Estimate"]), 3)


def run(code: str, **environment: str) -> str:
    """Return what a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def in_thread(question, size: int | None):
    """Return what a thread with a stack of `size` bytes finds, None for the main one; an error included."""
    found = []

    def answer():
        try:
            found.append(question())
        except Exception as error:
            found.append(error)

    if size is None:
        answer()
    else:
        before = threading.stack_size(size)
        thread = threading.Thread(target=answer)
        thread.start()
        threading.stack_size(before)
        thread.join()
    return found[0]


# ------------------------------------------------------------------ the stack


@pytest.fixture
def recursion():
    """A verb that calls itself for ever."""
    bridge.call("echo", value=1)
    r = bridge._started()
    with bridge._lock:
        private = r.door.closureenv
        private["endless"] = r.interface.evalr("function() { f <- function(n) f(n + 1); f(1) }")
    yield
    with bridge._lock:
        r.interface.baseenv["rm"](r.values.to_r("endless"), envir=private)


@pytest.mark.parametrize("size", [None, 1 << 20, 4 << 20])
def test_a_function_that_calls_itself_ends_in_an_error_and_r_goes_on(recursion, size):
    error = in_thread(lambda: bridge.call("endless"), size)
    assert isinstance(error, RError)
    assert "threading.stack_size" in error.advice
    assert fitted() == 10.467


@pytest.mark.parametrize("size", [None, 8 << 20])
def test_a_formula_beyond_the_stack_is_refused_and_the_next_fit_is_right(size):
    """R 4.5 fits a formula of 800 terms, none fits one of 3,000."""
    model = Lmer(f"Reaction ~ {' + '.join(['Days'] * 3000)} + (1 | Subject)", load_dataset("sleepstudy"))
    error = in_thread(lambda: model.fit(summarize=False), size)
    assert isinstance(error, RError) and "shorter formula" in str(error)
    assert fitted() == 10.467


def test_a_stack_too_small_for_r_is_told_before_r_is_asked(monkeypatch):
    monkeypatch.setattr(bridge, "stack", lambda: Stack(1 << 40, 508 << 10))
    with pytest.raises(RError, match="508 KiB") as caught:
        fitted()
    assert "2 MiB" in caught.value.advice


@pytest.mark.parametrize(("size", "right"), [(512 << 10, "RError"), (4 << 20, "10.467")])
def test_the_first_fit_of_a_process_in_a_small_thread(size, right):
    code = f"""
import threading
{ITSELF}
found = t.in_thread(t.fitted, {size})
print(type(found).__name__ if isinstance(found, Exception) else found, t.fitted())
"""
    assert run(code).split() == [right, "10.467"]


def test_the_bounds_are_those_of_the_thread_that_asks():
    here, there = stack(), in_thread(stack, 2 << 20)
    assert isinstance(here, Stack) and isinstance(there, Stack)
    assert here.start != there.start and there.size > LEAST


def test_the_bounds_of_other_users_of_r_come_back():
    bridge.call("echo", value=1)
    library = bridge._started().interface.openrlib.rlib
    before = int(library.R_CStackStart), int(library.R_CStackLimit)
    with pytest.raises(ZeroDivisionError), guarded(library):
        assert (int(library.R_CStackStart), int(library.R_CStackLimit)) != before
        1 / 0  # noqa: B018
    bridge.call("echo", value=1)
    assert (int(library.R_CStackStart), int(library.R_CStackLimit)) == before


# ------------------------------------------------------------------ variables and locale

_SURROUNDINGS = """
import json, locale, os, subprocess, sys
def seen():
    child = "import json, os; print(json.dumps(dict(os.environ)))"
    inherited = json.loads(subprocess.run([sys.executable, "-c", child], capture_output=True, text=True).stdout)
    names = [n for n in dir(locale) if n.startswith("LC_") and n != "LC_ALL"]
    return [inherited, dict(os.environ), {n: locale.setlocale(getattr(locale, n)) for n in names}]
before = seen()
START
print(json.dumps([before, seen()]))
"""


@pytest.mark.parametrize("size", [None, 8 << 20])
def test_the_start_of_r_leaves_variables_and_locale_as_they_were(size):
    code = _SURROUNDINGS.replace("START", f"{ITSELF}; t.in_thread(t.fitted, {size})")
    before, after = json.loads(run(code, EDITOR="mine", LC_TIME="C").splitlines()[-1])
    for variables in (*before[:2], *after[:2]):
        variables.pop("R_HOME", None)
    assert before == after


def test_another_python_and_r_itself_find_their_libraries_later():
    """R loads LAPACK, and what opens connections, at first use, from R_HOME."""
    code = """
import subprocess, sys
from pymer4.rbridge import bridge
bridge.call("echo", value=1)
with bridge._lock:
    print(bridge._started().interface.evalr("nzchar(La_version()) && !is.null(curlGetHeaders)")[0])
print(subprocess.run([sys.executable, "-c", "import ssl, sqlite3, ctypes"], capture_output=True).returncode)
"""
    assert run(code).split() == ["True", "0"]


# ------------------------------------------------------------------ forks

_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks on this system")


def forked(question) -> str:
    """Return what a fork of this process says, or how it ended."""
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            told = str(question())
        except BaseException as error:
            told = f"{type(error).__name__}: {error}"
        os.write(send, told.encode()[:4000])
        os._exit(0)
    os.close(send)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and os.waitpid(child, os.WNOHANG)[0] == 0:
        time.sleep(0.02)
    with os.fdopen(receive, "rb") as pipe:
        return pipe.read().decode()


@_fork
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_of_an_idle_r_is_right():
    assert fitted() == 10.467
    assert forked(fitted) == "10.467"


@_fork
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_during_a_call_is_told_and_does_not_wait():
    assert fitted() == 10.467
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with bridge._lock:
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    try:
        told = forked(fitted)
    finally:
        leave.set()
        thread.join()
    assert told.startswith(RUnavailable.__name__) and "forked while" in told and "spawn" in told
    assert fitted() == 10.467
