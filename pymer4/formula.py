"""R model formulas, read by R's own grammar into a small tree.

A formula is never cut as text: columns, random terms and the response are read
off the tree, so `` `my var` ``, `%in%`, `I(x^2)` and a predictor called `T` are
what they are in R. Nothing here needs R.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from pymer4.errors import FormulaError, near

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
    |(?P<number>0[xX][0-9a-fA-F]+L?|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[Li]?)
    |(?P<name>(?:[^\W\d_]|\.(?![0-9]))[\w.]*)
    |(?P<quoted>`(?:\\.|[^`\\])+`)
    |(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
    |(?P<op>%[^%\n]*%|:::?|:=|<<?-|->>?|\|[>|]?|&&?|[<>=!]=|\*\*|\[\[|[-+*/^:!&<>=~()\[\]{},;$@?])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "`": "`", "'": "'", '"': '"', " ": " "}
_ESCAPED = {"\\": "\\\\", "`": "\\`", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_CONSTANT_WORDS = (
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
_KEYWORDS = ("if", "else", "repeat", "while", "function", "for", "next", "break", "in", "...")
_CONSTANT_NAMES = ("T", "F", "pi", "LETTERS", "letters", "month.abb", "month.name")
_CLOSES = {")": "(", "]": "[", "}": "{"}

# Binding powers (left, right), in the order of R's help page ?Syntax.
_COMPARISONS = ("<", ">", "<=", ">=", "==", "!=")
_ACCESS = ("$", "@", "::", ":::")
_SPECIAL, _POSTFIX, _ATOM = (80, 80), 120, 1000
_BINARY = {"~": (10, 10), "|": (20, 20), "||": (20, 20), "&": (30, 30), "&&": (30, 30)}
_BINARY |= dict.fromkeys(_COMPARISONS, (50, 50))
_BINARY |= {"+": (60, 60), "-": (60, 60), "*": (70, 70), "/": (70, 70), "|>": _SPECIAL, ":": (90, 90), "^": (111, 110)}
_BINARY |= dict.fromkeys(("(", "[", "[[", *_ACCESS), (_POSTFIX, 0))
_PREFIX = {"~": 10, "!": 40, "-": 100, "+": 100}
_MAX_DEPTH = 100

_BARS = ("|", "||")
_STRUCTURES = ("us", "diag", "cs", "ar1")
_TERM_OPERATORS = ("+", "-", "*", "/", ":", "^", "%in%", "(")
# R reads `!z + (1 | g)` as !(z + (1 | g)); lme4 looks for bars there too.
_SEARCHED = (*_TERM_OPERATORS, "!", "&", "&&", *_COMPARISONS)
_LIKE = "A formula has the form 'outcome ~ predictors + (1 | group)'"


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
        >>> deparse(parse("y~poly(x,2)+( 1|`a b` )").node)
        'y ~ poly(x, 2) + (1 | `a b`)'
        >>> total = Call("+", ((None, Name("a")), (None, Name("b"))))
        >>> deparse(Call("*", ((None, total), (None, Name("c")))))
        '`+`(a, b) * c'
    """
    return _fold(node, _children, _write).text


def _fold(node: Node, children: Callable, combine: Callable):
    """Combine each node with the results of its children, from the leaves up and without recursion."""
    stack, results = [(node, None)], []
    while stack:
        node, kids = stack.pop()
        if kids is None:
            kids = children(node)
            stack.append((node, kids))
            stack.extend((kid, None) for kid in reversed(kids))
        else:
            first = len(results) - len(kids)
            results[first:] = [combine(node, results[first:])]
    return results[0]


def _children(node: Node) -> list[Node]:
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
    if operator in _PREFIX and count == 1:
        power = _PREFIX[operator]
        operand = kids[0].where(kids[0].left > power)
        return _Written(operator + operand.text, right=min(power, operand.right))
    if operator in _ACCESS and count == 2:
        labelled = _is_label(node.args[1][1]) and (operator in ("$", "@") or _is_label(node.args[0][1]))
        return _Written(kids[0].where(kids[0].right >= _POSTFIX).text + operator + kids[1].text) if labelled else None
    before, after = _powers(operator)
    if count != 2 or operator == "|>" or not 0 < before < _POSTFIX:
        return None
    left = kids[0].where(kids[0].right >= before + (operator in _COMPARISONS))
    right = kids[1].where(kids[1].left > after)
    between = operator if operator in (":", "^") else f" {operator} "
    return _Written(left.text + between + right.text, min(before, left.left), min(after, right.right))


