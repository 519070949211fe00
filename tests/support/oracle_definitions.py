"""Definitions as the oracle reads them: a plain document to small dataclasses (§6.2, the part it models)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.support.oracle_times import parse_duration, parse_time


@dataclass(frozen=True, slots=True, kw_only=True)
class LotDate:
    """`expires_at` or `matures_at`: a distance from the creation of the lot, or an absolute time (§9.5)."""

    after: int | None
    at: int | None

    def from_creation(self, created_at: int) -> int:
        if self.at is not None:
            return self.at
        assert self.after is not None
        return created_at + self.after


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    symbol: str
    id: uuid.UUID
    scale: int
    is_lot: bool
    is_prefunded: bool
    is_archived: bool
    max_transaction: Decimal | None
    programs: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One action of a rule; `text` is its COUNTER or SET_ATTRIBUTE value, `key` its key or tag."""

    index: int
    type: str
    asset: str | None
    amount: str | None
    bucket: str
    allow_negative: bool
    reference: str | None
    expires_at: LotDate | None
    matures_at: LotDate | None
    key: str
    text: str
    reset_after: int | None
    target: str | None
    description: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    key: str
    order: int
    condition: str
    stops: bool
    active_from: int | None
    active_to: int | None
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """`rules` are the ACTIVE ones by ascending order (§10.3)."""

    key: str
    id: uuid.UUID
    status: str
    creates_participants: bool
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    organization_id: uuid.UUID
    programs: Mapping[str, Program]
    assets: Mapping[str, Asset]

    def program_named(self, reference: str) -> Program | None:
        """A program by key or id (§2.2)."""
        return self.programs.get(reference) or next(
            (p for p in self.programs.values() if _is_id(reference, p.id)), None
        )

    def asset_named(self, reference: str) -> Asset | None:
        """An asset by symbol or id (§2.2)."""
        return self.assets.get(reference) or next((a for a in self.assets.values() if _is_id(reference, a.id)), None)

    def participant_id(self, external_id: str) -> uuid.UUID:
        """The id of a participant that an event created (§2.3)."""
        return uuid.uuid5(self.organization_id, f"participant:{external_id}")


def read_definitions(document: Mapping[str, Any]) -> Definitions:
    """The definitions of a document that keeps rules inside their programs; it is taken as valid."""
    root = uuid.uuid5(uuid.NAMESPACE_DNS, "earnbook")
    organization_id = uuid.uuid5(root, f"organization:{document['organization']['key']}")
    assets = {asset["symbol"]: _read_asset(asset, organization_id) for asset in document["assets"]}
    programs = {program["key"]: _read_program(program, organization_id) for program in document["programs"]}
    return Definitions(organization_id=organization_id, programs=programs, assets=assets)


def _is_id(reference: str, known: uuid.UUID) -> bool:
    return reference.lower() == str(known)


def _read_asset(document: Mapping[str, Any], organization_id: uuid.UUID) -> Asset:
    limit = document.get("max_transaction_amount")
    return Asset(
        symbol=document["symbol"],
        id=uuid.uuid5(organization_id, f"asset:{document['symbol']}"),
        scale=document["scale"],
        is_lot=document["inventory_mode"] == "LOT",
        is_prefunded=document["issuance_policy"] == "PREFUNDED",
        is_archived=document.get("status") == "ARCHIVED",
        max_transaction=None if limit is None else Decimal(str(limit)),
        programs=frozenset(document["programs"]),
    )


def _read_program(document: Mapping[str, Any], organization_id: uuid.UUID) -> Program:
    return Program(
        key=document["key"],
        id=uuid.uuid5(organization_id, f"program:{document['key']}"),
        status=document.get("status", "ACTIVE"),
        creates_participants=document.get("on_unknown_participant", "CREATE") == "CREATE",
        rules=_read_rules(document.get("rules", [])),
    )


def _read_rules(documents: Sequence[Mapping[str, Any]]) -> tuple[Rule, ...]:
    highest = max((document.get("order", 0) for document in documents), default=0)
    rules = []
    for document in documents:
        if "order" in document:
            order = document["order"]
        else:
            highest += 10
            order = highest
        if document.get("status", "ACTIVE") == "ACTIVE":
            rules.append(_read_rule(document, order))
    return tuple(sorted(rules, key=lambda rule: rule.order))


def _read_rule(document: Mapping[str, Any], order: int) -> Rule:
    active_from, active_to = document.get("active_from"), document.get("active_to")
    return Rule(
        key=document.get("key", document["name"]),
        order=order,
        condition=document["condition"],
        stops=document.get("stop_after_match", False),
        active_from=parse_time(active_from) if active_from else None,
        active_to=parse_time(active_to) if active_to else None,
        actions=tuple(_read_action(index, action) for index, action in enumerate(document["actions"])),
    )


def _read_action(index: int, document: Mapping[str, Any]) -> Action:
    reset_after = document.get("reset_after")
    amount = document.get("amount")
    target = document.get("target")
    return Action(
        index=index,
        type=document["type"],
        asset=document.get("asset_id", document.get("asset")),
        amount=None if amount is None else str(amount),
        bucket=document.get("bucket", "AVAILABLE"),
        allow_negative=document.get("allow_negative", False),
        reference=document.get("reference_id"),
        expires_at=_read_date(document.get("expires_at")),
        matures_at=_read_date(document.get("matures_at")),
        key=document["tag"].lower() if "tag" in document else document.get("key", ""),
        text=str(document.get("value", "")),
        reset_after=parse_duration(reset_after) if reset_after else None,
        target=target["type"] if target else None,
        description=document.get("description"),
    )


def _read_date(text: str | None) -> LotDate | None:
    if text is None:
        return None
    try:
        return LotDate(after=parse_duration(text), at=None)
    except ValueError:
        return LotDate(after=None, at=parse_time(text))
