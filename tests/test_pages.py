"""The pages: each call in a column headed `pymer4`, beside other software's, runs; pictures stand alone."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"
PAGES = ["from_r/lme4.md", "from_r/lmertest.md", "from_r/emmeans.md", "from_old/0.9.md"]

pytestmark = pytest.mark.r


def calls(text: str) -> Iterator[str]:
    """Return the code of a page in its order: its cells, and in tables what the column `pymer4` has in backticks."""
    cell: list[str] | None = None
    column: int | None = None
    for line in text.splitlines():
        if cell is not None:
            if line == "```":
                yield "\n".join(cell)
                cell = None
            else:
                cell.append(line)
        elif line.startswith("```{code-cell}"):
            cell = []
        elif not line.startswith("|"):
            column = None
        else:
            entries = [entry.strip().replace("\\|", "|") for entry in re.split(r"(?<!\\)\|", line)]
            if column is None:
                column = entries.index("pymer4") if "pymer4" in entries else 0
            elif column:
                yield from re.findall("`([^`]+)`", entries[column])


def test_the_calls_of_a_page_are_its_cells_and_columns() -> None:
    lines = ["```{code-cell} python", "a = 1", "```", "", "| R | pymer4 |", "| --- | --- |"]
    lines += ["| `x` | `f('a \\| b')`, `g()` |", "", "| R | so |", "| - | - |", "| `x` | `h` |"]
    assert list(calls("\n".join(lines))) == ["a = 1", "f('a | b')", "g()"]


def bare_pictures(text: str) -> list[str]:
    """Return the cells that end in a call which draws and show what it returns, beside the picture."""
    cells = re.findall(r"^```\{code-cell\}[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    found = []
    for cell in cells:
        code = re.sub(r"^:.*\n", "", cell, flags=re.MULTILINE).strip()
        last = (ast.parse(code).body or [None])[-1]
        call = last.value if isinstance(last, ast.Expr) else None
        name = call.func.attr if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) else ""
        if re.match("plot|legend|hist|set", name) and not code.endswith(";"):
            found.append(code)
    return found


def test_a_cell_that_draws_shows_the_picture_alone() -> None:
    text = "```{code-cell} python\n:tags: [x]\n\nm.plot_qq()%s\n```\n"
    assert bare_pictures(text % "") == ["m.plot_qq()"] and not bare_pictures(text % ";")
    pages = [path for path in DOCS.rglob("*.md") if "_build" not in path.parts]
    assert len(pages) > 50
    assert {path.name: found for path in pages if (found := bare_pictures(path.read_text("utf-8")))} == {}


@pytest.mark.parametrize("page", PAGES)
def test_every_call_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    space: dict[str, object] = {"__name__": "page"}
    code = list(calls((DOCS / page).read_text("utf-8")))
    assert len(code) > 10
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for call in code:
            try:
                exec(compile(call, page, "exec"), space)
            except Exception as error:
                pytest.fail(f"{page}: {call}\n{type(error).__name__}: {error}")
