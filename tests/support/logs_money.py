"""Random operations on money and redemptions (§15.2, §16), one by one and as short stories, for random logs.

Few references and people, so that operations meet each other and the rules; ids of lots and redemptions are worked out
from the rows before (§2.3), most of them of something that exists.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.support.features import GROUPS, ORGANIZATION, group_id, participant_id
from tests.support.logs_draw import Draw, Members, operation, person, quoted
from tests.support.oracle_times import format_time, parse_time

HOUR = 3_600_000_000
REFERENCES = ("R-1", "R-1", "R-1", "R-2", "R-3")
TIMES = ("2026-01-02T00:00:00Z", "2026-01-05T12:00:00Z", "2026-01-10T00:00:00Z", "2026-01-05T00:00:00+01:00")
STARTS = tuple(f"2026-01-{day:02d}T10:00:00Z" for day in range(1, 17))


# --- what operations have in common ----------------------------------------------------------------------------------


def _asset(draw: Draw) -> Mapping[str, Any]:
    """Mostly a linked asset, mostly one with lots."""
    linked = [asset for asset in draw.definitions["assets"] if draw.program["key"] in asset["programs"]]
    with_lots = [asset for asset in linked if asset["inventory_mode"] == "LOT"]
    luck = draw.chance.random()
    if with_lots and luck < 0.6:
        return draw.chance.choice(with_lots)
    return draw.chance.choice(linked if linked and luck < 0.95 else draw.definitions["assets"])


def _amount(draw: Draw, asset: Mapping[str, Any]) -> str:
    """JSON text of an amount, one in ten of a value that fails or is far too much."""
    if draw.chance.random() < 0.1:
        return draw.chance.choice(('"0"', "-1", '"0.0000000000000000001"', '"92233720368547758.07"', "9e18", "1e3"))
    if asset["scale"] == 18:
        return draw.chance.choice(('"0.5"', "1", '"2.0"', "0.25"))
    return draw.chance.choice(("5", '"10"', "8", '"20.00"', '"2e1"', "50", "1", '"100"'))


def _holder(draw: Draw) -> dict[str, object]:
    return {"group_id": _group(draw)} if draw.chance.random() < 0.2 else person(draw.chance)


def _group(draw: Draw) -> str:
    return draw.chance.choice((*GROUPS, *GROUPS, group_id("smith"), "nobody"))


def _money(draw: Draw, kind: str, asset: Mapping[str, Any], **fields: object) -> Members:
    symbol = asset["symbol"] if draw.chance.random() < 0.98 else "NONE"
    described = {} if draw.chance.random() < 0.02 else {"description": draw.chance.choice(("Gutschrift", "x" * 20))}
    return operation(kind, draw.program, asset_id=symbol, **described, **fields)


def adjust(draw: Draw) -> Members:
    """Two credits for a debit; dates and references mostly on LOT assets."""
    asset = _asset(draw)
    is_lot = asset["inventory_mode"] == "LOT" or draw.chance.random() < 0.05
    is_credit = draw.chance.random() < 0.65
    fields: dict[str, object] = {"direction": "CREDIT" if is_credit else "DEBIT"}
    if draw.chance.random() < 0.25:
        fields["bucket"] = draw.chance.choice(("AVAILABLE", "HELD", "HELD"))
    if is_credit and is_lot:
        if draw.chance.random() < 0.5:
            fields["reference_id"] = draw.chance.choice(REFERENCES)
        if draw.chance.random() < 0.4:
            fields["expires_at"] = draw.chance.choice(("24h", "48h", "120h", "2026-01-10T00:00:00Z"))
        if draw.chance.random() < 0.15:
            fields["matures_at"] = draw.chance.choice(("1h", "36h", "2026-01-08T00:00:00Z"))
    if not is_credit and draw.chance.random() < 0.6:
        fields["allow_negative"] = draw.chance.choice((True, True, False))
    return _money(draw, "adjust", asset, **fields, **_holder(draw)) | {"amount": _amount(draw, asset)}


def match(draw: Draw) -> Members:
    """hold, release or forfeit, half of them of everything that matches, some with filters."""
    asset = _asset(draw)
    kind = draw.chance.choice(("hold", "hold", "release", "release", "forfeit"))
    fields: dict[str, object] = {}
    if kind == "forfeit":
        fields["bucket"] = draw.chance.choice(("AVAILABLE", "HELD"))
    if asset["inventory_mode"] == "LOT" or draw.chance.random() < 0.05:
        if draw.chance.random() < 0.5:
            fields["reference_id"] = draw.chance.choice(REFERENCES)
        if draw.chance.random() < 0.25:
            fields["lot_ids"] = list(_lots(draw))
        if draw.chance.random() < 0.15:
            fields["earned_from"] = draw.chance.choice(TIMES)
        if draw.chance.random() < 0.15:
            fields["earned_to"] = draw.chance.choice(TIMES)
    members = _money(draw, kind, asset, **fields, **_holder(draw))
    luck = draw.chance.random()
    if luck < 0.55:
        members["amount"] = _amount(draw, asset)
    elif luck < 0.7:
        members["amount"] = quoted("ALL")
    return members


def void_hold(draw: Draw) -> Members:
    """VOID_HOLD of one of few references."""
    return _money(draw, "void_hold", _asset(draw), reference_id=draw.chance.choice(REFERENCES), **_holder(draw))


def transfer(draw: Draw) -> Members:
    """To one to three recipients, now and then the same one twice, or the source itself."""
    asset = _asset(draw)
    source = {f"source_{name}": value for name, value in _holder(draw).items()}
    legs = []
    for _ in range(draw.chance.choice((1, 1, 2, 2, 3))):
        leg = {name: quoted(value) for name, value in _holder(draw).items()} | {"amount": _amount(draw, asset)}
        legs.append(leg)
        if draw.chance.random() < 0.1:
            legs.append(leg)
    if draw.chance.random() < 0.03:
        legs[0] = draw.chance.choice(({}, {"external_id": '"bob"'}, {**legs[0], "group_id": '"smith"', "note": "1"}))
    text = ", ".join("{" + ", ".join(f"{quoted(name)}: {value}" for name, value in leg.items()) + "}" for leg in legs)
    return _money(draw, "transfer", asset, **source) | {"recipients": f"[{text}]"}


def redeem(draw: Draw) -> Members:
    """An amount redemption."""
    asset = _asset(draw)
    return _money(draw, "redeem", asset, **person(draw.chance)) | {"amount": _amount(draw, asset)}


def redeem_item(draw: Draw) -> Members:
    """An item of the catalog, mostly asked for as it wants to be."""
    rewards = draw.program.get("rewards", [])
    reward = draw.chance.choice(rewards) if rewards and draw.chance.random() < 0.95 else None
    members = operation(
        "redeem_item", draw.program, reward_id="nothing" if reward is None else reward["key"], **person(draw.chance)
    )
    is_unit_based = reward is not None and reward["redemption_type"] == "UNIT_BASED"
    luck = draw.chance.random()
    if is_unit_based == (luck < 0.92):
        if luck < 0.6 or not is_unit_based:
            members["quantity"] = draw.chance.choice(("1", "1", "2", "3", '"2"', "1.0", "0", "1.5", "2147483647"))
    else:
        members["amount"] = draw.chance.choice(("5", '"10"', "20", "1", '"100"', "0"))
    if draw.chance.random() < 0.2:
        members["description"] = quoted("A treat")
    return members


def reverse(draw: Draw) -> Members:
    """A redemption of the rows before, by id or by key; all of it, or a part."""
    made = list(_redemptions(draw))
    program, kind, key = draw.chance.choice(made) if made else (draw.program["key"], "redeem", "o0")
    fields: dict[str, object] = {"reason": draw.chance.choice(("Rückgabe", "Irrtum"))}
    if draw.chance.random() < 0.5:
        fields["redemption_id"] = str(uuid.uuid5(_operation_id(program, kind, key), "redemption"))
    else:
        fields |= {"program_id": program, "redemption_key": key}
        if kind != "redeem" or draw.chance.random() < 0.3:
            fields["redemption_type"] = kind if draw.chance.random() < 0.9 else "redeem"
    members = operation("reverse_redemption", None, **fields)
    luck = draw.chance.random()
    if luck < 0.4:
        members["amount"] = draw.chance.choice(("1", '"2.00"', "5", "0.5", "10", "0", "1000"))
    elif luck < 0.7:
        members["quantity"] = draw.chance.choice(("1", "1", "2", '"1"'))
    return members


# --- ids of what rows before have made -------------------------------------------------------------------------------


def _program_id(key: str) -> uuid.UUID:
    return uuid.uuid5(ORGANIZATION, f"program:{key}")


def _operation_id(program: str, kind: str, key: str) -> uuid.UUID:
    return uuid.uuid5(_program_id(program), f"operation:{kind}:{key}")


def _rows(draw: Draw) -> Iterator[dict[str, Any]]:
    """Some of the rows before that are records of a program."""
    for row in draw.chance.sample(draw.rows, min(len(draw.rows), 30)):
        try:
            fields = json.loads(row)
        except ValueError:
            continue
        if isinstance(fields, dict) and all(isinstance(fields.get(one), str) for one in ("program_id", IDEMPOTENCY)):
            yield fields


IDEMPOTENCY = "idempotency_key"


def _redemptions(draw: Draw) -> Iterator[tuple[str, str, str]]:
    """(program, type, key) of redeeming rows."""
    for fields in _rows(draw):
        if fields.get("type") in ("redeem", "redeem_item"):
            yield fields["program_id"], fields["type"], fields[IDEMPOTENCY]


def _lots(draw: Draw) -> Iterator[str]:
    """Ids of one or two lots that rows before may have made; one in ten is nobody's."""
    ids = [str(uuid.uuid5(entry, f"lot:{place}")) for entry, place in _lot_entries(draw)]
    if not ids or draw.chance.random() < 0.1:
        ids.append(participant_id("no lot"))
    yield from draw.chance.sample(ids, min(len(ids), draw.chance.choice((1, 1, 2))))


