"""Tables in Markdown, HTML and LaTeX by our own hands, as notebooks show them."""

from __future__ import annotations

import html as escaping
import re
from collections.abc import Sequence

from pymer4.papers.content import Content

_MARKED = re.compile(r"([\\`*_|~$^])")
_TAG, _ENTITY = re.compile(r"<(?=[A-Za-z/!?])"), re.compile(r"&(?=#?\w+;)")
_LINKED = re.compile(r"\](?=[(\[:])")

_LATEX = {
    **{char: f"\\{char}" for char in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",
}
BAR, JOINT = "\N{DIVIDES}", "\N{WORD JOINER}"
"""What stands for `|` where that would be kept as it is, and what parts signs that would mean something together."""

SYMBOLS = {
    "−": "$-$",
    "∞": r"$\infty$",
    "²": r"\textsuperscript{2}",
    "≤": r"$\le$",
    "—": "---",
    "×": r"$\times$",
    BAR: r"\textbar{}",
    JOINT: "",
}
"""What stands for our own signs that pdfLaTeX has no glyph for."""

# Every rule begins with the class, so that nothing else on the page is touched. Colours go in pairs, those of the
# notebook or of the theme of a site where it names them: a page that is dark for a reason of its own shows a light
# sheet, never dark text on a dark ground. Notebooks colour rows by rules that take precedence over plain ones.
_STYLE = """\
.pymer4-sheet{--pymer4-page:#fff;--pymer4-ink:#1f2328;display:inline-block;max-width:100%;overflow-x:auto;
padding:.6em .9em;border-radius:6px;font-size:13px;line-height:1.4;text-align:left;
background:var(--jp-layout-color0,var(--vscode-editor-background,
var(--pst-color-background,var(--color-background-primary,var(--pymer4-page)))));
color:var(--jp-content-font-color1,var(--vscode-editor-foreground,
var(--pst-color-text-base,var(--color-foreground-primary,var(--pymer4-ink)))))}
.pymer4-sheet table{border-collapse:collapse;color:inherit;font-size:inherit;margin:.4em 0;border:0;
font-variant-numeric:tabular-nums}
.pymer4-sheet th,.pymer4-sheet td{padding:.15em .7em;border:0;text-align:right;white-space:nowrap;font-weight:normal}
.pymer4-sheet tr,.pymer4-sheet th,.pymer4-sheet td{background:none!important;color:inherit!important}
.pymer4-sheet th[scope=row],.pymer4-sheet th[scope=rowgroup],.pymer4-sheet thead th:first-child{text-align:left}
.pymer4-sheet thead th{border-top:1.5px solid;border-bottom:1px solid;font-weight:600}
.pymer4-sheet th[scope=rowgroup]{font-weight:600;padding-top:.5em}
.pymer4-sheet tbody:last-child tr:last-child>*{border-bottom:1.5px solid}
.pymer4-sheet p{margin:0;max-width:60em;color:inherit}
.pymer4-sheet .pymer4-notes{opacity:.75}
@media (max-width:500px){.pymer4-sheet{font-size:11px;padding:.5em}
.pymer4-sheet th,.pymer4-sheet td{padding:.15em .3em}}
@media (prefers-color-scheme:dark){.pymer4-sheet{--pymer4-page:#1e2024;--pymer4-ink:#e6e8eb}}"""


def markdown(sheet: Content) -> str:
    """Return a table with pipes; the heading of a part is a row in bold face."""
    above = "  \n".join([f"**{_markdown(sheet.title)}**", *map(_markdown, sheet.facts)])
    if not sheet.parts:
        return above
    rows = [("", *map(_markdown, sheet.columns))]
    for part in sheet.parts:
        rows += [(f"**{_markdown(part.heading)}**", *[""] * len(sheet.columns))] if part.heading else []
        rows += [tuple(map(_markdown, row)) for row in part.rows]
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_piped(row, widths) for row in rows]
    lines.insert(1, _piped(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])], widths))
    return "\n\n".join([above, "\n".join(lines), *(["  \n".join(map(_markdown, sheet.notes))] if sheet.notes else [])])


def html(sheet: Content) -> str:
    """Return a table with a style of its own, which follows the reader's choice of light or dark; no script."""
    span = 1 + len(sheet.columns)
    head = "".join(f'<th scope="col">{_html(name)}</th>' for name in ("", *sheet.columns))
    bodies = []
    for part in sheet.parts:
        heading = f'<tr><th colspan="{span}" scope="rowgroup">{_html(part.heading)}</th></tr>'
        rows = [heading] if part.heading else []
        for label, *cells in part.rows:
            row = "".join(f"<td>{_html(cell)}</td>" for cell in cells)
            rows.append(f'<tr><th scope="row">{_html(label)}</th>{row}</tr>')
        bodies.append(f"<tbody>{''.join(rows)}</tbody>")
    facts = "".join(f"<p>{_html(fact)}</p>" for fact in sheet.facts)
    notes = "".join(f'<p class="pymer4-notes">{_html(note)}</p>' for note in sheet.notes)
    table = f"<table><thead><tr>{head}</tr></thead>\n{''.join(bodies)}</table>\n" if bodies else ""
    title = f"<p><b>{_html(sheet.title)}</b></p>"
    return f'<div class="pymer4-sheet"><style>{_STYLE}</style>{title}{facts}{table}{notes}</div>'


def latex(sheet: Content) -> str:
    """Return a tabular for the package booktabs."""
    rows = [_row(("", *sheet.columns)), r"\midrule"]
    for place, part in enumerate(sheet.parts):
        rows += [r"\addlinespace"] if place else []
        heading = rf"\multicolumn{{{1 + len(sheet.columns)}}}{{l}}{{\textbf{{{latex_text(part.heading)}}}}} \\"
        rows += [heading] if part.heading else []
        rows += map(_row, part.rows)
    body = "\n".join([rf"\begin{{tabular}}{{l{'r' * len(sheet.columns)}}}", r"\toprule", *rows, r"\bottomrule"])
    above, below = (r" \\ {}".join(map(latex_text, lines)) for lines in (sheet.facts, sheet.notes))
    title = rf"\textbf{{{latex_text(sheet.title)}}} \\ {above}"
    if not sheet.parts:
        return f"\\begin{{flushleft}}\n{title}\n\\end{{flushleft}}"
    return f"\\begin{{flushleft}}\n{title} \\\\\n{body}\n\\end{{tabular}} \\\\\n{{\\small {below}}}\n\\end{{flushleft}}"


def latex_text(text: str) -> str:
    """Return a text in which nothing is special to LaTeX."""
    return symbols("".join(_LATEX.get(char, char) for char in text))


def symbols(text: str) -> str:
    """Return LaTeX without our own signs that pdfLaTeX has no glyph for."""
    return "".join(SYMBOLS.get(char, char) for char in text)


def _row(cells: Sequence[str]) -> str:
    """Return a row; a bracket at its start would be an argument of the row before."""
    text = " & ".join(map(latex_text, cells))
    return rf"{{}}{text} \\" if text.lstrip().startswith("[") else rf"{text} \\"


def _piped(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
    return f"| {' | '.join([cells[0].ljust(widths[0]), *padded[1:]])} |"


def _markdown(text: str) -> str:
    text = _TAG.sub("&lt;", _ENTITY.sub("&amp;", _MARKED.sub(r"\\\1", text)))
    return _LINKED.sub("&#93;", text)


def _html(text: str) -> str:
    return escaping.escape(text)
