"""The configuration file: its destinations, and its faults with the key, what is wrong and what would be right."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import mapping
from console import checking
from mapping.configuration import DestinationTable, SubscriptionTable
from mapping.delivery import Delivery
from settings import SettingsError, read_document
from tests.secrets import CREDENTIALS, CREDENTIALS_TOML

DOCS = Path(__file__).parents[3] / "docs" / "configuration.md"
HEAD = f"""
[sources.web]
write_key = "w"
destinations = ["journeys"]
[destinations.journeys]
{CREDENTIALS_TOML}"""
SUBSCRIPTION = HEAD + "[[destinations.journeys.subscriptions]]\n"
LEAD = SUBSCRIPTION + 'name = "Lead"\naction = "createUpdatePerson"\ntrigger = \'event = "Lead"\'\n'
FILTER = HEAD + "[[destinations.journeys.filters]]\n"

# An invalid file, and a part of its fault.
INVALID = {
    "no credentials": (
        HEAD.replace("site_id", "#", 1),
        "destinations.journeys.site_id: is missing",
    ),
    "an empty key": (HEAD.replace(CREDENTIALS["api_key"], ""), "destinations.journeys.api_key: must not be empty"),
    "a wrong region": (HEAD + 'region = "asia"', "destinations.journeys.region: is 'asia', but must be 'us' or 'eu'"),
    "an unknown key": (
        HEAD + 'subscription = "x"',
        'destinations.journeys.subscription: there is no key "subscription"; did you mean "subscriptions"?',
    ),
    "a wrong type": (HEAD + "batch_items = true", "destinations.journeys.batch_items: "),
    "a mode that there is not": (HEAD + 'mode = "dry"', "destinations.journeys.mode: is 'dry', but must be 'live' or"),
    "a moment without a zone": (
        HEAD + "cutover_at = 2026-12-01T10:00:00",
        "destinations.journeys.cutover_at: must have a zone, as in 2026-12-01T10:00:00Z",
    ),
    "a moment in quotes": (
        HEAD + 'cutover_at = "2026-12-01T10:00:00Z"',
        "destinations.journeys.cutover_at: must be a date with a time and a zone, without quotes, such as 2026-12",
    ),
    "a day as a moment": (
        HEAD + "cutover_at = 2026-12-01",
        "destinations.journeys.cutover_at: must be a date with a time and a zone, without quotes, such as 2026-12",
    ),
    "a moment beside shadow mode": (
        HEAD + 'mode = "shadow"\ncutover_at = 2026-12-01T10:00:00Z',
        'destinations.journeys.mode: must not be "shadow" beside cutover_at, which sends later events',
    ),
    "an end before the moment": (
        HEAD + "cutover_at = 2026-12-01T10:00:00Z\ncutover_until = 2026-12-01T10:00:00Z",
        "destinations.journeys.cutover_until: must be later than cutover_at",
    ),
    "a field without a moment": (
        HEAD + 'cutover_by = "receivedAt"',
        "destinations.journeys.cutover_by: has no effect without cutover_at",
    ),
    "too many in a batch": (HEAD + "batch_items = 5000", "less than or equal to 1000 (it is 5000)"),
    "an unknown section": (HEAD + "[source.x]", 'source: there is no key "source"; did you mean "sources"?'),
    "an unknown preset": (
        HEAD + '[destinations.journeys.presets]\n"Track Evnt" = false',
        'there is no preset "Track Evnt"; did you mean "Track Event"?',
    ),
    "an unknown action": (
        LEAD.replace("createUpdatePerson", "createPerson"),
        'subscriptions[0].action: there is no action "createPerson"; did you mean',
    ),
    "no trigger": (
        SUBSCRIPTION + 'name = "x"\naction = "trackEvent"',
        "subscriptions[0].trigger: is missing; which events, for example 'type = \"track\"'",
    ),
    "a bad trigger": (
        LEAD.replace('event = "Lead"', 'event = "Lead" and ('),
        "destinations.journeys.subscriptions[0].trigger: ",
    ),
    "a date in a mapping": (
        LEAD + "mapping.attributes = { since = 2026-01-01 }",
        'subscriptions[0].mapping.attributes.since: is a date or a time; write it as a text, "2026-01-01"',
    ),
    "a moment as a mapping": (
        LEAD + "mapping.timestamp = 2026-01-01T00:00:00Z",
        'mapping.timestamp: is a date or a time; write it as a text, "2026-01-01T00:00:00+00:00"',
    ),
    "a time in a condition": (
        LEAD + "mapping.id = { '@if' = { exists = true, then = 07:32:00 } }",
        'mapping.id.@if.then: is a date or a time; write it as a text, "07:32:00"',
    ),
    "a date in a literal and in a list": (
        LEAD + "mapping.attributes = { '@literal' = [1, 2026-01-01] }",
        "mapping.attributes.@literal[1]: is a date or a time",
    ),
    "not a number": (
        LEAD + "mapping.attributes = { a = nan, b = [-inf] }",
        "mapping.attributes.b[0]: is -inf, but must be a finite number",
    ),
    "a date in place of a word": (HEAD + "mode = 2026-01-01", "mode: is 2026-01-01, but must be 'live' or"),
    "a list in place of a table": (LEAD + "mapping = []", "subscriptions[0].mapping: must be a table"),
    "a bad directive": (
        LEAD + "mapping.id = { '@path' = 5 }",
        "destinations.journeys.subscriptions[0].mapping: ",
    ),
    "an unknown directive": (LEAD + "mapping.id = { '@pth' = '$.a' }", "subscriptions[0].mapping: "),
    "an unknown field": (
        LEAD + 'mapping.emial = "$.traits.email"',
        'mapping.emial: there is no field of Create or Update Person "emial"; did you mean "email"?',
    ),
    "a condition without a test": (
        LEAD + "mapping.id = { '@if' = { then = 1 } }",
        'mapping.id.@if: @if requires an "exists"',
    ),
    "another case": (
        LEAD + "mapping.id = { '@case' = { operator = 'title', value = '$.a' } }",
        'mapping.id.@case.operator: must be "lower" or "upper"',
    ),
    "a second pattern that is too long": (
        LEAD + "mapping.id = { '@replace' = { pattern = 'a', value = '$.a', pattern2 = 'abcdefghijk' } }",
        "mapping.id.@replace.pattern2: must have at most 10 characters",
    ),
    "an unknown directive in a list": (
        LEAD + "mapping.custom_attributes = { a = [{ '@pth' = '$.a' }] }",
        "mapping.custom_attributes.a[0].@pth: @pth is not a valid directive",
    ),
    "a path in a list that is no text": (
        LEAD + "mapping.custom_attributes = { a = [{ '@path' = 1 }] }",
        "mapping.custom_attributes.a[0].@path: @path: expected string, got number",
    ),
    "a bad template in a literal": (
        LEAD + "mapping.custom_attributes = { '@literal' = { a = { '@liquid' = '{{' } } }",
        'mapping.custom_attributes.@literal.a.@liquid: output "{{" not closed',
    ),
    "a bad template in the shape of a list": (
        LEAD + "mapping.custom_attributes = { a = { '@arrayPath' = ['$.b', { c = { '@liquid' = '{{' } }] } }",
        'mapping.custom_attributes.a.@arrayPath[0].c.@liquid: output "{{" not closed',
    ),
    "a disabled filter": (
        LEAD + "mapping.id = { '@liquid' = '{{ a | map: 1 }}' }",
        'mapping.id.@liquid: filter "map" is disabled',
    ),
    "a root directive that is none": (
        LEAD + "mapping.__segment_internal_directive = {}",
        "mapping.__segment_internal_directive: The root directive must be an object",
    ),
    "a literal of another type": (
        LEAD + "mapping.convert_timestamp = { '@literal' = 'yes' }",
        "mapping.convert_timestamp: Convert Timestamps must be a boolean but it was a string.",
    ),
    "a table in place of a text": (
        LEAD + "mapping.id = { a = 'x' }",
        "Person ID must be a string but it was an object.",
    ),
    "a list in place of a table of attributes": (
        LEAD + "mapping.custom_attributes = ['a']",
        "Person Attributes must be an object but it was an array.",
    ),
    "a template in place of a table": (
        LEAD + "mapping.custom_attributes = '{{ traits }}'",
        "Person Attributes must be an object but it was a string.",
    ),
    "a required field without a mapping": (
        LEAD.replace("createUpdatePerson", "trackEvent") + 'mapping.name = ""',
        'mapping.name: Track Event needs its Event Name; give a path like "$.userId"',
    ),
    "a name taken twice": (
        LEAD + LEAD.removeprefix(HEAD),
        'subscriptions[1].name: "Lead" is the name of an earlier subscription',
    ),
    "a preset changed twice": (
        LEAD.replace('"Lead"\na', '"Track Page View"\na')
        + LEAD.removeprefix(HEAD).replace('"Lead"\na', '"Track Page View"\na'),
        'subscriptions[1].name: "Track Page View" is the name of an earlier subscription',
    ),
    "Group under 2021": (
        LEAD.replace("site_id", 'compatibility = "2021"\nsite_id', 1).replace('event = "Lead"', 'type = "group"'),
        'Group events are not accepted with compatibility = "2021"; use compatibility = "current" or another trigger',
    ),
    "a filter without an action": (
        FILTER + "if = \"type = 'track'\"",
        "filters[0].action: is missing; it must be one of drop, sample, block, allow",
    ),
    "a bad filter": (FILTER + 'if = "type == \'track\'"\naction = "drop"', "destinations.journeys.filters[0].if: "),
    "a filter of part of an event that has none": (
        FILTER + 'if = "type = \'track\'"\naction = "block"\nfields = { anonymousId = ["x"] }',
        "filters[0].fields.anonymousId: must be in one of properties, traits, context",
    ),
    "a sample without a rate": (
        FILTER + 'if = "type = \'track\'"\naction = "sample"',
        "filters[0].rate: is missing; it must be the share of the events to keep, from 0 to 1",
    ),
    "a sample by a path of mappings": (
        FILTER + 'if = "type = \'track\'"\naction = "sample"\nrate = 0.1\nby = "$.userId"',
        "filters[0].by: is '$.userId', but must be a path such as userId",
    ),
    "a template of Liquid that is not closed": (
        LEAD + "mapping.id = { '@liquid' = '{{ a | ' }",
        'subscriptions[0].mapping.id.@liquid: output "{{ a | " not closed',
    ),
    "a tag of Liquid that is disabled, in a condition": (
        LEAD + "mapping.id = { '@if' = { exists = 'x', then = { '@liquid' = '{% for a in b %}{% endfor %}' } } }",
        'mapping.id.@if.then.@liquid: tag "for" is disabled',
    ),
    "a path without $.": (
        LEAD + 'mapping.id = "context.traits.email"',
        'subscriptions[0].mapping.id: "context.traits.email" is the same text for every event; write '
        '{ "@path" = "$.context.traits.email" }, or { "@literal" = "context.traits.email" }',
    ),
    "a path without its dot": (LEAD + 'mapping.id = "$userId"', 'write { "@path" = "$.userId" }'),
    "a path in a table": (
        LEAD + 'mapping.custom_attributes = { plan = "$.traits.plan" }',
        'mapping.custom_attributes.plan: "$.traits.plan" is the same text for every event; write '
        '{ "@path" = "$.traits.plan" }, or { "@literal" = "$.traits.plan" }',
    ),
    "a path without $. in a table": (
        LEAD + 'mapping.custom_attributes = { plan = "traits.plan" }',
        'mapping.custom_attributes.plan: "traits.plan" is the same text',
    ),
    "another spelling of a preset": (
        LEAD.replace('"Lead"\naction', '"Track page view"\naction'),
        'subscriptions[0].name: "Track page view" does not replace the preset "Track Page View"; write',
    ),
    "an ignored key without a kind": (
        HEAD + 'delivery = { ignored_keys = ["kiosk"] }',
        'delivery.ignored_keys[0]: "kiosk" is no ordering key; it must begin with one of id:, email:, ',
    ),
    "an ignored key of another kind": (
        HEAD + 'delivery = { ignored_keys = ["anonymous_id:kiosk", "user_id:0"] }',
        'delivery.ignored_keys[1]: "user_id:0" is no ordering key',
    ),
    "an ignored address in capitals": (
        HEAD + 'delivery = { ignored_keys = ["email:Shop@Example.com"] }',
        "must be in lower case, email:shop@example.com",
    ),
    "an ignored address where it is no identifier": (
        HEAD + 'identifiers = "id"\ndelivery = { ignored_keys = ["email:a@example.com"] }',
        'is no ordering key with identifiers = "id"',
    ),
    "an ignored key without a value": (HEAD + 'delivery = { ignored_keys = ["id:"] }', "has no value after id:"),
    "a line feed in a credential": (
        HEAD.replace(CREDENTIALS["api_key"], r"k\n"),
        "destinations.journeys.api_key: must not begin or end with a space or a line feed",
    ),
    "a space before a credential": (
        HEAD.replace(CREDENTIALS["site_id"], " s"),
        "site_id: must not begin or end with a space",
    ),
    "a control character in a credential": (
        HEAD.replace(CREDENTIALS["api_key"], r"k\u0000k"),
        "destinations.journeys.api_key: must not contain control characters",
    ),
    "a line feed in a write key": (HEAD.replace('"w"', '"w\\n"'), "sources.web.write_key: must not begin or end with"),
    "a space after the secret of a webhook": (
        HEAD.replace('"w"', '"w"\nwebhook_secret = "h "'),
        "sources.web.webhook_secret: must not begin or end with",
    ),
    "an unknown key of delivery": (
        HEAD + "delivery = { request_per_s = 10 }",
        'delivery.request_per_s: there is no key "request_per_s"; did you mean "requests_per_s"?',
    ),
    "an unlike key of delivery": (
        HEAD + "delivery = { x = 10 }",
        'there is no key "x"; there are order, batch_order, ',
    ),
    "an unknown key of a source": (
        HEAD.replace('"w"', '"w"\nwebhook_secrets = "h"'),
        'sources.web.webhook_secrets: there is no such key; did you mean "webhook_secret"?',
    ),
    "an empty file": ("# nothing\n", "there are neither tables like [sources.website] nor like [destinations."),
    "an unknown order": (
        HEAD + '[destinations.journeys.delivery]\norder = "strict"',
        "delivery.order: is 'strict', but must be 'acknowledged' or 'applied'",
    ),
    "a source with an unknown destination": (
        HEAD.replace('["journeys"]', '["journey"]'),
        'sources.web.destinations: there is no destination "journey"; there are journeys',
    ),
}


@pytest.mark.parametrize("what", INVALID)
def test_an_invalid_file_is_refused_with_the_key_and_a_correction(what: str) -> None:
    text, fault = INVALID[what]

    faults = checking.faults(tomllib.loads(text))

    assert any(fault in found for found in faults), faults


def test_all_faults_of_a_file_are_reported() -> None:
    text = LEAD.replace("site_id", "#", 1).replace('event = "Lead"', "(") + 'mapping.emial = "x"'

    assert [fault.split(": ")[0] for fault in checking.faults(tomllib.loads(text))] == [
        "destinations.journeys.site_id",
        "destinations.journeys.subscriptions[0].trigger",
        "destinations.journeys.subscriptions[0].mapping.emial",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[destinations\n", r"segue\.toml: is not TOML: .*line 1"),
        (
            '[destinations.x]\nsite_id = "${NOT_SET_ANYWHERE}"',
            "destinations.x.site_id: the environment variable NOT_SET",
        ),
    ],
)
def test_an_unreadable_file_is_refused_with_its_name(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "segue.toml"
    path.write_text(text)

    with pytest.raises(SettingsError, match=fault):
        read_document(path)


def test_the_fault_of_a_trigger_points_at_the_character() -> None:
    (fault,) = checking.faults(tomllib.loads(LEAD.replace('event = "Lead"', 'event = "Lead" and (')))

    assert "^" in fault


def test_quick_setup_enables_all_presets() -> None:
    destination = mapping.destinations(tomllib.loads(HEAD))["journeys"]

    assert len(destination.subscriptions) == 15
    assert all(subscription.enabled for subscription in destination.subscriptions)


def test_a_filter_applies_before_all_actions_and_does_not_change_ordering_keys() -> None:
    text = FILTER + 'if = "type = \'track\' and properties.test = true"\naction = "drop"\n'
    text += "[[destinations.journeys.filters]]\nif = \"type = 'identify'\"\n"
    text += 'action = "block"\nfields = { traits = ["ssn"] }\n'
    destination = mapping.destinations(tomllib.loads(text))["journeys"]

    test = {"type": "track", "event": "x", "userId": "1", "properties": {"test": True}}
    identify = {"type": "identify", "userId": "1", "traits": {"ssn": "123", "plan": "pro"}}

    assert mapping.translate(test, destination, 0.0).operations == ()
    assert mapping.ordering_keys(test, destination) == ("id:1",)
    (operation,) = mapping.translate(identify, destination, 0.0).operations
    assert operation.body["attributes"] == {"plan": "pro"}


def test_an_event_is_not_ordered_by_ignored_keys() -> None:
    text = HEAD + '[destinations.journeys.delivery]\nignored_keys = ["anonymous_id:kiosk"]'
    destination = mapping.destinations(tomllib.loads(text))["journeys"]

    event = {"type": "track", "event": "x", "userId": "1", "anonymousId": "kiosk"}

    assert mapping.ordering_info(event, destination).keys == ("id:1",)
    assert mapping.ordering_keys(event, destination) == ("id:1", "anonymous_id:kiosk")


def test_a_trigger_has_lint_warnings() -> None:
    text = LEAD.replace('event = "Lead"', 'properties.total >=5 and event = "Lead"')
    (warning,) = mapping.lint_warnings(mapping.destinations(tomllib.loads(text))["journeys"])

    assert 'the trigger of "Lead"' in warning
    assert "never true" in warning
    assert "^" in warning


@pytest.mark.parametrize(
    "line",
    [
        """mapping.id = { "@literal" = "userId" }""",
        """mapping.id = { "@path" = "userId" }""",
        """mapping.id = { "@if" = { exists = { "@path" = "$.a" }, then = "context", else = "traits" } }""",
        """mapping.id = { "@replace" = { pattern = "traits.", replacement = "", value = { "@path" = "$.a" } } }""",
        """mapping.id = { "@liquid" = "" }""",
    ],
)
def test_a_text_that_is_meant_is_accepted(line: str) -> None:
    assert checking.faults(tomllib.loads(LEAD + line)) == []


def test_a_subscription_may_have_a_name_like_that_of_a_preset_that_is_off() -> None:
    file = LEAD.replace('"Lead"\naction', '"Track page view"\naction')

    off = '[destinations.journeys.presets]\n"Track Page View" = false\n'

    assert checking.faults(tomllib.loads(file + off)) == []


def test_a_name_that_is_nearly_that_of_a_preset_is_a_warning() -> None:
    (warning,) = checking.warnings(
        tomllib.loads(
            LEAD.replace('"Lead"\naction', '"Track Page Views"\naction').replace('"w"', '"w"\ntrust="server"')
        )
    )

    assert warning == (
        'destinations.journeys: the subscription "Track Page Views" does not replace the preset "Track Page View"'
    )


def test_a_file_without_sources_is_a_warning() -> None:
    assert checking.warnings({"destinations": {"a": CREDENTIALS}}) == [
        "sources: there are none, so no event can be accepted"
    ]


def test_the_examples_of_the_documentation_are_valid() -> None:
    examples = re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)

    assert len(examples) >= 4
    for example in examples:
        assert checking.faults(tomllib.loads(example)) == [], example


def test_the_documentation_describes_every_key() -> None:
    text = DOCS.read_text(encoding="utf-8")

    for model in (DestinationTable, SubscriptionTable, Delivery):
        for key in model.model_fields:
            assert f"`{key}`" in text, key


def test_the_example_of_leads_identifies_them_by_email() -> None:
    examples = re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    text = next(example for example in examples if "Lead Captured" in example)
    destination = mapping.destinations(tomllib.loads(text))["journeys"]
    lead = {"type": "track", "event": "Lead Captured", "anonymousId": "a", "context": {"traits": {"email": "jo@x.com"}}}
    page = {"type": "page", "userId": "1", "name": "https://example.com/a"}

    leads = [operation.body for operation in mapping.translate(lead, destination, 0.0).operations]
    pages = [operation.body for operation in mapping.translate(page, destination, 0.0).operations]
    assert {"email": "jo@x.com"} in [body["identifiers"] for body in leads]
    assert [body["name"] for body in pages] == ["https://example.com/a"]
    (failure,) = mapping.translate(page | {"name": None}, destination, 0.0).failures
    assert failure.message == "The root value is missing the required field 'url'."
