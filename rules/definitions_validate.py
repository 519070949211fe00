"""From raw objects to models: drops what may be ignored, names what is unknown, and words every mistake for people.

Fields that exported API objects carry (§6.1), nulls, and documented fields of another action or schedule type (§6.3)
are dropped here, the last with a warning; everything else must be right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any, TypeVar

from pydantic import ValidationError

from earnbook.rules import definitions_nodes as nodes
from earnbook.rules.definitions_collect import RawObject
from earnbook.rules.definitions_mend import mend
from earnbook.rules.definitions_models import TAGS, choose_model, submodels
from earnbook.rules.definitions_nodes import SHORT_NAMES, Node, Scalar, follow, is_null, plain
from earnbook.rules.issues import Issue, IssueCode, Severity, suggest
from earnbook.rules.models import ACTION_MODELS, ActionBase, Budget, Program, Rule
from earnbook.rules.models_automations import TRIGGER_MODELS, Automation
from earnbook.rules.models_fields import Definition
from earnbook.rules.models_tiers import Reward, TierType

_FULL_NAMES = {short: full for full, short in SHORT_NAMES.items()}
_SCHEDULE_FIELDS = {"cron_expression": "CRON", "interval": "INTERVAL"}

_MENDED = frozenset((Program, Rule, TierType, Reward, Automation))
"""Models that are checked against other objects, so that mistakes in them must not end the search for more."""

Model = TypeVar("Model", bound=Definition)


def validate(raw: RawObject, model: type[Model], issues: list[Issue]) -> Model | None:
    """The model of a raw object; warnings and mistakes are added to `issues`.

    With mistakes it is a model of what is right in the object, which serves only to find more of them, or None.
    """
    node = _Cleaner(raw, issues).clean(raw.node, model, ())
    clean = RawObject(raw.kind, node, raw.path, raw.owner)
    value = plain(node)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        mended, later = mend(value, model, error) if model in _MENDED else (None, [])
        for details in (*error.errors(include_url=False), *later):
            if issue := _issue(clean, details):
                issues.append(issue)
        return mended


class _Cleaner:
    """Rewrites a tree so that only fields of its model are left, under their full names."""

    def __init__(self, raw: RawObject, issues: list[Issue]) -> None:
        self._raw = raw
        self._issues = issues

    def clean(self, node: nodes.Mapping, model: type[Definition], steps: tuple[str | int, ...]) -> nodes.Mapping:
        """The mapping with known fields only; unknown ones become issues."""
        members: dict[str, Node] = {}
        keys = dict(node.keys)
        other = _fields_of_alternatives(model)
        for name, member in node.members.items():
            full = _FULL_NAMES.get(name, name)
            full = full if full in model.model_fields else name
            if name in model.ignored_fields or (is_null(member) and (full in model.model_fields or full in other)):
                continue
            if full not in model.model_fields:
                self._unknown(full, model, other, (*steps, name))
            elif full in members:
                self._twice(full, (*steps, name))
            else:
                members[full] = self._child(member, model, full, (*steps, name))
                keys.setdefault(full, node.keys[name])
        if model is Budget:
            self._drop_other_schedule(members, steps)
        return nodes.Mapping(members, node.at, keys)

    def _child(self, node: Node, model: type[Definition], name: str, steps: tuple[str | int, ...]) -> Node:
        alternatives = submodels(model, name)
        if not alternatives:
            return node
        if isinstance(node, nodes.Mapping):
            chosen = _choose(node, alternatives)
            return self.clean(node, chosen, steps) if chosen else node
        if isinstance(node, nodes.Sequence):
            items = tuple(self._item(item, alternatives, (*steps, index)) for index, item in enumerate(node.items))
            return nodes.Sequence(items, node.at)
        return node

    def _item(self, node: Node, alternatives: Sequence[type[Definition]], steps: tuple[str | int, ...]) -> Node:
        chosen = _choose(node, alternatives) if isinstance(node, nodes.Mapping) else None
        return self.clean(node, chosen, steps) if chosen and isinstance(node, nodes.Mapping) else node

    def _unknown(self, name: str, model: type[Definition], other: frozenset[str], steps: tuple[str | int, ...]) -> None:
        if name in other:
            node, _ = follow(self._raw.node, steps[:-1])
            kind = " ".join(node.text(tag) for tag in TAGS if isinstance(node, nodes.Mapping) and node.text(tag))
            self._warn(f"`{name}` does not belong to {kind} and is ignored", f"remove {name}", *steps)
            return
        message = f"there is no field `{steps[-1]}`"
        self._issues.append(
            self._raw.issue(IssueCode.UNKNOWN_FIELD, message, suggest(name, model.model_fields), *steps)
        )

    def _twice(self, name: str, steps: tuple[str | int, ...]) -> None:
        message = f"`{SHORT_NAMES[name]}` and `{name}` are the same field"
        self._issues.append(self._raw.issue(IssueCode.DUPLICATE_KEY, message, "keep one of them", *steps))

    def _drop_other_schedule(self, members: dict[str, Node], steps: tuple[str | int, ...]) -> None:
        tag = members.get("schedule_type")
        stated = tag.value if isinstance(tag, Scalar) else None
        for name, schedule in _SCHEDULE_FIELDS.items():
            if name in members and stated != schedule and (stated is None or stated in _SCHEDULE_FIELDS.values()):
                del members[name]
                what = f"schedule_type {stated}" if stated else "a budget without schedule_type (a lifetime cap)"
                self._warn(
                    f"`{name}` does not belong to {what} and is ignored",
                    f"remove {name}, or set schedule_type: {schedule}",
                    *steps,
                    name,
                )

    def _warn(self, message: str, remedy: str, *steps: str | int) -> None:
        warning = self._raw.issue(IssueCode.UNKNOWN_FIELD, message, remedy, *steps, severity=Severity.WARNING)
        self._issues.append(warning)


def _choose(node: nodes.Mapping, alternatives: Sequence[type[Definition]]) -> type[Definition] | None:
    return choose_model({tag: node.text(tag) for tag in TAGS}, alternatives)


@cache
def _fields_of_alternatives(model: type[Definition]) -> frozenset[str]:
    """Fields of the other types of the same union: known, but not here."""
    family: tuple[type[Definition], ...] = ()
    if issubclass(model, ActionBase):
        family = tuple(ACTION_MODELS.values())
    elif model in TRIGGER_MODELS:
        family = TRIGGER_MODELS
    return frozenset(name for member in family for name in member.model_fields) - frozenset(model.model_fields)


def _issue(raw: RawObject, details: Mapping[str, Any]) -> Issue | None:
    """A validation error of pydantic in our words; None for one that only follows from another."""
    kind, given, context = str(details["type"]), details.get("input"), details.get("ctx") or {}
    _, steps = follow(raw.node, details["loc"])
    field = str(details["loc"][-1]) if details["loc"] else ""
    if kind == "earnbook":
        return raw.issue(IssueCode(context["code"]), context["message"], context["remedy"], *steps)
    if kind == "missing":
        return raw.issue(IssueCode.MISSING_FIELD, f"`{field}` is missing", f"add {field}", *steps)
    if kind == "union_tag_not_found":
        tag = str(context["discriminator"]).strip("'")
        return raw.issue(IssueCode.MISSING_FIELD, f"`{tag}` is missing", f"add {tag}", *steps)
    if kind == "union_tag_invalid":
        tag = str(context["discriminator"]).strip("'")
        choices = [choice.strip().strip("'") for choice in str(context["expected_tags"]).split(",")]
        message = f"there is no {tag} `{context['tag']}`"
        return raw.issue(IssueCode.INVALID_VALUE, message, suggest(str(context["tag"]), choices), *steps, tag)
    if kind == "too_short" and given:
        return None
    message, remedy = _wording(kind, given, context)
    return raw.issue(IssueCode.INVALID_VALUE, message, remedy, *steps)


def _wording(kind: str, given: Any, context: Mapping[str, Any]) -> tuple[str, str]:
    shown = _shown(given)
    match kind:
        case "literal_error":
            choices = str(context["expected"]).replace(" or ", ", ").split(", ")
            return f"{shown} is not allowed here", suggest(str(given), [choice.strip("'") for choice in choices])
        case "string_type":
            scalar = isinstance(given, bool | int) or not isinstance(given, list | dict | tuple)
            return f"text is expected, not {shown}", "put the value in quotes" if scalar else "write text"
        case "int_type":
            return f"a whole number is expected, not {shown}", "write digits without quotes, as 10"
        case "bool_type":
            return f"true or false is expected, not {shown}", "write true or false, without quotes"
        case "tuple_type":
            return f"a list is expected, not {shown}", "write items that begin with `-`, or [a, b]"
        case "model_type" | "model_attributes_type" | "mapping_type" | "dict_type":
            return f"a mapping is expected, not {shown}", "write name: value pairs"
        case "too_short":
            return "the list is empty", "add at least one item"
        case "string_too_short":
            return "the text is empty", "write at least one character"
        case "string_too_long":
            return f"the text is longer than {context['max_length']} characters", "shorten it"
        case "string_pattern_mismatch":
            return f"{shown} has characters that are not allowed", _pattern_remedy(str(context["pattern"]))
        case "greater_than_equal":
            return f"{shown} is less than {context['ge']}", f"write a number from {context['ge']}"
        case "less_than_equal":
            return f"{shown} is more than {context['le']}", f"write a number up to {context['le']}"
        case _:
            return f"{shown} is not allowed here ({kind})", "see `earnbook definitions schema`"


def _pattern_remedy(pattern: str) -> str:
    remedies = {
        r"^[a-z][a-z0-9_]*$": "use lower-case letters, digits and _, beginning with a letter",
        r"^[A-Za-z0-9]{1,16}$": "use 1 to 16 letters and digits",
    }
    return remedies.get(pattern, f"it must match {pattern}")


def _shown(given: Any) -> str:
    if given is None or isinstance(given, bool):
        return {None: "null", True: "true", False: "false"}[given]
    if isinstance(given, dict):
        return "a mapping"
    if isinstance(given, list | tuple):
        return "a list"
    if isinstance(given, int | Decimal):
        return str(given)
    text = str(given)
    return f"'{text}'" if len(text) <= 60 else f"'{text[:57]}...'"
