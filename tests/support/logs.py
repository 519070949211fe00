"""Random logs from a seed, over the definitions of `programs.py`: rows of NDJSON in one to three runs.

Logs need not be valid: they hold repeated keys with the same and with other payloads, late records, and damaged rows.
"""

from __future__ import annotations

import json
import random
import uuid
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from tests.support.features import BASIC, EVENT_TYPES, GROUPS, Features, drawn_features, group_id, participant_id
from tests.support.logical import Run, Scenario
from tests.support.logs_operations import first_members, random_operation
from tests.support.logs_stories import random_story
from tests.support.oracle_definitions import read_definitions
from tests.support.oracle_intake import read_row
from tests.support.oracle_json import Rejected
from tests.support.programs import DAYS, TYPES, random_definitions

PEOPLE = ("alice", "alice", "alice", "bob", "bob", "Zoë", "12")


def random_scenario(definitions_seed: int, log_seed: int, features: Features = BASIC) -> Scenario:
    """The scenario of two seeds and a set of features; the same ones give the same scenario everywhere."""
    definitions = random_definitions(definitions_seed, features)
    features = drawn_features(definitions_seed, features)
    chance = random.Random(f"log {definitions_seed} {log_seed}")
    return Scenario(definitions=definitions, runs=tuple(_runs(chance, definitions, features)))


def random_month(definitions_seed: int, log_seed: int, rows: int, features: Features = BASIC) -> Scenario:
    """One run in no order, under the clock of its events."""
    definitions = random_definitions(definitions_seed, features)
    features = drawn_features(definitions_seed, features)
    chance = random.Random(f"month {definitions_seed} {log_seed}")
    lines = tuple(random_log(chance, definitions, rows, features))
    return Scenario(definitions=definitions, runs=(Run(lines=lines),))


def cut_by_days(scenario: Scenario, days: int) -> Scenario:
    """The rows of all runs, one run for every so many UTC days of timestamps; rows that are no records come first."""
    definitions = read_definitions(scenario.definitions)
    parts: dict[int, list[str]] = defaultdict(list)
    for run in scenario.runs:
        for row, line in enumerate(run.lines):
            try:
                part = read_row(line, 0, row, definitions).timestamp // (days * 86_400_000_000)
            except Rejected:
                part = 0
            parts[part].append(line)
    return Scenario(
        definitions=scenario.definitions, runs=tuple(Run(lines=tuple(lines)) for _, lines in sorted(parts.items()))
    )


def _runs(chance: random.Random, definitions: Mapping[str, Any], features: Features) -> list[Run]:
    sizes = (5, 15, 40, 80, 120) if features else (1, 5, 15, 30, 60)
    lines = random_log(chance, definitions, chance.choice(sizes), features)
    cuts = sorted(chance.randint(0, len(lines)) for _ in range(chance.choice((0, 0, 1, 2))))
    runs = []
    fixed_days = iter(("2026-02-01", "2026-02-03", "2026-02-10"))
    for start, end in zip([0, *cuts], [*cuts, len(lines)], strict=True):
        if start == end:
            continue
        clock = "event" if chance.random() < 0.75 else f"{next(fixed_days)}T00:00:00Z"
        order = "input" if chance.random() < 0.2 else "time"
        runs.append(Run(lines=tuple(lines[start:end]), clock=clock, order=order))
    if chance.random() < 0.3:
        last = runs[-1]
        runs[-1] = Run(lines=last.lines, clock=last.clock, order=last.order, advance_to="2026-03-01T00:00:00Z")
    return runs


def random_log(
    chance: random.Random, definitions: Mapping[str, Any], size: int, features: Features = BASIC
) -> list[str]:
    """NDJSON rows in no order: records, repeats of them, conflicts, and rows that are none."""
    first = first_members(chance, definitions, features)
    rows = [_complete(f"g{number}", *members) for number, members in enumerate(first)]
    for number in range(size):
        luck = chance.random()
        if luck < 0.06 and rows:
            rows.append(chance.choice(rows))
        elif luck < 0.09 and rows:
            rows.append(chance.choice(rows).replace("amount", "amounts", 1))
        elif luck < 0.12:
            rows.append(_damaged(chance, _event(chance, definitions, number, features)))
        elif luck < 0.22:
            rows.append(_operation(chance, definitions, number))
        elif luck < 0.48 and features and (members := random_operation(chance, definitions, features, number, rows)):
            rows.append(_complete(f"o{number}", _time_of(chance, members), members))
        elif luck < 0.56 and features:
            rows += random_story(chance, definitions, features, number)
        else:
            rows.append(_event(chance, definitions, number, features))
    return rows


