"""Money operations as columns: each row says what its fields say, whatever is in them."""

from __future__ import annotations

import json
import random
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from earnbook.ledger import layout as at
from earnbook.ledger.amounts import classify_amount
from earnbook.ledger.pool import StringPool
from earnbook.ledger.schema import TIME_MAX, Bucket, Direction, Outcome
from earnbook.pipeline.intake import Contract, RowMistake
from earnbook.pipeline.intake_columns import examine, record_rows
from earnbook.pipeline.intake_json import canonical_number
from earnbook.pipeline.operation_columns import MoneyColumns, money_columns
from earnbook.pipeline.people import People
from earnbook.pipeline.records import Reference
from earnbook.pipeline.source_amounts import EVERYTHING
from earnbook.pipeline.source_ndjson import read_line
from earnbook.rules.times import parse_duration
from tests.support.staging import POINTS, PROGRAMS

ORGANIZATION = "247de422-21bc-551b-951a-d6e6f805e3c1"
UUID = "5f4d6c80-b779-5174-9e3e-37d6ea331a70"
MILES = Reference("59bb73fc-f091-5918-a0dc-16c06074dd9d", "MIL")
CONTRACT = Contract(programs=PROGRAMS, assets=(POINTS, MILES))
SCALES = {POINTS.id: 2, MILES.id: 18}
COMMON: dict[str, object] = {
    "effective_at": "2026-01-31T12:00:00Z",
    "program_id": "loyalty",
    "asset_id": "PTS",
    "description": 'by "hand"',
}
EVENT: dict[str, object] = {
    "program_id": "loyalty",
    "event_timestamp": "2026-01-31T12:00:00Z",
    "external_id": "alice",
    "event_data": {},
}


class Read:
    """The columns of some operations, and what they name."""

    def __init__(self, *rows: dict[str, object]) -> None:
        self.pool, self.people = StringPool(), People(ORGANIZATION)
        lines = [{**row, "idempotency_key": str(number)} for number, row in enumerate(rows)]
        self.records = [examine(read_line(json.dumps(line).encode()), CONTRACT) for line in lines]
        table = pa.Table.from_batches([record_rows(list(enumerate(self.records)), 0, (), self.pool)])
        self.people.name(table)
        self.columns = money_columns(table, SCALES, self.people, self.pool)

    def operand(self, row: int) -> list[int]:
        found: list[int] = self.columns.operands[self.columns.operand[row]].tolist()
        return found

    def person(self, name: str, text: str) -> int:
        names = {"external_id": self.people.name_external_ids, "participant_id": self.people.name_participant_ids}
        return int(names.get(name, self.people.name_groups)(pa.array([text]))[0])


def money(kind: str, **fields: object) -> dict[str, object]:
    return {"type": kind, **COMMON, **fields}


ADJUST = money("adjust", external_id="alice", direction="CREDIT", amount="5")


def test_events_and_other_operations_have_no_columns() -> None:
    tag: dict[str, object] = {"type": "add_tag", "effective_at": "2026-01-31T12:00:00Z", "group_id": "g", "tag": "a"}
    columns = Read(EVENT, tag, money("fund", amount=3)).columns
    assert columns.asset.tolist() == [-1, -1, 0]
    assert columns.amount.tolist() == [0, 0, 300]
    assert columns.operand.tolist() == [-1, -1, -1]
    assert columns.group.tolist() == [-1, -1, -1]
    assert columns.operands.shape == (0, at.OPERAND_COLUMNS)
    assert Read(EVENT).columns.parts.shape == (0, at.PART_COLUMNS)


@pytest.mark.parametrize(
    ("amount", "minor", "code"),
    [
        ("5", 500, 0),
        ("5.000", 500, 0),
        ("5.005", 0, Outcome.AMOUNT_EXCEEDS_SCALE),
        ("-1", 0, Outcome.AMOUNT_NOT_POSITIVE),
        ("0", 0, 0),
        ("-0", 0, 0),
        ("92233720368547758.07", 2**63 - 1, 0),
        ("92233720368547758.08", 0, Outcome.AMOUNT_OVERFLOW),
        ("1e30", 0, Outcome.AMOUNT_OVERFLOW),
    ],
)
def test_amounts_are_minor_units_or_a_code(amount: str, minor: int, code: int) -> None:
    columns = Read(ADJUST | {"amount": amount}).columns
    assert (columns.amount.tolist(), columns.code.tolist()) == ([minor], [code])


