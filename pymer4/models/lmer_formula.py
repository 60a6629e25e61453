"""A formula as R reads it, and what is wrong with one that R does not, with a caret under the place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pymer4.data.rformula import RFormula, as_record
from pymer4.errors import FormulaError, few, near
from pymer4.rbridge import bridge

_LIKE = "A formula has the form 'outcome ~ predictors + (1 | group)'"
_FAULTS = {
    "end": "The text ends where a term is due.",
    "no tilde": f"There is no '~'. {_LIKE}.",
    "no sides": f"'~' does not stand between two sides. {_LIKE}.",
    "no outcome": f"The outcome is missing before '~'. {_LIKE}.",
    "two tildes": f"There is more than one '~'. {_LIKE}.",
    "bar in bar": "There is a '|' inside a random-effects term. Each has its own parentheses: (1 | a) + (1 | b).",
    "no random term": "There is no random-effects term such as (1 | group). Use Lm for a model without one.",
    "no effect": "({said}) has no effect that differs between groups. Write (1 | group) for their means.",
    "no column": "{word!r} is not a column of the data.{near} The columns are: {have}.",
    "no function": "What stands before '(' is no function.",
    "constant": "{word!r} is a constant of R, not a variable.",
    "no name": "An argument needs its name, as in optimizer = 'bobyqa'.",
    "no value": "{word!r} has no value.",
    "twice": "{word!r} is given twice.",
}
_HINTS = {"<-": " R reads it as an assignment: write '< -'.", "=": " Compare with '=='."}
_RESERVED = " It is a reserved word of R: a column of that name goes in backticks."
_KEYWORD = re.compile(r"(?<![\w.])(?:if|else|repeat|while|function|for|next|break|in)\b")
_WORD = re.compile(r"[\w.]+|<<?-|->>?|\|[>|]?|&&?|[<>=!]=|:::?|:=|\[\[|.", re.DOTALL)
_KNOWN = re.compile(r"[\w\s.()\[\]{}+\-*/^<>=!&|~?:,;@$]")
_QUOTED = r"`(?:\\.|[^`\\])*`|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'"
_SPACE = re.compile(rf"{_QUOTED}|#[^\n]*|[^\S\n ]", re.DOTALL)
_BRACKET = re.compile(rf"{_QUOTED}|#[^\n]*|%[^%\n]*%|[()\[\]{{}}]", re.DOTALL)
_STRANGE = re.compile("[\0\ud800-\udfff]")
_CLOSES = {")": "(", "]": "[", "}": "{"}
_WIDEST = 110
_DEEPEST = 47  # brackets in one another; R reads 49 or 50, with the pair that it gets a text in


def read_formula(formula: Any, columns: Sequence[Any], beside: bool = False) -> RFormula:
    """Return R's reading of the formula of a mixed model for data of these columns; a FormulaError shows a fault.

    The outcome may be one that is given `beside` the data: a name that is none of theirs.
    """
    text = require_text(formula)
    names = [name for name in columns if isinstance(name, str) and name and not _STRANGE.search(name)]
    told = bridge.call("read_formula", formula=text, columns=names).value
    outcome = text.partition("~")[0].strip()
    if beside and told.get("fault") == "no column" and outcome.strip("`") == told["word"]:
        told = bridge.call("read_formula", formula=text, columns=[*names, told["word"]]).value
    if "fault" not in told:
        if told["written"] != text and len(names) < len(columns):
            raise FormulaError(
                f"'.' stands for all other columns, and R has no name for "
                f"{next(name for name in columns if name not in names)!r}. Rename it with data.rename(), or write the "
                f"predictors out.\n  {text}"
            )
        return as_record(told)
    known = {"near": near(told.get("word"), columns), "have": few(columns, 12, ", and")}
    no_tilde = told["fault"] == "unreadable" and "~" not in text
    error = _fault({"fault": "no tilde"} if no_tilde else told | known, text)
    raise FormulaError(f"{error}{_quotes_advised(told['unquoted'], text)}")


def argument_names(text: str) -> list[str]:
    """Return the names in a list of R's `name = value`; a FormulaError shows where that is none."""
    told = bridge.call("read_arguments", text=text).value
    if "fault" in told:
        raise _fault(told, text)
    return told["names"]


