"""Tables of texts: every format gives back what went in, however it is spelled."""

from __future__ import annotations

import builtins
import os
import re
import sys
from html.parser import HTMLParser

import docx
import pytest

from pymer4.errors import FileError, MissingLibrary, OptionError
from pymer4.papers.content import Part
from pymer4.papers.numbers import number, p_value, share
from pymer4.papers.plain import JOINT, SYMBOLS
from pymer4.papers.sheet import Sheet

ODD = [
    "<b>x</b> & y",
    r"a|b\c_d*e`f`",
    "C(g)[T.b](u)",
    "$x^2$ ~ #1 {5 %}",
    '"quoted" &amp; ok',
    "ünï | μ",
    "[1] bracket",
]


@pytest.fixture
def sheet() -> Sheet:
    rows = tuple((name, "−1.2", "[−2.0, 3]") for name in ODD)
    return Sheet(
        ODD[0], (ODD[3],), ("Estimate", "{{x}} %"), (Part(ODD[1], rows), Part("Fit", (("N", "3"),))), (*ODD[-2:],)
    )


class Cells(HTMLParser):
    """The texts of the cells of a page, a list a row, and the tags that it has."""

    def __init__(self, page: str):
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.rows += [[]] if tag == "tr" else []
        self.inside = self.inside or tag in ("td", "th")
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data


def expected(sheet: Sheet) -> list[list[str]]:
    return [list(row) for part in sheet.parts for row in part.rows]


@pytest.mark.parametrize("way", ["_repr_html_", "to_html"])
def test_html_gives_the_cells_back(sheet, way):
    page = Cells(getattr(sheet, way)())
    assert [row for row in page.rows if len(row) == 3][-len(ODD) - 1 :] == expected(sheet)
    heads = [row for row in page.rows if "Estimate" in row]
    assert [head.replace(JOINT, "") for head in heads[0]] == ["", *sheet.columns]
    assert not page.tags & {"script", "b"} - ({"b"} if way == "_repr_html_" else set())


def test_limits_stay_on_one_line_of_html(sheet):
    cells = re.findall("<td[^>]*>", sheet.to_html().split("<tbody", 1)[1].split("</tbody>")[0])
    held = [cell for cell in cells if "nowrap" in cell]
    assert len(held) >= len(ODD) * len(sheet.columns)


def test_the_style_of_a_notebook_touches_nothing_else(sheet):
    style = re.search("<style>(.*)</style>", sheet._repr_html_(), re.S)[1]
    selectors = re.findall(r"([^{}]+)\{", re.sub(r"@media \([a-z-]+:\w+\)\{", "", style))
    assert len(selectors) > 8
    assert all(part.strip().startswith(".pymer4-sheet") for each in selectors for part in each.split(","))


def plain_latex(text: str) -> str:
    """Return what LaTeX prints of a line of text."""
    names = {"textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textless": "<", "textgreater": ">"}
    names |= {"textbar": "|", "char34": '"'}
    text = re.sub(r"\\(\w+)\{\}", lambda found: names[found[1]], text)
    for sign, code in SYMBOLS.items() - {(JOINT, "")}:
        text = text.replace(code, sign)
    return re.sub(r"\\([&%$#_{}])", r"\1", text.removeprefix("{}"))


@pytest.mark.parametrize("way", ["_repr_latex_", "to_latex"])
def test_latex_gives_the_cells_back(sheet, way):
    text = getattr(sheet, way)()
    rows = [re.split(r" (?<!\\)& ", line.removesuffix(r" \\")) for line in text.splitlines() if line.endswith(r"] \\")]
    assert [[plain_latex(cell) for cell in row] for row in rows] == expected(sheet)[: len(ODD)]
    assert r"\{\{x\}\} \%" in text and not re.search(r"\\\\\s+\[", text)
    assert text.count(r"\begin{") == text.count(r"\end{") and text.isascii() == ("ü" not in text)


