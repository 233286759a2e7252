"""FQL, the language of triggers, in the dialect of Segment's destination-action subscriptions.

    condition = parse('type = "track" and properties.total > 100')
    matches = condition.predicate()      # compile once
    matches(event)                       # for every event
    condition.types()                    # frozenset({"track"}): no event of another type can match
    warnings("properties.total >=100")   # lint: what the trigger actually does, and a suggestion

A trigger selects the same events as in Segment. For any text, `parse` returns a condition or raises FqlError.
"""

from mapping.fql.conditions import ComparedText, Comparison, Condition, Group, Missing, Predicate, from_ast
from mapping.fql.errors import FqlError
from mapping.fql.lint import FqlWarning, warnings
from mapping.fql.parser import parse

__all__ = [
    "ComparedText",
    "Comparison",
    "Condition",
    "FqlError",
    "FqlWarning",
    "Group",
    "Missing",
    "Predicate",
    "from_ast",
    "parse",
    "warnings",
]
