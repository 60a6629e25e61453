"""Patsy formulas: what is the outcome, what are the predictors, and which names they use."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pymer4.data.formula_errors import advice, caret, undefined
from pymer4.data.scope import Scope, address, capture, found_at
from pymer4.errors import FormulaError


def cbind(*columns: Any) -> np.ndarray:
    """Return columns side by side, shape (n, k): `cbind(successes, failures) ~ x`, as in R."""
    return np.column_stack([np.asarray(column, dtype=float) for column in columns])


@dataclass(frozen=True, slots=True)
class Reference:
    """A factor that is a column as it stands: `x`, `Q("x")`, `C(x)`, `C(x, Sum)`.

    Attributes:
        column: its name.
        marked: whether it is inside a `C()`, which makes categories of numbers.
        has_levels: whether that `C()` gives levels of its own.
    """

    column: str
    marked: bool = False
    has_levels: bool = False


@dataclass(frozen=True, slots=True)
class Names:
    """The names in one side of a formula.

    Attributes:
        values: those that are used as values, in the order of their first use.
        called: those that are only ever called.
        settings: those that stand in keyword arguments alone, such as `knots` in `bs(x, knots=knots)`.
        quoted: text in `Q("...")`.
        foreign: whether there are factors of the user's own making, which may look up anything.
    """

    values: tuple[str, ...] = ()
    called: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    quoted: tuple[str, ...] = ()
    foreign: bool = False


class Terms:
    """A formula taken apart by patsy.

    It pickles, as patsy's own objects do not.

    Attributes:
        text: the formula; of a `ModelDesc`, its description.
        outcome: names on the left of `~`.
        predictors: names on its right.
    """

    def __init__(self, formula: Any, desc: Any):
        self.text = formula if isinstance(formula, str) else desc.describe()
        self._is_text = isinstance(formula, str)
        self._desc = desc
        self.outcome = names_of(factors_of(desc.lhs_termlist))
        self.predictors = names_of(factors_of(desc.rhs_termlist))

    @property
    def desc(self) -> Any:
        """The `patsy.ModelDesc`."""
        if self._desc is None:
            self._desc = _from_plain(self._plain)
        return self._desc

    @property
    def label(self) -> str:
        """What the outcome is called."""
        return " + ".join(term.name() for term in self.desc.lhs_termlist)

    @property
    def has_intercept(self) -> bool:
        """Whether an intercept is among the terms."""
        return any(not term.factors for term in self.desc.rhs_termlist)

    def __getstate__(self) -> dict[str, Any]:
        plain = self._plain if self._desc is None else _to_plain(self.text if self._is_text else self._desc)
        state = {name: getattr(self, name) for name in ("text", "outcome", "predictors", "_is_text")}
        return state | {"_desc": None, "_plain": plain}


def parse(formula: Any, columns: Collection[Any], owner: object) -> tuple[Terms, Scope]:
    """Take a formula apart and look up what it takes from the calling code.

    Args:
        formula: text, a `patsy.ModelDesc`, or an object with `__patsy_get_model_desc__`.
        columns: names of the columns of the data.
        owner: the model that is being made; see `scope.capture`.

    Raises:
        FormulaError: it can't be read, has no outcome or a random part, or names what is not there.
    """
    import patsy

    desc = formula
    if isinstance(formula, str):
        try:
            desc = patsy.ModelDesc.from_formula(formula)
        except patsy.PatsyError as error:
            raise FormulaError(f"{error}{advice(formula, columns)}") from error
    elif hasattr(formula, "__patsy_get_model_desc__"):
        desc = formula.__patsy_get_model_desc__(patsy.EvalEnvironment([{}]))
    if not isinstance(desc, patsy.ModelDesc):
        raise FormulaError(
            f"The formula has to be text such as 'y ~ x', or a patsy.ModelDesc, not a {type(formula).__name__}."
        )
    _require_fixed(desc, formula if isinstance(formula, str) else desc.describe(), columns)
    terms = Terms(formula, desc)
    if not desc.lhs_termlist:
        raise FormulaError(
            f"The formula {terms.text!r} has no outcome. Write it on the left: 'y ~ {terms.text.lstrip('~ ') or 1}'."
        )
    used = names_of(factors_of([*desc.lhs_termlist, *desc.rhs_termlist]))
    scope = capture([*(name for name in used.values if name not in columns), *used.called], owner, used.foreign)
    for name in used.called:  # C, Q and the like are patsy's where the calling code has some value of that name
        if name in scope and not callable(scope.values[name]):
            del scope.values[name]
    _require_known(terms, columns, scope)
    return terms, scope


def names_of(factors: Iterable[Any]) -> Names:
    """Return the names that patsy factors use."""
    values, called, settings, quoted, foreign = {}, {}, {}, {}, False
    for factor in factors:
        if is_lookup(factor):
            quoted[factor.name()] = None
        elif is_code(factor):
            _read(ast.parse(factor.code, mode="eval").body, values, called, settings, quoted)
        else:
            foreign = True
    settings = tuple(name for name in settings if name not in values)
    only_called = tuple(name for name in called if name not in values)
    return Names((*values, *settings), only_called, settings, tuple(quoted), foreign)


def factors_of(terms: Iterable[Any]) -> tuple[Any, ...]:
    """Return each factor of some terms once."""
    return tuple(dict.fromkeys(factor for term in terms for factor in term.factors))


def is_lookup(factor: Any) -> bool:
    """Whether a factor is patsy's `LookupFactor`, a column by its name."""
    import patsy

    return isinstance(factor, patsy.LookupFactor)


def is_code(factor: Any) -> bool:
    """Whether a factor is patsy's `EvalFactor`, a Python expression."""
    import patsy

    return isinstance(factor, patsy.EvalFactor)


