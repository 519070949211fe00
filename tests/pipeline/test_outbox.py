"""The outbox (§22.1, §22.2): every type with its body, order, cuts into batches, endpoints, further attempts."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import duckdb
import pytest

from earnbook.pipeline.config import ClockMode, OutboxMode
from earnbook.pipeline.retry import RetryRequest, retry
from earnbook.pipeline.verify import run_check, verify_book
from earnbook.pipeline.verify_outbox import OUTBOX_CHECKS
from tests.support.outbox_book import ENDPOINT, OutboxBook, event, operation

ROOT = uuid.uuid5(uuid.NAMESPACE_DNS, "earnbook")
ORGANIZATION = uuid.uuid5(ROOT, "organization:demo")
LOYALTY = uuid.uuid5(ORGANIZATION, "program:loyalty")
MONEY = {"program_id": "loyalty", "asset_id": "PTS", "description": "by hand"}

LOG = (
    event("e-1", "01", "alice", "earn", "10"),
    event("e-2", "01T01", "alice", "spend", "4"),
    event("e-3", "02", "bob", "authorise", "5", "A1"),
    event("e-4", "02T01", "bob", "settle", "4.5", "A1"),
    event("e-5", "03", "bob", "authorise", "8", "A2"),
    event("e-6", "03T01", "bob", "void", "0", "A2"),
    operation("h-1", "03T02", "hold", **MONEY, external_id="alice", amount="2", reference_id="H1"),
    operation("l-1", "03T03", "release", **MONEY, external_id="alice", amount="1", reference_id="H1"),
    operation("f-1", "03T04", "forfeit", **MONEY, external_id="alice", amount="1", bucket="HELD"),
    operation("r-1", "03T05", "redeem", **MONEY, external_id="alice", amount="1"),
    operation("i-1", "03T06", "redeem_item", program_id="loyalty", external_id="alice", reward_id="card"),
    operation("v-1", "03T07", "reverse_redemption", program_id="loyalty", redemption_key="r-1", reason="x", amount=0.5),
    operation("u-1", "03T08", "fund", program_id="loyalty", asset_id="CASH", amount="100"),
    operation("b-1", "03T09", "burn", program_id="loyalty", asset_id="CASH", amount="10"),
    operation("c-1", "03T10", "upsert_participant", external_id="carol"),
    operation("g-1", "03T11", "create_group", key="fam", name="F", members=[{"external_id": "bob", "role": "ADMIN"}]),
    operation(
        "t-1",
        "03T12",
        "transfer",
        **MONEY,
        source_external_id="bob",
        recipients=[
            {"external_id": "carol", "amount": "1"},
            {"group_id": str(uuid.uuid5(ORGANIZATION, "group:fam")), "amount": "0.25"},
            {"external_id": "carol", "amount": "0.75"},
        ],
    ),
    event("e-7", "04", "dora", "later", "7"),
    event("e-8", "04T01", "erin", "spend", "7"),
    event("e-9", "04T02", "frank", "twice", "7"),
    event("e-10", "20", "alice", "cash", "7"),
)
"""Every row of the table in §22.2, then a day on which all that waits has fallen due."""


def participant(name: str) -> str:
    return str(uuid.uuid5(ORGANIZATION, f"participant:{name}"))


def event_id(key: str) -> str:
    return str(uuid.uuid5(LOYALTY, key))


def entry_of(key: str, rule: str, action: int = 0) -> str:
    """The id of the entry that an action of a rule made on an event (§2.3)."""
    rule_id = uuid.uuid5(LOYALTY, f"rule:{rule}")
    return str(uuid.uuid5(uuid.UUID(event_id(key)), f"entry:{rule_id}:{action}:0"))


def of_operation(kind: str, key: str, name: str = "entry:0") -> str:
    """The id of what an operation made, by default its entry."""
    return str(uuid.uuid5(uuid.uuid5(LOYALTY, f"operation:{kind}:{key}"), name))


def lot_of(key: str, rule: str) -> uuid.UUID:
    return uuid.uuid5(uuid.UUID(entry_of(key, rule)), "lot:0")


def money(who: str, asset: str, amount: str, bucket: str, after: str, **more: Any) -> dict[str, Any]:
    """The data of a `balance.*` about a participant."""
    head = {"participant_id": participant(who), "asset": asset, "amount": amount, "bucket": bucket}
    return head | {"balance_after": after} | more


def done(key: str, at: str, who: str, **more: Any) -> dict[str, Any]:
    """The data of an `event.completed`, or with `code` of an `event.failed`."""
    return {
        "event_id": event_id(key),
        "program_id": str(LOYALTY),
        "idempotency_key": key,
        "event_type": "EXTERNAL",
        "event_timestamp": f"2026-01-{at}:00:00Z",
        "participant_id": participant(who),
        "status": "FAILED" if "code" in more else "COMPLETED",
        **more,
        "attempt": 1,
    }


def created(who: str) -> dict[str, Any]:
    return {"participant_id": participant(who), "external_id": who, "program_id": str(LOYALTY)}


REDEMPTION = {"participant_id": participant("alice"), "program_id": str(LOYALTY), "asset": "PTS"}
R_1 = of_operation("redeem", "r-1", "redemption")
RELEASED_LOT = uuid.uuid5(uuid.UUID(of_operation("release", "l-1")), "lot:0")
SETTLED = {"settle": {"held_amount": "5.00", "delta": "-0.50"}}
TIER = {"participant_id": participant("frank"), "program_id": str(LOYALTY), "tier": "status"}

EXPECTED: list[tuple[str, str, dict[str, Any]]] = [
    ("participant.created", "01T00", created("alice")),
    (
        "balance.credited",
        "01T00",
        money(
            "alice", "PTS", "10.00", "AVAILABLE", "10.00", entry_id=entry_of("e-1", "earn"), event_id=event_id("e-1")
        ),
    ),
    ("event.completed", "01T00", done("e-1", "01T00", "alice")),
    (
        "balance.debited",
        "01T01",
        money("alice", "PTS", "4.00", "AVAILABLE", "6.00", entry_id=entry_of("e-2", "spend"), event_id=event_id("e-2")),
    ),
    ("event.completed", "01T01", done("e-2", "01T01", "alice")),
    ("participant.created", "02T00", created("bob")),
    (
        "balance.credited",
        "02T00",
        money("bob", "PTS", "5.00", "HELD", "5.00", entry_id=entry_of("e-3", "authorise"), event_id=event_id("e-3"))
        | {"reference_id": "A1"},
    ),
    ("event.completed", "02T00", done("e-3", "02T00", "bob")),
    (
        "balance.credited",
        "02T01",
        money("bob", "PTS", "4.50", "AVAILABLE", "4.50", **SETTLED, entry_id=entry_of("e-4", "settle"))
        | {"event_id": event_id("e-4"), "reference_id": "A1"},
    ),
    ("event.completed", "02T01", done("e-4", "02T01", "bob")),
    (
        "balance.credited",
        "03T00",
        money("bob", "PTS", "8.00", "HELD", "8.00", entry_id=entry_of("e-5", "authorise"), event_id=event_id("e-5"))
        | {"reference_id": "A2"},
    ),
    ("event.completed", "03T00", done("e-5", "03T00", "bob")),
    (
        "balance.voided",
        "03T01",
        money("bob", "PTS", "8.00", "HELD", "0.00", entry_id=entry_of("e-6", "void"), event_id=event_id("e-6"))
        | {"reference_id": "A2"},
    ),
    ("event.completed", "03T01", done("e-6", "03T01", "bob")),
    (
        "balance.held",
        "03T02",
        money("alice", "PTS", "2.00", "HELD", "2.00", entry_id=of_operation("hold", "h-1"), reference_id="H1"),
    ),
    (
        "balance.released",
        "03T03",
        money("alice", "PTS", "1.00", "AVAILABLE", "5.00", entry_id=of_operation("release", "l-1"), reference_id="H1"),
    ),
    (
        "balance.forfeited",
        "03T04",
        money("alice", "PTS", "1.00", "HELD", "0.00", entry_id=of_operation("forfeit", "f-1")),
    ),
    (
        "redemption.completed",
        "03T05",
        {"redemption_id": R_1, **REDEMPTION, "amount": "1.00", "balance_after": "4.00"}
        | {"target_type": "SYSTEM_REDEMPTION", "entry_id": of_operation("redeem", "r-1")},
    ),
    (
        "redemption.completed",
        "03T06",
        {"redemption_id": of_operation("redeem_item", "i-1", "redemption"), **REDEMPTION, "amount": "3.00"}
        | {"balance_after": "1.00", "reward_id": str(uuid.uuid5(LOYALTY, "reward:card")), "quantity": 1}
        | {"unit_cost": "3.00", "target_type": "SYSTEM_REDEMPTION", "entry_id": of_operation("redeem_item", "i-1")},
    ),
    (
        "redemption.reversed",
        "03T07",
        {"reversal_id": of_operation("reverse_redemption", "v-1", "reversal"), "redemption_id": R_1, **REDEMPTION}
        | {"amount": "0.50", "balance_after": "1.50", "reason": "x"}
        | {"entry_id": of_operation("reverse_redemption", "v-1")},
    ),
    (
        "program.funded",
        "03T08",
        {"program_id": str(LOYALTY), "asset": "CASH", "amount": "100", "balance_after": "100"}
        | {"entry_id": of_operation("fund", "u-1")},
    ),
    (
        "program.burned",
        "03T09",
        {"program_id": str(LOYALTY), "asset": "CASH", "amount": "10", "balance_after": "90"}
        | {"entry_id": of_operation("burn", "b-1")},
    ),
    ("participant.created", "03T10", {"participant_id": participant("carol"), "external_id": "carol"}),
    (
        "transfer.completed",
        "03T12",
        {"participant_id": participant("bob"), "program_id": str(LOYALTY), "asset": "PTS", "amount": "2.00"}
        | {
            "balance_after": "2.50",
            "recipients": [
                {"participant_id": participant("carol"), "amount": "1.00"},
                {"group_id": str(uuid.uuid5(ORGANIZATION, "group:fam")), "amount": "0.25"},
                {"participant_id": participant("carol"), "amount": "0.75"},
            ],
            "entry_id": of_operation("transfer", "t-1"),
        },
    ),
    ("participant.created", "04T00", created("dora")),
    (
        "balance.credited",
        "04T00",
        money("dora", "PTS", "7.00", "DEFERRED", "7.00", entry_id=entry_of("e-7", "later"), event_id=event_id("e-7")),
    ),
    ("event.completed", "04T00", done("e-7", "04T00", "dora")),
    ("participant.created", "04T01", created("erin")),
    (
        "event.failed",
        "04T01",
        done("e-8", "04T01", "erin", code="INSUFFICIENT_BALANCE")
        | {"rule_id": str(uuid.uuid5(LOYALTY, "rule:spend")), "action_index": 0},
    ),
    ("participant.created", "04T02", created("frank")),
    (
        "balance.credited",
        "04T02",
        money("frank", "PTS", "7.00", "AVAILABLE", "7.00", entry_id=entry_of("e-9", "twice"), event_id=event_id("e-9")),
    ),
    (
        "balance.debited",
        "04T02",
        money("frank", "PTS", "7.00", "AVAILABLE", "0.00", entry_id=entry_of("e-9", "twice", 1))
        | {"event_id": event_id("e-9")},
    ),
    (
        "participant.tier_changed",
        "04T02",
        {**TIER, "level": "gold", "previous_level": None, "acquired_at": "2026-01-04T02:00:00Z"}
        | {"expires_at": "2026-01-06T02:00:00Z", "event_id": event_id("e-9")},
    ),
    ("event.completed", "04T02", done("e-9", "04T02", "frank")),
    (
        "balance.matured",
        "05T00",
        money("dora", "PTS", "7.00", "AVAILABLE", "7.00")
        | {"entry_id": str(uuid.uuid5(lot_of("e-7", "later"), "maturity"))},
    ),
    ("participant.tier_changed", "06T02", {**TIER, "level": None, "previous_level": "gold"}),
    (
        "balance.expired",
        "11T00",
        money("alice", "PTS", "0.50", "AVAILABLE", "1.00")
        | {"entry_id": str(uuid.uuid5(lot_of("e-1", "earn"), "expiration"))},
    ),
    (
        "balance.expired",
        "11T00",
        money("alice", "PTS", "1.00", "AVAILABLE", "0.00") | {"entry_id": str(uuid.uuid5(RELEASED_LOT, "expiration"))},
    ),
    (
        "balance.credited",
        "20T00",
        money("alice", "CASH", "7", "AVAILABLE", "7", entry_id=entry_of("e-10", "cash"), event_id=event_id("e-10")),
    ),
    ("event.completed", "20T00", done("e-10", "20T00", "alice")),
]
"""Type, time and data of every notification of the log, in order."""


def rows(path: Path, columns: str) -> list[tuple[Any, ...]]:
    """Columns of the outbox, in order."""
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(f"SELECT {columns} FROM outbox ORDER BY n").fetchall()


def bodies(path: Path) -> list[dict[str, Any]]:
    return [json.loads(body) for (body,) in rows(path, "body")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log in one batch, with all extensions."""
    book = OutboxBook(tmp_path_factory.mktemp("outbox"))
    report = book.run(*LOG, extensions=True)
    assert (report.rejected, report.failed) == ({}, {"INSUFFICIENT_BALANCE": 1})
    return book.path


