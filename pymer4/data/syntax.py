"""The tree of an R expression, and how a tree is written as text that R reads back.

Three kinds of node cover the language of formulas: names, literals and calls. An
operator is a call as well; the table of how tightly each one binds serves the
writer here and the parser in `grammar`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

NAME = r"(?:[^\W\d_]|\.(?![0-9]))[\w.]*"
"""The pattern of a name that needs no backticks, but for `foreign_in` and `is_reserved`."""

CONSTANT_WORDS = (
    "TRUE",
    "FALSE",
    "NULL",
    "NA",
    "NaN",
    "Inf",
    "NA_integer_",
    "NA_real_",
    "NA_character_",
    "NA_complex_",
)
_CODINGS = ("poly", "helmert", "sum", "treatment", "SAS")  # of C(), whatever else they stand for
_KEYWORDS = ("if", "else", "repeat", "while", "function", "for", "next", "break", "in", "...")
_ESCAPED = {"\\": "\\\\", "`": "\\`", "\n": "\\n", "\t": "\\t", "\r": "\\r"}

# Binding powers (left, right), in the order of R's help page ?Syntax.
COMPARISONS = ("<", ">", "<=", ">=", "==", "!=")
ACCESS = ("$", "@", "::", ":::")
_SPECIAL, _POSTFIX, _ATOM = (80, 80), 120, 1000
_BINARY = {"~": (10, 10), "|": (20, 20), "||": (20, 20), "&": (30, 30), "&&": (30, 30)}
_BINARY |= dict.fromkeys(COMPARISONS, (50, 50))
_BINARY |= {"+": (60, 60), "-": (60, 60), "*": (70, 70), "/": (70, 70), "|>": _SPECIAL, ":": (90, 90), "^": (111, 110)}
_BINARY |= dict.fromkeys(("(", "[", "[[", *ACCESS), (_POSTFIX, 0))
PREFIX = {"~": 10, "!": 40, "-": 100, "+": 100}


@dataclass(frozen=True, slots=True)
class Name:
    """A symbol, without backticks; the empty name is an argument left out, as in `x[, 1]`.

    `at`, the place in the text, takes no part in comparisons.
    """

    name: str
    at: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a string or a constant such as `TRUE`, spelled as in the text."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function or operator applied to arguments.

    Attributes:
        function: its name, such as `"log"`, `"+"`, `"("` or `"["`; a node where it is computed, as in `stats::poly(x)`.
        args: pairs of a keyword (or None) and a node.
        at: the place in the text, of the operator where there is one.
    """

    function: str | Node
    args: tuple[tuple[str | None, Node], ...]
    at: int = field(default=0, compare=False, repr=False)


Node = Name | Literal | Call


def deparse(node: Node) -> str:
    """Write a tree as R text that reads back as the same tree.

    An operator that binds too loosely for its place is written as a call, for parentheses would be one more node.

    Example:
        >>> from pymer4.data.formula import parse
        >>> deparse(parse("y~poly(x,2)+( 1|`a b` )").node)
        'y ~ poly(x, 2) + (1 | `a b`)'
        >>> total = Call("+", ((None, Name("a")), (None, Name("b"))))
        >>> deparse(Call("*", ((None, total), (None, Name("c")))))
        '`+`(a, b) * c'
    """
    return fold(node, children, _write).text


def fold(node: Node, below: Callable, combine: Callable) -> Any:
    """Combine each node with the results of its children, from the leaves up and without recursion.

    Args:
        node: the root.
        below: gives the children of a node that are to be visited.
        combine: makes a result of a node and the list of its children's.
    """
    stack, results = [(node, None)], []
    while stack:
        node, kids = stack.pop()
        if kids is None:
            kids = below(node)
            stack.append((node, kids))
            stack.extend((kid, None) for kid in reversed(kids))
        else:
            first = len(results) - len(kids)
            results[first:] = [combine(node, results[first:])]
    return results[0]


def children(node: Node) -> list[Node]:
    """Return the arguments of a call, after its function where that is computed."""
    if not isinstance(node, Call):
        return []
    computed = [] if isinstance(node.function, str) else [node.function]
    return computed + [arg for _, arg in node.args]


@dataclass(frozen=True, slots=True)
class _Written:
    """R text, how tightly its outermost operators bind on either side, and the same as a plain call."""

    text: str
    left: int = _ATOM
    right: int = _ATOM
    as_call: str = ""

    def where(self, fits: bool) -> _Written:
        return self if fits else _Written(self.as_call)


def _write(node: Node, kids: list[_Written]) -> _Written:
    if isinstance(node, Literal):
        return _Written(node.text)
    if isinstance(node, Name):
        return _Written(_quoted(node.name) if node.name else "")
    if not isinstance(node.function, str):
        callee, *kids = kids
        return _Written(callee.where(callee.right >= _POSTFIX).text + f"({_write_arguments(node.args, kids)})")
    as_call = f"{_quoted(node.function)}({_write_arguments(node.args, kids)})"
    return replace(_write_operator(node, kids) or _Written(as_call), as_call=as_call)


