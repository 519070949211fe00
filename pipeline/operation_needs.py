"""What the operations of a run need before anything is decided: keys, and state that few runs look at.

In: types and canonical fields of the staged operations. Out: an `OperationNeeds`, from which the terms of the run are
made, so that rules see what operations write.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.ledger.schema import Int64s, OperationType, StateType
from earnbook.pipeline.operation_fields import SPECIFICATIONS

REDEMPTION_TYPES = frozenset({OperationType.REDEEM, OperationType.REDEEM_ITEM, OperationType.REVERSE_REDEMPTION})
"""Types that need the targets of redemptions and the counts of rewards."""

MEMBER_TYPES = frozenset(
    {
        OperationType.UPSERT_PARTICIPANT,
        OperationType.CREATE_GROUP,
        OperationType.UPDATE_GROUP,
        OperationType.ARCHIVE_GROUP,
        OperationType.ADD_MEMBER,
        OperationType.SET_MEMBER_ROLE,
        OperationType.REMOVE_MEMBER,
    }
)
"""Types that need the profiles and members of the holders they name (`Terms.has_members`)."""

_KEY_FIELDS = {
    OperationType.ADD_TAG: StateType.TAG,
    OperationType.REMOVE_TAG: StateType.TAG,
    OperationType.SET_TAGS: StateType.TAG,
    OperationType.SET_COUNTER: StateType.COUNTER,
    OperationType.DELETE_COUNTER: StateType.COUNTER,
    OperationType.SET_ATTRIBUTE: StateType.ATTRIBUTE,
    OperationType.SET_ATTRIBUTES: StateType.ATTRIBUTE,
    OperationType.REMOVE_ATTRIBUTE: StateType.ATTRIBUTE,
}


def _types_with(*names: str) -> list[int]:
    """The types that have one of these fields."""
    return [int(spec.code) for spec in SPECIFICATIONS.values() if not spec.fields.keys().isdisjoint(names)]


_KEYED = [int(kind) for kind in _KEY_FIELDS]
_NAMING = _types_with("attributes", "tags")
_LISTING = _types_with("lot_ids")


@dataclass(frozen=True, slots=True)
class OperationNeeds:
    """What the operations of a run need beside the definitions.

    `names` are the keys that they name (state type, text), in ascending order; a key that only operations name has no
    column in the cells otherwise. `has_members`, `has_redemptions` and `unlinks` say whether they are about profiles,
    groups or members, whether any redeems or reverses, and whether any unlinks an asset; `looks_back` whether any names
    a redemption or a lot.
    """

    names: tuple[tuple[int, str], ...] = ()
    has_members: bool = False
    unlinks: bool = False
    has_redemptions: bool = False
    looks_back: bool = False

    def __or__(self, other: OperationNeeds) -> OperationNeeds:
        """What the operations of both need."""
        return OperationNeeds(
            names=tuple(sorted({*self.names, *other.names})),
            has_members=self.has_members or other.has_members,
            unlinks=self.unlinks or other.unlinks,
            has_redemptions=self.has_redemptions or other.has_redemptions,
            looks_back=self.looks_back or other.looks_back,
        )


def operation_needs(operations: Iterator[tuple[Int64s, pa.Array]]) -> OperationNeeds:
    """What staged operations (types and canonical fields, in chunks) need."""
    names: set[tuple[int, str]] = set()
    types: set[int] = set()
    has_lots = False
    for kinds, fields in operations:
        types.update(np.unique(kinds).tolist())
        listing = fields.filter(pa.array(np.isin(kinds, _LISTING)))
        has_lots = has_lots or bool(pc.any(pc.match_substring(listing, '"lot_ids":')).as_py())
        is_keyed = np.isin(kinds, _KEYED)
        may_name = np.flatnonzero(np.isin(kinds, _NAMING) & ~is_keyed)
        names_some = pc.match_substring_regex(fields.take(pa.array(may_name)), '"(attributes|tags)":')
        is_keyed[may_name] = names_some.to_numpy(zero_copy_only=False)
        for kind, text in zip(kinds[is_keyed].tolist(), fields.filter(pa.array(is_keyed)).to_pylist(), strict=True):
            names.update(_names_of(OperationType(kind), json.loads(text)))
    return OperationNeeds(
        names=tuple(sorted(names)),
        has_members=bool(types & MEMBER_TYPES),
        unlinks=OperationType.UNLINK_ASSET in types,
        has_redemptions=bool(types & REDEMPTION_TYPES),
        looks_back=has_lots or OperationType.REVERSE_REDEMPTION in types,
    )


def _names_of(kind: OperationType, fields: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """The keys that one operation names; tags in the lower case in which they are stored."""
    tags = [*fields.get("tags", ()), *([fields["tag"]] if "tag" in fields else [])]
    yield from ((int(StateType.TAG), tag.lower()) for tag in tags)
    yield from ((int(StateType.ATTRIBUTE), key) for key in fields.get("attributes", ()))
    if kind in _KEY_FIELDS and "key" in fields:
        yield int(_KEY_FIELDS[kind]), fields["key"]
