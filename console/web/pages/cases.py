"""An event of the tester as a case file, with pseudonyms. Nothing is sent or stored."""

from __future__ import annotations

from console import tester
from console.cases.recording import case_of, pseudonyms_for
from console.cases.running import Bench
from console.web.visit import Page, Result, Visit


def save(visit: Visit) -> Result:
    """Show the case of the event of the form. Raises CommandError: it is no event."""
    event = pseudonyms_for(visit.session).event(tester.read_event(visit.given("event")))
    case = case_of(event, visit.given("source"), Bench(visit.session))
    return Page(template="case.html", title="Save as case", data=case, command="segue test --from-ledger 1 cases/")
