"""The conditions of Liquid's `if` and `unless`, as liquidjs compares: texts with texts, everything else as numbers.

python-liquid refuses to order values of two kinds, and to look into what is no list or text. JavaScript makes numbers
of them, and finds nothing there.
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

_ORDERS: Final[dict[type[Expression], Callable[[Any, Any], bool]]] = {
    LtExpression: operator.lt,
    LeExpression: operator.le,
    GtExpression: operator.gt,
    GeExpression: operator.ge,
}


class If(IfTag):
    """`{% if %}` with JavaScript's comparisons."""

    def parse(self, stream: TokenStream) -> Node:
        return _compared_as_in_javascript(super().parse(stream))


class Unless(UnlessTag):
    """`{% unless %}` with JavaScript's comparisons."""

    def parse(self, stream: TokenStream) -> Node:
        return _compared_as_in_javascript(super().parse(stream))


class _Order(Expression):
    """One comparison by order; `nil`, `empty` and `blank` are neither more nor less than anything."""

    __slots__ = ("holds", "left", "right")

    def __init__(self, compared: Any, holds: Callable[[Any, Any], bool]) -> None:
        super().__init__(compared.token)
        self.left, self.right, self.holds = compared.left, compared.right, holds

    def evaluate(self, context: RenderContext) -> bool:
        if isinstance(self.left, Nil | Empty | Blank) or isinstance(self.right, Nil | Empty | Blank):
            return False
        left, right = (_primitive(plain(side.evaluate(context))) for side in (self.left, self.right))
        if isinstance(left, str) and isinstance(right, str):
            return self.holds(_units(left), _units(right))
        return self.holds(javascript.number_of(left), javascript.number_of(right))

    def children(self) -> list[Expression]:
        return [self.left, self.right]


class _Contains(Expression):
    """Whether a list has an item, or a text another; nothing else contains anything."""

    __slots__ = ("left", "right")

    def __init__(self, compared: ContainsExpression) -> None:
        super().__init__(compared.token)
        self.left, self.right = compared.left, compared.right

    def evaluate(self, context: RenderContext) -> bool:
        holder, sought = (plain(side.evaluate(context)) for side in (self.left, self.right))
        if isinstance(holder, list):
            return any(equals(item, sought) for item in holder)
        return isinstance(holder, str) and javascript.text(sought) in holder

    def children(self) -> list[Expression]:
        return [self.left, self.right]


def _compared_as_in_javascript(node: Node) -> Node:
    if isinstance(node, IfNode | UnlessNode):
        for condition in (node.condition, *(one.expression for one in node.alternatives)):
            if isinstance(condition, BooleanExpression):
                condition.expression = _rewritten(condition.expression)
    return node


def _rewritten(expression: Expression) -> Expression:
    holds = _ORDERS.get(type(expression))
    if holds is not None:
        return _Order(expression, holds)
    if isinstance(expression, ContainsExpression):
        return _Contains(expression)
    if isinstance(expression, LogicalAndExpression | LogicalOrExpression):
        expression.left, expression.right = _rewritten(expression.left), _rewritten(expression.right)
    return expression


def _primitive(value: Any) -> Any:
    return javascript.text(value) if isinstance(value, list | dict) else value


def _units(text: str) -> bytes:
    return text.encode("utf-16-be", "surrogatepass")