def test_every_type_has_its_body(whole: Path) -> None:
    found = [(body["type"], body["created_at"], body["data"]) for body in bodies(whole)]
    expected = [(kind, f"2026-01-{at}:00:00Z", data) for kind, at, data in EXPECTED]
    assert found == expected


def test_a_body_is_the_same_bytes_everywhere(whole: Path) -> None:
    assert rows(whole, "body")[3] == (
        '{"id":"ccc1a4ec-ed1a-50a0-906c-cf1f94286809","type":"balance.debited","api_version":"2026-03-01",'
        '"created_at":"2026-01-01T01:00:00Z","organization_id":"247de422-21bc-551b-951a-d6e6f805e3c1","data":{'
        '"participant_id":"5f4d6c80-b779-5174-9e3e-37d6ea331a70","asset":"PTS","amount":"4.00",'
        '"bucket":"AVAILABLE","balance_after":"6.00","entry_id":"2bc835bd-8b71-5ecd-9e16-fbca3328a959",'
        '"event_id":"68bfb7b8-003a-5853-b4dc-a3ded48d06d2"}}',
    )


def test_ids_follow_from_what_caused_them(whole: Path) -> None:
    found = rows(whole, "type, id, body")
    causes = {
        "participant.created": lambda data: (data["participant_id"], 0),
        "event.completed": lambda data: (data["event_id"], data["attempt"] - 1),
        "event.failed": lambda data: (data["event_id"], data["attempt"] - 1),
    }
    changed = []
    for kind, given, body in found:
        parsed = json.loads(body)
        assert parsed["id"] == str(given)
        if kind == "participant.tier_changed":
            changed.append((parsed["data"]["participant_id"], given))
            continue
        cause, n = causes.get(kind, lambda data: (data["entry_id"], 0))(parsed["data"])
        assert given == uuid.uuid5(uuid.UUID(cause), f"webhook:{kind}:{n}")
    with duckdb.connect(str(whole), read_only=True) as connection:
        query = "SELECT change_seq FROM changes WHERE state_type = 'tier' ORDER BY 1"
        numbers = [number for (number,) in connection.execute(query).fetchall()]
    assert [
        uuid.uuid5(uuid.UUID(who), f"webhook:participant.tier_changed:{number}")
        for (who, _), number in zip(changed, numbers, strict=True)
    ] == [given for _, given in changed]
    assert len({given for _, given, _ in found}) == len(found)


