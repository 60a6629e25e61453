"""A table of a paper, with the ways out of it."""

from __future__ import annotations

import os
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Iterable

import pandas as pd

from pymer4.papers import plain, rendered
from pymer4.papers.content import Content

WIDTH = 80
"""Columns of a terminal."""


class Shown(ABC):
    """What notebooks show as a table."""

    __slots__ = ()

    @abstractmethod
    def _shown(self) -> Content: ...

    def _repr_html_(self) -> str:
        return plain.html(self._shown())

    def _repr_markdown_(self) -> str:
        return plain.markdown(self._shown())

    def _repr_latex_(self) -> str:
        return plain.latex(self._shown())


class Sheet(Shown, Content):
    """A table that notebooks show, and that Markdown, HTML, LaTeX and Word take; see `Content` for what it holds."""

    __slots__ = ()

    def to_frame(self) -> pd.DataFrame:
        """Return the cells as a frame of texts, indexed by part and label."""
        rows = [(part.heading, *row) for part in self.parts for row in part.rows]
        index = pd.MultiIndex.from_tuples([row[:2] for row in rows], names=[None, None])
        return pd.DataFrame([row[2:] for row in rows], index=index, columns=self.columns)

    def to_markdown(self) -> str:
        """Return the table in Markdown, with pipes."""
        return plain.markdown(self)

    def to_html(self) -> str:
        """Return the table in HTML, by the package great_tables.

        Raises:
            MissingLibrary: great_tables is not installed; the message has the command that installs it.
        """
        return rendered.html(self)

    def to_latex(self) -> str:
        """Return the table in LaTeX for the packages booktabs and caption, by the package great_tables.

        Raises:
            MissingLibrary: great_tables is not installed; the message has the command that installs it.
        """
        return rendered.latex(self)

    def to_docx(self, path: str | os.PathLike[str]) -> None:
        """Write the table into a new Word file, by the package python-docx. What is there is replaced.

        Raises:
            MissingLibrary: python-docx is not installed; the message has the command that installs it.
            FileError: the file can't be written; what was there stays.
        """
        rendered.docx(self, path)

    def __repr__(self) -> str:
        """Return the table as a terminal shows it."""
        lines = wrapped((self.title, *self.facts))
        for part in self.parts:
            cells = pd.DataFrame([row[1:] for row in part.rows], [row[0] for row in part.rows], list(self.columns))
            lines += ["", part.heading, cells.to_string(line_width=WIDTH)]
        return "\n".join([*lines, "", *wrapped(self.notes)])

    def _shown(self) -> Content:
        return self


def wrapped(lines: Iterable[str]) -> list[str]:
    """Return lines of text broken at blanks, so that each fits a terminal; what goes on is indented."""
    found: list[str] = []
    for line in lines:
        for piece in line.split("\n"):
            how = {"subsequent_indent": "    ", "break_long_words": False, "break_on_hyphens": False}
            fits = len(piece) <= WIDTH
            found += [piece] if fits else textwrap.wrap(piece, WIDTH, drop_whitespace=True, **how)  # type: ignore[arg-type]
    return found