def _powers(operator: str) -> tuple[int, int]:
    """How tightly an operator holds what stands left and right of it; zeros for what is no operator."""
    if operator.startswith("%"):
        return _SPECIAL if re.fullmatch(r"%[^%\n]*%", operator) else (0, 0)
    return _BINARY.get(operator, (0, 0))


def _is_label(node: Node) -> bool:
    """Whether a node may stand beside `$`, `@` or `::`."""
    if isinstance(node, Literal):
        return node.text[0] in "'\"" and len(node.text) > 2
    return isinstance(node, Name) and node.name != ""


def _operator(node: Node) -> str:
    return node.function if isinstance(node, Call) and isinstance(node.function, str) else ""


def _reserved(name: str) -> bool:
    return name in _CONSTANT_WORDS or name in _KEYWORDS or re.fullmatch(r"\.\.[0-9]+", name) is not None


def _quoted(name: str) -> str:
    """Return a name as R needs it written: in backticks unless it is syntactic."""
    plain = re.fullmatch(r"(?:[^\W\d_]|\.(?![0-9]))[\w.]*", name) and not _foreign(name)
    if plain and not _reserved(name):
        return name
    return "`" + re.sub(r"[\\`\n\t\r]", lambda found: _ESCAPED[found[0]], name) + "`"


def _foreign(name: str) -> str:
    """Return the characters that Python takes for part of a name and R may not, such as superscripts."""
    return "".join(char for char in name if not (char.isalpha() or char in "._0123456789"))


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int

    @property
    def is_label(self) -> bool:
        """Whether this may name an argument or an element."""
        if self.kind == "name":
            return not _reserved(self.text)
        return self.kind == "quoted" or (self.kind == "string" and len(self.text) > 2)