def test_records_and_due_work_are_named_as_causes(whole: Path) -> None:
    found = dict(rows(whole, "n, record_id"))
    by_type = {kind: found[n] for n, kind in rows(whole, "n, type")}
    assert by_type["program.burned"] == uuid.uuid5(LOYALTY, "operation:burn:b-1")
    assert by_type["balance.matured"] == lot_of("e-7", "later")
    assert by_type["participant.tier_changed"] == uuid.uuid5(LOYALTY, "tier:status")
    assert str(by_type["event.failed"]) == event_id("e-8")


def test_a_whole_outbox_has_no_findings(whole: Path) -> None:
    assert verify_book(whole).findings == ()


@pytest.mark.parametrize("batch_records", [1, 4])
def test_cuts_into_batches_give_the_same_outbox(whole: Path, tmp_path: Path, batch_records: int) -> None:
    book = OutboxBook(tmp_path)
    book.run(*LOG, extensions=True, batch_records=batch_records)
    columns = "n, id, type, record_id, body, created_at"
    assert rows(book.path, columns) == rows(whole, columns)
    assert len(set(rows(book.path, "batch"))) > 1
    assert verify_book(book.path).findings == ()


def test_runs_and_an_advance_between_them_give_the_same_outbox(whole: Path, tmp_path: Path) -> None:
    book = OutboxBook(tmp_path)
    book.run(*LOG[:9], extensions=True)
    book.run(*LOG[9:-1], extensions=True)
    book.advance("05T12", extensions=True)
    book.run(*LOG[-1:], extensions=True)
    columns = "n, id, type, record_id, body, created_at"
    assert rows(book.path, columns) == rows(whole, columns)