def test_markdown_gives_the_cells_back(sheet):
    lines = [line for line in sheet.to_markdown().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    assert {len(row) for row in cells} == {3} and len({len(line) for line in lines}) == 1
    back = [[re.sub(r"\\([\\`*_|~$^])", r"\1", cell) for cell in row] for row in cells]
    for entity, char in (("&lt;", "<"), ("&#93;", "]"), ("&amp;", "&")):
        back = [[cell.replace(entity, char) for cell in row] for row in back]
    assert back[3 : 3 + len(ODD)] == expected(sheet)[: len(ODD)]
    assert not re.search(r"\]\(|<\w", sheet.to_markdown())


def test_word_gives_the_cells_back(sheet, tmp_path):
    path = tmp_path / "table.docx"
    path.write_bytes(b"what was there")
    sheet.to_docx(path)
    document = docx.Document(str(path))
    rows = [[cell.text for cell in row.cells] for row in document.tables[0].rows]
    assert [row for row in rows if row[1] and row[0]] == expected(sheet)
    assert [each.text for each in document.paragraphs] == [ODD[0], ODD[3], *ODD[-2:]]
    assert os.listdir(tmp_path) == ["table.docx"]


def test_what_no_format_takes_is_left_out(tmp_path):
    sheet = Sheet("a\x00\x1b[0m\ud800\nb", (), ("x",), (Part("p", (("\x07r", "1"),)),))
    assert sheet.title == "a [0m b" and sheet.parts[0].rows == (("r", "1"),)
    sheet.to_docx(tmp_path / "x.docx")
    assert sheet.to_latex() and sheet.to_html()


@pytest.mark.parametrize("place", ["missing/x.docx", "folder.docx"])
def test_a_place_that_cannot_be_written_is_told_and_nothing_is_left(sheet, tmp_path, place):
    (tmp_path / "folder.docx").mkdir()
    with pytest.raises(FileError, match="can't be written"):
        sheet.to_docx(tmp_path / place)
    assert os.listdir(tmp_path) == ["folder.docx"]


@pytest.mark.parametrize("path", ["x.doc", 3, "docx"])
def test_another_ending_is_refused(sheet, path):
    with pytest.raises(OptionError, match=r"end in \.docx"):
        sheet.to_docx(path)


@pytest.mark.parametrize(("way", "package", "named"), [
    ("to_html", "great_tables", "great_tables"), ("to_latex", "great_tables", "great_tables"),
    ("to_docx", "docx", "python-docx"),
])  # fmt: skip
def test_a_missing_package_is_named_with_the_command(sheet, tmp_path, monkeypatch, way, package, named):
    real = builtins.__import__

    def without(name, *rest):
        if name.partition(".")[0] in (package, "tabulate"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingLibrary, match=rf'{named}: pip install "pymer4\[tables\]"'):
        getattr(sheet, way)(*([tmp_path / "x.docx"] if way == "to_docx" else []))
    assert os.listdir(tmp_path) == []
    assert sheet.to_markdown() and sheet._repr_html_() and sheet._repr_latex_()


def test_a_terminal_shows_80_columns():
    columns = tuple(f"Model {i}" for i in range(6))
    rows = tuple((f"term {i}", *["251.41*** [238.03, 264.78]"] * 6) for i in range(3))
    text = repr(Sheet("T", ("word " * 40,), columns, (Part("P", rows),), ("note " * 30,)))
    assert max(map(len, text.splitlines())) <= 80 and text.count("264.78") == 18


@pytest.mark.parametrize("value", [0.000123456, -0.0123456, 3.2e-9, 0.99999, 251.4, 4.56e12, -7e-300])
def test_a_number_keeps_its_significant_digits(value):
    assert float(number(value).replace("−", "-")) == pytest.approx(value, rel=6e-2)
    assert float(number(value, 5).replace("−", "-")) == pytest.approx(value, rel=6e-5)


def test_shares_and_p_have_no_leading_zero():
    assert [share(value) for value in (0.004, 0.999, -1.0, float("nan"))] == [".00", "1.00", "−1.00", "—"]
    assert [p_value(value) for value in (0.0, 0.001, 0.05, 1.0, float("nan"))] == [
        "< .001",
        ".001",
        ".050",
        "> .999",
        "—",
    ]
