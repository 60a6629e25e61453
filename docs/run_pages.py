"""Run the code of every page, and put what it prints and draws into the page.

A page is plain Markdown. Its ```python blocks run in order, as one script, in a process and an
empty directory of their own; ```py blocks are shown and never run. A ```text block right after a
```python block is what that block prints. The pages in docs/ and README.md stay as they are,
unless --write renews their ```text blocks; the site is built from copies in docs/_build/pages,
which have the fresh output, and a picture for every figure a block leaves open.

    python docs/run_pages.py                 run every page, and stop with status 1 if one fails
    python docs/run_pages.py index.md        run the pages named
    python docs/run_pages.py --check         also fail where a ```text block is not what is printed
    python docs/run_pages.py --write         renew the ```text blocks
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
STAGE = DOCS / "_build" / "pages"
BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:(?P<gap>\n*)^```text\n(?P<output>.*?)^```\n)?", re.MULTILINE | re.DOTALL
)


def run_blocks(page: Path, pictures: Path) -> list[dict]:
    """Run the blocks of one page in this process, up to the first that fails.

    Returns:
        for each block what it printed, the names of its pictures, and its traceback or None.
    """
    text = page.read_text("utf-8")
    space: dict = {"__name__": "__main__"}
    results: list[dict] = []
    for number, block in enumerate(BLOCK.finditer(text), 1):
        # Empty lines in front make the line numbers of a traceback those of the page.
        code = "\n" * text.count("\n", 0, block.start("code")) + block["code"]
        printed, failure = io.StringIO(), None
        with contextlib.redirect_stdout(printed):
            try:
                exec(compile(code, str(page), "exec"), space)
            except Exception:
                failure = traceback.format_exc()
        results.append({"printed": printed.getvalue(), "pictures": save_figures(pictures, number), "failure": failure})
        if failure:
            break
    return results


def save_figures(directory: Path, number: int) -> list[str]:
    """Save and close every open figure; returns the names of the files."""
    if "matplotlib.pyplot" not in sys.modules:
        return []
    plt = sys.modules["matplotlib.pyplot"]
    names = []
    for figure in plt.get_fignums():
        names.append(f"{directory.name}-{number}-{figure}.png")
        directory.parent.mkdir(parents=True, exist_ok=True)
        plt.figure(figure).savefig(directory.parent / names[-1], dpi=100, bbox_inches="tight")
    plt.close("all")
    return names


def with_results(text: str, results: list[dict], pictures: bool) -> str:
    """Return the page with fresh ```text blocks, and with its pictures where asked."""
    fresh = iter(results)

    def renew(block: re.Match) -> str:
        result = next(fresh)
        parts = [f"```python\n{block['code']}```\n"]
        if result["printed"].strip() and (block["output"] is not None or pictures):
            parts.append(f"{block['gap'] or ''}```text\n{result['printed'].rstrip()}\n```\n")
        parts += [f"\n![]({name})\n" for name in result["pictures"] if pictures]
        return "".join(parts)

    return BLOCK.sub(renew, text)


def run_page(page: Path, write: bool) -> tuple[bool, str]:
    """Run a page in a process of its own; returns whether it ran, and how its ```text blocks differ."""
    staged = STAGE / (page.relative_to(DOCS) if page.is_relative_to(DOCS) else page.name)
    staged.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as empty:
        answer = Path(empty) / "answer.json"
        command = [sys.executable, __file__, "--inside", str(answer), str(staged.with_suffix("")), str(page)]
        (Path(empty) / "work").mkdir()
        run = subprocess.run(command, cwd=Path(empty) / "work", env={**os.environ, "MPLBACKEND": "Agg"}, check=False)
        if run.returncode:
            return False, f"the process ended with status {run.returncode}"
        results = json.loads(answer.read_text("utf-8"))
    if results and results[-1]["failure"]:
        return False, results[-1]["failure"]
    text = page.read_text("utf-8")
    renewed = with_results(text, results, pictures=False)
    if page.is_relative_to(DOCS):
        staged.write_text(with_results(text, results, pictures=True), "utf-8")
    if write and renewed != text:
        page.write_text(renewed, "utf-8")
        return True, ""
    return True, "".join(difflib.unified_diff(text.splitlines(True), renewed.splitlines(True), "written", "printed"))


def main() -> int:
    """Run the pages; the exit status is 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--inside", nargs=2, type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        answer, pictures = asked.inside
        answer.write_text(json.dumps(run_blocks(asked.pages[0], pictures)), "utf-8")
        return 0

    pages = [page.resolve() for page in asked.pages]
    if not pages:
        shutil.rmtree(STAGE, ignore_errors=True)
        pages = [ROOT / "README.md", *sorted(p for p in DOCS.rglob("*.md") if "_build" not in p.parts)]
    status = 0
    for page in pages:
        ran, told = run_page(page, asked.write)
        print(f"{page.relative_to(ROOT)}: {'FAILED' if not ran else 'other output than written' if told else 'ok'}")
        print(told, end="")
        status |= not ran or bool(asked.check and told)
    return status


if __name__ == "__main__":
    sys.exit(main())