def test_the_same_rows_again_notify_of_nothing(tmp_path: Path) -> None:
    book = OutboxBook(tmp_path)
    book.run(*LOG[:4])
    before = rows(book.path, "*")
    book.run(*LOG[:4], LOG[4].replace('"e-5"', '"e-1"'))
    assert rows(book.path, "*") == before


def written(path: Path) -> list[tuple[str, list[str], int]]:
    """Mode, types and number of notifications of each batch."""
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(
            """SELECT outbox, notification_types, (SELECT count(*) FROM store.outbox AS o WHERE o.batch = b.batch)
            FROM batches AS b ORDER BY batch"""
        ).fetchall()


def test_only_what_an_active_endpoint_enables_is_written(tmp_path: Path) -> None:
    book = OutboxBook(tmp_path, [{**ENDPOINT, "status": "DISABLED"}])
    book.run(*LOG[:2])
    book.define([{**ENDPOINT, "enabled_events": ["balance.debited", "balance.voided", "unheard.of"]}])
    book.run(*LOG[2:6])
    book.run(event("e-11", "03T02", "bob", "spend", "1"))
    book.define([])
    book.run(*LOG[6:9])
    assert written(book.path) == [
        ("enabled", [], 0),
        ("enabled", ["balance.debited"], 0),
        ("enabled", ["balance.debited"], 1),
        ("enabled", [], 0),
    ]
    assert verify_book(book.path).findings == ()


