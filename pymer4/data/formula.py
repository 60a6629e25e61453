"""R model formulas: the outcome, the fixed part, the random terms, and the columns they use.

A formula is never cut as text: columns, random terms and the response are read
off the tree, so `` `my var` ``, `%in%`, `I(x^2)` and a predictor called `T` are
what they are in R. Nothing here needs R.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from pymer4.data.grammar import Parser, error_at
from pymer4.data.syntax import COMPARISONS, Call, Literal, Name, Node, children, deparse, evaluated, fold, operator_of
from pymer4.errors import FormulaError

_BARS = ("|", "||")
_STRUCTURES = ("us", "diag", "cs", "ar1")
_TERM_OPERATORS = ("+", "-", "*", "/", ":", "^", "%in%", "(")
# R reads `!z + (1 | g)` as !(z + (1 | g)); lme4 looks for bars there too.
_SEARCHED = (*_TERM_OPERATORS, "!", "&", "&&", *COMPARISONS)
_LIKE = "A formula has the form 'outcome ~ predictors + (1 | group)'"


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
        return tuple(dict.fromkeys(symbol.name for symbol in variables(self)))

    @property
    def group_names(self) -> tuple[str, ...]:
        """The variables used right of a bar, in order of first appearance."""
        found = (symbol.name for term in self.random for symbol, _ in _symbols(term.group, False))
        return tuple(dict.fromkeys(found))

    @property
    def computes(self) -> bool:
        """Whether a predictor is made by a function such as `log(x)`, rather than a column as it stands."""
        return any(not term for _, term in _symbols(self.node.args[1][1], True))

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
    parser = Parser(text)
    operators = {token.text: token.at for token in reversed(parser.tokens) if token.kind == "op"}
    if "~" not in operators:
        raise error_at(f"There is no '~'. {_LIKE}.", text, operators.get("=", operators.get("<-", len(text))))
    node = parser.whole()
    if not (isinstance(node, Call) and node.function == "~"):
        raise error_at(f"'~' does not stand between two sides. {_LIKE}.", text, operators["~"])
    if len(node.args) == 1:
        raise error_at(f"The outcome is missing before '~'. {_LIKE}.", text, node.at)
    (_, response), (_, right) = node.args
    for inner in (*_reached(response), *_reached(right)):
        if operator_of(inner) == "~":
            raise error_at(f"There is more than one '~'. {_LIKE}.", text, max(node.at, inner.at))
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
    parser, values = Parser(text), {}
    while parser.token.kind != "end":
        start = parser.token.at
        keyword, value = parser.argument()
        if keyword is None:
            raise error_at("An argument needs its name, as in optimizer = 'bobyqa'.", text, start)
        if value == Name("") or keyword in values:
            raise error_at(f"{keyword!r} {'is given twice' if keyword in values else 'has no value'}.", text, start)
        values[keyword] = value
        if parser.token.kind != "end":
            parser.expect(",")
            if parser.token.kind == "end":
                raise parser.unexpected(parser.token)
    return values


def require_random(formula: Formula) -> None:
    """Raise `FormulaError` unless the formula has a random-effects term, and an effect in each.

    Example:
        >>> require_random(parse("y ~ x + (1 | g)"))
    """
    if not formula.random:
        message = "There is no random-effects term such as (1 | group). Use Lm for a model without one."
        raise error_at(message, formula.text, len(formula.text))
    for term in formula.random:
        if deparse(term.expression) in ("0", "-1"):
            message = f"({term.text}) has no effect that differs between groups. Write (1 | group) for their means."
            raise error_at(message, formula.text, max(0, formula.text.find(term.text)))


def variables(formula: Formula) -> Iterator[Name]:
    """Yield the symbols that stand for columns, in order; not `.` where it is a term."""
    (_, response), (_, right) = formula.node.args
    for symbol, term in (*_symbols(response, False), *_symbols(right, True)):
        if not (term and symbol.name == "."):
            yield symbol


def leaves(node: Node, term: bool) -> Iterator[tuple[Name | Literal, bool]]:
    """Yield what R would look up or take as it stands, and whether it is a term rather than inside a function call."""
    stack = [(node, term)]
    while stack:
        node, term = stack.pop()
        operator = operator_of(node)
        if isinstance(node, Literal) or (isinstance(node, Name) and node.name):
            yield node, term
        elif operator not in ("::", ":::"):
            term = term and operator in (*_TERM_OPERATORS, *_BARS, *_STRUCTURES)
            stack.extend((kid, term) for kid in reversed(evaluated(node)))


def _symbols(node: Node, term: bool) -> Iterator[tuple[Name, bool]]:
    return ((leaf, term) for leaf, term in leaves(node, term) if isinstance(leaf, Name))


def _reached(node: Node) -> Iterator[Node]:
    """Yield a node and what lies under it through the operators of formulas, not through other functions."""
    stack = [node]
    while stack:
        node = stack.pop()
        yield node
        if operator_of(node) in (*_SEARCHED, *_BARS, "~"):
            stack.extend(children(node))


def _split(right: Node, text: str) -> tuple[Node, tuple[RandomTerm, ...]]:
    """Part the right-hand side into its fixed part and its random terms.

    What remains is what lme4's `nobars` leaves and `lmer` fits: of `(1 | g) - 1`, that is `1`.
    """
    random = []

    def visited(node: Node) -> list[Node]:
        return children(node) if operator_of(node) in _SEARCHED and len(node.args) < 3 else []

    def kept(node: Node, kids: list[Node | None]) -> Node | None:
        term = _random_term(node, text)
        if term:
            random.append(term)
            return None
        rest = [kid for kid in kids if kid is not None]
        if len(rest) < len(kids):
            return rest[0] if rest else None
        return node if not kids else replace(node, args=tuple(zip((key for key, _ in node.args), kids, strict=True)))

    fixed = fold(right, visited, kept)
    return fixed or Literal("1"), tuple(random)


def _random_term(node: Node, text: str) -> RandomTerm | None:
    """Return the random term that a node is, or None."""
    structure = operator_of(node) if operator_of(node) in _STRUCTURES and node.args else None
    bar = node.args[0][1] if structure else node
    if operator_of(bar) not in _BARS or len(bar.args) != 2:
        return None
    (_, expression), (_, group) = bar.args
    for inner in (*_reached(expression), *_reached(group)):
        if operator_of(inner) in _BARS:
            message = "There is a '|' inside a random-effects term. Each has its own parentheses: (1 | a) + (1 | b)."
            raise error_at(message, text, inner.at)
    correlated = operator_of(bar) == "|" and structure != "diag"
    return RandomTerm(expression, group, correlated, structure, node)


def without_dot(formula: Formula, columns: Sequence[str]) -> Node:
    """Return the whole formula with the columns that `.` stands for written out, in the order of the frame.

    Example:
        >>> deparse(without_dot(parse("y ~ . - g + (1 | g)"), ["y", "x", "g"]))
        'y ~ (x + g) - g + (1 | g)'
    """
    outcome = names_in(formula.response)
    others = [Name(name) for name in columns if name not in outcome]
    if not formula.uses_dot or not others:
        return formula.node
    total = others[0]
    for name in others[1:]:
        total = Call("+", ((None, total), (None, name)))

    def rewritten(node: Node, kids: list[Node]) -> Node:
        if node == Name("."):
            return Call("(", ((None, total),))
        if not isinstance(node, Call):
            return node
        function, kids = (node.function, kids) if isinstance(node.function, str) else (kids[0], kids[1:])
        return Call(function, tuple((keyword, kid) for (keyword, _), kid in zip(node.args, kids, strict=True)))

    return fold(formula.node, children, rewritten)


def fixed_names(formula: Formula, columns: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that are predictors of the fixed part: not those that are taken out with `-`.

    `.` stands for all columns but those of the outcome.

    Example:
        >>> fixed_names(parse("y ~ . - g + (1 | g)"), ["y", "x", "g"])
        ('x',)
    """
    kept, removed, stack = [], set(), [formula.fixed]
    while stack:
        node = stack.pop()
        if operator_of(node) in ("+", "-", "("):
            *left, (_, right) = node.args
            taken_out = operator_of(node) == "-"
            removed |= set(names_in(right)) if taken_out and isinstance(right, Name) else set()
            stack.extend([] if taken_out else [right])
            stack.extend(part for _, part in left)
        else:
            kept.extend(names_in(node))
    if "." in kept:
        outcome = names_in(formula.response)
        kept.extend(name for name in columns if name not in outcome and name not in removed)
    return tuple(name for name in columns if name in kept and name not in removed)


def names_in(node: Node) -> tuple[str, ...]:
    """Return the variables that a part of a formula uses, in order of first appearance.

    Example:
        >>> names_in(parse("log(y) ~ x * z + (1 | g)").fixed)
        ('x', 'z')
    """
    return tuple(dict.fromkeys(symbol.name for symbol, _ in _symbols(node, False)))