class _Parser:
    """A Pratt parser: each operator takes operands that bind tighter than itself."""

    def __init__(self, text: str):
        self.text, self.tokens, self.index, self.depth = text, _tokens(text), 0, 0
        _check_brackets(text, self.tokens)

    @property
    def token(self) -> _Token:
        return self.tokens[self.index]

    def advance(self) -> _Token:
        self.index += 1
        return self.tokens[self.index - 1]

    def sees(self, *operators: str) -> bool:
        return self.token.kind == "op" and self.token.text in operators

    def expect(self, operator: str) -> None:
        if not self.sees(operator):
            raise self.unexpected(self.token)
        self.advance()

    def unexpected(self, token: _Token) -> FormulaError:
        if token.kind == "end":
            return _error("The text ends where a term is due.", self.text, token.at)
        hint = {"<-": " R reads it as an assignment: write '< -'.", "=": " Compare with '=='."}.get(token.text, "")
        if token.kind == "name" and _reserved(token.text):
            hint = " It is a reserved word of R: a column of that name goes in backticks."
        return _error(f"{token.text!r} is not expected here.{hint}", self.text, token.at)

    def whole(self) -> Node:
        node = self.expression(0)
        if self.token.kind != "end":
            raise self.unexpected(self.token)
        return node

    def expression(self, floor: int) -> Node:
        """Read the longest expression whose operators all bind tighter than `floor`."""
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise _error("The text is nested too deeply to be read.", self.text, self.token.at)
        left, compared = self.operand(), False
        while self.token.kind == "op" and _powers(self.token.text)[0] > floor:
            if self.sees(*_COMPARISONS):
                if compared:
                    raise self.unexpected(self.token)
                compared = True
            left = self.extended(left)
        self.depth -= 1
        return left

    def operand(self) -> Node:
        token = self.advance()
        if token.kind in ("number", "string") or (token.kind == "name" and token.text in _CONSTANT_WORDS):
            return Literal(token.text)
        if token.kind == "quoted" or (token.kind == "name" and not _reserved(token.text)):
            return Name(token.text, token.at)
        if token.kind == "op" and token.text in _PREFIX:
            return Call(token.text, ((None, self.expression(_PREFIX[token.text])),), token.at)
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
        if operator in _ACCESS:
            if not self.token.is_label:
                raise self.unexpected(self.token)
            if operator in ("::", ":::") and not _is_label(left):
                raise self.unexpected(token)
            return Call(operator, (first, (None, self.operand())), token.at)
        right = self.expression(_powers(operator)[1])
        if operator != "|>":
            return Call(operator, (first, (None, right)), token.at)
        if not isinstance(right, Call) or _operator(right) in ("{", *_PREFIX) or _powers(_operator(right))[0]:
            raise _error("'|>' needs a function call on its right, such as log().", self.text, token.at)
        return replace(right, args=(first, *right.args))

    def call(self, callee: Node, token: _Token) -> Call:
        if isinstance(callee, Literal) and not _is_label(callee):
            raise _error(f"What stands before {token.text!r} is no function.", self.text, token.at)
        function = callee
        if isinstance(callee, Name):
            function = callee.name
        elif isinstance(callee, Literal):
            function = _unescaped(callee.text)
        return Call(function, self.arguments(")"), getattr(callee, "at", token.at))

    def arguments(self, close: str) -> tuple[tuple[str | None, Node], ...]:
        found = [] if self.sees(close) else [self.argument()]
        while self.sees(","):
            self.advance()
            found.append(self.argument())
        self.expect(close)
        return tuple(found)

    def argument(self) -> tuple[str | None, Node]:
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
            raise _error(f"{text[at]!r} can't be read here.{unclosed}", text, at)
        kind, word = match.lastgroup, match.group()
        if kind == "name" and _foreign(word):
            char = _foreign(word)[0]
            raise _error(f"{char!r} is no part of a name unless in backticks.", text, at + word.index(char))
        if kind == "quoted":
            strange = [found for found in re.finditer(r"\\(.)", word, re.DOTALL) if found[1] not in _ESCAPES]
            if strange:
                raise _error(f"{strange[0][0]} is no escape in backticks.", text, at + strange[0].start())
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
                raise _error(f"{token.text!r} closes nothing.", text, token.at)
            if opened.pop().text != _CLOSES[token.text]:
                raise _error(f"{token.text!r} closes another kind of bracket.", text, token.at)
    if opened:
        raise _error(f"{opened[-1].text!r} is never closed.", text, opened[-1].at)


def _error(message: str, text: str, at: int) -> FormulaError:
    """Return an error that shows the line of the text with a caret under place `at`."""
    start = text.rfind("\n", 0, at) + 1
    line, column = text[start:].split("\n")[0].rstrip().expandtabs(1), at - start
    if column > 70:
        line, column = "..." + line[column - 60 :], 63
    if len(line) > 110:
        line = line[:107] + "..."
    return FormulaError(f"{message}\n  {line}\n  {' ' * column}^")


@dataclass(frozen=True, slots=True)
class RandomTerm:
    """One random-effects term as written: `a/b` and `||` are not expanded.

    Attributes:
        expression: what varies, left of the bar.
        group: the grouping, right of the bar.
        correlated: False for `||` and `diag()`.
        structure: `us`, `diag`, `cs` or `ar1` where the term stands in such a call (lme4 2), else None.
        node: the whole term without its parentheses.
    """

    expression: Node
    group: Node
    correlated: bool
    structure: str | None
    node: Call

    @property
    def text(self) -> str:
        """The term as R text, such as `1 + x | g`."""
        return deparse(self.node)


@dataclass(frozen=True, slots=True)
class Formula:
    """A parsed model formula; two are equal when their texts are.

    Attributes:
        text: what was given, stripped of outer white space. R wants `deparse(node)`: it can't read every line break.
        node: the whole formula.
        response: left of `~`.
        fixed: right of `~` without the random terms; `1` where nothing else is there.
        random: the random terms in order.
    """

    text: str
    node: Call = field(compare=False, repr=False)
    response: Node = field(compare=False, repr=False)
    fixed: Node = field(compare=False, repr=False)
    random: tuple[RandomTerm, ...] = field(compare=False, repr=False)

    def __reduce__(self) -> tuple:
        """Pickle and copy as text: a long formula is a deep tree."""
        return parse, (self.text,)

    @property
    def names(self) -> tuple[str, ...]:
        """Every variable used, in order of first appearance; `T`, `F` and `pi` too (see `columns_used`)."""
        return tuple(dict.fromkeys(symbol.name for symbol in _variables(self)))

    @property
    def group_names(self) -> tuple[str, ...]:
        """The variables used right of a bar, in order of first appearance."""
        found = (symbol.name for term in self.random for symbol, _ in _symbols(term.group, False))
        return tuple(dict.fromkeys(found))

    @property
    def uses_dot(self) -> bool:
        """Whether `.`, all other columns, stands as a term."""
        return any(term and symbol.name == "." for symbol, term in _symbols(self.node.args[1][1], True))