def require_text(formula: Any) -> str:
    """Return a formula without outer white space; one that is no text, or empty, is a `FormulaError`."""
    if not isinstance(formula, str):
        given = type(formula).__name__
        raise FormulaError(f"formula must be a str, got {given}. The formula comes first: Lmer(formula, data).")
    if not formula.strip():
        raise FormulaError(f"The formula is empty. {_LIKE}.")
    return readable(formula.strip())


def readable(text: str) -> str:
    """Return a text with a blank for each white space that R does not take for one."""
    strange = _STRANGE.search(text)
    if strange:
        raise error_at(f"{strange[0]!r} can't be read here.", text, strange.start())
    return _SPACE.sub(lambda found: " " if found[0].isspace() else found[0], text)


def _fault(told: Mapping[str, Any], text: str) -> FormulaError:
    """Return the error of a fault that R told of."""
    at = _place(told, text)
    if told["fault"] in _FAULTS:
        return error_at(_FAULTS[told["fault"]].format(**told), text, at)
    if told["fault"] == "unreadable" and (at >= len(text) or text[at] in _CLOSES):
        unpaired = _unpaired(text)
        if unpaired is not None:
            return unpaired
        if "line" not in told and "said" in told:
            if "|>" in text and "\\" not in text:
                return error_at("'|>' needs a function call on its right, such as log().", text, text.index("|>"))
            return FormulaError(f"R can't read this: {told['said']}.\n  {text[:_WIDEST]}")
    return _unexpected(text, at)


def _place(told: Mapping[str, Any], text: str) -> int:
    """Return the place in the text that R told of; its end where R told of none, or of one beyond."""
    lines, line = text.split("\n"), told.get("line", 0)
    if not 0 < line <= len(lines):
        return len(text)
    return sum(len(above) + 1 for above in lines[: line - 1]) + told["column"] - 1


def _unexpected(text: str, at: int) -> FormulaError:
    """Return the error of a word that has no business in its place."""
    if at >= len(text):
        return error_at(_FAULTS["end"], text, at)
    before = [found for found in _KEYWORD.finditer(text, 0, at) if not text[found.end() : at].strip()]
    at = before[0].start() if before else at
    char, word = text[at], _WORD.findall(text, at)[0]
    if char in "'\"`":
        return error_at(f"{char!r} can't be read here. What it opens is empty or never closed.", text, at)
    if char.isdigit() and not char.isascii():
        return error_at(f"{char!r} is no part of a name unless in backticks.", text, at)
    if not _KNOWN.match(char):
        return error_at(f"{char!r} can't be read here.", text, at)
    hint = _RESERVED if _KEYWORD.fullmatch(word) else _HINTS.get(word, "")
    return error_at(f"{word!r} is not expected here.{hint}", text, at)


def _unpaired(text: str) -> FormulaError | None:
    """Return the error of a bracket without a partner, of one too many in others, or of a name without a letter."""
    opened = []
    for found in _BRACKET.finditer(text):
        char, at = found[0], found.start()
        if char == "``":
            return error_at("'`' can't be read here. What it opens is empty or never closed.", text, at)
        if char in _CLOSES.values():
            opened.append((char, at))
        elif char in _CLOSES:
            if not opened:
                return error_at(f"{char!r} closes nothing.", text, at)
            if opened.pop()[0] != _CLOSES[char]:
                return error_at(f"{char!r} closes another kind of bracket.", text, at)
        if len(opened) > _DEEPEST:
            return error_at("The text is nested too deeply to be read.", text, at)
    return error_at(f"{opened[-1][0]!r} is never closed.", text, opened[-1][1]) if opened else None


def _quotes_advised(names: Iterable[str], text: str) -> str:
    """Return how to write the columns in a text whose names R does not read bare, on a line of its own."""
    bare = [name for name in names if name in text and f"`{name}`" not in text and "`" not in name]
    odd = [f"`{name}`" for name in bare if re.search(r"[^\W\d]|_", name)]
    return f"\nA name that R does not read bare goes in backticks: {', '.join(odd)}." if odd else ""


def error_at(message: str, text: str, at: int) -> FormulaError:
    """Return an error that shows the line of the text with a caret under place `at`."""
    start = text.rfind("\n", 0, at) + 1
    line, column = text[start:].split("\n")[0].rstrip().expandtabs(1), at - start
    if column > 70:
        line, column = "..." + line[column - 60 :], 63
    if len(line) > _WIDEST:
        line = line[: _WIDEST - 3] + "..."
    return FormulaError(f"{message}\n  {line}\n  {' ' * column}^")
