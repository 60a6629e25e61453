"""Expressions of patsy's formulas as R's, where both compute the same: arithmetic, and functions of NumPy's."""

from __future__ import annotations

import ast
import numbers
from collections.abc import Collection
from typing import Any

import numpy as np

from pymer4.data.scope import Scope
from pymer4.data.terms import reference
from pymer4.models.r_script import literal, symbol

# By what they are, not by what they are called.
_FUNCTIONS = {
    np.log: "log", np.log2: "log2", np.log10: "log10", np.log1p: "log1p", np.exp: "exp", np.expm1: "expm1",
    np.sqrt: "sqrt", np.abs: "abs", np.sin: "sin", np.cos: "cos", np.tan: "tan", np.tanh: "tanh",
}  # fmt: skip
_OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "^"}


class Untold(Exception):
    """An expression that R would not compute, or not alike."""


class InR(ast.NodeVisitor):
    """An expression in R, and the columns of numbers that it uses.

    Args:
        node: the expression.
        columns: names of columns of numbers.
        scope: what else the formula sees.

    Raises:
        Untold: there is no such expression.
    """

    def __init__(self, node: ast.expr, columns: Collection[Any], scope: Scope):
        self.known, self.scope = columns, scope
        self.columns: dict[str, None] = {}
        self.text = self.visit(node).strip()
        if self.text.startswith("(") or not self.columns:
            raise Untold

    def generic_visit(self, node: ast.AST) -> str:
        """Give up at anything that is not told of here."""
        raise Untold

    def visit_Name(self, node: ast.Name) -> str:
        """Return a column, or a number of the calling code."""
        if node.id in self.known:
            self.columns[node.id] = None
            return symbol(node.id)
        value = self.scope.values.get(node.id)
        if isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_)):
            return literal(float(value))
        raise Untold

    def visit_Constant(self, node: ast.Constant) -> str:
        """Return a number."""
        if isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
            return literal(float(node.value))
        raise Untold

    def visit_UnaryOp(self, node: ast.UnaryOp) -> str:
        """Return what has a sign before it."""
        if isinstance(node.op, ast.USub):
            return f"(-{self.visit(node.operand)})"
        raise Untold

    def visit_BinOp(self, node: ast.BinOp) -> str:
        """Return a sum, product or power."""
        sign = _OPERATORS.get(type(node.op))
        if sign is None:
            raise Untold
        return f"({self.visit(node.left)} {sign} {self.visit(node.right)})"

    def visit_Call(self, node: ast.Call) -> str:
        """Return a column in `Q()`, arithmetic in `I()`, or a function of one argument."""
        to = reference(node, self.known, self.scope)
        if to is not None and not to.marked:
            self.columns[to.column] = None
            return symbol(to.column)
        if len(node.args) != 1 or node.keywords:
            raise Untold
        inner = self.visit(node.args[0])
        inner = inner[1:-1] if inner.startswith("(") else inner
        return f"{self._name(node.func)}({inner})"

    def _name(self, function: ast.expr) -> str:
        if isinstance(function, ast.Name):
            if function.id == "I" and "I" not in self.scope:
                return "I"
            value = self.scope.values.get(function.id)
        elif isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            value = getattr(self.scope.values.get(function.value.id), function.attr, None)
        else:
            raise Untold
        found = _FUNCTIONS.get(value) if isinstance(value, np.ufunc) else None
        if found is None:
            raise Untold
        return found
