"""What `make demo` runs: it says where everything is, and everything is there."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.image import imread

from pymer4 import load_model

pytestmark = pytest.mark.r
ROOT = Path(__file__).parents[1]


class Page(HTMLParser):
    """The tags of a page, those that are open, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen, self.open, self.text, self.pictures = [], [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.pictures += [dict(attrs)["src"]] if tag == "img" else []
        self.open += [tag] if tag in ("table", "div", "p", "h1") else []

    def handle_endtag(self, tag):
        if tag in ("table", "div", "p", "h1"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> tuple[Path, str]:
    """The folder that it ran in, and what it printed."""
    place = tmp_path_factory.mktemp("demo")
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, ROOT / "examples/sleepstudy.py"], cwd=place, text=True, capture_output=True,
                          check=True, env={**os.environ, "PYTHONPATH": paths})  # fmt: skip
    return place, done.stdout


def test_it_fits_a_terminal(demo):
    assert max(map(len, demo[1].splitlines())) <= 80


def test_it_names_the_files_that_it_made_and_what_there_is_to_read(demo):
    place, told = demo
    made = {str(path.relative_to(place)) for path in (place / "demo").iterdir()}
    assert made == {f"demo/sleepstudy.{ending}" for ending in ("png", "h5", "robj", "html")}
    for path in made:
        assert Path(path).name in told and (place / path).stat().st_size > 1000
    last = told.strip().splitlines()[-1]
    named = re.findall(r"[\w./]+\.md|\w+/(?!\w)", last)
    assert last.startswith("Read next") and len(named) >= 3 and all((ROOT / name).exists() for name in named)
    assert "demo/" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_picture_is_a_picture(demo):
    image = imread(demo[0] / "demo/sleepstudy.png")
    assert image.shape[1] > 1000 and image.std() > 0.05


def test_the_page_holds_the_report_the_picture_and_the_table(demo):
    page = Page((demo[0] / "demo/sleepstudy.html").read_text("utf-8"))
    assert page.open == [] and "script" not in page.seen and page.seen.count("table") == 1
    assert page.pictures == ["sleepstudy.png"]
    assert "We fitted a linear mixed model" in page.text and "[7.44, 13.50]" in page.text


def test_the_file_gives_the_model_back(demo):
    model = load_model(demo[0] / "demo/sleepstudy.h5")
    assert model.coefs.loc["Days", "Estimate"] == pytest.approx(10.467286, abs=1e-5)
