"""The first five of the seven points of the console, each from the question to the answer: a wrong key, a person's
order, a replay that was cancelled, a mapping that is corrected in the workbench, and what a viewer may not see."""

from __future__ import annotations

import html
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import APIResponse, Browser, Page, expect

import lanes
from console.web.access import Permission
from console.web.routes import ROUTES
from dead_letters import query
from dead_letters import replay as replays
from dead_letters.query import Filter
from dead_letters.record import Reason
from tests.console.conftest import Console, Visitor, served
from tests.console.shop import ADA, CONFIG, CORRECTED, QUEUE, order
from tests.pipeline import wait_until
from tests.secrets import CREDENTIALS, secret

BEFORE_FILTERS: Final = CONFIG.partition("[[destinations.journeys.filters]]")[0]


@pytest.fixture(autouse=True)
def _patient() -> None:
    expect.set_options(timeout=15_000)


def queue_of(console: Console) -> lanes.Queue:
    return lanes.Queue(client=console.pipeline.redis, name=QUEUE)


def config_with(parts: str) -> str:
    """Return the configuration of the shop with these subscriptions and filters of the workbench."""
    return BEFORE_FILTERS + parts.replace("[[", "[[destinations.journeys.")


def write_config(console: Console, text: str) -> None:
    Path(console.pipeline.environment["SEGUE_CONFIG"]).write_text(text)


def restart_workers(console: Console) -> None:
    for worker in list(console.pipeline.workers):
        worker.terminate()
        worker.wait(timeout=15)
        console.pipeline.workers.remove(worker)
        console.pipeline.start_worker()


def reload(console: Console) -> None:
    command = [sys.executable, "-m", "console.cli", "reload"]
    subprocess.run(command, env=console.pipeline.environment, check=True, stdout=subprocess.DEVNULL)


def test_a_wrong_api_key_is_said_in_words_and_buries_nothing(console: Console, visitor: Visitor) -> None:
    """Point 1."""
    before = lanes.stats(queue_of(console)).dead
    try:
        write_config(console, CONFIG.replace(CREDENTIALS["api_key"], secret("wrong_api_key")))
        restart_workers(console)
        page = visitor.go("/")
        console.pipeline.send([{"type": "track", "event": "x", "userId": "holder", "messageId": "with a wrong key"}])
        causes = page.locator("#causes")
        expect(causes).to_contain_text("journeys sends nothing: the credentials")
        expect(causes).to_contain_text("Correct the credentials")
        assert "holder" not in {person["id"] for person in console.pipeline.people()}
    finally:
        write_config(console, CONFIG)
        restart_workers(console)

    expect(page.locator("#rows .pill").first).to_have_text("delivering")
    expect(causes).not_to_contain_text("sends nothing")
    wait_until(lambda: "holder" in {person["id"] for person in console.pipeline.people()}, "the event is delivered")
    assert lanes.stats(queue_of(console)).dead == before


def find(page: Page, text: str) -> None:
    page.keyboard.press("/")
    page.wait_for_url("**/people#search")
    page.keyboard.type(text)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Person")


def test_the_order_of_a_person_is_two_steps_away(visitor: Visitor) -> None:
    """Point 2: the exact item and the response."""
    page = visitor.go("/")
    page.get_by_role("button", name="Show identities").click()
    expect(page.get_by_role("button", name="Mask identities")).to_be_visible()

    find(page, ADA)
    sent = page.locator(".timeline > li").filter(has=page.locator("pre", has_text='"order_id": "A-1000"')).first
    sent.locator("summary").first.click()

    expect(sent.locator("pre").first).to_be_visible()
    expect(sent.locator("pre").first).to_contain_text(f'"email": "{ADA}"')
    expect(sent).to_contain_text("accepted")
    expect(sent).to_contain_text("answered")
    assert ADA not in page.url


def test_who_waits_behind_a_dead_letter_is_told_which_one(console: Console, visitor: Visitor) -> None:
    """Point 2, of a person who waits."""
    (blocking,) = [dead.sequence for dead in query.matching(queue_of(console), Filter(person=f"email:{ADA}"))]
    page = visitor.go("/")

    find(page, ADA)

    expect(page.locator("main")).to_contain_text(f"#{blocking}")
    page.get_by_role("link", name="Open the dead letter").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Dead letter {blocking}")