def _lot_entries(draw: Draw) -> Iterator[tuple[uuid.UUID, int]]:
    for fields in _rows(draw):
        program, key = fields["program_id"], fields[IDEMPOTENCY]
        match fields.get("type"):
            case "adjust" | "hold" | "release":
                yield uuid.uuid5(_operation_id(program, fields["type"], key), "entry:0"), 0
            case "transfer":
                yield uuid.uuid5(_operation_id(program, "transfer", key), "entry:0"), draw.chance.choice((0, 0, 1))
            case None:
                for rule, index in _credits(draw, program):
                    rule_id = uuid.uuid5(_program_id(program), f"rule:{rule}")
                    yield uuid.uuid5(uuid.uuid5(_program_id(program), key), f"entry:{rule_id}:{index}:0"), 0


def _credits(draw: Draw, program: str) -> Iterator[tuple[str, int]]:
    """(rule, action index) of the credits of a program's rules."""
    for document in draw.definitions["programs"]:
        if document["key"] == program:
            for rule in document["rules"]:
                for index, action in enumerate(rule["actions"]):
                    if action["type"] == "CREDIT":
                        yield rule["key"], index


# --- stories ---------------------------------------------------------------------------------------------------------

MONEY_STORIES: Sequence[tuple[str, ...]] = (
    ("credit", "credit", "hold", "release"),
    ("credit", "credit", "hold the first", "hold", "release the first", "forfeit"),
    ("authorise", "void", "void"),
    ("authorise", "credit", "release", "debit"),
    ("credit", "overdraw", "credit", "credit"),
    ("credit", "transfer", "transfer back"),
    ("credit", "credit", "transfer twice", "overdraw", "transfer back"),
)
REDEMPTION_STORIES: Sequence[tuple[str, ...]] = (
    ("credit", "credit", "redeem", "reverse a part", "reverse"),
    ("short credit", "credit", "redeem", "reverse a part", "reverse a part", "reverse"),
    ("credit", "redeem", "overdraw", "reverse a part", "reverse"),
    ("short credit", "short credit", "redeem", "wait", "reverse a part", "reverse"),
    ("short credit", "short credit", "redeem", "overdraw", "wait", "reverse"),
    ("credit", "redeem", "credit", "reverse a part"),
    ("credit", "credit", "redeem", "drain the target", "reverse a part", "reverse"),
    ("large credit", "take", "take", "return one", "take", "return", "take"),
    ("large credit", "take two", "return one", "return"),
)
HELD_REDEMPTION = ("credit", "credit", "redeem", "hold", "reverse a part", "overdraw", "reverse", "release")
"""For when both MONEY and REWARDS may be used."""


