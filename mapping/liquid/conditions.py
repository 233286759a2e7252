"""The conditions of Liquid's `if` and `unless`, compared as in liquidjs: two texts as texts, other values as numbers.

python-liquid refuses to compare values of two types, and `contains` for values that are neither lists nor texts.
JavaScript converts the former to numbers; the latter contain nothing.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

from liquid import Node, RenderContext, TokenStream
from liquid.builtin.expressions import BooleanExpression
from liquid.builtin.expressions.logical import (
    ContainsExpression,
    GeExpression,
    GtExpression,
    LeExpression,
    LogicalAndExpression,
    LogicalOrExpression,
    LtExpression,
)
from liquid.builtin.expressions.primitive import Blank, Empty, Nil
from liquid.builtin.tags.if_tag import IfNode, IfTag
from liquid.builtin.tags.unless_tag import UnlessNode, UnlessTag
from liquid.expression import Expression

from mapping import javascript
from mapping.liquid.filters import equals, plain

_COMPARISONS: Final[dict[type[Expression], Callable[[Any, Any], bool]]] = {
    LtExpression: operator.lt,
    LeExpression: operator.le,
    GtExpression: operator.gt,
    GeExpression: operator.ge,
}


class If(IfTag):
    """`{% if %}` with JavaScript's comparisons."""

    def parse(self, stream: TokenStream) -> Node:
        """Return the tag's node with its conditions rewritten."""
        return _compared_as_in_javascript(super().parse(stream))


class Unless(UnlessTag):
    """`{% unless %}` with JavaScript's comparisons."""

    def parse(self, stream: TokenStream) -> Node:
        """Return the tag's node with its conditions rewritten."""
        return _compared_as_in_javascript(super().parse(stream))


class _Comparison(Expression):
    """A comparison by order; with `nil`, `empty` or `blank` it is false."""

    __slots__ = ("compare", "left", "right")

    def __init__(self, compared: Any, compare: Callable[[Any, Any], bool]) -> None:
        super().__init__(compared.token)
        self.left, self.right, self.compare = compared.left, compared.right, compare

    def evaluate(self, context: RenderContext) -> bool:
        if isinstance(self.left, Nil | Empty | Blank) or isinstance(self.right, Nil | Empty | Blank):
            return False
        left, right = (_primitive(plain(side.evaluate(context))) for side in (self.left, self.right))
        if isinstance(left, str) and isinstance(right, str):
            return self.compare(_units(left), _units(right))
        return self.compare(javascript.number_of(left), javascript.number_of(right))

    def children(self) -> list[Expression]:
        return [self.left, self.right]


class _Contains(Expression):
    """Whether a list contains an item, or a text another text; false for other values."""

    __slots__ = ("left", "right")

    def __init__(self, compared: ContainsExpression) -> None:
        super().__init__(compared.token)
        self.left, self.right = compared.left, compared.right

    def evaluate(self, context: RenderContext) -> bool:
        container, item = (plain(side.evaluate(context)) for side in (self.left, self.right))
        if isinstance(container, list):
            return any(equals(other, item) for other in container)
        return isinstance(container, str) and javascript.text(item) in container

    def children(self) -> list[Expression]:
        return [self.left, self.right]


def _compared_as_in_javascript(node: Node) -> Node:
    if isinstance(node, IfNode | UnlessNode):
        for condition in (node.condition, *(branch.expression for branch in node.alternatives)):
            if isinstance(condition, BooleanExpression):
                condition.expression = _rewritten(condition.expression)
    return node


def _rewritten(expression: Expression) -> Expression:
    compare = _COMPARISONS.get(type(expression))
    if compare is not None:
        return _Comparison(expression, compare)
    if isinstance(expression, ContainsExpression):
        return _Contains(expression)
    if isinstance(expression, LogicalAndExpression | LogicalOrExpression):
        expression.left, expression.right = _rewritten(expression.left), _rewritten(expression.right)
    return expression


def _primitive(value: Any) -> Any:
    return javascript.text(value) if isinstance(value, list | dict) else value


def _units(text: str) -> bytes:
    return text.encode("utf-16-be", "surrogatepass")
