"""Generate cases from a seed: unusual events, mappings of every directive, every action, batches, triggers, variants of
recorded cases.

A case is a line of input for the oracle of the reference: `{"id", "mode"?, "event" | "events", "settings",
"subscriptions"?}`, `{"mapping", "event"}` or `{"fql", "event"}`. The same seed always gives the same cases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from mapping.actions import ACTIONS, Action, Field
from mapping.liquid.filters import FILTERS
from tests.differential.variants import Variants

Json = dict[str, Any]

REGIONS = ("US 🇺🇸", "EU 🇪🇺")
DATES = (
    "2024-03-05T10:20:30.456Z", "2024-03-05T10:20:30Z", "2024-03-05", "2024-03-05T10:20", "2024-03-05T10:20:30+02:00",
    "2024-03-05T10:20:30.123456789-0730", "2024-02-30", "2024-13-01", "2024-12-31T24:00:00Z", "1969-12-31T23:59:59.9Z",
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2024-03-05 10:20:30", "2024/03/05", "20240305", "2024",
    "Mar 5 2024", "5 March 2024 10:20 PM", "Tue, 05 Mar 2024 10:20:30 GMT", "1709634030", "1709634030.5",
    "1709634030000", "-5", "garbage 12", "12/25/1995", "2024-3-5", "2024-03-05t10:20:30z", "2024-03-05T10:20:30.Z",
)  # fmt: skip
IDS = (
    "user-1", "42", "jo@example.com", "JO@Example.COM", "jo@localhost", "cio_af12", "cio_", "CIO_x", " jo@example.com",
    "anon-1", "2024-01-01", "ünï@example.com", "a b", "a+b@sub.example.co", "", "0", "日本", "🎉", "a/b?c#d",
)  # fmt: skip
TEXTS = (
    "", " ", "x", "Order Placed", "Grüße 🎉 ß İ", "straße", "a.b.c", "true", "false", "null", "12.50", "1e3", "0x1f",
    "-0", "$.userId", "{{userId}}", "{{{traits.email}}}", '{"a":[1,{"b":null}]}', "[1,2", "a$&b", "$$", "line\nbreak",
    "\u00a0x\u00a0", "toString", "https://shop.example.com/p?a=1&b=ü",
)  # fmt: skip
NUMBERS = (0, 1, -1, 2, 42, 1.5, -0.25, 0.1, 1e21, 1e-7, 123456789012, 1709634030, 9007199254740991, 50, 101)
NAMES = ("a", "b", "email", "first name", "plan", "createdAt", "objectId", "0", "10", "length", "k.l", "when", "ünï")
EVENT_NAMES = (
    "Order Placed", "Application Installed", "Application Opened", "Application Uninstalled", "Device Deleted",
    "Device Created or Updated", "Relationship Deleted", "User Deleted", "User Suppressed", "User Unsuppressed",
    "Object Deleted", "Report Delivery Event", "Report Content Event", "application opened", "2024-01-01",
)  # fmt: skip
TYPES = ("track", "identify", "page", "screen", "group", "alias", "delete", "Track")
PATHS = (
    "$.userId", "$.traits.email", "$.properties.a", "$.properties", "$.traits", "$.context.device.token", "$.event",
    "$.properties.list[0]", "$.properties.list[1].a", "$.properties['first name']", "$.properties.b.length", "$.no",
    "$.timestamp", "$.anonymousId", "properties.a.b", "$.properties.list", "$.messageId", "$.type", "$.", "",
    "$.traits.plan[0]", "$.properties.0", '$.properties["k.l"]', "$.name", "$.groupId", "$.properties.a[2].x",
)  # fmt: skip
LIQUID = (
    "{{ userId }}", "{{ properties.a | upcase }}", "{% if traits.plan == 'pro' %}x{% else %}y{% endif %}",
    "{{ properties.b | default: 'none' | append: '!' }}", "{{ event | downcase | replace: 'o', '0' }}",
    "{{ properties.list | join: '-' }}", "{{ properties.list | size }}", "{{ traits.email | split: '@' | first }}",
    "{{ properties.a | plus: 1 }}", "{% assign x = properties.b %}{{ x }}", "{{ properties.a | date: '%Y-%m-%d' }}",
    "{{ event | truncate: 5 }}", "{% for i in properties.list %}{{ i }}{% endfor %}", "{{ nothing.at.all }}",
    "{{ properties.a | times: 2 | round }}", "{% unless userId %}absent{% endunless %}", "{{ event | slice: 0, 3 }}",
    "{% comment %}{{ a{b }}{% endcomment %}", "{{ event | escape }}", "{{ properties | json }}",
    "{{ event | sort }}", "{{ event", "{% unknown %}", "plain",
)  # fmt: skip
LIQUID_VALUES = (
    "userId", "event", "properties.a", "properties.b", "properties.list", "traits", "traits.plan", "traits.email",
    "nope", "'x, y'", "2", "1.5", "true", "timestamp", "properties.list[0]",
)  # fmt: skip
LIQUID_ARGUMENTS = ("", "", "", ": 1", ": 'x'", ": 2, 'y'", ": '%Y-%m-%d %H:%M'", ": userId")
TRIGGERS = (
    'type = "track"', 'type = "identify"', 'event = "Order Placed"', 'type = "track" and event != "Order Placed"',
    'type = "page" or type = "screen"', "properties.a > 5", 'contains(properties.a, "x")', 'match(event, "Order*")',
    "userId != null", "traits.plan = true", 'properties.list.0 = "x"', '!contains(event, "x")', 'name = "x"', "type =",
    '(type = "track" or type = "page") and userId != null', 'type = "track" and userId = "42" or event = "x"', "((", "",
    "properties.b != 5", "context.device.token != null", 'type!="x"', "a >=5", "type = 'track'", 'event = null',
)  # fmt: skip


class Generator:
    """A stream of cases; the seed determines all choices."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.variants = Variants(self.random)

    def cases(self, count: int) -> Iterator[Json]:
        """Yield `count` cases of all kinds, by their shares."""
        kinds = list(_SHARES)
        for number in range(count):
            kind = self.random.choices(kinds, weights=list(_SHARES.values()))[0]
            yield {"id": f"{kind}-{number:05}", **_MAKERS[kind](self)}

    def presets(self) -> Json:
        return {"event": self.event(), "settings": self.settings()}

    def custom(self) -> Json:
        return {"event": self.event(), "settings": self.settings(), "subscriptions": self.subscriptions()}

    def batch(self) -> Json:
        case: Json = {"mode": "batch", "events": self.events(), "settings": self.settings()}
        return case if self.chance(0.6) else {**case, "subscriptions": self.subscriptions()}

    def map(self) -> Json:
        return {"mapping": self.mapping(), "event": self.event()}

    def map_batch(self) -> Json:
        return {"mode": "mapBatch", "mapping": self.mapping(), "events": self.events()}

    def map_validate(self) -> Json:
        return {"mode": "mapValidate", "mapping": self.mapping()}

    def fql(self) -> Json:
        return {"mode": "fql", "fql": self.trigger(), "event": self.event()}

    def delete(self) -> Json:
        return {
            "mode": "delete",
            "event": {"type": "delete", "userId": self.pick(IDS[:12])},
            "settings": self.settings(),
        }

    def variant(self) -> Json:
        return self.variants.case()

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def pick(self, choices: Any) -> Any:
        return self.random.choice(choices)

    def settings(self) -> Json:
        settings = {"siteId": "site", "apiKey": "key"}
        return settings if self.chance(0.3) else {**settings, "accountRegion": self.pick(REGIONS)}

    def value(self, depth: int = 3) -> Any:
        """Return any JSON value; dates and identifiers are frequent."""
        shape = self.random.random()
        if depth > 0 and shape < 0.16:
            return {self.pick(NAMES): self.value(depth - 1) for _ in range(self.random.randint(0, 3))}
        if depth > 0 and shape < 0.3:
            return [self.value(depth - 1) for _ in range(self.random.randint(0, 3))]
        return self.scalar()

    def scalar(self) -> Any:
        return self.pick(self.pick((DATES, IDS, TEXTS, TEXTS, NUMBERS, (None, True, False))))

    def events(self) -> list[Json]:
        return [self.event() for _ in range(self.random.randint(1, 5))]

    def event(self) -> Json:
        """Return an event as sources send it; each member may be absent or have any value."""
        event: Json = {
            "type": self.pick(TYPES),
            "event": self.pick(EVENT_NAMES),
            "messageId": "m-1",
            "timestamp": self.pick(DATES),
            "userId": self.pick(IDS),
            "anonymousId": self.pick(IDS),
            "previousId": self.pick(IDS),
            "groupId": self.pick(IDS),
            "name": self.pick(TEXTS),
            "properties": self.properties(),
            "traits": self.traits(),
            "context": {"device": {"token": self.pick(IDS), "type": "ios"}, "app": {"version": "1.2"}},
        }
        for key in list(event):
            if key != "type" and self.chance(0.2):
                del event[key]
            elif self.chance(0.06):
                event[key] = self.value()
        if self.chance(0.02):
            event["context"] = {"personas": self.pick((None, {}, {"computation_class": "audience"}))}
        return event

    def properties(self) -> Json:
        properties = {
            "a": self.value(),
            "b": self.value(),
            "list": [self.value(1) for _ in range(self.random.randint(0, 3))],
            "url": "https://shop.example.com/p",
            "objectId": self.pick(IDS),
            "object_type_id": self.pick(("1", "2", "", 3)),
            "deliveryId": "d-1",
            "metric": self.pick(("opened", "clicked", "Opened")),
            "timestamp": self.pick(DATES),
            "actionType": self.pick(("viewed_content", "clicked_content", "x")),
            "contentId": self.pick((1, 2.5, "7", "x")),
        }
        kept = {key: value for key, value in properties.items() if self.chance(0.75)}
        return {**kept, self.pick(NAMES): self.value()}

    def traits(self) -> Json:
        traits = {
            "email": self.pick(IDS),
            "createdAt": self.pick(DATES),
            "created_at": self.pick(DATES),
            "plan": self.value(1),
            "objectId": self.pick(IDS),
            "object_type_id": self.pick(("1", "2", "", 3)),
            "objectTypeId": "4",
            "relationshipAttributes": {"role": self.value(1)},
            "objectAttributes": {"a": self.value(), "when": self.pick(DATES)},
        }
        kept = {key: value for key, value in traits.items() if self.chance(0.6)}
        return {**kept, self.pick(NAMES): self.value()}

    def subscriptions(self) -> list[Json]:
        return [self.subscription() for _ in range(self.random.randint(1, 3))]

    def subscription(self) -> Json:
        action = self.pick(tuple(ACTIONS.values()))
        subscription = {
            "name": action.title,
            "subscribe": action.trigger if self.chance(0.3) else self.trigger(),
            "partnerAction": "noSuchAction" if self.chance(0.02) else action.slug,
            "mapping": self.action_mapping(action),
        }
        return {**subscription, "enabled": False} if self.chance(0.03) else subscription

    def action_mapping(self, action: Action) -> Json:
        """Return the mapping of the preset with some fields changed or removed."""
        mapping = {}
        for field in action.fields:
            if self.chance(0.1):
                continue
            mapping[field.key] = self.field_mapping(field)
        if self.chance(0.05):
            mapping["unknown_field"] = self.value()
        return mapping

    def field_mapping(self, field: Field) -> Any:
        has_default = field.key in ("convert_timestamp", "enable_batching", "batch_size") or self.chance(0.6)
        if has_default and type(field.default) in (dict, bool, int, str) and not self.chance(0.05):
            return field.default
        return self.directive(2) if self.chance(0.75) else self.value(2)

    def trigger(self) -> str:
        first: str = self.pick(TRIGGERS)
        if self.chance(0.8):
            return first
        return f"{first} {self.pick(('and', 'or'))} {self.pick(TRIGGERS)}"

    def mapping(self) -> Any:
        fields: Json = {self.pick(NAMES): self.node(3) for _ in range(self.random.randint(1, 3))}
        if self.chance(0.05):
            fields["__segment_internal_directive"] = self.node(1)
        return self.directive(3) if self.chance(0.15) else fields

    def node(self, depth: int) -> Any:
        """Return a node of a mapping: a directive in most cases, else a value or an object of nodes."""
        shape = self.random.random()
        if shape < 0.7:
            return self.directive(depth)
        if shape < 0.85 or depth <= 0:
            return self.value(1)
        if shape < 0.93:
            return {self.pick(NAMES): self.node(depth - 1) for _ in range(self.random.randint(1, 3))}
        return [self.node(depth - 1) for _ in range(self.random.randint(0, 2))]

    def directive(self, depth: int) -> Json:
        """Return a directive, valid in nineteen of twenty cases."""
        name = self.pick(("@path", "@template", "@liquid", "@literal")) if depth <= 0 else self.pick(tuple(_DIRECTIVES))
        directive = {name: _DIRECTIVES[name](self, depth - 1)}
        if self.chance(0.03):
            directive["@path" if self.chance(0.5) else "stray"] = self.value(1)
        if self.chance(0.03):
            directive[name] = self.value(1)
        if self.chance(0.03):
            directive["_metadata"] = {"label": "x"}
        return directive

    def options(self, **options: Any) -> Json:
        """Return the options of a directive; one in twenty is absent or has any value."""
        for name in list(options):
            if self.chance(0.03):
                del options[name]
            elif self.chance(0.03):
                options[name] = self.value(1)
        return options

    def path(self, depth: int) -> Any:
        return self.directive(depth) if depth > 0 and self.chance(0.08) else self.pick(PATHS)

    def template(self, depth: int) -> Any:
        if depth > 0 and self.chance(0.05):
            return self.directive(depth)
        holes = [path.replace("$.", "", 1) if self.chance(0.8) else path for path in self.random.sample(PATHS, 2)]
        forms = ("{{%s}}", "{{ %s }}-{{%s}}", "Hi {{{%s}}}!", "{{%s}} {{{ %s }}}", "no holes", "{{%s")
        form: str = self.pick(forms)
        return form % tuple(holes[: form.count("%s")])

    def if_(self, depth: int) -> Json:
        test = {self.pick(("exists", "exists", "blank")): self.directive(depth)}
        return self.options(**test, then=self.node(depth), **({"else": self.node(depth)} if self.chance(0.7) else {}))

    def case(self, depth: int) -> Json:
        return self.options(operator=self.pick(("lower", "upper", "title")), value=self.directive(depth))

    def replace(self, depth: int) -> Json:
        options = {
            "pattern": self.pick(("a", "o", "@", ".", "$", "é", "ß", "Order", "x" * 11, "")),
            "replacement": self.pick(("", "-", "$&$&", "$$", "x" * 11, "$'")),
            "value": self.directive(depth),
            "ignorecase": self.chance(0.5),
            "global": self.chance(0.5),
            "pattern2": self.pick(("e", "x", "")),
            "replacement2": "_",
        }
        return self.options(**{key: value for key, value in options.items() if self.chance(0.8)})

    def array_path(self, depth: int) -> list[Any]:
        shape = {self.pick(("x", "y")): self.node(depth)}
        return [self.path(depth), shape] if self.chance(0.7) else [self.path(depth)]

    def flatten(self, depth: int) -> Json:
        separator = self.pick((".", "_", "", {"@path": "$.userId"}))
        return self.options(value=self.node(depth), separator=separator, omitArrays=self.chance(0.4))

    def json(self, depth: int) -> Json:
        return self.options(value=self.node(depth), mode=self.pick(("encode", "decode", "decode", "other")))

    def merge(self, depth: int) -> Json:
        objects = [self.node(depth) for _ in range(self.random.randint(0, 3))]
        return self.options(objects=objects, direction=self.pick(("left", "right", "LEFT", "up")))

    def transform(self, depth: int) -> Json:
        applied = {"userId": self.node(depth), "properties": self.node(depth)}
        return self.options(apply=applied, mapping={self.pick(NAMES): self.directive(depth)})

    def liquid(self, _depth: int) -> str:
        makers = (lambda: self.pick(LIQUID), self.liquid_output, self.liquid_condition)
        return "".join(self.pick(makers)() for _ in range(self.random.randint(1, 2)))

    def liquid_output(self) -> str:
        filters = [self.pick(sorted(FILTERS)) + self.pick(LIQUID_ARGUMENTS) for _ in range(self.random.randint(0, 2))]
        return "{{ " + " | ".join([self.pick(LIQUID_VALUES), *filters]) + " }}"

    def liquid_condition(self) -> str:
        operator = self.pick(("==", "!=", "<", ">=", "contains"))
        condition = f"{self.pick(LIQUID_VALUES)} {operator} {self.pick(LIQUID_VALUES)}"
        return "{% if " + condition + " %}y{% else %}n{% endif %}"


_DIRECTIVES: dict[str, Callable[[Generator, int], Any]] = {
    "@path": Generator.path,
    "@template": Generator.template,
    "@if": Generator.if_,
    "@case": Generator.case,
    "@replace": Generator.replace,
    "@arrayPath": Generator.array_path,
    "@flatten": Generator.flatten,
    "@json": Generator.json,
    "@merge": Generator.merge,
    "@transform": Generator.transform,
    "@excludeWhenNull": Generator.node,
    "@literal": Generator.node,
    "@liquid": Generator.liquid,
}

_MAKERS: dict[str, Callable[[Generator], Json]] = {
    "presets": Generator.presets,
    "custom": Generator.custom,
    "batch": Generator.batch,
    "map": Generator.map,
    "mapBatch": Generator.map_batch,
    "mapValidate": Generator.map_validate,
    "fql": Generator.fql,
    "delete": Generator.delete,
    "variant": Generator.variant,
}
_SHARES = {
    "presets": 20, "custom": 18, "batch": 12, "map": 13, "mapBatch": 2, "mapValidate": 2, "fql": 2, "delete": 1,
    "variant": 30,
}  # fmt: skip