def parse(text: str) -> Formula:
    """Read a model formula.

    Args:
        text: an R formula with an outcome, in the language of lme4.

    Raises:
        FormulaError: when it is no text, or no such formula; a caret shows where.

    Example:
        >>> formula = parse("log(rt) ~ days * `my group` + (1 + days || subject)")
        >>> formula.names
        ('rt', 'days', 'my group', 'subject')
        >>> deparse(formula.fixed), formula.random[0].text
        ('days * `my group`', '1 + days || subject')
    """
    if not isinstance(text, str):
        given = type(text).__name__
        raise FormulaError(f"formula must be a str, got {given}. The formula comes first: Lmer(formula, data).")
    text = text.strip()
    if not text:
        raise FormulaError(f"The formula is empty. {_LIKE}.")
    parser = _Parser(text)
    operators = {token.text: token.at for token in reversed(parser.tokens) if token.kind == "op"}
    if "~" not in operators:
        raise _error(f"There is no '~'. {_LIKE}.", text, operators.get("=", operators.get("<-", len(text))))
    node = parser.whole()
    if not (isinstance(node, Call) and node.function == "~"):
        raise _error(f"'~' does not stand between two sides. {_LIKE}.", text, operators["~"])
    if len(node.args) == 1:
        raise _error(f"The outcome is missing before '~'. {_LIKE}.", text, node.at)
    (_, response), (_, right) = node.args
    for inner in (*_reached(response), *_reached(right)):
        if _operator(inner) == "~":
            raise _error(f"There is more than one '~'. {_LIKE}.", text, max(node.at, inner.at))
    fixed, random = _split(right, text)
    return Formula(text, node, response, fixed, random)


def parse_arguments(text: str) -> dict[str, Node]:
    """Read the inside of an R call: a list of `name = value`.

    Args:
        text: such as `optimizer = "bobyqa", optCtrl = list(maxfun = 1e5)`; may be empty.

    Raises:
        FormulaError: when it can't be read, or an argument has no name, no value, or comes twice.

    Example:
        >>> parse_arguments("optimizer = 'bobyqa', calc.derivs = FALSE")
        {'optimizer': Literal(text="'bobyqa'"), 'calc.derivs': Literal(text='FALSE')}
    """
    if not isinstance(text, str):
        raise FormulaError(f"R arguments must be a str, got {type(text).__name__}. Write them as 'name = value, ...'.")
    parser, values = _Parser(text), {}
    while parser.token.kind != "end":
        start = parser.token.at
        keyword, value = parser.argument()
        if keyword is None:
            raise _error("An argument needs its name: name = value.", text, start)
        if value == Name("") or keyword in values:
            raise _error(f"{keyword!r} {'is given twice' if keyword in values else 'has no value'}.", text, start)
        values[keyword] = value
        if parser.token.kind != "end":
            parser.expect(",")
            if parser.token.kind == "end":
                raise parser.unexpected(parser.token)
    return values


def columns_used(formula: Formula, columns: Sequence[str]) -> list[str]:
    """Return the columns of a data frame that a formula needs.

    A column wins over R's constant of the same name: `T`, `F` and `pi` are columns where the frame has them.

    Args:
        formula: a parsed formula.
        columns: the names of the frame's columns.

    Returns:
        Names in order of first appearance; where `.` is used, all columns in the order of the frame.

    Raises:
        FormulaError: naming the variable that is not there, and the nearest one that is.

    Example:
        >>> columns_used(parse("y ~ x + I(z * pi) + (1 | g)"), ["g", "x", "y", "z", "w"])
        ['y', 'x', 'z', 'g']
    """
    columns, known, used = list(columns), frozenset(columns), {}
    for symbol in _variables(formula):
        if symbol.name in known:
            used[symbol.name] = None
        elif symbol.name not in _CONSTANT_NAMES:
            more = f", and {len(columns) - 12} more" if len(columns) > 12 else ""
            have = f"The columns are: {', '.join(map(str, columns[:12]))}{more}."
            missing = f"{symbol.name!r} is not a column of the data.{near(symbol.name, columns)} {have}"
            raise _error(missing, formula.text, symbol.at)
    return columns if formula.uses_dot else list(used)