def test_amounts_are_judged_as_one_by_one() -> None:
    random_ = random.Random(5)
    texts = []
    for _ in range(3_000):
        digits = str(random_.randrange(10 ** random_.choice((1, 3, 9, 18, 19, 20, 25))))
        texts.append(f"{random_.choice(('', '', '-'))}{digits}e{random_.randrange(-22, 5)}")
    texts += [f"{2**63 + delta}e-{scale}" for delta in (-2, -1, 0, 1) for scale in (0, 2, 18)]
    texts = [canonical_number(text) for text in texts]
    assets = [random_.choice((POINTS, MILES)).key for _ in texts]
    columns = Read(
        *(ADJUST | {"amount": text, "asset_id": key} for text, key in zip(texts, assets, strict=True))
    ).columns
    wanted = [
        classify_amount(Decimal(text), 2 if key == "PTS" else 18) for text, key in zip(texts, assets, strict=True)
    ]
    assert list(zip(columns.amount.tolist(), columns.code.tolist(), strict=True)) == wanted
    assert {code for _, code in wanted} == {0, 64, 65, 66}


def test_an_unknown_asset_has_no_index() -> None:
    assert Read(ADJUST | {"asset_id": "XXX"}, ADJUST | {"asset_id": "MIL"}).columns.asset.tolist() == [-1, 1]


def test_an_omitted_amount_and_all_mean_everything() -> None:
    hold = money("hold", external_id="alice")
    assert Read(hold, hold | {"amount": "ALL"}, hold | {"amount": 2}).columns.amount.tolist() == [EVERYTHING] * 2 + [
        200
    ]


def test_operands_of_an_adjustment() -> None:
    read = Read(
        ADJUST,
        ADJUST | {"direction": "DEBIT", "allow_negative": True},
        ADJUST | {"direction": "DEBIT", "allow_negative": False},
        ADJUST | {"bucket": "HELD", "reference_id": "R1", "expires_at": "24h"},
        ADJUST | {"expires_at": "1970-01-01T00:00:01Z", "matures_at": "1h30m"},
    )
    credit, available, held = int(Direction.CREDIT), int(Bucket.AVAILABLE), int(Bucket.HELD)
    ends = [0, TIME_MAX, 0, at.LOTS_NONE]
    day, later = parse_duration("24h"), parse_duration("1h30m")
    reference = int(read.pool.lookup(pa.array(["R1"]))[0])
    assert [read.operand(row) for row in range(5)] == [
        [credit, available, 0, -1, 0, 0, 0, 0, 0, *ends],
        [int(Direction.DEBIT), available, 1, -1, 0, 0, 0, 0, 0, *ends],
        [int(Direction.DEBIT), available, 0, -1, 0, 0, 0, 0, 0, *ends],
        [credit, held, 0, reference, 1, at.DATE_DURATION, day, 0, 0, *ends],
        [credit, available, 0, -1, 1, at.DATE_TIME, 1_000_000, at.DATE_DURATION, later, *ends],
    ]


def test_operands_of_what_is_held() -> None:
    who = {"external_id": "alice"}
    read = Read(
        money("hold", **who),
        money("release", **who, lot_ids=[UUID]),
        money("forfeit", **who, bucket="AVAILABLE", earned_from="1970-01-01T00:00:01Z"),
        money("forfeit", **who, bucket="HELD", earned_to="1970-01-01T00:00:02Z"),
        money("void_hold", **who, reference_id="R1"),
        money("redeem", **who, amount=1),
    )
    available, held = int(Bucket.AVAILABLE), int(Bucket.HELD)
    operands = read.columns.operands
    assert operands[:, at.OPERAND_BUCKET].tolist() == [available, held, available, held, held, available]
    assert operands[:, at.OPERAND_IS_LOT].tolist() == [0, 1, 1, 1, 1, 0]
    assert operands[:, at.OPERAND_FROM].tolist() == [0, 0, 1_000_000, 0, 0, 0]
    assert operands[:, at.OPERAND_TO].tolist() == [TIME_MAX] * 3 + [2_000_000] + [TIME_MAX] * 2
    assert operands[:, at.OPERAND_PARTS].tolist() == [at.LOTS_NONE, at.LOTS_ASK, *[at.LOTS_NONE] * 4]


