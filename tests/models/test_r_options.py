"""R's options as users set them: none changes a number, a name or a message, and all are as they were afterwards."""

from __future__ import annotations

import dataclasses
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from every_table import GENERALIZED, LINEAR

ROOT = Path(__file__).parents[2]
HOSTILE = ROOT / "tests" / "hostile.Rprofile"

pytestmark = pytest.mark.r

# Options that the packages read to print, to work on several cores, or to say what they found wrong with a call.
NOT_ASKED = re.compile(
    r"ncpus|cores|^pb\.cl|signif|summary\.cor\.max|^sparse\.colnames|^xtable|^prompt|^continue|^ambiguousMethodSelection"
    r"|^Matrix\.(use\.abIndex|subassign\.verbose|quiet)|show\.inequality|^%s"
)


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, dict[str, Any]]:
    """Return what `every_table.py` finds with no start-up file, and with one that is hostile."""
    folder, answers = tmp_path_factory.mktemp("options"), {}
    for name, profile in {"plain": "", "hostile": str(HOSTILE)}.items():
        environment = {**os.environ, "R_PROFILE_USER": profile}
        command = [sys.executable, str(ROOT / "tests" / "every_table.py"), str(folder / name)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        answers[name] = pickle.loads((folder / name).read_bytes())
    return answers


def same(found: Any, wanted: Any) -> None:
    """Compare to the last bit."""
    if isinstance(wanted, pd.DataFrame):
        pd.testing.assert_frame_equal(found, wanted, check_exact=True)
        assert found.attrs == wanted.attrs
    elif isinstance(wanted, np.ndarray):
        np.testing.assert_array_equal(found, wanted)
    elif isinstance(wanted, (list, tuple)):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            same(one, other)
    elif dataclasses.is_dataclass(wanted):
        same(dataclasses.astuple(found), dataclasses.astuple(wanted))
    else:
        np.testing.assert_equal(found, wanted)


@pytest.mark.parametrize("model", [*LINEAR, *GENERALIZED])
def test_options_of_a_start_up_file_change_nothing(model, found):
    plain, hostile = (found[name]["tables"][model] for name in ("plain", "hostile"))
    assert plain.keys() == hostile.keys()
    for what in plain:
        try:
            same(hostile[what], plain[what])
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}") from error


def test_the_options_of_the_user_are_put_back(found):
    for answer in found.values():
        assert answer["after"].items() >= answer["before"].items()
    contrasts = found["hostile"]["after"]["contrasts"]
    assert contrasts == 'c("contr.sum", "contr.helmert")' != found["plain"]["after"]["contrasts"]


def named() -> dict[str, str]:
    """Return the options that verbs run under, as R writes them."""
    code = """
    source("R/runtime.R")
    cat(paste0(names(named_options), "\\t", vapply(named_options, deparse1, "")), sep = "\\n")
    """
    done = subprocess.run(["Rscript", "--vanilla", "-e", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return dict(line.split("\t") for line in done.stdout.splitlines())


def test_the_page_lists_the_options():
    page = (ROOT / "docs" / "guide" / "lmer.md").read_text()
    listed = dict(re.findall(r"^\| `([\w.]+)` \| (.*?) \|", page.partition("## R's options")[2], flags=re.MULTILINE))
    assert {name: text.strip("`") if text != "not set" else "NULL" for name, text in listed.items()} == named()


def test_every_option_that_the_packages_read_is_named():
    code = """
    for (package in c("lme4", "lmerTest", "emmeans", "pbkrtest", "Matrix")) {
      if (!nzchar(system.file(package = package))) next
      space <- asNamespace(package)
      for (name in ls(space, all.names = TRUE)) {
        if (is.function(space[[name]])) writeLines(deparse(space[[name]]))
      }
    }
    """
    done = subprocess.run(["Rscript", "--vanilla", "-e", code], capture_output=True, text=True, check=True)
    read = set(re.findall(r"""getOption\(["']([^"']+)["']""", done.stdout))
    assert {"digits", "contrasts", "emmeans"} <= read
    assert {name for name in read if not NOT_ASKED.search(name)} <= named().keys()
