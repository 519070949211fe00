"""What objects are called: natural keys, references to them by id, key or name (§2.2), and double names.

Names are taken from the raw objects, so that a reference to an object that has some other mistake still resolves.
"""

from __future__ import annotations

from collections.abc import Iterable

from earnbook.rules.definitions_collect import RawObject
from earnbook.rules.definitions_ids import object_id
from earnbook.rules.issues import Issue, IssueCode, suggest
from earnbook.rules.models_fields import is_uuid

_KEY_FIELDS = {"asset": "symbol"}


def natural_key(raw: RawObject) -> str:
    """The object's key (an asset's symbol); without one its id, else its name; empty where it has none of them."""
    key = raw.node.text(_KEY_FIELDS.get(raw.kind, "key"))
    if key or raw.kind == "asset":
        return key
    return given_id(raw) or raw.node.text("name") or raw.node.text("url")


def given_id(raw: RawObject) -> str:
    """The id that the file gives, in lower case; empty where it gives none."""
    text = raw.node.text("id")
    return text.lower() if is_uuid(text) else ""


class Names:
    """The names of one kind of object within one owner, an organization or a program, of which `owner` is the id."""

    def __init__(self, raws: Iterable[RawObject], owner: str, issues: list[Issue]) -> None:
        self.by_key: dict[str, RawObject] = {}
        self._owner = owner
        self._by_id: dict[str, str] = {}
        self._by_name: dict[str, str | None] = {}
        for raw in raws:
            self._add(raw, issues)

    def find(self, reference: str) -> str | None:
        """The natural key of the object meant; text of UUID form is an id (or a key that is one), else key or name."""
        if is_uuid(reference):
            found = self._by_id.get(reference.lower())
            return found if found is not None else reference if reference in self.by_key else None
        return reference if reference in self.by_key else self._by_name.get(reference)

    def id_of(self, raw: RawObject) -> str:
        """The id of an object of this owner: as given, else made of its natural key (§2.3)."""
        return given_id(raw) or object_id(self._owner, raw.kind, natural_key(raw))

    def resolve(self, reference: str, raw: RawObject, issues: list[Issue], *steps: str | int) -> str | None:
        """The natural key meant by a field; an unknown one becomes an issue at the field."""
        key = self.find(reference)
        if key is None:
            kind = next(iter(self.by_key.values())).kind if self.by_key else str(steps[-1]).removesuffix("_id")
            remedy = suggest(reference, self.by_key) or f"define the {kind} first"
            message = f"there is no {kind} `{reference}`"
            issues.append(raw.issue(IssueCode.UNKNOWN_REFERENCE, message, remedy, *steps))
        return key

    def _add(self, raw: RawObject, issues: list[Issue]) -> None:
        key, name = natural_key(raw), raw.node.text("name")
        if not key:
            return
        identifier = self.id_of(raw)
        if key in self.by_key:
            field = next((name for name in ("symbol", "key", "id", "name") if raw.node.text(name)), "url")
            issues.append(_double(raw, field, key, self.by_key[key]))
            return
        if identifier in self._by_id:
            issues.append(_double(raw, "id", identifier, self.by_key[self._by_id[identifier]]))
        self.by_key[key] = raw
        self._by_id.setdefault(identifier, key)
        if name:
            # A name that two objects share names neither of them.
            self._by_name[name] = None if name in self._by_name else key


def check_unique_names(raws: Iterable[RawObject], issues: list[Issue]) -> None:
    """Rewards and automations have a name of their own within their program (§6.2)."""
    seen: dict[str, RawObject] = {}
    for raw in raws:
        name = raw.node.text("name")
        if name and name in seen and natural_key(raw) != natural_key(seen[name]):
            issues.append(_double(raw, "name", name, seen[name]))
        elif name:
            seen.setdefault(name, raw)


def _double(raw: RawObject, field: str, value: str, first: RawObject) -> Issue:
    at = first.position(field)
    message = f"two objects have the {field} `{value}`; the other stands in {at.file}:{at.line}"
    return raw.issue(IssueCode.DUPLICATE_KEY, message, f"give one of them another {field}", field)
