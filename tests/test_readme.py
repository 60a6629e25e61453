"""README.md: what its first example prints is what it says."""

import contextlib
import io
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.r

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


def test_the_first_example_prints_what_stands_below_it():
    example = re.search(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    code, written = example.groups()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert printed.getvalue().rstrip().splitlines() == written.rstrip().splitlines()


def test_there_is_no_other_python():
    assert README.count("```python") == 1