def test_groups_and_recipients_are_persons() -> None:
    read = Read(
        ADJUST | {"external_id": "smith"},
        {name: value for name, value in ADJUST.items() if name != "external_id"} | {"group_id": "smith"},
        money(
            "transfer",
            source_group_id=UUID.upper(),
            recipients=[{"external_id": "bob", "amount": 1}, {"group_id": "smith", "amount": "0.001"}],
        ),
        money("transfer", source_external_id="smith", recipients=[{"participant_id": UUID.upper(), "amount": 3}]),
    )
    smith, bob, by_id = (
        read.person(*name) for name in (("group_id", "smith"), ("external_id", "bob"), ("participant_id", UUID))
    )
    assert read.columns.group.tolist() == [-1, smith, read.person("group_id", UUID), -1]
    assert read.columns.parts.tolist() == [
        [bob, -1, 100, 0],
        [-1, smith, 0, Outcome.AMOUNT_EXCEEDS_SCALE],
        [by_id, -1, 300, 0],
    ]
    assert read.columns.operands[2:, at.OPERAND_PART].tolist() == [0, 2]
    assert read.columns.operands[2:, at.OPERAND_PARTS].tolist() == [2, 1]


ODD = ('a"b', "a\\b", "{", "}", "é\u2028", "\x00x", "\n", '"},{"', "[]", "a")


def test_escapes_and_brackets_change_nothing() -> None:
    rows = [
        money(
            "transfer",
            source_group_id=f"source {text}",
            recipients=[{kind: text, "amount": number} for number, kind in enumerate(("external_id", "group_id"), 1)],
        )
        for text in ODD
    ]
    rows += [ADJUST | {"reference_id": text, "description": text} for text in ODD]
    read = Read(*rows)
    for row, text in enumerate(ODD):
        assert read.columns.group[row] == read.person("group_id", f"source {text}")
        assert read.columns.parts[2 * row : 2 * row + 2].tolist() == [
            [read.person("external_id", text), -1, 100, 0],
            [-1, read.person("group_id", text), 200, 0],
        ]
        code = read.columns.operands[len(ODD) + row, at.OPERAND_REFERENCE]
        assert read.pool.text(int(code)) == text


def test_no_column_depends_on_its_neighbours() -> None:
    random_ = random.Random(7)
    rows = [_random_row(random_) for _ in range(300)]
    together = Read(*rows)
    for row, fields in enumerate(rows):
        alone = Read(fields)
        assert _readable(together, row) == _readable(alone, 0)


def _random_row(random_: random.Random) -> dict[str, object]:
    texts = (*ODD, "alice", "bob")
    entity = {random_.choice(("external_id", "group_id")): random_.choice(texts)}
    amount = random_.choice(("1", "0.5", "1.005", "-1", "0", "1e20"))
    some: dict[str, object] = {
        "reference_id": random_.choice(texts),
        "earned_from": "2026-01-01T00:00:00Z",
        "lot_ids": [UUID],
        "amount": random_.choice((amount, "ALL")),
    }
    some = {name: value for name, value in some.items() if random_.random() < 0.5}
    match random_.randrange(5):
        case 0:
            return money("hold", **entity, **some)
        case 1:
            return money("forfeit", **entity, **some, bucket=random_.choice(("AVAILABLE", "HELD")))
        case 2:
            recipients = [{"external_id": random_.choice(texts), "amount": amount}] * random_.randint(1, 3)
            return money("transfer", source_external_id=random_.choice(texts), recipients=recipients)
        case 3:
            return money("redeem", external_id=random_.choice(texts), amount=amount)
        case _:
            return money("adjust", **entity, amount=amount, direction="CREDIT", expires_at=random_.choice(("1h", "2h")))


def _readable(read: Read, row: int) -> list[object]:
    """What the columns say of a row, with texts in place of numbers that depend on the rest of the batch."""
    columns: MoneyColumns = read.columns
    operand = read.operand(row)
    first, count = operand[at.OPERAND_PART], max(operand[at.OPERAND_PARTS], 0)
    reference = operand[at.OPERAND_REFERENCE]
    operand[at.OPERAND_REFERENCE] = operand[at.OPERAND_PART] = 0
    persons = [*columns.parts[first : first + count, :2].ravel().tolist(), int(columns.group[row])]
    return [
        int(columns.asset[row]),
        int(columns.amount[row]),
        int(columns.code[row]),
        operand,
        None if reference < 0 else read.pool.text(reference),
        [person if person < 0 else read.people.texts(np.array([person]))[0].as_py() for person in persons],
        columns.parts[first : first + count, 2:].tolist(),
    ]


def test_rows_of_other_types_are_refused_before() -> None:
    with pytest.raises(RowMistake):
        Read(money("transfer", source_external_id="a", recipients=[]))
