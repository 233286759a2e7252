"""The commands `segue forget`, `segue unsuppress` and `segue receipts`. `console.forget` does the work."""

from __future__ import annotations

from typing import Annotated

import typer

import mapping
from console import forget
from console.errors import CommandError
from console.options import AsJson, Destination
from console.output import out, print_json, print_line, print_lines
from console.session import Session
from privacy import erasure

app = typer.Typer()

UserIds = Annotated[list[str] | None, typer.Option("--user-id", help="A userId of the person; repeatable.")]
Emails = Annotated[list[str] | None, typer.Option("--email", help="An e-mail address of the person; repeatable.")]
AnonymousIds = Annotated[list[str] | None, typer.Option("--anonymous-id", help="An anonymousId; repeatable.")]


@app.command(name="forget")
def forget_person(
    user_id: UserIds = None,
    email: Emails = None,
    anonymous_id: AnonymousIds = None,
    delete: Annotated[bool, typer.Option("--delete", help="Delete the person in Customer.io as well.")] = False,
    suppress: Annotated[bool, typer.Option("--suppress", help="Suppress the person, here and in Customer.io.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be erased, and erase nothing.")] = False,
    destination: Destination = None,
    as_json: AsJson = False,
) -> None:
    """Erase a person from the queue, the dead letters, the delivery log and all stored identities; write a receipt.

    With --delete or --suppress, waiting events of the person are dropped. Then Customer.io is asked to delete or
    suppress the person. Then a worker erases the rest.
    """
    if delete and suppress:
        raise CommandError("--delete and --suppress exclude each other; --suppress deletes as well")
    action: mapping.PrivacyAction | None = "delete" if delete else "suppress" if suppress else None
    person = forget.person(user_id or [], email or [], anonymous_id or [], action)
    session = Session.join()
    if dry_run:
        plans = [forget.plan(context, person) for context in session.erasure_contexts(destination)]
        print_json(plans) if as_json else print_lines(forget.report_plans(plans))
        return
    results = [forget.forget(context, person, action) for context in session.erasure_contexts(destination)]
    rewrite = erasure.rewrite_history(session.client)
    if as_json:
        print_json({"receipts": results, "rewrite": rewrite})
    else:
        print_lines(forget.report(results, rewrite))


@app.command()
def unsuppress(
    user_id: UserIds = None,
    email: Emails = None,
    anonymous_id: AnonymousIds = None,
    destination: Destination = None,
) -> None:
    """Accept events of a suppressed person again, here and in Customer.io."""
    person = forget.person(user_id or [], email or [], anonymous_id or [])
    session = Session.join()
    for name in session.chosen(destination):
        count = erasure.unsuppress(session.erasure_context(name), person)
        print_line(f"{name}: {count:,} identities are no longer suppressed; the request to Customer.io is on the queue")


@app.command(name="receipts")
def list_receipts(destination: Destination = None, as_json: AsJson = False) -> None:
    """List the receipts of erased people: time, operator and counts, without identities."""
    session = Session.join()
    rows = forget.rows(session.all_queues(destination))
    print_json(rows) if as_json else out.print(forget.render(rows))
