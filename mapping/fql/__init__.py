"""FQL, the language of triggers, in the dialect of Segment's destination-action subscriptions.

    condition = parse('type = "track" and properties.total > 100')
    matches = condition.predicate()      # compile once
    matches(event)                       # for every event
    condition.types()                    # frozenset({"track"}): events of any other type need not be asked
    warnings("properties.total >=100")   # what it really does, and what was probably meant

Promise: a trigger carried over from Segment selects the same events. `parse` either returns a condition or raises
FqlError, whatever the text.
"""

from mapping.fql.conditions import Comparison, Condition, Group, Missing, Predicate, from_ast
from mapping.fql.errors import FqlError
from mapping.fql.lint import FqlWarning, warnings
from mapping.fql.parser import parse

__all__ = [
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