def reference(factor: Any, columns: Collection[Any], scope: Scope) -> Reference | None:
    """Return the column that a factor is as it stands, None where it computes something."""
    if is_lookup(factor):
        state = vars(factor)
        return Reference(factor.name(), state["_force_categorical"], state["_levels"] is not None)
    return _referred(ast.parse(factor.code, mode="eval").body, columns, scope) if is_code(factor) else None


def columns_named(side: Names, columns: Collection[Any], scope: Scope) -> list[Any]:
    """Return the columns that one side of a formula names, `Q(name)` with a name from the calling code too."""
    told = [scope.values.get(name) for name in side.values] if "Q" in side.called else []
    told = [name for name in told if isinstance(name, str)]
    named = [name for name in (*side.values, *side.quoted, *told) if name in columns]
    return list(dict.fromkeys(named))


def known_names() -> dict[str, Any]:
    """Return the names that every formula knows, patsy's and `cbind`."""
    import patsy.builtins

    return {"cbind": cbind} | {name: getattr(patsy.builtins, name) for name in patsy.builtins.__all__}


# --- reading the code of factors ---


def _read(node: ast.AST, values: dict, called: dict, settings: dict, quoted: dict) -> None:
    """Sort the names in an expression by how they are used."""
    if isinstance(node, ast.Name):
        values[node.id] = None
    elif isinstance(node, ast.Call):
        text = _quoted(node)
        if text is not None:
            quoted[text] = called["Q"] = None
            return
        if isinstance(node.func, ast.Name):
            called[node.func.id] = None
        else:
            _read(node.func, values, called, settings, quoted)
        for argument in node.args:
            _read(argument, values, called, settings, quoted)
        for keyword in node.keywords:
            target = settings if isinstance(keyword.value, ast.Name) else values
            _read(keyword.value, target, called, settings, quoted)
    else:
        for child in ast.iter_child_nodes(node):
            _read(child, values, called, settings, quoted)


def _quoted(node: ast.AST) -> str | None:
    """Return the text of `Q("text")`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Q" and len(node.args) == 1:
        argument = node.args[0]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            return argument.value
    return None


def _referred(node: ast.AST, columns: Collection[Any], scope: Scope) -> Reference | None:
    if isinstance(node, ast.Name):
        return Reference(node.id) if node.id in columns else None
    text = _quoted(node)
    if text is not None:
        return Reference(text) if text in columns and "Q" not in scope else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "C" and "C" not in scope:
        inner = _referred(node.args[0], columns, scope) if node.args else None
        if inner is not None:
            levels = len(node.args) > 2 or any(keyword.arg == "levels" for keyword in node.keywords)
            return Reference(inner.column, True, levels or inner.has_levels)
    return None


# --- refusals ---


def _require_fixed(desc: Any, text: str, columns: Collection[Any]) -> None:
    """Refuse random parts, and code that Python can't read."""
    for factor in factors_of([*desc.lhs_termlist, *desc.rhs_termlist]):
        if not is_code(factor):
            continue
        code, tree = factor.code, None
        try:
            tree = ast.parse(code, mode="eval").body
        except SyntaxError as error:
            if "| |" not in code:
                raise FormulaError(
                    f"Python can't read {code!r}: {error.msg}\n{caret(factor, text)}{advice(text, columns)}"
                ) from error
        if tree is None or (isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.BitOr)):
            raise FormulaError(
                f"({code}) is a random effect, which a regression has no place for.\n{caret(factor, text)}\n"
                "Use Lmer for mixed models, or Lm2 with group= for one regression a group. "
                f"A logical or of two columns is written I({code})."
            )
        if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.BitXor):
            raise FormulaError(
                f"^ is Python's exclusive or, and no power.\n{caret(factor, text)}\nA power of a column is written "
                f"I(x ** 2), of terms (a + b)**2, an exclusive or I({code})."
            )


def _require_known(terms: Terms, columns: Collection[Any], scope: Scope) -> None:
    known = {*known_names(), *dir(builtins)}
    for factor in factors_of([*terms.desc.lhs_termlist, *terms.desc.rhs_termlist]):
        used = names_of([factor])
        for name in (*used.values, *used.called, *used.quoted):
            is_column = name in columns and name not in used.called
            if is_column or name in scope or (name in known and name not in used.quoted):
                continue
            raise FormulaError(f"name {name!r} is not defined\n{caret(factor, terms.text)}{undefined(name, columns)}")


# --- plain data, for pickles ---


def _to_plain(formula: Any) -> Any:
    if isinstance(formula, str):
        return formula
    return [[[_plain_factor(factor) for factor in term.factors] for term in side] for side in _sides(formula)]


def _sides(desc: Any) -> tuple[Any, Any]:
    return desc.lhs_termlist, desc.rhs_termlist


def _plain_factor(factor: Any) -> tuple[Any, ...]:
    if is_lookup(factor):
        state = vars(factor)
        contrast = None if state["_contrast"] is None else address(state["_contrast"])
        return ("lookup", factor.name(), state["_force_categorical"], contrast, state["_levels"])
    return ("eval", factor.code) if is_code(factor) else ("own", factor)


def _from_plain(plain: Any) -> Any:
    import patsy

    if isinstance(plain, str):
        return patsy.ModelDesc.from_formula(plain)

    def factor(kind: str, *rest: Any) -> Any:
        if kind == "lookup":
            name, marked, contrast, levels = rest
            return patsy.LookupFactor(name, marked, None if contrast is None else found_at(contrast), levels)
        return patsy.EvalFactor(*rest) if kind == "eval" else rest[0]

    sides = ([patsy.Term([factor(*parts) for parts in term]) for term in side] for side in plain)
    return patsy.ModelDesc(*sides)
