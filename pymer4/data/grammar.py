"""R's own grammar: text to tokens to a tree, and the error that points at its place with a caret.

The parser is Pratt's (1973, "Top down operator precedence"): each operator takes
operands that bind tighter than itself. Nothing here needs R.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from pymer4.data.syntax import (
    ACCESS,
    COMPARISONS,
    CONSTANT_WORDS,
    NAME,
    PREFIX,
    Call,
    Literal,
    Name,
    Node,
    foreign_in,
    is_label,
    is_reserved,
    operator_of,
    powers,
)
from pymer4.errors import FormulaError

_TOKEN = re.compile(
    rf"""(?P<space>\s+|\#[^\n]*)
    |(?P<number>0[xX][0-9a-fA-F]+L?|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[Li]?)
    |(?P<name>{NAME})
    |(?P<quoted>`(?:\\.|[^`\\])+`)
    |(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
    |(?P<op>%[^%\n]*%|:::?|:=|<<?-|->>?|\|[>|]?|&&?|[<>=!]=|\*\*|\[\[|[-+*/^:!&<>=~()\[\]{{}},;$@?])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "`": "`", "'": "'", '"': '"', " ": " "}
_CLOSES = {")": "(", "]": "[", "}": "{"}
_MAX_DEPTH = 100


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int

    @property
    def is_label(self) -> bool:
        """Whether this may name an argument or an element."""
        if self.kind == "name":
            return not is_reserved(self.text)
        return self.kind == "quoted" or (self.kind == "string" and len(self.text) > 2)


class Parser:
    """A Pratt parser: each operator takes operands that bind tighter than itself."""

    def __init__(self, text: str):
        self.text, self.tokens, self.index, self.depth = text, _tokens(text), 0, 0
        _check_brackets(text, self.tokens)

    @property
    def token(self) -> _Token:
        """The token to be read next."""
        return self.tokens[self.index]

    def advance(self) -> _Token:
        """Step over the next token and return it."""
        self.index += 1
        return self.tokens[self.index - 1]

    def sees(self, *operators: str) -> bool:
        """Whether the next token is one of these operators."""
        return self.token.kind == "op" and self.token.text in operators

    def expect(self, operator: str) -> None:
        """Step over the next token, which has to be this operator."""
        if not self.sees(operator):
            raise self.unexpected(self.token)
        self.advance()

    def unexpected(self, token: _Token) -> FormulaError:
        """Return the error of a token that has no business in its place."""
        if token.kind == "end":
            return error_at("The text ends where a term is due.", self.text, token.at)
        hint = {"<-": " R reads it as an assignment: write '< -'.", "=": " Compare with '=='."}.get(token.text, "")
        if token.kind == "name" and is_reserved(token.text):
            hint = " It is a reserved word of R: a column of that name goes in backticks."
        return error_at(f"{token.text!r} is not expected here.{hint}", self.text, token.at)

    def whole(self) -> Node:
        """Read the text to its end as one expression."""
        node = self.expression(0)
        if self.token.kind != "end":
            raise self.unexpected(self.token)
        return node

    def expression(self, floor: int) -> Node:
        """Read the longest expression whose operators all bind tighter than `floor`."""
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise error_at("The text is nested too deeply to be read.", self.text, self.token.at)
        left, compared = self.operand(), False
        while self.token.kind == "op" and powers(self.token.text)[0] > floor:
            if self.sees(*COMPARISONS):
                if compared:
                    raise self.unexpected(self.token)
                compared = True
            left = self.extended(left)
        self.depth -= 1
        return left

    def operand(self) -> Node:
        """Read what an operator can apply to: an atom, a bracketed expression, or a prefix with its operand."""
        token = self.advance()
        if token.kind in ("number", "string") or (token.kind == "name" and token.text in CONSTANT_WORDS):
            return Literal(token.text)
        if token.kind == "quoted" or (token.kind == "name" and not is_reserved(token.text)):
            return Name(token.text, token.at)
        if token.kind == "op" and token.text in PREFIX:
            return Call(token.text, ((None, self.expression(PREFIX[token.text])),), token.at)
        if token.kind == "op" and token.text == "(":
            inner = self.expression(0)
            self.expect(")")
            return Call("(", ((None, inner),), token.at)
        if token.kind == "op" and token.text == "{":
            steps = []
            while not self.sees("}"):
                steps.append((None, self.expression(0)))
                if not self.sees("}"):
                    self.expect(";")
            self.advance()
            return Call("{", tuple(steps), token.at)
        raise self.unexpected(token)

    def extended(self, left: Node) -> Node:
        """Read one binary or postfix operator and what stands on its right."""
        token = self.advance()
        operator, first = token.text, (None, left)
        if operator == "(":
            return self.call(left, token)
        if operator in ("[", "[["):
            rest = self.arguments("]") or ((None, Name("")),)
            if operator == "[[":
                self.expect("]")
            return Call(operator, (first, *rest), token.at)
        if operator in ACCESS:
            if not self.token.is_label:
                raise self.unexpected(self.token)
            if operator in ("::", ":::") and not is_label(left):
                raise self.unexpected(token)
            return Call(operator, (first, (None, self.operand())), token.at)
        right = self.expression(powers(operator)[1])
        if operator != "|>":
            return Call(operator, (first, (None, right)), token.at)
        if not isinstance(right, Call) or operator_of(right) in ("{", *PREFIX) or powers(operator_of(right))[0]:
            raise error_at("'|>' needs a function call on its right, such as log().", self.text, token.at)
        return replace(right, args=(first, *right.args))

    def call(self, callee: Node, token: _Token) -> Call:
        """Read the arguments of a call whose opening parenthesis is `token`."""
        if isinstance(callee, Literal) and not is_label(callee):
            raise error_at(f"What stands before {token.text!r} is no function.", self.text, token.at)
        function = callee
        if isinstance(callee, Name):
            function = callee.name
        elif isinstance(callee, Literal):
            function = _unescaped(callee.text)
        return Call(function, self.arguments(")"), getattr(callee, "at", token.at))

    def arguments(self, close: str) -> tuple[tuple[str | None, Node], ...]:
        """Read arguments up to the closing bracket, and step over that."""
        found = [] if self.sees(close) else [self.argument()]
        while self.sees(","):
            self.advance()
            found.append(self.argument())
        self.expect(close)
        return tuple(found)

    def argument(self) -> tuple[str | None, Node]:
        """Read one argument: its keyword, None where it has none, and its value, the empty name where it has none."""
        keyword, token, after = None, self.token, self.tokens[min(self.index + 1, len(self.tokens) - 1)]
        if token.is_label and after.kind == "op" and after.text == "=":
            keyword = _unescaped(token.text) if token.kind == "string" else token.text
            self.index += 2
        if self.sees(",", ")", "]") or (keyword is not None and self.token.kind == "end"):
            return keyword, Name("")
        return keyword, self.expression(0)


def _tokens(text: str) -> list[_Token]:
    """Cut R text into tokens, the last of kind "end"; names come without their backticks."""
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            unclosed = " What it opens is empty or never closed." if text[at] in "'\"`" else ""
            raise error_at(f"{text[at]!r} can't be read here.{unclosed}", text, at)
        kind, word = match.lastgroup, match.group()
        if kind == "name" and foreign_in(word):
            char = foreign_in(word)[0]
            raise error_at(f"{char!r} is no part of a name unless in backticks.", text, at + word.index(char))
        if kind == "quoted":
            strange = [found for found in re.finditer(r"\\(.)", word, re.DOTALL) if found[1] not in _ESCAPES]
            if strange:
                raise error_at(f"{strange[0][0]} is no escape in backticks.", text, at + strange[0].start())
            word = _unescaped(word)
        if kind != "space":
            found.append(_Token(kind, "^" if word == "**" and kind == "op" else word, at))
        at = match.end()
    return [*found, _Token("end", "", len(text))]


