"""Random definitions from a seed, for engines to be compared on; `logs.py` makes the logs to go with them.

Documents are valid and stay inside what the oracle models, and inside the features that are asked for: without any, a
seed gives what it always gave. Compiling rules is the expensive part of a comparison, so several logs run over one
document.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from tests.support.features import BASIC, Feature, Features, drawn_features
from tests.support.programs_catalog import add_catalog
from tests.support.programs_features import add_budgets, add_targets, feature_condition, feature_rules, random_tiers

Document = dict[str, Any]

COUNTERS = ("spend", "visits", "streak")
TAGS = ("vip", "new", "Zürich")
ATTRIBUTES = ("level", "city")
PEOPLE = ("alice", "bob", "Zoë")
TYPES = ("purchase", "refund", "visit", "signup")
DAYS = tuple(f"2026-01-{day:02d}" for day in range(1, 21))
DURATIONS = ("1h", "24h", "36h30m", "72h", "120h", "240h")
NEAR_LIMIT = ("9000000000000000", "9e18", "event.big", "event.amount")
REFERENCES = ("event.type", "event.name", "event.text", "event.missing", "'R-1'")


def random_definitions(seed: int, features: Features = BASIC) -> Document:
    """A definitions document: 1 to 3 programs, 1 to 3 assets, up to 8 rules a program and those of the features."""
    chance = random.Random(f"definitions {seed}")
    features = drawn_features(seed, features)
    programs = [f"program{number}" for number in range(1, chance.choice((1, 1, 2, 3)) + 1)]
    programs = programs[:2] if features else programs
    assets = [_asset(chance, number, programs) for number in range(1, chance.choice((1, 2, 2, 3)) + 1)]
    return {
        "organization": {"key": "demo", "name": "Demo"},
        "assets": assets,
        "programs": [_program(chance, key, assets, features) for key in programs],
    }


def _asset(chance: random.Random, number: int, programs: Sequence[str]) -> Document:
    linked = [program for program in programs if chance.random() < 0.7] or [programs[0]]
    asset: Document = {
        "symbol": f"PTS{number}",
        "name": f"Points {number}",
        "scale": chance.choice((0, 0, 0, 2, 2, 2, 2, 2, 4, 4, 18)),
        "inventory_mode": chance.choice(("SIMPLE", "LOT", "LOT", "LOT")),
        "issuance_policy": chance.choice(("UNLIMITED", "UNLIMITED", "UNLIMITED", "PREFUNDED")),
        "programs": linked,
    }
    if chance.random() < 0.2:
        asset["max_transaction_amount"] = "5" if asset["scale"] == 18 else chance.choice(("5", "100", "1000"))
    if chance.random() < 0.05:
        asset["status"] = "ARCHIVED"
    return asset


def _program(chance: random.Random, key: str, assets: Sequence[Document], features: Features) -> Document:
    program: Document = {"key": key, "name": key.title()}
    if key != "program1" and chance.random() < 0.2:
        program["status"] = chance.choice(("SUSPENDED", "ARCHIVED"))
    if key != "program1" and chance.random() < 0.3:
        program["on_unknown_participant"] = "REJECT"
    linked = [asset for asset in assets if key in asset["programs"]]
    orders = sorted(chance.sample(range(1, 200), chance.randint(1, 8)))
    program["rules"] = [_rule(chance, order, linked) for order in orders]
    chance.shuffle(program["rules"])
    if features:
        _add_features(chance, program, linked, features)
    return program


def _add_features(chance: random.Random, program: Document, assets: Sequence[Document], features: Features) -> None:
    """Further rules and conditions, targets, budgets and tiers, as far as the features ask for them."""
    # Few rules of any kind, mostly for events of their own, so that they seldom fail what a feature is about.
    rules = program["rules"] = program["rules"][: chance.choice((0, 1, 2, 3))]
    for rule in rules:
        if chance.random() < 0.7:
            rule["condition"] = f"event.type in ['refund', '{chance.choice(TYPES)}'] && ({rule['condition']})"
    tight = [asset["symbol"] for asset in assets if asset["scale"] == 18]
    tiers = random_tiers(chance) if Feature.TIERS in features else []
    if Feature.GROUPS in features and chance.random() < 0.7:
        program["group_field"] = "group"
    for rule in rules:
        condition = feature_condition(chance, features, has_group="group_field" in program, has_tiers=bool(tiers))
        if condition is not None and chance.random() < 0.3:
            rule["condition"] = chance.choice((condition, f"({rule['condition']}) && {condition}"))
    added = feature_rules(chance, features, assets, tiers)
    free = sorted(set(range(1, 300)) - {rule["order"] for rule in rules})
    for rule, order in zip(added, chance.sample(free, len(added)), strict=True):
        rules.append({"key": f"rule{order}", "name": f"Rule {order}", "order": order, **rule})
    add_targets(chance, features, rules)
    if Feature.BUDGETS in features:
        add_budgets(chance, rules, assets)
    if tiers:
        program["tiers"] = tiers
    if Feature.REWARDS in features:
        add_catalog(chance, program, assets)
    for action in (action for rule in rules for action in rule["actions"]):
        if action.get("amount") in NEAR_LIMIT or action.get("asset") in tight:
            # A maturity that would overflow the account stops a run: SEMANTICS has no outcome for due work.
            action.pop("matures_at", None)


def _rule(chance: random.Random, order: int, assets: Sequence[Document]) -> Document:
    rule: Document = {
        "key": f"rule{order}",
        "name": f"Rule {order}",
        "order": order,
        "condition": random_condition(chance, chance.choice((0, 0, 1, 1, 2))),
        "actions": [_action(chance, assets) for _ in range(chance.choice((1, 1, 2, 3)))],
    }
    if chance.random() < 0.2:
        rule["stop_after_match"] = True
    if chance.random() < 0.15:
        rule["active_from"] = f"{chance.choice(DAYS[:10])}T00:00:00Z"
    if chance.random() < 0.15:
        rule["active_to"] = f"{chance.choice(DAYS[10:])}T12:00:00Z"
    if chance.random() < 0.05:
        rule["status"] = "SUSPENDED"
    return rule


def random_condition(chance: random.Random, depth: int) -> str:
    """A condition of `depth` levels of `&&`, `||` and `!`."""
    if depth > 0:
        left, right = random_condition(chance, depth - 1), random_condition(chance, depth - 1)
        return chance.choice((f"{left} && {right}", f"({left}) || ({right})", f"!({left}) && ({right})"))
    number, other = random_number(chance, 1), random_number(chance, 1)
    choices = (
        *("true", "true", "true", "true", "event.amount > 0", "event.amount > 0"),
        f"event.type == '{chance.choice(TYPES)}'",
        f"event.type == '{chance.choice(TYPES)}'",
        f"event.type in ['{chance.choice(TYPES)}', '{chance.choice(TYPES)}']",
        f"{number} {chance.choice(('<', '<=', '>', '>=', '==', '!='))} {other}",
        f"event.amount {chance.choice(('<', '>=', '=='))} {chance.choice(('0', '10', '49.99', '100.0', '-1'))}",
        "event.flag",
        "!event.flag",
        "has(event.flag)",
        "event.flag == true",
        "event.flag == null",
        "has(event.store.city)",
        "event.store.city == 'Zürich'",
        "event.store['zip'] != '8001'",
        f"event.mcc in [5812, 5411, '{chance.choice(('5812', 'x'))}']",
        f"event.name.{chance.choice(('startsWith', 'endsWith', 'contains'))}('{chance.choice(('A', 'ü', '', 'n'))}')",
        f"event.name.matches('{chance.choice(('^[A-Z]', 'n+$', '.', '^$'))}')",
        "event.name < 'M'",
        "event.name == event.type",
        f"'{chance.choice(('vip', 'new', 'zürich'))}' in participant.tags",
        f"!('{chance.choice(('vip', 'new'))}' in participant.tags)",
        f"get(participant.counters, '{chance.choice(COUNTERS)}', 0.0) {chance.choice(('<', '>=', '=='))} {number}",
        f"participant.counters.{chance.choice(COUNTERS)} >= {chance.choice(('1', '2.5', '100'))}",
        f"has(participant.counters.{chance.choice(COUNTERS)})",
        f"has(participant.attributes.{chance.choice(ATTRIBUTES)})",
        f"participant.attributes.{chance.choice(ATTRIBUTES)} == '{chance.choice(('gold', 'Zürich', '5', 'true'))}'",
        f"participant.external_id == '{chance.choice(PEOPLE)}'",
        "participant.status == 'ACTIVE'",
        f"get(program.counters, '{chance.choice(COUNTERS)}', 0.0) {chance.choice(('<', '>='))} {number}",
        f"'{chance.choice(('vip', 'new'))}' in program.tags",
        f"program.attributes.{chance.choice(ATTRIBUTES)} == 'gold'",
        f"now {chance.choice(('<', '>='))} timestamp('{chance.choice(DAYS)}T06:00:00Z')",
        f"now < timestamp('{chance.choice(DAYS)}T00:00:00Z') + duration('36h')",
        "event.list.exists(x, x > 2)",
        "event.list.all(x, x != null)",
        "event.list.filter(x, x > 1).size() > 1",
        "size(event.list) > 1",
        "event.amount % 2 == 1",
    )
    return chance.choice(choices)


def random_number(chance: random.Random, depth: int) -> str:
    """An expression that is a number for most events."""
    places = chance.choice(("0", "1", "2", "2", "4"))
    if depth > 0 and chance.random() < 0.5:
        left, right = random_number(chance, depth - 1), random_number(chance, depth - 1)
        choices = (
            f"({left} + {right})",
            f"({left} - {right})",
            f"{left} * {right}",
            f"round({left} * {chance.choice(('0.05', '0.015', '1.5', '0.333'))}, {places})",
            f"round({left} / {chance.choice(('3', '7.0', '8', '100'))}, {places})",
            f"floor({left} / {chance.choice(('3', '10', '2.5'))})",
            f"ceil({left} / {chance.choice(('3', '10', '2.5'))})",
            f"{left} / {chance.choice(('2', '8', '3', '2.5', 'event.zero'))}",
            f"min({left}, {right})",
            f"max({left}, {right})",
            f"abs({left})",
            f"(event.flag ? {left} : {right})",
            f"int({left})",
            f"-({left})",
        )
        return chance.choice(choices)
    plain = (
        *("event.amount", "event.amount", "event.amount"),
        "event.qty",
        chance.choice(("event.missing", "event.big", "event.tiny")),
        "double(event.text)",
        "event.store.zip",
        "size(event.list)",
        f"get(participant.counters, '{chance.choice(COUNTERS)}', 0.0)",
        f"participant.counters['{chance.choice(COUNTERS)}']",
        *("1", "2", "5", "10.0", "0.5", "100", "0"),
    )
    return chance.choice(plain)


def _amount(chance: random.Random, asset: Document) -> str:
    scale = asset["scale"]
    choices = (
        *("5", "10", "25", "100", "0", "1.5"),
        "event.amount",
        f"round(event.amount * 0.05, {scale})",
        f"floor(event.amount * {chance.choice(('1', '1.5', '2'))})",
        f"abs(round({random_number(chance, 1)}, {scale}))",
        f"max(round({random_number(chance, 2)}, {scale}), 1)",
        chance.choice(("event.name", "9000000000000000", "-1", "9e18", "event.big")),
        random_number(chance, 2),
    )
    return chance.choice(choices)


def _action(chance: random.Random, assets: Sequence[Document]) -> Document:
    kind = chance.choice(("CREDIT",) * 6 + ("DEBIT",) * 4 + ("COUNTER",) * 4 + ("TAG", "TAG", "UNTAG", "SET_ATTRIBUTE"))
    if kind in ("CREDIT", "DEBIT") and assets:
        asset = chance.choice(assets)
        return _credit(chance, asset) if kind == "CREDIT" else _debit(chance, asset)
    if kind in ("TAG", "UNTAG"):
        return {"type": kind, "tag": chance.choice(TAGS)}
    if kind == "SET_ATTRIBUTE":
        return {"type": kind, "key": chance.choice(ATTRIBUTES), "value": _attribute_value(chance)}
    key = chance.choice(COUNTERS)
    value = chance.choice(("1", "-1", "0.5", "1", random_number(chance, 1)))
    return {"type": "COUNTER", "key": key, "value": value}


def _credit(chance: random.Random, asset: Document) -> Document:
    action: Document = {"type": "CREDIT", "asset": asset["symbol"], "amount": _amount(chance, asset)}
    if chance.random() < 0.2:
        action["description"] = "Grüße"
    if asset["inventory_mode"] == "LOT":
        dates = sorted(chance.sample(range(len(DURATIONS)), 2))
        if chance.random() < 0.4:
            action["matures_at"] = DURATIONS[dates[0]]
        if chance.random() < 0.5:
            action["expires_at"] = DURATIONS[dates[1]]
        if chance.random() < 0.15:
            action["expires_at"] = f"{chance.choice(DAYS[10:])}T00:00:00Z"
        elif chance.random() < 0.15:
            action["matures_at"] = f"{chance.choice(DAYS)}T00:00:00Z"
        if chance.random() < 0.15:
            action["reference_id"] = chance.choice(REFERENCES)
    return action


def _debit(chance: random.Random, asset: Document) -> Document:
    amount = chance.choice(("20", "60", "200", f"floor(abs({random_number(chance, 1)}) * 2)", _amount(chance, asset)))
    action: Document = {"type": "DEBIT", "asset": asset["symbol"], "amount": amount}
    if chance.random() < 0.8:
        action["allow_negative"] = True
    return action


def _attribute_value(chance: random.Random) -> str:
    choices = (
        *("gold", "", "participant", "= 5", "not an expression ("),
        "=event.name",
        "event.type",
        "=event.amount",
        "=event.flag",
        "=string(event.amount)",
        "='x-' + event.name",
        "=event.list",
        "=now",
        "participant.external_id",
        "=get(participant.counters, 'spend', 0.0)",
    )
    return chance.choice(choices[:2] + choices[3:])