def test_all_and_none_do_not_ask_the_endpoints(tmp_path: Path) -> None:
    book = OutboxBook(tmp_path, [])
    book.run(*LOG[:2], outbox=OutboxMode.ALL)
    book.define([ENDPOINT])
    book.run(*LOG[2:4], outbox=OutboxMode.NONE)
    found = written(book.path)
    assert [(mode, len(types), count) for mode, types, count in found] == [("all", 14, 5), ("none", 0, 0)]
    assert verify_book(book.path).findings == ()


def test_a_notification_tells_the_balance_after_its_entry_and_not_after_the_batch(tmp_path: Path) -> None:
    book = OutboxBook(tmp_path)
    book.run(*(event(f"e-{n}", f"0{n}", "alice", "earn", str(n)) for n in (1, 2, 3)))
    balances = [body["data"]["balance_after"] for body in bodies(book.path) if body["type"] == "balance.credited"]
    assert balances == ["1.00", "3.00", "6.00"]


@pytest.mark.parametrize("batch_records", [1, 10])
def test_a_further_attempt_stands_where_its_operation_does(tmp_path: Path, batch_records: int) -> None:
    book = OutboxBook(tmp_path)
    retry_spend = {"program_id": "loyalty", "event_key": "e-1"}
    book.run(
        event("e-1", "01", "alice", "spend", "3"),
        operation("t-1", "02", "retry_event", **retry_spend),
        event("e-2", "03", "alice", "earn", "5"),
        operation("t-2", "04", "retry_event", **retry_spend),
        event("e-3", "05", "alice", "earn", "1"),
        batch_records=batch_records,
    )
    found = [
        (body["type"], body["created_at"][8:10], body["data"].get("idempotency_key"), body["data"].get("attempt"))
        for body in bodies(book.path)
    ]
    assert found == [
        ("participant.created", "01", None, None),
        ("event.failed", "01", "e-1", 1),
        ("event.failed", "02", "e-1", 2),
        ("balance.credited", "03", None, None),
        ("event.completed", "03", "e-2", 1),
        ("balance.debited", "04", None, None),
        ("event.completed", "04", "e-1", 3),
        ("balance.credited", "05", None, None),
        ("event.completed", "05", "e-3", 1),
    ]
    ids = [body["id"] for body in bodies(book.path)]
    assert len(set(ids)) == len(ids)
    assert verify_book(book.path).findings == ()