def _unescaped(quoted: str) -> str:
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), quoted[1:-1], flags=re.DOTALL)


def _check_brackets(text: str, tokens: list[_Token]) -> None:
    """Raise `FormulaError` at the bracket that has no partner."""
    opened = []
    for token in tokens:
        if token.kind != "op":
            continue
        if token.text in ("(", "{", "[", "[["):
            opened.extend([replace(token, text=char) for char in token.text])
        elif token.text in _CLOSES:
            if not opened:
                raise error_at(f"{token.text!r} closes nothing.", text, token.at)
            if opened.pop().text != _CLOSES[token.text]:
                raise error_at(f"{token.text!r} closes another kind of bracket.", text, token.at)
    if opened:
        raise error_at(f"{opened[-1].text!r} is never closed.", text, opened[-1].at)


def error_at(message: str, text: str, at: int) -> FormulaError:
    """Return an error that shows the line of the text with a caret under place `at`."""
    start = text.rfind("\n", 0, at) + 1
    line, column = text[start:].split("\n")[0].rstrip().expandtabs(1), at - start
    if column > 70:
        line, column = "..." + line[column - 60 :], 63
    if len(line) > 110:
        line = line[:107] + "..."
    return FormulaError(f"{message}\n  {line}\n  {' ' * column}^")
