"""Rules, tiers, budgets and targets of random definitions, for the features of `features.py`.

Weights are for collisions: few references, small budgets, few people and groups, so that holds meet releases, budgets
run out and targets are suspended. Only rules that wait for an event of their own type make events, and no chain of
generated events branches, so that their number stays small.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

from tests.support.features import GROUPS, Feature, Features, group_id, participant_id
from tests.support.programs_time import automation_rules

Document = dict[str, Any]

COUNTERS = ("spend", "visits", "streak")
SETTLE_REFERENCES = ("event.ref", "'R-1'", "'R-1'")
HOLD_REFERENCES = ("event.ref", "event.ref", "event.ref", "'R-1'")
CRONS = ("0 0 * * *", "0 0 5,12 * *", "30 6 * * MON", "0 12 10 1 *", "0 */8 * * TUE,fri")
INTERVALS = ("36h", "72h", "6h", "61h0m0.5s")
FRIENDS = ("event.friend", "event.friend", "event.friend", "'bob'", "'newcomer'", "participant.external_id")
TIER_KEYS = ("status", "club")
HOLDER_ACTIONS = (
    "CREDIT",
    "DEBIT",
    "HOLD",
    "RELEASE",
    "FORFEIT",
    "VOID_HOLD",
    "COUNTER",
    "TAG",
    "UNTAG",
    "SET_ATTRIBUTE",
)
PROGRAM_ACTIONS = ("COUNTER", "TAG", "UNTAG", "SET_ATTRIBUTE")


def feature_rules(
    chance: random.Random, features: Features, assets: Sequence[Document], tiers: Sequence[Document]
) -> list[Document]:
    """Rules without key and order, each waiting for its own kind of event."""
    rules: list[Document] = []
    if Feature.HOLDS in features and assets:
        rules += [_rule(kind, actions) for kind, actions in _hold_rules(chance, assets)]
    if features & {Feature.TIERS, Feature.LIFECYCLE} and tiers:
        rules += _tier_rules(chance, assets, tiers)
    if Feature.AUTOMATION in features:
        rules += automation_rules(chance, assets)
    if Feature.GROUPS in features:
        rules.append(_rule("family", _group_actions(chance, features, assets)))
    if Feature.SCHEDULE in features:
        rules += _schedule_rules(chance, features)
    if Feature.BROADCAST in features:
        rules += _broadcast_rules(chance, features, assets)
    if Feature.BUDGETS in features and assets:
        rules.append(_rule("purchase", [_plain_credit(chance, chance.choice(assets))]))
    return rules


def _rule(kind: str, actions: list[Document]) -> Document:
    return {"condition": f"event.type == '{kind}'", "actions": actions}


def _plain_credit(chance: random.Random, asset: Document) -> Document:
    amounts = ("5", "10", "20", f"abs(round(event.amount * 0.5, {asset['scale']}))")
    return {"type": "CREDIT", "asset": asset["symbol"], "amount": chance.choice(amounts)}


# --- holds -----------------------------------------------------------------------------------------------------------


def _hold_rules(chance: random.Random, assets: Sequence[Document]) -> Iterator[tuple[str, list[Document]]]:
    """One rule for most kinds of events about holds, mostly on one asset, so that they meet."""
    favourite = chance.choice(assets)
    for kind in ("hold", "authorise", "settle", "release", "void", "forfeit"):
        if chance.random() < 0.85:
            is_pair = kind in ("authorise", "settle", "void")
            asset = favourite if is_pair or chance.random() < 0.8 else chance.choice(assets)
            yield kind, [_hold_action(chance, kind, asset) for _ in range(chance.choice((1, 1, 1, 2)))]
    earned = "4" if favourite["scale"] == 18 else chance.choice(("20", "50", "100"))
    for kind in ("visit", "purchase"):
        earn: Document = {"type": "CREDIT", "asset": favourite["symbol"], "amount": earned}
        _add_dates(chance, earn, is_lot=favourite["inventory_mode"] == "LOT", is_held=chance.random() < 0.7)
        yield kind, [earn]


def _hold_action(chance: random.Random, kind: str, asset: Document) -> Document:
    is_lot = asset["inventory_mode"] == "LOT"
    scale = asset["scale"]
    whole = ["5", "10", "8", "20", f"round(event.amount, {scale})", f"round(event.amount * 0.1, {scale})"]
    amounts = ["0.5", "1", "2", "0.25"] if scale == 18 else whole
    action: Document = {"asset": asset["symbol"], "amount": chance.choice(amounts)}
    if kind == "hold":
        action["type"] = "HOLD"
    elif kind in ("authorise", "settle"):
        action["type"] = "CREDIT"
        _add_dates(chance, action, is_lot=is_lot, is_held=kind == "authorise")
        if kind == "authorise":
            action["bucket"] = "HELD"
    elif kind == "void" and is_lot:
        action = {"type": "VOID_HOLD", "asset": asset["symbol"], "reference_id": chance.choice(SETTLE_REFERENCES)}
    elif kind == "forfeit":
        action |= {
            "type": chance.choice(("FORFEIT", "FORFEIT", "DEBIT")),
            "bucket": chance.choice(("HELD", "AVAILABLE")),
        }
        if action["type"] == "FORFEIT" and chance.random() < 0.4:
            del action["amount"]
    else:
        action["type"] = "RELEASE"
        if chance.random() < 0.6:
            del action["amount"]
    takes_reference = is_lot and action["type"] in ("HOLD", "RELEASE", "CREDIT")
    if takes_reference and chance.random() < (0.95 if action["type"] == "CREDIT" else 0.8):
        action["reference_id"] = chance.choice(SETTLE_REFERENCES if action["type"] == "CREDIT" else HOLD_REFERENCES)
    if chance.random() < 0.1:
        action["description"] = "Reservierung"
    return action


def _add_dates(chance: random.Random, action: Document, *, is_lot: bool, is_held: bool) -> None:
    """Short lives, so that lots expire while they are held."""
    if is_lot and chance.random() < 0.5:
        action["expires_at"] = chance.choice(("24h", "48h", "120h"))
    if is_lot and not is_held and chance.random() < 0.2:
        action["matures_at"] = chance.choice(("1h", "12h"))


def _group_actions(chance: random.Random, features: Features, assets: Sequence[Document]) -> list[Document]:
    """What a group earns and holds, counts and is called."""
    actions: list[Document] = [{"type": "COUNTER", "key": chance.choice(COUNTERS), "value": "1"}]
    if assets:
        asset = chance.choice(assets)
        actions.append(_plain_credit(chance, asset))
        if Feature.HOLDS in features and chance.random() < 0.5:
            actions.append({"type": "HOLD", "asset": asset["symbol"], "amount": "2"})
    actions.append({"type": "TAG", "tag": chance.choice(("vip", "family"))})
    return [{**action, "target": {"type": "GROUP", "id": "event.group"}} for action in actions]


# --- tiers -----------------------------------------------------------------------------------------------------------


def random_tiers(chance: random.Random) -> list[Document]:
    """One or two tier types of two or three levels, some with qualification, one in ten archived."""
    types = []
    for key in TIER_KEYS[: chance.choice((1, 2))]:
        ranks = sorted(chance.sample(range(1, 9), chance.choice((2, 3))))
        levels = [_level(chance, f"level{place}", rank) for place, rank in enumerate(ranks, start=1)]
        chance.shuffle(levels)
        tier: Document = {"key": key, "display_name": key.title(), "levels": levels}
        if chance.random() < 0.1:
            tier["status"] = "ARCHIVED"
        types.append(tier)
    return types


def _level(chance: random.Random, key: str, rank: int) -> Document:
    level: Document = {"key": key, "rank": rank, "benefits": {"multiplier": chance.choice((1, 2, 3)), "name": key}}
    if chance.random() < 0.8:
        criteria = [
            {
                "counter": chance.choice(COUNTERS),
                "operator": chance.choice((">=", ">=", ">=", ">", "<", "<=", "==")),
                "threshold": chance.choice((0, 1, 2, 5, 50)) * rank,
            }
            for _ in range(chance.choice((1, 1, 2)))
        ]
        level["qualification"] = {"mode": chance.choice(("ALL", "ANY")), "criteria": criteria}
    return level


def _tier_rules(chance: random.Random, assets: Sequence[Document], tiers: Sequence[Document]) -> list[Document]:
    stay: list[Document] = [
        {"type": "COUNTER", "key": chance.choice(COUNTERS), "value": chance.choice(("1", "5", "-3"))}
    ]
    if assets:
        asset = chance.choice(assets)
        multiplier = "(has(participant.tiers.status) ? participant.tiers.status.benefits.multiplier : 1)"
        stay.append({"type": "CREDIT", "asset": asset["symbol"], "amount": f"2 * {multiplier}"})
    upgrade = [_set_tier(chance, tiers) for _ in range(chance.choice((1, 1, 2)))]
    return [_rule("stay", stay), _rule("upgrade", upgrade)]


def _set_tier(chance: random.Random, tiers: Sequence[Document]) -> Document:
    tier = chance.choice(tiers)
    levels = [level["key"] for level in tier["levels"]]
    action: Document = {"type": "SET_TIER", "tier": tier["key"], "level": chance.choice((*levels, *levels, "base", ""))}
    if chance.random() < 0.5:
        action["expires_at"] = chance.choice(("24h", "72h", "2026-01-12T00:00:00Z"))
    return action


# --- generated events ------------------------------------------------------------------------------------------------


def _schedule_rules(chance: random.Random, features: Features) -> list[Document]:
    """A follow-up, and a chain that ends at the limit of generations; a child of `ping` is the only one to go on."""
    follow: Document = {
        "type": "SCHEDULE_EVENT",
        "event_name": chance.choice(("follow", "purchase", "visit")),
        "delay": chance.choice(("0s", "1s", "59s", "60s", "24h", "100h30m")),
        "payload": {"amount": chance.choice((1, 5, 12.5)), "flag": True, "name": "Anna", "type": "replaced"},
    }
    if Feature.TARGETS in features and chance.random() < 0.4:
        follow["target"] = participant_target(chance)
    rules = [_rule("signup", [follow])]
    if chance.random() < 0.6:
        ping = {"type": "SCHEDULE_EVENT", "event_name": "ping", "delay": chance.choice(("0s", "2s"))}
        rules.append(_rule("ping", [ping, {"type": "COUNTER", "key": "streak", "value": "1"}]))
    return rules


def _broadcast_rules(chance: random.Random, features: Features, assets: Sequence[Document]) -> list[Document]:
    """A broadcast, what it brings, and sometimes a broadcast of a broadcast, which fails."""
    name = chance.choice(("prize", "prize", "prize", "party"))
    broadcast = {"type": "BROADCAST", "event_name": name, "payload": {"amount": 5, "ref": "R-1"}}
    prize: list[Document] = [{"type": "COUNTER", "key": "visits", "value": "1"}]
    if assets:
        prize.append(_plain_credit(chance, chance.choice(assets)))
    if Feature.SCHEDULE in features and chance.random() < 0.3:
        prize.append({"type": "SCHEDULE_EVENT", "event_name": "party", "delay": chance.choice(("0s", "30s"))})
    return [_rule("party", [broadcast]), _rule("prize", prize)]


# --- what is added to any rule ---------------------------------------------------------------------------------------


def participant_target(chance: random.Random) -> Document:
    """A participant, named in one of the ways of §12.2."""
    luck = chance.random()
    if luck < 0.75:
        return {"type": "PARTICIPANT", "external_id": chance.choice(FRIENDS)}
    if luck < 0.9:
        return {"type": "PARTICIPANT", chance.choice(("id", "participant_id")): "event.friend_id"}
    return {"type": "PARTICIPANT", "id": participant_id(chance.choice(("bob", "nobody")))}


def add_targets(chance: random.Random, features: Features, rules: Sequence[Document]) -> None:
    """Gives some actions of all rules another target, and some counters a window."""
    for action in (action for rule in rules for action in rule["actions"]):
        kind = action["type"]
        if Feature.WINDOWS in features and kind == "COUNTER" and chance.random() < 0.4:
            action["reset_after"] = chance.choice(("24h", "72h", "1h", "36h"))
        luck = chance.random()
        if "target" in action or luck > 0.3:
            continue
        if luck < 0.1 and Feature.GROUPS in features and kind in HOLDER_ACTIONS:
            reference = chance.choice(("event.group", "event.group", "'smith'", group_id("team")))
            action["target"] = {"type": "GROUP", "id": reference}
        elif luck < 0.2 and Feature.TARGETS in features and kind in (*HOLDER_ACTIONS, "SET_TIER"):
            action["target"] = participant_target(chance)
        elif luck < 0.3 and Feature.PROGRAM_STATE in features and kind in PROGRAM_ACTIONS:
            action["target"] = {"type": "PROGRAM"}


def add_budgets(chance: random.Random, rules: Sequence[Document], assets: Sequence[Document]) -> None:
    """Gives most rules that credit an asset a small budget."""
    scales = {asset["symbol"]: asset["scale"] for asset in assets}
    for rule in rules:
        credited = sorted({action["asset"] for action in rule["actions"] if action["type"] == "CREDIT"})
        budgets = [_budget(chance, symbol, scales[symbol]) for symbol in credited if chance.random() < 0.6]
        if budgets:
            rule["budgets"] = budgets


def _budget(chance: random.Random, symbol: str, scale: int) -> Document:
    limits = ("1", "2", "5") if scale == 18 else ("5", "20", "60", "100", "500")
    budget: Document = {"asset": symbol, "limit": chance.choice(limits)}
    kind = chance.choice(("CRON", "CRON", "INTERVAL", None))
    if kind == "CRON":
        budget |= {"schedule_type": kind, "cron_expression": chance.choice(CRONS)}
    elif kind == "INTERVAL":
        budget |= {"schedule_type": kind, "interval": chance.choice(INTERVALS)}
    return budget


def feature_condition(chance: random.Random, features: Features, *, has_group: bool, has_tiers: bool) -> str | None:
    """A condition on state that only a feature has, None where there is none to choose."""
    choices: list[str] = []
    if Feature.GROUPS in features and has_group:
        choices += [
            "'vip' in group.tags",
            f"get(group.counters, '{chance.choice(COUNTERS)}', 0.0) >= 1",
            "group.status == 'ACTIVE'",
            f"group.key == '{chance.choice(GROUPS)}'",
            "group.attributes.city == 'gold'",
        ]
    if Feature.TIERS in features and has_tiers:
        choices += [
            "has(participant.tiers.status)",
            "participant.tiers.status.rank >= 2",
            "participant.tiers.status.level == 'level1'",
            "participant.tiers.status.expires_at == null",
            "participant.tiers.status.acquired_at <= now",
            "participant.tiers.status.benefits.multiplier > 1",
        ]
    if features & {Feature.SCHEDULE, Feature.BROADCAST}:
        choices += ["event.type in ['follow', 'prize', 'ping']", "event.type == 'follow'"]
    return chance.choice(choices) if choices else None
