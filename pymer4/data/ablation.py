"""Formulas with a term less: taken apart by patsy, random effects and names in backticks set aside meanwhile."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

from pymer4.data.formula_errors import advice
from pymer4.data.terms import Names, Terms, going_with, tree
from pymer4.errors import FormulaError, OptionError, items, near, shown

_PIECE = re.compile(
    r"""`(?:\\.|[^`\\])+`|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|(?:(?P<called>[\w.]+)\s*)?[(\[{]|[)\]}]|\|"""
)
_STRUCTURES = (None, "us", "diag", "cs", "ar1")  # what may stand before the parenthesis of a random-effects term


def build_ablated_formula(
    response_var: str, source_terms: Sequence[str], ablate_term: str, random_terms: Sequence[str] = ()
) -> str:
    """Return a formula without one of its terms; a main effect takes its interactions along, an interaction itself.

    Args:
        response_var: left side.
        source_terms: terms of the fixed part but for the intercept, which the formula has.
        ablate_term: the one to leave out; `"b:a"` is `"a:b"`.
        random_terms: random-effects terms, which stay.

    Raises:
        OptionError: a term that is not among them.
        FormulaError: a term that can't be read.

    Examples:
        >>> build_ablated_formula("y", ["x", "z", "x:z"], "x", ("(1|group)",))
        'y ~ z + (1|group)'
    """
    aside = _Aside()
    texts: dict[Any, str] = {}
    for text in _texts("source_terms", source_terms):
        found = aside.terms_in(text)
        texts |= {term: text if len(found) == 1 else aside.back(term.name()) for term in found}
    target = aside.term(ablate_term)
    if target not in texts:
        legal = ", ".join(texts.values())
        raise OptionError(
            f"ablate_term={ablate_term!r} is no term of the formula, which has: {legal or 'none'}."
            f"{near(ablate_term, texts.values())}"
        )
    kept = [text for term, text in texts.items() if term not in going_with(target, texts)]
    bars = _texts("random_terms", [random_terms] if isinstance(random_terms, str) else random_terms)
    return f"{_texts('response_var', [response_var])[0]} ~ {' + '.join([*(kept or ['1']), *bars])}"


def remove_predictor_from_formula(formula: str, predictor: str) -> str:
    """Return a formula without the terms of a predictor: all in which it is used, be it as `C(x)`, `log(x)` or `x:z`.

    Random effects stay as they are. What has no term comes back as it was given.

    Args:
        formula: in what patsy and R's language have in common; columns may stand in backticks.
        predictor: a column, or a term such as `"log(x)"` or `"x:z"`.

    Raises:
        FormulaError: a formula or a predictor that can't be read.

    Examples:
        >>> remove_predictor_from_formula("y ~ a + b + c", "b")
        'y ~ a + c'
        >>> remove_predictor_from_formula("y ~ factor(a) * b + (1 + a | g)", "a")
        'y ~ b + (1 + a | g)'
    """
    aside = _Aside()
    terms = aside.read(formula)
    right = terms.sides[1]
    name = _texts("predictor", [predictor])[0].strip().strip("`")
    gone = {term for term in right if any(name in aside.used(factor) for factor in term.factors)}
    gone = gone or going_with(aside.term(predictor), right)
    if not gone:
        return formula
    kept = [term for term in right if term.factors and term not in gone]
    texts = [aside.back(term.name()) for term in kept]
    if not terms.has_intercept or not any(term.name() not in aside.bars for term in kept):
        texts.insert(0, str(int(terms.has_intercept)))
    return f"{aside.back(terms.label)} ~ {' + '.join(texts)}".lstrip()


def parse_value(s: str) -> float | str:
    """Return the number that a text spells, or else the text, without the quotes that it may stand in.

    Raises:
        TypeError: what is no text.

    Examples:
        >>> parse_value("3.14"), parse_value("hello"), parse_value("'1'")
        (3.14, 'hello', '1')
    """
    if not isinstance(s, str):
        raise TypeError(f"parse_value() takes text, not {shown(s)}.")
    text = s.strip()
    try:
        return float(text)
    except ValueError:
        is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
        return text[1:-1] if is_quoted else text


def _texts(argument: str, given: Any) -> list[str]:
    found = items(given)
    if found is None or not all(isinstance(text, str) for text in found):
        raise FormulaError(f"{argument}={shown(given)} has to be text, term by term.")
    return found


class _Aside:
    """Random-effects terms and names in backticks, for each of which a plain name stands while patsy reads a text.

    Attributes:
        names: original text to the name that stands for it.
        bars: the names of those that are random-effects terms.
    """

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.bars: set[str] = set()

    def read(self, text: str, before: str = "") -> Terms:
        """Return a formula, or one part with what stands before it, taken apart; or a FormulaError."""
        import patsy

        if not isinstance(text, str):
            raise FormulaError(f"A formula or term has to be text, not {shown(text)}.")
        try:
            terms = Terms(before + self._without(text))
            for factor in terms.factors:
                tree(factor)
        except (patsy.PatsyError, SyntaxError) as error:
            said = self.back(str(getattr(error, "message", error)))
            raise FormulaError(f"{text!r} can't be read: {said}{advice(text, ())}") from error
        return terms

    def terms_in(self, text: str) -> list[Any]:
        """Return the terms that a text stands for on the right side."""
        return [term for term in self.read(text, "0 + ").sides[1] if term.factors]

    def term(self, text: str) -> Any:
        """Return the one term that a text is."""
        found = self.terms_in(text)
        if len(found) != 1:
            raise FormulaError(f"{text!r} stands for {len(found)} terms. Name one, such as 'x' or 'x:z'.")
        return found[0]

    def used(self, factor: Any) -> set[str]:
        """Return the columns, or dotted names, that a factor is made of."""
        return {self.back(name).strip("`") for name in _values(tree(factor))} | set(Names([factor]).quoted)

    def back(self, text: str) -> str:
        """Return a text with what was set aside in its place again."""
        for original, name in self.names.items():
            text = text.replace(name, original)
        return text

    def _without(self, text: str) -> str:
        """Return a text with names in the place of what can't be read by patsy."""
        written, opened, done = [""], [], 0
        for found in _PIECE.finditer(text):
            written[-1] += text[done : found.start()]
            piece, done = found[0], found.end()
            if piece[0] == "`":
                written[-1] += self._name(piece)
            elif piece[-1] in "([{" and piece[0] not in "'\"":
                opened.append([found.start(), found["called"] in _STRUCTURES and piece[-1] == "(", False])
                written.append(piece)
            elif piece in (")", "]", "}") and opened:
                (start, is_group, has_bar), inside = opened.pop(), written.pop() + piece
                original = text[start:done]
                written[-1] += self._name(original) if is_group and has_bar else inside
                self.bars |= {self.names[original]} if is_group and has_bar else set()
            else:
                written[-1] += piece
                if piece == "|" and opened:
                    opened[-1][2] = True
        return "".join(written) + text[done:]

    def _name(self, original: str) -> str:
        return self.names.setdefault(original, f"_set_aside_{len(self.names)}_")


def _values(node: ast.AST) -> set[str]:
    """Return the names, dotted ones whole, that stand for a value in an expression."""
    if isinstance(node, (ast.Name, ast.Attribute)):
        return {ast.unparse(node)}
    parts = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.Call):
        parts[0] = node.func.value if isinstance(node.func, ast.Attribute) else ast.Constant(None)
    return set().union(*map(_values, parts))
