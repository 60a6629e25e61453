"""Tables in HTML, LaTeX and Word by packages that not everybody has; each is imported when it is used."""

from __future__ import annotations

import hashlib
import importlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pymer4.errors import FileError, MissingLibrary, OptionError, shown
from pymer4.papers.content import Content
from pymer4.papers.plain import BAR, JOINT, symbols

_PACKAGES = {"great_tables": "great_tables", "docx": "python-docx"}


def html(sheet: Content) -> str:
    """Return the HTML of great_tables, with its style; limits stay on one line, and a wide table scrolls."""
    great_tables = _needed("great_tables")
    one_line = great_tables.style.css("white-space: nowrap;")
    return str(_great_table(sheet).tab_style(one_line, great_tables.loc.body()).as_raw_html())


def latex(sheet: Content) -> str:
    """Return the LaTeX of great_tables."""
    table = _great_table(sheet, lambda text: text.replace("|", BAR))
    text = symbols(table.tab_options(table_font_size="12px").as_latex())
    text = text.replace("<", r"\textless{}").replace(">", r"\textgreater{}")
    return text.replace("\\\\\n[", "\\\\\n{}[")  # else it were an argument of the line break


def docx(sheet: Content, path: str | os.PathLike[str]) -> None:
    """Write a Word file: made in memory, put beside its place under a name of its own, then renamed."""
    if not isinstance(path, (str, os.PathLike)) or not str(path).lower().endswith(".docx"):
        raise OptionError(f"path={shown(path)} has to end in .docx.")
    content, place = io.BytesIO(), Path(path)
    _document(sheet).save(content)
    beside = place.with_name(f".{place.name}.{os.getpid()}.new")
    try:
        with open(beside, "xb") as file:  # x follows no link
            file.write(content.getvalue())
        try:
            os.replace(beside, place)
        except OSError:
            beside.unlink()
            raise
    except OSError as error:
        raise FileError(
            f"{place} can't be written: {error.strerror or error}. Give a path in a directory that you may write to, "
            "and close the file where it is open. What was there before is unharmed."
        ) from error


def _needed(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingLibrary(
            f'This needs the package {_PACKAGES[module.partition(".")[0]]}: pip install "pymer4[tables]"'
        ) from error


def _great_table(sheet: Content, told: Callable[[str], str] = str) -> Any:
    great_tables = _needed("great_tables")
    import pandas as pd

    # Names are places, since two columns may have one label.
    rows = [tuple(map(told, (part.heading, *row))) for part in sheet.parts for row in part.rows]
    names = [str(place) for place in range(2 + len(sheet.columns))]
    cells = pd.DataFrame(rows, columns=names)
    # The style of a table is bound to its id: one that its content gives is the same each time.
    mark = "pymer4-" + hashlib.sha256(repr(sheet).encode()).hexdigest()[:10]
    table = great_tables.GT(cells, rowname_col="1", groupname_col="0", id=mark)
    table = table.tab_header(told(sheet.title), told("; ".join(sheet.facts))).cols_align("right", columns=names[2:])
    labels = [told(label).replace("{{", f"{{{JOINT}{{") for label in sheet.columns]  # else they were units
    table = table.cols_label(dict(zip(names[2:], labels, strict=True)))
    for note in sheet.notes:
        table = table.tab_source_note(told(note))
    return table


def _document(sheet: Content) -> Any:
    """Return a document with three rules, as journals have them: above and below the headings, and at the end."""
    document = _needed("docx").Document()
    document.add_paragraph().add_run(sheet.title).bold = True
    for fact in sheet.facts:
        document.add_paragraph(fact).paragraph_format.space_after = 0
    table = document.add_table(rows=0, cols=1 + len(sheet.columns))
    _fill(table.add_row().cells, ("", *sheet.columns))
    _ruled(table.rows[0], "top", "bottom")
    for part in sheet.parts:
        _fill(table.add_row().cells, (part.heading,), bold=True)
        for row in part.rows:
            _fill(table.add_row().cells, row)
    _ruled(table.rows[-1], "bottom")
    for note in sheet.notes:
        document.add_paragraph(note).paragraph_format.space_after = 0
    return document


def _fill(cells: Any, texts: tuple[str, ...], bold: bool = False) -> None:
    right = _needed("docx.enum.text").WD_ALIGN_PARAGRAPH.RIGHT
    for place, text in enumerate(texts):
        paragraph = cells[place].paragraphs[0]
        paragraph.paragraph_format.space_after = 0
        paragraph.add_run(text).bold = bold
        if place:
            paragraph.alignment = right


def _ruled(row: Any, *edges: str) -> None:
    """Draw edges of all cells of a row, which the package has no verb for."""
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    for cell in row.cells:
        borders = OxmlElement("w:tcBorders")
        for edge in edges:
            line = OxmlElement(f"w:{edge}")
            for name, value in (("val", "single"), ("sz", "8"), ("color", "auto")):
                line.set(qn(f"w:{name}"), value)
            borders.append(line)
        cell._tc.get_or_add_tcPr().append(borders)