def money_story(draw: Draw, steps: Sequence[str]) -> list[str]:
    """The rows of one story about one person and asset, some hours apart."""
    asset = _asset(draw)
    unit = "0.5" if asset["scale"] == 18 else "10"
    rewards = [one for one in draw.program.get("rewards", []) if one["redemption_type"] == "UNIT_BASED"]
    plot = _Plot(
        draw=draw,
        asset=asset,
        unit=unit,
        who=draw.chance.choice(("alice", "bob", "Zoë")),
        other=draw.chance.choice(("alice", "bob", "newcomer")),
        reward=draw.chance.choice(rewards)["key"] if rewards else "nothing",
    )
    at, rows = parse_time(draw.chance.choice(STARTS)), []
    for place, step in enumerate(steps):
        if step == "wait":
            at += 72 * HOUR
            continue
        members = plot.operation(step)
        members |= {IDEMPOTENCY: quoted(plot.key(place)), "effective_at": quoted(format_time(at))}
        rows.append("{" + ", ".join(f"{quoted(name)}: {text}" for name, text in members.items()) + "}")
        if step in ("redeem", "take", "take two"):
            plot.redeemed = (step, plot.key(place))
        at += HOUR * draw.chance.choice((1, 4, 30, 60))
    return rows


class _Plot:
    """Whom and what a story is about; the steps are its verbs."""

    def __init__(self, *, draw: Draw, asset: Mapping[str, Any], unit: str, who: str, other: str, reward: str) -> None:
        self._draw = draw
        self._asset = asset
        self._unit = unit
        self._who = who
        self._other = other
        self._reward = reward
        self.redeemed = ("redeem", "nothing")

    def key(self, place: int) -> str:
        """The idempotency key of a step."""
        return f"m{self._draw.number}-{place}"

    def operation(self, step: str) -> Members:
        """The operation that a step is."""
        is_lot = self._asset["inventory_mode"] == "LOT"
        words = step.split()
        match words[0]:
            case "credit" | "short" | "large" | "authorise":
                fields: dict[str, object] = {
                    "direction": "CREDIT",
                    "amount": self._times(20 if "large" in words else 2),
                }
                if is_lot:
                    fields |= {"expires_at": "48h"} if "short" in words else {}
                    fields |= {"bucket": "HELD", "reference_id": "R-1"} if "authorise" in words else {}
                return self._money("adjust", **fields)
            case "debit" | "overdraw":
                allowed = {"allow_negative": True} if "overdraw" in words else {}
                return self._money("adjust", direction="DEBIT", amount=self._times(3), **allowed)
            case "hold" | "release" | "forfeit":
                fields = {"bucket": "HELD"} if "forfeit" in words else {}
                if is_lot and "the" in words:
                    entry = uuid.uuid5(_operation_id(self._draw.program["key"], "adjust", self.key(0)), "entry:0")
                    fields["lot_ids"] = [str(uuid.uuid5(entry, "lot:0"))]
                elif self._draw.chance.random() < 0.4:
                    fields["amount"] = self._times(1)
                return self._money(words[0], **fields)
            case "drain":
                target = self._draw.program.get("redemption_target_entity_id", "shop")
                named = {"group_id": target} if target in GROUPS else {"external_id": target}
                fields = {"direction": "DEBIT", "amount": self._times(2), "description": "A story"}
                return operation("adjust", self._draw.program, asset_id=self._asset["symbol"], **named, **fields)
            case "void":
                return self._money("void_hold", reference_id="R-1")
            case "transfer":
                return self._transfer(is_back="back" in words, is_twice="twice" in words)
            case "redeem":
                return self._money("redeem", amount=self._times(3))
            case "take":
                fields = {"quantity": 2} if "two" in words else {}
                return operation(
                    "redeem_item", self._draw.program, external_id=self._who, reward_id=self._reward, **fields
                )
        return self._reverse(is_part="part" in words, is_one="one" in words)

    def _times(self, factor: int) -> str:
        return str(factor * 10 if self._unit == "10" else factor * 0.5)

    def _money(self, kind: str, **fields: object) -> Members:
        symbol = self._asset["symbol"]
        return operation(
            kind, self._draw.program, external_id=self._who, asset_id=symbol, description="A story", **fields
        )

    def _transfer(self, *, is_back: bool, is_twice: bool) -> Members:
        source, target = (self._other, self._who) if is_back else (self._who, self._other)
        legs = [{"external_id": target, "amount": self._times(1)}] * (2 if is_twice else 1)
        symbol = self._asset["symbol"]
        return operation(
            "transfer",
            self._draw.program,
            source_external_id=source,
            asset_id=symbol,
            recipients=legs,
            description="A story",
        )

    def _reverse(self, *, is_part: bool, is_one: bool) -> Members:
        step, key = self.redeemed
        kind = "redeem" if step == "redeem" else "redeem_item"
        part: dict[str, object] = {"amount": self._times(1)} if is_part else {"quantity": 1} if is_one else {}
        if self._draw.chance.random() < 0.5:
            named: dict[str, object] = {
                "redemption_id": str(uuid.uuid5(_operation_id(self._draw.program["key"], kind, key), "redemption"))
            }
        else:
            named = {"program_id": self._draw.program["key"], "redemption_key": key, "redemption_type": kind}
        return operation("reverse_redemption", None, reason="A story", **named, **part)