def _time_of(chance: random.Random, members: Mapping[str, str]) -> str:
    """When an operation is for: what undoes or repeats others comes late, so that they are there."""
    if members["type"] == '"retry_event"':
        return f"{DAYS[-1]}T18:00:00Z"
    if members["type"] == '"reverse_redemption"' and chance.random() < 0.7:
        return f"{chance.choice(DAYS[-5:])}T18:00:00Z"
    return _time(chance)


def _complete(key: str, time: str, members: Mapping[str, str]) -> str:
    """An operation as a row, with its key and time."""
    whole = {**members, "idempotency_key": _quoted(key), "effective_at": _quoted(time)}
    return "{" + ", ".join(f"{_quoted(name)}: {text}" for name, text in whole.items()) + "}"


def _event(chance: random.Random, definitions: Mapping[str, Any], number: int, features: Features) -> str:
    fields = {
        "program_id": _quoted(chance.choice(definitions["programs"])["key"]),
        "idempotency_key": _quoted(f"k{number if chance.random() < 0.95 else number // 2}"),
        "event_timestamp": _quoted(_time(chance)),
        "event_data": random_event_data(chance, features),
    }
    name = chance.choice(PEOPLE)
    if chance.random() < 0.1:
        fields["participant_id"] = _quoted(_participant_id(chance, name))
    else:
        fields["external_id"] = name if name == "12" and chance.random() < 0.5 else _quoted(name)
    if chance.random() < 0.12:
        fields["recipient_external_id"] = _quoted(chance.choice(PEOPLE))
    elif chance.random() < 0.03:
        fields["recipient_id"] = _quoted(_participant_id(chance, chance.choice(PEOPLE)))
    if chance.random() < 0.05:
        fields["channel"] = _quoted("web")
    return _object(chance, fields)


def _participant_id(chance: random.Random, name: str) -> str:
    """The id of a participant, or one that nobody has."""
    root = uuid.uuid5(uuid.NAMESPACE_DNS, "earnbook")
    organization = uuid.uuid5(root, "organization:demo")
    known = chance.random() < 0.8
    return str(uuid.uuid5(organization, f"participant:{name}" if known else "participant:nobody"))


def random_event_data(chance: random.Random, features: Features = BASIC) -> str:
    """JSON text of an `event_data` object: members that rules ask for, some absent, some of another type."""
    members = {
        "type": _quoted(chance.choice(TYPES)),
        "amount": _number_text(chance),
        "zero": "0",
    }
    optional = {
        "qty": chance.choice(("1", "2", "3.0", "0.5", "1e1", "-2")),
        "flag": chance.choice(("true", "false", "true", "false", "null", '"yes"')),
        "store": chance.choice(('{"city": "Zürich", "zip": 8001}', '{"zip": "8001"}', "{}", "null", "[]")),
        "list": chance.choice(("[1, 2, 3]", "[]", '[null, "x", 5]', "[3.5]", '{"a": 1}')),
        "mcc": chance.choice(("5812", '"5812"', "5411.0", "null")),
        "name": _quoted(chance.choice(("Anna", "Zürich", "", "日本", "M", "line\nbreak", 'quo"te', "purchase"))),
        "text": chance.choice(('"12.5"', '"abc"', '"7"', "12")),
        "big": chance.choice(("1e18", "92233720368547758.07", "12345678901234567890.12", "1e25", "4e17")),
        "tiny": chance.choice(("1e-7", "0.0000000000000000001", "1e-18", "0.001")),
    }
    members |= {name: text for name, text in optional.items() if chance.random() < 0.8}
    if features:
        members |= _feature_members(chance, features)
    if chance.random() < 0.05:
        members.pop("type")
    if chance.random() < 0.05:
        members["amount"] = chance.choice(("null", '"10"', "true", "[1]"))
    return _object(chance, members)


