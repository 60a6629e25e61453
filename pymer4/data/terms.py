"""Patsy formulas: what is the outcome, what are the predictors, and which names they use."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Collection, Container, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pymer4.data.formula_errors import advice, caret, undefined
from pymer4.data.scope import Scope, capture
from pymer4.errors import FormulaError


def cbind(*columns: Any) -> np.ndarray:
    """Return columns side by side, shape (n, k): `cbind(successes, failures) ~ x`, as in R."""
    return np.column_stack([np.asarray(column, dtype=float) for column in columns])


@dataclass(frozen=True, slots=True)
class Reference:
    """A factor that is a column as it stands, `marked` in a `C()`, which may give levels of its own."""

    column: str
    marked: bool = False
    has_levels: bool = False


class Names(ast.NodeVisitor):
    """The names in some factors of patsy's, each kind in the order of its first use.

    Attributes:
        values: those that stand for a value.
        called: those that are only ever called, and are no values.
        settings: values that stand in keyword arguments alone, such as `knots` in `bs(x, knots=knots)`.
        quoted: text in `Q("...")`.
        asked: code in a `Q()` that tells a name, such as `names[0]`.
    """

    def __init__(self, factors: Iterable[Any]):
        self.values: dict[str, None] = {}
        self.called: dict[str, None] = {}
        self.settings: dict[str, None] = {}
        self.quoted: dict[str, None] = {}
        self.asked: dict[str, None] = {}
        for factor in factors:
            self.visit(tree(factor))
        self.called = {name: None for name in self.called if name not in self.values}
        self.settings = {name: None for name in self.settings if name not in self.values}
        self.values |= self.settings

    def visit_Name(self, node: ast.Name) -> None:
        """Take in a value."""
        self.values[node.id] = None

    def visit_keyword(self, node: ast.keyword) -> None:
        """Take in a setting."""
        if isinstance(node.value, ast.Name):
            self.settings[node.value.id] = None
        else:
            self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        """Take in a function, or the text of a `Q()`."""
        text = _quoted(node)
        if text is not None:
            self.quoted[text] = self.called["Q"] = None
        elif isinstance(node.func, ast.Name):
            self.called[node.func.id] = None
            self.asked |= {ast.unparse(part): None for part in node.args if node.func.id == "Q"}
            for part in (*node.args, *node.keywords):
                self.visit(part)
        else:
            self.generic_visit(node)


class Terms:
    """A formula taken apart by patsy, whose objects do not pickle: its text, and the terms on either side."""

    def __init__(self, text: str):
        import patsy

        self.text, self.sides = text, _sides_of(patsy.ModelDesc.from_formula(text))

    def __reduce__(self) -> tuple[Any, ...]:
        return Terms, (self.text,)

    @property
    def factors(self) -> tuple[Any, ...]:
        """Each factor once."""
        return _factors_of(*self.sides)

    @cached_property
    def names(self) -> Names:
        """The names on either side."""
        return Names(self.factors)

    @cached_property
    def outcome(self) -> Names:
        """The names on the left side."""
        return Names(_factors_of(self.sides[0]))

    @cached_property
    def predictors(self) -> Names:
        """The names on the right side."""
        return Names(_factors_of(self.sides[1]))

    @property
    def label(self) -> str:
        """What the outcome is called."""
        return " + ".join(term.name() for term in self.sides[0])

    @property
    def has_intercept(self) -> bool:
        """Whether an intercept is among the terms."""
        return any(not term.factors for term in self.sides[1])

    def without(self, name: str) -> Terms:
        """Return the formula less a term, and what goes with it; the mean where nothing is left."""
        import patsy

        left, right = self.sides
        gone = going_with(next(term for term in right if term.name() == name), right)
        kept = [term for term in right if term not in gone]
        return Terms(patsy.ModelDesc(left, kept or [patsy.INTERCEPT]).describe())


def going_with(target: Any, terms: Iterable[Any]) -> set[Any]:
    """Return the terms that one takes along: a main effect its interactions, an interaction none but itself."""
    alone = len(target.factors) == 1
    return {term for term in terms if term == target or (alone and target.factors[0] in term.factors)}


def parse(formula: Any, columns: Collection[Any], owner: object) -> tuple[Terms, Scope]:
    """Take text, a `patsy.ModelDesc` or an alternative formula apart, and look up what it takes from the calling code.

    `owner` is the model that is being made; see `scope.capture`.
    """
    import patsy

    if isinstance(formula, str):
        try:
            terms = Terms(formula)
        except patsy.PatsyError as error:
            raise FormulaError(f"{error}{advice(formula, columns)}") from error
    else:
        terms = _described(formula)
    _require_fixed(terms, columns)
    if not terms.sides[0]:
        raise FormulaError(
            f"The formula {terms.text!r} has no outcome. Write it on the left: 'y ~ {terms.text.lstrip('~ ') or 1}'."
        )
    used = terms.names
    scope = capture([*(name for name in used.values if name not in columns), *used.called], owner)
    for name in used.called:  # C, Q and the like are patsy's where the calling code has some value of that name
        if name in scope and not callable(scope.values[name]):
            del scope.values[name]
    _require_known(terms, columns, scope)
    return terms, scope


def _described(formula: Any) -> Terms:
    """Return the terms of a `patsy.ModelDesc`, read from the text that describes it."""
    import patsy

    desc = formula
    if hasattr(formula, "__patsy_get_model_desc__"):
        desc = formula.__patsy_get_model_desc__(patsy.EvalEnvironment([{}]))
    if not isinstance(desc, patsy.ModelDesc):
        raise FormulaError(
            f"The formula has to be text such as 'y ~ x', or a patsy.ModelDesc, not a {type(formula).__name__}."
        )
    text = desc.describe()
    try:
        terms = Terms(text)
    except patsy.PatsyError:
        terms = None
    if terms is None or any(_plainly(a) != set(b) for a, b in zip(_sides_of(desc), terms.sides, strict=True)):
        raise FormulaError(
            f"The patsy.ModelDesc holds more than the text that describes it, {text!r}, such as a factor of your own "
            "making. Write the formula as text: with functions of your code, C() for a coding, and Q('a name') for a "
            "column whose name is no Python name."
        )
    return terms


def _plainly(side: Iterable[Any]) -> set[Any]:
    """Return terms with a name in the place of each factor that looks up a column and no more."""
    import patsy

    def plain(factor: Any) -> Any:
        name = factor.name()
        return patsy.EvalFactor(name) if name.isidentifier() and factor == patsy.LookupFactor(name) else factor

    return {patsy.Term([plain(factor) for factor in term.factors]) for term in side}


def tree(factor: Any) -> ast.expr:
    """Return the expression that a factor is."""
    return ast.parse(factor.code, mode="eval").body


def reference(node: ast.AST, columns: Container[Any], scope: Scope) -> Reference | None:
    """Return the column that an expression is as it stands, None where it computes something."""
    text = node.id if isinstance(node, ast.Name) else _quoted(node)
    if text is not None:
        is_seen = isinstance(node, ast.Name) or "Q" not in scope
        return Reference(text) if text in columns and is_seen else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "C" and "C" not in scope:
        inner = reference(node.args[0], columns, scope) if node.args else None
        if inner is not None:
            levels = len(node.args) > 2 or any(keyword.arg == "levels" for keyword in node.keywords)
            return Reference(inner.column, True, levels or inner.has_levels)
    return None


def columns_named(side: Names, columns: Collection[Any], scope: Scope) -> list[Any]:
    """Return the columns that one side of a formula names, those in `Q(name)` of a name from the calling code too."""
    told = [_told(code, scope) for code in side.asked]
    named = (*side.values, *side.quoted, *(name for name in told if isinstance(name, str)))
    return list(dict.fromkeys(name for name in named if name in columns))


def named(terms: Terms, scope: Scope, columns: Collection[Any]) -> list[Any]:
    """Return the columns that either side of a formula names."""
    return [name for side in (terms.outcome, terms.predictors) for name in columns_named(side, columns, scope)]


def _told(code: str, scope: Scope) -> Any:
    """Return what an expression of the user's names is, None where it can't be told; patsy then says why."""
    try:
        return eval(code, dict(scope.values))
    except Exception:
        return None


def _factors_of(*sides: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(factor for side in sides for term in side for factor in term.factors))


def _sides_of(desc: Any) -> tuple[Any, Any]:
    return desc.lhs_termlist, desc.rhs_termlist


def _quoted(node: ast.AST) -> str | None:
    """Return the text of `Q("text")`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Q" and len(node.args) == 1:
        argument = node.args[0]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            return argument.value
    return None