def json_of(visitor: Visitor, url: str) -> Any:
    answer = visitor.context.request.get(url, headers={"Accept": "application/json"})
    assert answer.ok, answer.text()
    return answer.json()


def plan_all(page: Page) -> int:
    """Plan a replay of what the page shows, and return its number."""
    page.get_by_role("button", name="Plan a replay", exact=True).click()
    button = page.get_by_role("button", name=re.compile("^Replay [0-9,]+ dead letters?$"))
    expect(button).to_be_visible()
    return int(re.sub(r"\D", "", button.inner_text()))


def send_refused(console: Console) -> int:
    """Have Customer.io refuse events of two kinds, and return their number."""
    users = [f"buyer-{number}" for number in range(16)]
    orders = [order(random.Random(1), 10 * number, user) for number, user in enumerate(users)]
    updates = [{"type": "identify", "userId": f"new-{user}", "messageId": f"new-{user}"} for user in users]
    console.pipeline.faults(item_errors=1.0)
    before = lanes.stats(queue_of(console)).dead
    console.pipeline.send([*orders, *updates])
    wait_until(lambda: lanes.stats(queue_of(console)).dead == before + 32, "dead letters")
    console.pipeline.faults()
    return 32


def test_a_replay_that_was_cancelled_is_begun_again_and_sends_each_once(console: Console, visitor: Visitor) -> None:
    """Point 3. The bench `replay_plan` compares every figure of 10,000."""
    total, seen = send_refused(console), len(console.pipeline.journal())
    page = visitor.go("/dead?source=website")
    expect(page.locator("#found tbody tr")).to_have_count(2)  # two kinds
    assert plan_all(page) == total
    planned = json_of(visitor, page.url)
    page.get_by_label("At most per second").fill("2")
    page.get_by_role("button", name=f"Replay {total} dead letters").click()
    expect(page.locator("#progress dd").first).to_have_text(re.compile(rf"^([4-9]|[12]\d) of {total}$"))
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#progress .pill")).to_have_text("cancelled")
    done = json_of(visitor, page.url)["done"]

    visitor.go("/dead?source=website")
    assert plan_all(page) == total - done
    page.get_by_role("button", name=f"Replay {total - done} dead letters").click()
    expect(page.locator("#progress .pill")).to_have_text("done")

    wait_until(lambda: len(console.pipeline.journal()) >= seen + total, "everything is sent")
    sent = [entry["operation"] for entry in console.pipeline.journal()[seen:]]
    assert planned["operations"] == Counter(f"{body['type']} {body['action']}" for body in sent)
    assert planned["people"] == len({body["identifiers"]["id"] for body in sent}) == len(sent) == total
    assert json_of(visitor, f"{console.url}/dead?source=website") == []
    states = [row["state"] for row in json_of(visitor, f"{console.url}/replays")]
    assert states[:4] == ["done", "done", "cancelled", "done"]
    audit = json_of(visitor, f"{console.url}/activity")["audit"]
    acts = [(row["act"], row["facts"].get("count")) for row in audit if row["act"] in ("plan", "replay", "cancel")]
    assert acts[:5] == [("replay", total - done), ("plan", None), ("cancel", None), ("replay", total), ("plan", None)]


@pytest.fixture(scope="module")
def viewer(chromium: Browser, console: Console) -> Iterator[Visitor]:
    """A viewer of another console, who has signed in."""
    command = [sys.executable, "-m", "console.cli", "console", "token", "viewer"]
    made = subprocess.run(command, env=console.pipeline.environment, check=True, capture_output=True, text=True)
    variables = {"SEGUE_CONSOLE_AUTH": "tokens", "SEGUE_CONSOLE_TOKENS": made.stdout.strip()}
    with served(console.pipeline, **variables) as url:
        visitor = Visitor(chromium, url)
        page = visitor.go("/sign-in")
        page.get_by_label("Your name").fill("Grace")
        page.get_by_label("Token").fill(made.stderr.split()[-1])
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
        yield visitor
        visitor.context.close()


# Identities and contents of the shop.
PERSONAL: Final = re.compile(
    r"ada@|customer-1\d\d|(reader|writer|buyer)-\d|order-\w+-\d|page-\w+-\d|Linen shirt|Wool socks|A-10\d\d|London"
)
FOR_VIEWERS: Final[tuple[Permission, ...]] = ("public", "look", "find")