def test_the_retry_command_writes_notifications(tmp_path: Path) -> None:
    book = OutboxBook(tmp_path)
    book.run(event("e-1", "01", "alice", "spend", "3"), event("e-2", "03", "alice", "earn", "5"))
    retry(RetryRequest(book=book.path, clock=ClockMode.EVENT))
    assert [kind for (kind,) in rows(book.path, "type")][-2:] == ["balance.debited", "event.completed"]


def test_a_tier_that_stays_is_no_change_of_tier(tmp_path: Path) -> None:
    book = OutboxBook(tmp_path)
    book.run(event("e-1", "01", "alice", "twice"), event("e-2", "02", "alice", "twice"))
    book.run(event("e-3", "03", "alice", "twice"))
    changed = [body for body in bodies(book.path) if body["type"] == "participant.tier_changed"]
    assert [body["created_at"] for body in changed] == ["2026-01-01T00:00:00Z"]
    assert verify_book(book.path).findings == ()


TAMPERINGS = [
    ("outbox_is_what_happened", "DELETE FROM store.outbox WHERE n = 7"),
    ("outbox_is_what_happened", "INSERT INTO store.outbox SELECT * FROM store.outbox WHERE n = 7"),
    ("outbox_is_what_happened", "UPDATE store.outbox SET type = 12 WHERE n = 3"),
    ("outbox_is_what_happened", "UPDATE store.outbox SET created_at = created_at + 1 WHERE n = 3"),
    ("outbox_is_what_happened", "UPDATE store.outbox SET attempt = 2 WHERE type = 11"),
    ("outbox_is_in_order", "UPDATE store.outbox SET n = 3 - n WHERE n IN (1, 2)"),
    ("outbox_is_in_order", "UPDATE store.outbox SET n = n + 1 WHERE n > 20"),
    ("outbox_balances_are_the_fold", "UPDATE store.outbox SET balance = balance + 1 WHERE n = 2"),
    ("outbox_balances_are_the_fold", "UPDATE store.outbox SET account = account - 1 WHERE type = 4"),
    ("outbox_balances_are_the_fold", "UPDATE store.outbox SET account = 1 WHERE n = 2"),
    ("outbox_types_are_the_endpoints", "UPDATE store.batches SET outbox_types = outbox_types & ~4"),
    ("outbox_types_are_the_endpoints", "UPDATE store.batches SET outbox = 'none'"),
]


@pytest.mark.parametrize(("check", "sql"), TAMPERINGS)
def test_verify_finds_what_was_changed(whole: Path, tmp_path: Path, check: str, sql: str) -> None:
    path = tmp_path / "book.duckdb"
    path.write_bytes(whole.read_bytes())
    named = next(known for known in OUTBOX_CHECKS if known.name == check)
    with duckdb.connect(str(path)) as connection:
        connection.execute(sql)
        (finding,) = run_check(connection, named)
    assert finding.count >= 1
    assert finding.examples