def _require_fixed(terms: Terms, columns: Collection[Any]) -> None:
    """Refuse random parts, and code that Python can't read."""
    text = terms.text
    for factor in terms.factors:
        code, node = factor.code, None
        try:
            node = tree(factor)
        except SyntaxError as error:
            if "| |" not in code:
                raise FormulaError(
                    f"Python can't read {code!r}: {error.msg}\n{caret(factor, text)}{advice(text, columns)}"
                ) from error
        if node is None or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)):
            raise FormulaError(
                f"({code}) is a random effect, which a regression has no place for.\n{caret(factor, text)}\n"
                "Use Lmer for mixed models, or Lm2 with group= for one regression a group. "
                f"A logical or of two columns is written I({code})."
            )
        if _is_power_of_r(node):
            raise FormulaError(
                f"^ is Python's exclusive or, and no power.\n{caret(factor, text)}\nA power of a column is written "
                "I(x ** 2), of terms (a + b)**2, an exclusive or of two columns I(a ^ b)."
            )


def _is_power_of_r(node: ast.AST) -> bool:
    """Tell whether ^ stands for a term, or has a number on its right, which an exclusive or has no use for."""
    powers = [part for part in ast.walk(node) if isinstance(part, ast.BinOp) and isinstance(part.op, ast.BitXor)]
    exponents = [part.right.operand if isinstance(part.right, ast.UnaryOp) else part.right for part in powers]
    return node in powers or any(isinstance(x, ast.Constant) and type(x.value) is not bool for x in exponents)


def _require_known(terms: Terms, columns: Collection[Any], scope: Scope) -> None:
    import patsy.builtins

    known = {"cbind", *patsy.builtins.__all__, *dir(builtins)}
    for factor in terms.factors:
        used = Names([factor])
        for name in (*used.values, *used.called, *used.quoted):
            is_column = name in columns and name not in used.called
            if is_column or name in scope or (name in known and name not in used.quoted):
                continue
            raise FormulaError(f"name {name!r} is not defined\n{caret(factor, terms.text)}{undefined(name, columns)}")