def _write_arguments(args: tuple, kids: list[_Written]) -> str:
    pairs = zip(args, kids, strict=True)
    return ", ".join(kid.text if keyword is None else f"{_quoted(keyword)} = {kid.text}" for (keyword, _), kid in pairs)


def _write_operator(node: Call, kids: list[_Written]) -> _Written | None:
    """Write a call in the notation of its operator; None where it has none, or not with these arguments."""
    operator, count = node.function, len(kids)
    given = [keyword is None and kid.text != "" for (keyword, _), kid in zip(node.args, kids, strict=True)]
    if operator in ("[", "[[") and count > 1 and given[0]:
        inside = _write_arguments(node.args[1:], kids[1:])
        return _Written(kids[0].where(kids[0].right >= _POSTFIX).text + operator + inside + "]" * len(operator))
    if not all(given):
        return None
    if operator == "{":
        return _Written("{" + "; ".join(kid.text for kid in kids) + "}")
    if operator == "(" and count == 1:
        return _Written(f"({kids[0].text})")
    if operator in PREFIX and count == 1:
        power = PREFIX[operator]
        operand = kids[0].where(kids[0].left > power)
        return _Written(operator + operand.text, right=min(power, operand.right))
    if operator in ACCESS and count == 2:
        labelled = is_label(node.args[1][1]) and (operator in ("$", "@") or is_label(node.args[0][1]))
        return _Written(kids[0].where(kids[0].right >= _POSTFIX).text + operator + kids[1].text) if labelled else None
    before, after = powers(operator)
    if count != 2 or operator == "|>" or not 0 < before < _POSTFIX:
        return None
    left = kids[0].where(kids[0].right >= before + (operator in COMPARISONS))
    right = kids[1].where(kids[1].left > after)
    between = operator if operator in (":", "^") else f" {operator} "
    return _Written(left.text + between + right.text, min(before, left.left), min(after, right.right))


def powers(operator: str) -> tuple[int, int]:
    """How tightly an operator holds what stands left and right of it; zeros for what is no operator."""
    if operator.startswith("%"):
        return _SPECIAL if re.fullmatch(r"%[^%\n]*%", operator) else (0, 0)
    return _BINARY.get(operator, (0, 0))


def is_label(node: Node) -> bool:
    """Whether a node may stand beside `$`, `@` or `::`."""
    if isinstance(node, Literal):
        return node.text[0] in "'\"" and len(node.text) > 2
    return isinstance(node, Name) and node.name != ""


def operator_of(node: Node) -> str:
    """Return the name of the function or operator that a node calls, empty where it calls none by name."""
    return node.function if isinstance(node, Call) and isinstance(node.function, str) else ""


def evaluated(node: Node) -> list[Node]:
    """Return the children that R evaluates: not a name after `$` or `@`, nor one of a coding, as in `C(g, sum)`."""
    operator, parts = operator_of(node), children(node)
    named = operator == "C" and len(parts) > 1 and node.args[1][0] in (None, "contr")
    coding = named and isinstance(parts[1], Name) and parts[1].name in _CODINGS
    return parts[:1] + parts[2:] if operator in ("$", "@") or coding else parts


def passed_on(node: Node) -> list[Name]:
    """Return the names that are arguments of a function by themselves, but for the first without a keyword.

    There a function may stand, as in `ave(x, g, FUN = median)` or `C(g, contr.sum)`.
    """
    found, stack = [], [node]
    while stack:
        node = stack.pop()
        stack.extend(children(node))
        operator = operator_of(node)
        if isinstance(node, Call) and operator not in ("{", *PREFIX) and not powers(operator)[0]:
            found.extend(arg for i, (keyword, arg) in enumerate(node.args) if isinstance(arg, Name) and (keyword or i))
    return found


def is_reserved(name: str) -> bool:
    """Whether R keeps a word for itself, so that a column of that name needs backticks."""
    return name in CONSTANT_WORDS or name in _KEYWORDS or re.fullmatch(r"\.\.[0-9]+", name) is not None


def needs_quotes(name: str) -> bool:
    """Whether a column of this name can't stand bare in a formula."""
    return _quoted(name) != name


def _quoted(name: str) -> str:
    """Return a name as R needs it written: in backticks unless it is syntactic."""
    plain = re.fullmatch(NAME, name) and not foreign_in(name)
    if plain and not is_reserved(name):
        return name
    return "`" + re.sub(r"[\\`\n\t\r]", lambda found: _ESCAPED[found[0]], name) + "`"


def foreign_in(name: str) -> str:
    """Return the characters that Python takes for part of a name and R may not, such as superscripts."""
    return "".join(char for char in name if not (char.isalpha() or char in "._0123456789"))