def require_random(formula: Formula) -> None:
    """Raise `FormulaError` unless the formula has a random-effects term.

    Example:
        >>> require_random(parse("y ~ x + (1 | g)"))
    """
    if not formula.random:
        message = "There is no random-effects term such as (1 | group). Use Lm for a model without one."
        raise _error(message, formula.text, len(formula.text))


def _variables(formula: Formula) -> Iterator[Name]:
    """Yield the symbols that stand for columns, in order; not `.` where it is a term."""
    (_, response), (_, right) = formula.node.args
    for symbol, term in (*_symbols(response, False), *_symbols(right, True)):
        if not (term and symbol.name == "."):
            yield symbol


def _symbols(node: Node, term: bool) -> Iterator[tuple[Name, bool]]:
    """Yield each symbol that R would look up, and whether it stands as a term rather than inside a function call."""
    stack = [(node, term)]
    while stack:
        node, term = stack.pop()
        operator = _operator(node)
        if isinstance(node, Name) and node.name:
            yield node, term
        elif operator not in ("::", ":::"):
            inside = _children(node)[:1] if operator in ("$", "@") else _children(node)
            term = term and operator in (*_TERM_OPERATORS, *_BARS, *_STRUCTURES)
            stack.extend((kid, term) for kid in reversed(inside))


def _reached(node: Node) -> Iterator[Node]:
    """Yield a node and what lies under it through the operators of formulas, not through other functions."""
    stack = [node]
    while stack:
        node = stack.pop()
        yield node
        if _operator(node) in (*_SEARCHED, *_BARS, "~"):
            stack.extend(_children(node))


def _split(right: Node, text: str) -> tuple[Node, tuple[RandomTerm, ...]]:
    """Part the right-hand side into its fixed part and its random terms.

    What remains is what lme4's `nobars` leaves and `lmer` fits: of `(1 | g) - 1`, that is `1`.
    """
    random = []

    def visited(node: Node) -> list[Node]:
        return _children(node) if _operator(node) in _SEARCHED and len(node.args) < 3 else []

    def kept(node: Node, kids: list[Node | None]) -> Node | None:
        term = _random_term(node, text)
        if term:
            random.append(term)
            return None
        rest = [kid for kid in kids if kid is not None]
        if len(rest) < len(kids):
            return rest[0] if rest else None
        return node if not kids else replace(node, args=tuple(zip((key for key, _ in node.args), kids, strict=True)))

    fixed = _fold(right, visited, kept)
    return fixed or Literal("1"), tuple(random)


def _random_term(node: Node, text: str) -> RandomTerm | None:
    """Return the random term that a node is, or None."""
    structure = _operator(node) if _operator(node) in _STRUCTURES and node.args else None
    bar = node.args[0][1] if structure else node
    if _operator(bar) not in _BARS or len(bar.args) != 2:
        return None
    (_, expression), (_, group) = bar.args
    for inner in (*_reached(expression), *_reached(group)):
        if _operator(inner) in _BARS:
            message = "There is a '|' inside a random-effects term. Each has its own parentheses: (1 | a) + (1 | b)."
            raise _error(message, text, inner.at)
    correlated = _operator(bar) == "|" and structure != "diag"
    return RandomTerm(expression, group, correlated, structure, node)


def names_in(node: Node) -> tuple[str, ...]:
    """Return the variables that a part of a formula uses, in order of first appearance.

    Example:
        >>> names_in(parse("log(y) ~ x * z + (1 | g)").fixed)
        ('x', 'z')
    """
    return tuple(dict.fromkeys(symbol.name for symbol, _ in _symbols(node, False)))
