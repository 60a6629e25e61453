"""What a first fit costs beside the fit: the R processes that it starts, the packages that it loads."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import joblib
import pytest
from against_r import inside

from pymer4 import Lmer, load_dataset, load_model, save_model
from pymer4.errors import RError
from pymer4.rbridge import bridge

pytestmark = pytest.mark.r

_FIRST_FIT = """
import sys
commands = []
sys.addaudithook(lambda event, about: event == "subprocess.Popen" and commands.append(" ".join(map(str, about[1]))))
from pymer4 import Lmer, load_dataset
from pymer4.rbridge import bridge, machine
machine.probe()
commands.clear()
Lmer("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy")).fit(summarize=False)
print(*bridge._started().interface.evalr("loadedNamespaces()"))
print(sum("Rscript" in command for command in commands))
"""


def test_a_first_fit_loads_lme4_alone_and_starts_no_other_r():
    done = subprocess.run([sys.executable, "-c", _FIRST_FIT], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    loaded, trials = done.stdout.splitlines()
    assert "lme4" in loaded.split() and not {"lmerTest", "ggplot2", "emmeans", "pbkrtest"} & set(loaded.split())
    assert int(trials) == 0 or sys.platform == "win32"


def test_what_is_loaded_later_has_to_be_there_at_the_start():
    assert bridge.call("load_packages", packages=[], later=["lmerTest"]).value["versions"] == {}
    with pytest.raises(RError, match=r"there is no package called.*nowhere"):
        bridge.call("load_packages", packages=[], later=["nowhere"])


def fitted(ddf: str = "Satterthwaite") -> Lmer:
    model = Lmer("Reaction ~ Days + (Days | Subject)", load_dataset("sleepstudy"))
    model.fit(ddf=ddf, summarize=False)
    return model


# What lmerTest makes of a model by itself, and lme4's class.
_SEEN = "function(m) c(class(m), isVirtualClass('merMod'), sprintf('%.3f', coef(summary(m))[, 'df']))"
_CLASS = "function(m) class(m)[1]"


def seen(model: Lmer) -> tuple[list[str], Any]:
    return inside(_SEEN, model.model_obj), model


@pytest.mark.parametrize("way", ["itself", "copy", "pickle", "file", "worker"])
def test_users_get_the_model_in_lmer_test_s_class(way, tmp_path):
    model = fitted()
    if way == "file":
        save_model(model, tmp_path / "x.h5")
    (told, again), *_ = {
        "itself": lambda: [seen(model)],
        "copy": lambda: [seen(copy.deepcopy(model))],
        "pickle": lambda: [seen(pickle.loads(pickle.dumps(model)))],
        "file": lambda: [seen(load_model(tmp_path / "x.h5"))],
        "worker": lambda: joblib.Parallel(n_jobs=2)(joblib.delayed(seen)(each) for each in (model, model)),
    }[way]()
    assert told == ["lmerModLmerTest", "FALSE", *model.coefs["DF"].map("{:.3f}".format)]
    assert inside(_CLASS, again.model_obj) == ["lmerModLmerTest"] and again.model_obj is again.model_obj


@pytest.mark.parametrize("ddf", ["Kenward-Roger", "asymptotic"])
def test_a_fit_with_other_df_is_lme4_s(ddf):
    assert inside(_CLASS, fitted(ddf).model_obj) == ["lmerMod"]


def test_a_model_of_lme4_becomes_one_of_lmer_test():
    """Slots as lmerTest fills them, up to its numerical derivatives; nothing else beside them."""
    gaps = """function(door) {
      m <- lme4::lmer(Reaction ~ Days + (Days | Subject), lme4::sleepstudy)
      ours <- environment(door)$as_lmertest(m)
      theirs <- lmerTest::as_lmerModLmerTest(m)
      largest <- function(values) max(abs(unlist(values)))
      gap <- function(name) {
        wanted <- unlist(methods::slot(theirs, name))
        largest(unlist(methods::slot(ours, name)) - wanted) / largest(wanted)
      }
      c(identical(names(attributes(ours)), names(attributes(theirs))),
        vapply(c("sigma", "vcov_beta", "vcov_varpar", "Jac_list"), gap, 0))
    }"""
    same, *slots = inside(gaps, bridge._started().door)
    assert same and max(slots) < 1e-4