def _feature_members(chance: random.Random, features: Features) -> dict[str, str]:
    """Members that the rules of features ask for, and a type that they wait for."""
    types = [kind for feature in sorted(features) for kind in EVENT_TYPES.get(feature, ())]
    people = ("alice", "bob", "Zoë", "newcomer")
    optional = {
        "ref": chance.choice(('"R-1"',) * 12 + ('"R-2"',) * 6 + ('"R-3"', '""', "7")),
        "friend": chance.choice(('"alice"', '"bob"', '"bob"', '"newcomer"', '"Zoë"', "null", '""', "12")),
        "friend_id": _quoted(chance.choice((participant_id(chance.choice(people)), "bob", ""))),
        "group": _quoted(chance.choice((*GROUPS, *GROUPS, group_id("smith"), "nobody", ""))),
    }
    members = {name: text for name, text in optional.items() if chance.random() < 0.9}
    if types and chance.random() < 0.6:
        members["type"] = _quoted(chance.choice(types))
        members["amount"] = chance.choice(("1", "5", "10", "20", "50", "12.5", "100"))
    return members


def _number_text(chance: random.Random) -> str:
    choices = (
        *("0", "1", "5", "10", "100", "5.00", "1e2", "49.99", "33.33", "-3", "0.0", "-0"),
        str(chance.randint(1, 500)),
        f"{chance.randint(1, 99)}.{chance.randint(0, 99):02d}",
        f"0.{chance.randint(1, 9999999)}",
        chance.choice(("0.005", "1e-7", "2.5E+1", "123456789.123456789", "9e15", "9223372036854775807")),
    )
    return chance.choice(choices)


def _time(chance: random.Random) -> str:
    day = chance.choice(DAYS)
    forms = ("T00:00:00Z", "T00:00:00Z", "T12:00:00Z", "T12:00:00.5Z", "T08:30:15.123456Z", "T01:00:00+02:00")
    return day + chance.choice(forms)


def _operation(chance: random.Random, definitions: Mapping[str, Any], number: int) -> str:
    asset = chance.choice(definitions["assets"])
    program = chance.choice(definitions["programs"])["key"]
    prefunded = [asset for asset in definitions["assets"] if asset["issuance_policy"] == "PREFUNDED"]
    if prefunded and chance.random() < 0.85:
        asset = chance.choice(prefunded)
        program = chance.choice(asset["programs"])
    amounts = ('"1000"', '"1000.00"', "500", '"250.0"', '"5"', '"0.001"', '"0"', '"9e16"', '"92233720368547758.07"')
    fields = {
        "type": _quoted(chance.choice(("fund", "fund", "fund", "burn"))),
        "program_id": _quoted(program),
        "idempotency_key": _quoted(f"o{number}"),
        "effective_at": _quoted(_time(chance)),
        "asset_id": _quoted(asset["symbol"] if chance.random() < 0.97 else "NONE"),
        "amount": chance.choice(amounts[:4] if chance.random() < 0.7 else amounts),
    }
    if chance.random() < 0.3:
        fields["description"] = _quoted("top up")
    return _object(chance, fields)


def _damaged(chance: random.Random, row: str) -> str:
    fields = json.loads(row)
    harms = (
        row[:-2],
        "[]",
        row.replace("{", '{"a": 1, "a": 2, ', 1),
        _without(fields, "idempotency_key"),
        _without(fields, "program_id"),
        _without(fields, "event_timestamp"),
        _without(fields, "event_data"),
        _with(fields, "program_id", "nowhere"),
        _with(fields, "event_timestamp", "2026-01-05"),
        _with(fields, "event_timestamp", "2026-02-30T00:00:00Z"),
        _with(fields, "event_timestamp", 5),
        _with(fields, "event_data", "text"),
        _with(fields, "external_id", ""),
        _with(fields, "recipient_external_id", True),
        _with(fields, "participant_id", "not-an-id"),
        _with(fields, "idempotency_key", "earnbook:x"),
        _with(fields, "idempotency_key", "k" * 256),
        _with(fields, "type", "teleport"),
        _with(fields, "type", "fund"),
        row.replace('"zero": 0', '"zero": 1e401'),
        row.replace('"zero": 0', '"zero": 1234567890123456789012345678901234567'),
        row.replace('"zero": 0', '"zero": NaN'),
    )
    return chance.choice(harms)


def _without(fields: Mapping[str, object], name: str) -> str:
    return json.dumps({key: value for key, value in fields.items() if key != name}, ensure_ascii=False)


def _with(fields: Mapping[str, object], name: str, value: object) -> str:
    return json.dumps({**fields, name: value}, ensure_ascii=False)


def _object(chance: random.Random, members: Mapping[str, str]) -> str:
    """A JSON object whose members, given as JSON text, stand in a random order."""
    names = list(members)
    if chance.random() < 0.3:
        chance.shuffle(names)
    return "{" + ", ".join(f"{_quoted(name)}: {members[name]}" for name in names) + "}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
