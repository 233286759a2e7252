"""Erasing a person from their page: what goes is shown first, the identity is in no address, and a receipt is left."""

from __future__ import annotations

from typing import Any

import pytest

import lanes
from console import forget
from console.web.state import State
from lanes import suppression
from privacy import receipts
from tests.queues import default_queue
from tests.unit.console.web.browsing import ADDRESS, DIGEST, HOSTILE, ID, Browser

FORGET, ERASE, UNSUPPRESS = (f"/people/{DIGEST}/{act}" for act in ("forget", "erase", "unsuppress"))


def audit(browser: Browser) -> list[tuple[str, Any]]:
    return [(entry["act"], entry["facts"]) for entry in browser.json("/activity")["audit"]]


def test_the_page_shows_what_the_dry_run_of_the_command_says_and_the_erasure_does_it(
    state: State, admin: Browser
) -> None:
    context = state.session.erasure_context("demo")
    plan = forget.plan(context, forget.person([], [ADDRESS], []))
    assert (plan["events"], plan["dead_letters"], plan["log"]) == (2, 2, 2)

    page = admin.post(FORGET, emails=ADDRESS)

    for kind in ("events", "dead_letters", "log"):
        assert f"{forget.KINDS[kind]}: <strong>{plan[kind]}</strong>" in page.text
    assert lanes.stats(context.queue).dead == 2
    assert receipts.history(context.queue) == []
    admin.post(ERASE, emails=ADDRESS)
    (receipt,) = receipts.history(context.queue)
    assert {kind: receipt.removed[kind] for kind in ("events", "dead_letters", "log")} == {
        kind: plan[kind] for kind in ("events", "dead_letters", "log")
    }


def test_a_person_is_erased_and_the_receipt_names_the_user_and_no_person(state: State, admin: Browser) -> None:
    queue = default_queue(state.session.client, "demo")

    answer = admin.post(ERASE, emails=ADDRESS, user_ids=f"{ID}\n")

    page = admin.follow(answer)
    (receipt,) = receipts.history(queue)
    assert "lovelace" not in answer.headers["location"] + page.text
    assert receipt.id in page.text
    assert (receipt.state, receipt.requested_by) == ("done", "Grace")
    assert (lanes.stats(queue).dead, lanes.stats(queue).waiting) == (0, 0)
    assert audit(admin)[0] == ("forget", {"request": "erase", "receipt": receipt.id})
    assert receipt.id in admin.get("/activity").text


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ({}, "name the person"),
        ({"emails": "jo@example.com"}, "None of these identities is of the person of this page"),
        ({"emails": "no address"}, "must be an address"),
        ({"emails": ADDRESS, "request": "burn"}, "request: must be one of erase, delete, suppress"),
        ({"emails": ADDRESS, "destination": "moon"}, "there is no destination"),
        ({"emails": "\n".join(f"{n}@example.com" for n in range(51))}, "at most 50 identities"),
        ({"anonymous_ids": "v", "request": "delete"}, "Customer.io does not know anonymous ids"),
    ],
)
def test_a_form_that_does_not_name_this_person_changes_nothing(
    state: State, admin: Browser, form: dict[str, str], text: str
) -> None:
    for path in (FORGET, ERASE, UNSUPPRESS):
        answer = admin.post(path, **form)
        assert answer.status_code == 400
        assert text in answer.text
    assert lanes.stats(default_queue(state.session.client, "demo")).dead == 2


def test_a_suppression_waits_for_a_worker_and_is_lifted(state: State, admin: Browser) -> None:
    queue = default_queue(state.session.client, "demo")
    state.session.client.delete("segue:workers")
    assert "Accept events again" not in admin.post(FORGET, emails=ADDRESS).text

    page = admin.follow(admin.post(ERASE, emails=ADDRESS, request="suppress"))

    assert "waiting" in page.text
    assert suppression.suppressed(queue, [bytes.fromhex(DIGEST)]) == [True]
    assert "Accept events again" in admin.post(FORGET, emails=ADDRESS).text
    admin.follow(admin.post(UNSUPPRESS, emails=ADDRESS))
    assert suppression.suppressed(queue, [bytes.fromhex(DIGEST)]) == [False]
    assert audit(admin)[0] == ("unsuppress", {"count": 1})


def test_a_receipt_names_other_people_by_digest(admin: Browser) -> None:
    answer = admin.post(ERASE, emails=ADDRESS)
    page = admin.get(f"{answer.headers['location']}&other={DIGEST}&other=<b>")

    assert f'href="/people/{DIGEST}"' in page.text
    assert "&lt;b&gt;" not in page.text
    assert admin.get("/receipts").status_code == 404
    assert admin.get("/receipts?id=none").status_code == 404


def test_hostile_identities_are_text(admin: Browser) -> None:
    for text in HOSTILE:
        page = admin.post(FORGET, emails=ADDRESS, user_ids=text)
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text


def test_the_link_is_on_the_page_of_a_person_for_those_who_may(state: State, admin: Browser) -> None:
    assert FORGET in admin.get(f"/people/{DIGEST}").text
    assert FORGET not in Browser(state, "operator").get(f"/people/{DIGEST}").text
    assert "may not erase" in Browser(state, "operator").get(FORGET).text
    assert admin.get("/people/xyz/forget").status_code == 404