def assert_impersonal(answer: APIResponse) -> None:
    headers = " ".join(f"{name}: {value}" for name, value in answer.headers.items())
    for text in (re.sub(r'placeholder="[^"]*"', "", answer.text()), headers):
        found = PERSONAL.search(text)
        assert found is None, (answer.url, text[max(0, found.start() - 100) : found.end() + 50])


def address_of(path: str, parts: dict[str, str]) -> str:
    return re.sub(r"{(\w+)}", lambda match: parts.get(match[1], "1"), path)


def addresses(console: Console) -> dict[str, str]:
    """Return what stands for the parts of an address, all of which exist."""
    queue, digest = queue_of(console), lanes.digest(f"email:{ADA}")
    dead = next(query.matching(queue, Filter(person=f"email:{ADA}"))).sequence
    plan = replays.begin(queue, Filter(reason=Reason.INVALID), who="Grace", per_s=100, mode="dry_run")
    return {"destination": QUEUE, "sequence": str(dead), "id": plan.id, "digest": digest.hex(), "name": "console.css"}


def test_a_viewer_reaches_no_identity_by_any_page(console: Console, viewer: Visitor) -> None:
    """Point 5: every route, every link of the pages, as HTML and as JSON, and errors."""
    parts = addresses(console)
    waiting = [address_of(rule.path, parts) for rule in ROUTES if rule.method == "GET"]
    waiting += [f"/nowhere/{ADA}", "/dead/journeys/999999", "/people/zzz", f"/dead?text={ADA}", f"/dead?person={ADA}"]
    seen: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for accept in ("text/html", "application/json"):
            answer = viewer.context.request.get(viewer.url + path, headers={"Accept": accept}, max_redirects=0)
            assert answer.status < 500, path
            assert_impersonal(answer)
            links = re.findall(r'href="(/[^"#]*)', answer.text()) if accept == "text/html" else []
            waiting += map(html.unescape, links)
    assert len(seen) > 20


def test_a_viewer_changes_nothing_and_finds_people_masked(console: Console, viewer: Visitor) -> None:
    """Point 5: every POST."""
    own, parts = {"Sec-Fetch-Site": "same-origin"}, addresses(console)
    for rule in ROUTES:
        if rule.method == "POST" and rule.permission not in FOR_VIEWERS:
            url = viewer.url + address_of(rule.path, parts)
            answer = viewer.context.request.post(url, headers=own, form={"person": ADA, "why": ADA}, max_redirects=0)
            assert answer.status == 403, rule.path
            assert_impersonal(answer)
    for path, form in (
        ("/people", {"person": ADA}),
        ("/people", {"person": "ada@nowhere.example"}),
        ("/dead/find", {"person": ADA}),
    ):
        answer = viewer.context.request.post(viewer.url + path, headers=own, form=form, max_redirects=0)
        assert answer.status in (200, 303)
        assert_impersonal(answer)
    page = viewer.go("/")
    find(page, ADA)
    assert PERSONAL.search(page.content()) is None
    assert page.get_by_role("button", name="Show identities").count() == 0


def test_a_mapping_is_corrected_in_the_workbench_and_its_group_is_emptied(console: Console, visitor: Visitor) -> None:
    """Point 4."""
    at = visitor.go(f"/destinations/{QUEUE}/workbench")
    text = at.get_by_label("Presets, subscriptions and filters as TOML")
    parts = text.input_value() + CORRECTED
    text.fill(parts)
    at.get_by_role("button", name="Compare").click()
    result = at.locator("#result")
    expect(result).to_contain_text("attributes.bio")
    expect(result.locator(".pill", has_text="newly sent")).to_be_visible()

    write_config(console, config_with(parts))
    restart_workers(console)
    visitor.go("/")
    expect(at.locator("#causes")).to_contain_text("different configurations")
    reload(console)
    expect(at.locator("#causes")).not_to_contain_text("different configurations")
    used = {process["configuration"] for process in json_of(visitor, f"{console.url}/about")["processes"]}
    assert len(used) == 1

    visitor.go("/dead?reason=invalid")
    assert plan_all(at) == 25
    at.get_by_role("button", name="Replay 25 dead letters").click()
    expect(at.locator("#progress .pill")).to_have_text("done")
    visitor.go("/dead?reason=invalid")
    expect(at.locator("#found")).to_contain_text("No dead letter matches these conditions.")
