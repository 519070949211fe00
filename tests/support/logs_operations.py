"""Random operations for the features of `features.py`: members of NDJSON objects. Those on money are in `logs_money`.

A member's value is JSON text. Few names, mostly known ones, so that operations meet what events have made; one in
some twenty fields is of a wrong form, so that rows are rejected too.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence

from tests.support.features import GROUPS, Feature, Features, group_id, participant_id
from tests.support.logs_draw import PEOPLE, Document, Draw, Members, operation, person, quoted
from tests.support.logs_money import adjust, match, redeem, redeem_item, reverse, transfer, void_hold
from tests.support.oracle_operation_fields import ENTITY_FIELDS

COUNTERS = ("spend", "visits", "streak")
TAGS = ("vip", "new", "Zürich", "VIP")
ATTRIBUTES = ("level", "city")


def random_operation(
    chance: random.Random, definitions: Document, features: Features, number: int, rows: Sequence[str]
) -> Members | None:
    """The type and own fields of one operation, the row of this number; None where no feature has any."""
    kinds = [makers for feature, makers in MAKERS.items() if feature in features]
    if not kinds:
        return None
    program = chance.choice(definitions["programs"])
    members = chance.choice(chance.choice(kinds))(
        Draw(chance=chance, definitions=definitions, program=program, number=number, rows=rows)
    )
    if chance.random() < 0.04:
        name = chance.choice(sorted(members.keys() - ENTITY_FIELDS))
        members[name] = chance.choice(('"?"', "null", "5", "[]", '""'))
    if chance.random() < 0.02:
        members["colour"] = '"red"'
    return members


def first_members(chance: random.Random, definitions: Document, features: Features) -> list[tuple[str, Members]]:
    """What a log begins with, so that wallets and groups are not empty: pairs of a time and an operation."""
    if not features:
        return []
    first = [
        {**operation("fund", program, asset_id=asset["symbol"]), "amount": chance.choice(('"100"', '"1000"'))}
        for asset in definitions["assets"]
        for program in definitions["programs"]
        if asset["issuance_policy"] == "PREFUNDED" and asset["scale"] < 18 and chance.random() < 0.8
    ]
    if features & {Feature.GROUPS, Feature.MONEY}:
        first += _first_groups()
    elif Feature.REWARDS in features:
        first += _first_people()
    if features & {Feature.MONEY, Feature.REWARDS}:
        first += list(_first_balances(chance, definitions))
    return [("2026-01-01T00:00:00Z", members) for members in first]


def _first_people() -> list[Members]:
    return [operation("upsert_participant", None, external_id=name) for name in ("alice", "bob")]


def _first_balances(chance: random.Random, definitions: Document) -> Iterator[Members]:
    """Something to spend in most assets."""
    for asset in definitions["assets"]:
        for program in definitions["programs"]:
            if program["key"] in asset["programs"] and chance.random() < 0.5:
                amount = "5" if asset["scale"] == 18 else chance.choice(("20", "50", "1000"))
                fields = {"direction": "CREDIT", "amount": amount, "description": "Opening balance"}
                name = chance.choice(("alice", "bob"))
                yield operation("adjust", program, external_id=name, asset_id=asset["symbol"], **fields)


def _first_groups() -> list[Members]:
    people = _first_people()
    smith = '[{"external_id": "alice", "role": "ADMIN"}, {"external_id": "bob"}]'
    team = f'[{{"participant_id": "{participant_id("bob")}", "role": "ADMIN"}}]'
    groups = [
        {"type": quoted("create_group"), "key": quoted(key), "name": quoted(key.title()), "members": members}
        for key, members in (("smith", smith), ("team", team))
    ]
    return people + groups


def _entity(chance: random.Random, program: Document) -> tuple[Document | None, dict[str, object]]:
    """Whose state an operation means, with the program that it then names."""
    luck = chance.random()
    if luck < 0.6:
        return (program if chance.random() < 0.2 else None), person(chance)
    if luck < 0.8:
        return None, {"group_id": _group(chance)}
    return program, {"target": "PROGRAM"}


def _group(chance: random.Random) -> str:
    return chance.choice((*GROUPS, *GROUPS, group_id("smith"), "nobody"))


def _asset(chance: random.Random, definitions: Document) -> str:
    return str(chance.choice(definitions["assets"])["symbol"]) if chance.random() < 0.95 else "NONE"


# --- members ---------------------------------------------------------------------------------------------------------


def _upsert(draw: Draw) -> Members:
    name = draw.chance.choice((*PEOPLE, "carol"))
    fields: dict[str, object] = {
        "id": participant_id(draw.chance.choice((name, name, "somebody"))),
        "status": draw.chance.choice(("ACTIVE", "ACTIVE", "SUSPENDED", "CLOSED")),
        "email": draw.chance.choice(("a@example.org", "b@example.org", "nobody", "@")),
        "phone": draw.chance.choice(("1", "2")),
        "first_name": "Ana",
        "last_name": draw.chance.choice(("Müller", "Li")),
        "display_name": name.upper(),
        "attributes": {key: draw.chance.choice(("gold", "5")) for key in ATTRIBUTES if draw.chance.random() < 0.5},
        "tags": [tag for tag in TAGS if draw.chance.random() < 0.4],
    }
    likely = {"status": 0.15, "id": 0.15}
    given = {key: value for key, value in fields.items() if draw.chance.random() < likely.get(key, 0.25)}
    return operation(
        "upsert_participant", draw.program if draw.chance.random() < 0.4 else None, external_id=name, **given
    )


def _set_participant_status(draw: Draw) -> Members:
    status = draw.chance.choice(("ACTIVE", "ACTIVE", "ACTIVE", "SUSPENDED", "CLOSED"))
    return operation("set_participant_status", None, status=status, **person(draw.chance))


def _set_program_status(draw: Draw) -> Members:
    status = draw.chance.choice(("ACTIVE", "ACTIVE", "ACTIVE", "SUSPENDED", "ARCHIVED"))
    return operation("set_program_status", draw.program, status=status)


def _enroll(draw: Draw) -> Members:
    status = draw.chance.choice((None, "ACTIVE", "FROZEN", "LOCKED", "CLOSED"))
    return operation("enroll", draw.program, status=status, **person(draw.chance))


def _change_link(draw: Draw) -> Members:
    kind = draw.chance.choice(("link_asset", "link_asset", "unlink_asset"))
    return operation(kind, draw.program, asset_id=_asset(draw.chance, draw.definitions))


# --- groups ----------------------------------------------------------------------------------------------------------


def _create_group(draw: Draw) -> Members:
    people = [
        {**person(draw.chance), "role": draw.chance.choice(("ADMIN", "MEMBER"))}
        for _ in range(draw.chance.choice((1, 2)))
    ]
    fields: dict[str, object] = {
        "name": "A group",
        "members": people,
        "key": draw.chance.choice((None, "club", *GROUPS)),
    }
    if draw.chance.random() < 0.2:
        fields["on_behalf_of_participant_id"] = participant_id(draw.chance.choice(PEOPLE))
    return operation("create_group", None, **fields)


def _change_group(draw: Draw) -> Members:
    if draw.chance.random() < 0.25:
        return operation("archive_group", None, group_id=draw.chance.choice(("club", "team", "nobody")))
    return operation("update_group", None, group_id=_group(draw.chance), name=draw.chance.choice(("Smith", "Other")))


def _change_member(draw: Draw) -> Members:
    kind = draw.chance.choice(("add_member", "set_member_role", "remove_member"))
    role = None if kind == "remove_member" else draw.chance.choice(("ADMIN", "MEMBER"))
    return operation(kind, None, group_id=_group(draw.chance), role=role, **person(draw.chance))


# --- state -----------------------------------------------------------------------------------------------------------


def _change_tags(draw: Draw) -> Members:
    named, entity = _entity(draw.chance, draw.program)
    if draw.chance.random() < 0.3:
        return operation("set_tags", named, tags=[tag for tag in TAGS if draw.chance.random() < 0.5], **entity)
    return operation(draw.chance.choice(("add_tag", "remove_tag")), named, tag=draw.chance.choice(TAGS), **entity)


def _change_counter(draw: Draw) -> Members:
    named, entity = _entity(draw.chance, draw.program)
    key = draw.chance.choice(COUNTERS)
    if draw.chance.random() < 0.25:
        return operation("delete_counter", named, key=key, **entity)
    values = ("5", 2, "0", "-1.50", "0.0000000000000000001", "1e20", "1e2", 99.25)
    window = draw.chance.choice((None, None, "", "24h", "1h"))
    return operation("set_counter", named, key=key, value=draw.chance.choice(values), reset_after=window, **entity)


def _change_attribute(draw: Draw) -> Members:
    named, entity = _entity(draw.chance, draw.program)
    luck = draw.chance.random()
    if luck < 0.4:
        return operation("remove_attribute", named, key=draw.chance.choice(ATTRIBUTES), **entity)
    if luck < 0.6:
        given = {key: draw.chance.choice(("gold", "Zürich")) for key in ATTRIBUTES if draw.chance.random() < 0.7}
        return operation("set_attributes", named, attributes=given, **entity)
    return operation(
        "set_attribute", named, key=draw.chance.choice(ATTRIBUTES), value=draw.chance.choice(("gold", "")), **entity
    )


# --- tiers, budgets, retries -----------------------------------------------------------------------------------------


def _change_tier(draw: Draw) -> Members:
    tier, who = draw.chance.choice(("status", "status", "club", "nothing")), person(draw.chance)
    if draw.chance.random() < 0.2:
        return operation("remove_tier", draw.program, tier=tier, **who)
    level = draw.chance.choice(("level1", "level2", "level2", "level3", "base", "", "nothing"))
    until = draw.chance.choice((None, None, "24h", "96h", "2026-01-10T00:00:00Z"))
    return operation("set_tier", draw.program, tier=tier, level=level, expires_at=until, **who)


def _reset_budget(draw: Draw) -> Members:
    budgeted = [rule for rule in draw.program["rules"] if rule.get("budgets")]
    if budgeted and draw.chance.random() < 0.85:
        rule = draw.chance.choice(budgeted)
        asset = draw.chance.choice(rule["budgets"])["asset"]
        return operation("reset_budget", draw.program, rule_id=rule["key"], asset_id=asset)
    rule_key = draw.chance.choice(("nothing", *(rule["key"] for rule in draw.program["rules"])))
    return operation("reset_budget", draw.program, rule_id=rule_key, asset_id=_asset(draw.chance, draw.definitions))


def _retry_event(draw: Draw) -> Members:
    return operation("retry_event", draw.program, event_key=f"k{draw.chance.randrange(draw.number + 1)}")


Maker = Callable[[Draw], Members]
MAKERS: Mapping[Feature, Sequence[Maker]] = {
    Feature.MEMBERS: (_upsert, _upsert, _set_participant_status, _set_program_status, _enroll, _change_link),
    Feature.GROUPS: (_create_group, _change_group, _change_member, _change_member),
    Feature.STATE: (_change_tags, _change_counter, _change_attribute),
    Feature.TIERS: (_change_tier,),
    Feature.BUDGETS: (_reset_budget,),
    Feature.RETRY: (_retry_event,),
    Feature.MONEY: (adjust, adjust, adjust, match, match, match, void_hold, transfer, transfer),
    Feature.REWARDS: (redeem, redeem, redeem_item, redeem_item, reverse, reverse),
}
