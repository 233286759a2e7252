"""The objects of a workspace (rule 38): each has attributes, and relationships to people."""

from __future__ import annotations

from simulator.person import Json, ObjectKey, merge_attributes


class Objects:
    """All objects. Both the pair of type and id and the assigned `cio_object_id` are unique."""

    def __init__(self) -> None:
        self.attributes: dict[ObjectKey, Json] = {}
        self._by_cio_id: dict[str, ObjectKey] = {}

    def key(self, identifiers: Json) -> ObjectKey | None:
        """Return the key of an object; None for an unknown `cio_object_id`."""
        if "cio_object_id" in identifiers:
            return self._by_cio_id.get(str(identifiers["cio_object_id"]))
        return str(identifiers["object_type_id"]), str(identifiers["object_id"])

    def update(self, key: ObjectKey, attributes: Json) -> None:
        """Set attributes of an object, which is created when it does not exist."""
        if key not in self.attributes:
            self.attributes[key] = {}
            self._by_cio_id[f"o{len(self._by_cio_id) + 1:07x}"] = key
        merge_attributes(self.attributes[key], attributes)

    def delete(self, key: ObjectKey) -> None:
        """Delete an object; an unknown one is ignored."""
        self.attributes.pop(key, None)
        self._by_cio_id = {cio_id: known for cio_id, known in self._by_cio_id.items() if known != key}

    def json(self) -> list[Json]:
        """Return the objects as in `/_sim/objects`, see docs/simulator.md."""
        return [
            {"cio_object_id": cio_id, "object_type_id": key[0], "object_id": key[1], "attributes": self.attributes[key]}
            for cio_id, key in self._by_cio_id.items()
        ]
