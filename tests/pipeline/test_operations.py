"""Operations on members and state (§15.3): each type's success, refusals and repeats, and what stays between runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from earnbook.pipeline.verify import verify_book
from tests.support.engines import run_in
from tests.support.logical import Group, LogicalBook, Member, Run, Scenario, differences
from tests.support.oracle import run_oracle

ASSETS = [
    {"symbol": "PTS", "name": "Points", "scale": 2, "programs": ["loyalty"]},
    {"symbol": "GEM", "name": "Gems", "scale": 0, "programs": ["loyalty", "partner"]},
]
RULES = [
    {
        "key": "vip",
        "name": "VIP",
        "condition": "'vip' in participant.tags",
        "actions": [{"type": "CREDIT", "asset_id": "PTS", "amount": "5"}],
    },
    {
        "key": "visit",
        "name": "Visit",
        "condition": "event.type == 'visit'",
        "actions": [{"type": "TAG", "tag": "visited"}, {"type": "COUNTER", "key": "visits", "value": 1}],
    },
]
BOB_ID = "11111111-2222-3333-4444-555555555555"
ADMIN = {"external_id": "alice", "role": "ADMIN"}


def definitions(*, statuses: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Two programs, the second without rules; `statuses` are what the file states of them."""
    stated = statuses or {}
    return {
        "organization": {"key": "demo", "name": "Demo"},
        "assets": [{**asset, "inventory_mode": "SIMPLE", "issuance_policy": "UNLIMITED"} for asset in ASSETS],
        "programs": [
            {"key": "loyalty", "name": "Loyalty", "rules": RULES, **_status(stated, "loyalty")},
            {"key": "partner", "name": "Partner", "rules": [], **_status(stated, "partner")},
        ],
    }


def _status(stated: Mapping[str, str], program: str) -> dict[str, str]:
    return {"status": stated[program]} if program in stated else {}


class Log:
    """Rows with keys and times of their own, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def operation(self, kind: str, **fields: object) -> Log:
        """One operation."""
        place = len(self.lines) + 1
        common = {"type": kind, "idempotency_key": f"o{place}", "effective_at": _time(place)}
        self.lines.append(json.dumps(common | fields))
        return self

    def event(self, who: str, kind: str = "visit", **fields: object) -> Log:
        """One event of a participant in the program loyalty."""
        place = len(self.lines) + 1
        common = {"program_id": "loyalty", "idempotency_key": f"e{place}", "event_timestamp": _time(place)}
        self.lines.append(json.dumps(common | {"external_id": who, "event_data": {"type": kind}} | fields))
        return self


def _time(place: int) -> str:
    return f"2026-01-01T{place:02d}:00:00Z"


def decide(folder: Path, lines: Sequence[str], *, runs: int = 1, book: Mapping[str, Any] | None = None) -> LogicalBook:
    """The book of a log cut into runs, which is that of the oracle, and whole."""
    size = -(-len(lines) // runs)
    parts = tuple(Run(lines=tuple(lines[at : at + size])) for at in range(0, len(lines), size))
    scenario = Scenario(definitions=book or definitions(), runs=parts)
    folder.mkdir(exist_ok=True)
    found = run_in(folder, scenario)
    assert differences(run_oracle(scenario), found) == []
    assert verify_book(folder / "book.duckdb").findings == ()
    return found


def codes(book: LogicalBook) -> list[str]:
    """The outcome codes in log order."""
    return [outcome.code for outcome in book.outcomes]


def test_an_upsert_creates_and_then_changes_only_what_is_given(tmp_path: Path) -> None:
    log = Log()
    first = {"email": "a@example.org", "first_name": "Ana", "attributes": {"lang": "de", "size": "m"}}
    log.operation("upsert_participant", external_id="alice", program_id="loyalty", tags=["VIP", "new"], **first)
    log.operation("upsert_participant", external_id="alice", attributes={"lang": "de"}, tags=["new", "vip"])
    log.operation("upsert_participant", external_id="alice", phone="1", attributes={"size": "l"}, tags=[])
    log.operation("upsert_participant", external_id="bob", id=BOB_ID, status="SUSPENDED")
    log.operation("upsert_participant", external_id="carol", email="nobody")
    book = decide(tmp_path, log.lines)
    assert codes(book) == ["OK", "NO_EFFECT", "OK", "OK", "INVALID_VALUE"]
    assert book.participants["alice"].profile == {"email": "a@example.org", "first_name": "Ana", "phone": "1"}
    assert book.attributes["PARTICIPANT", "alice", "size"] == "l"
    assert book.enrollments == {("alice", "loyalty"): "ACTIVE"}
    assert book.participants["bob"].status == "SUSPENDED"
    assert "carol" not in book.participants


def test_a_given_id_means_the_participant_also_in_later_runs(tmp_path: Path) -> None:
    derived = "5f4d6c80-b779-5174-9e3e-37d6ea331a70"
    log = Log().operation("upsert_participant", external_id="alice", id=BOB_ID)
    log.operation("add_tag", participant_id=BOB_ID, tag="vip")
    log.operation("add_tag", participant_id=derived, tag="new")
    log.operation("upsert_participant", external_id="bob", id=BOB_ID)
    log.operation("upsert_participant", external_id="alice", id=BOB_ID, phone="1")
    log.operation("upsert_participant", external_id="alice", id=derived)
    log.operation("add_tag", participant_id=derived, tag="new").operation("add_tag", participant_id=BOB_ID, tag="x")
    expected = [
        "OK",
        "OK",
        "PARTICIPANT_NOT_FOUND",
        "INVALID_VALUE",
        "OK",
        "INVALID_VALUE",
        "PARTICIPANT_NOT_FOUND",
        "OK",
    ]
    for runs in (1, 4):
        book = decide(tmp_path / str(runs), log.lines, runs=runs)
        assert codes(book) == expected
        assert book.tags == {("PARTICIPANT", "alice", "vip"), ("PARTICIPANT", "alice", "x")}


def test_a_status_blocks_what_needs_an_active_participant(tmp_path: Path) -> None:
    log = Log().operation("upsert_participant", external_id="carol", status="SUSPENDED", tags=["vip"])
    log.event("carol").operation("set_participant_status", external_id="carol", status="ACTIVE")
    log.event("carol").operation("set_participant_status", external_id="carol", status="ACTIVE")
    log.operation("set_participant_status", external_id="nobody", status="CLOSED")
    book = decide(tmp_path, log.lines)
    assert codes(book) == ["OK", "PARTICIPANT_INACTIVE", "OK", "OK", "NO_EFFECT", "PARTICIPANT_NOT_FOUND"]
    assert book.balances["PARTICIPANT", "carol", "PTS", "AVAILABLE"] == 500


def test_a_program_set_by_operation_stays_so_until_the_file_states_something_new(tmp_path: Path) -> None:
    log = Log().operation("set_program_status", program_id="loyalty", status="SUSPENDED").event("alice")
    log.operation("set_program_status", program_id="loyalty", status="SUSPENDED").event("bob")
    log.operation("fund", program_id="loyalty", asset_id="PTS", amount="1")
    book = decide(tmp_path / "runs", log.lines, runs=5)
    assert codes(book) == ["OK", "PROGRAM_SUSPENDED", "NO_EFFECT", "PROGRAM_SUSPENDED", "PROGRAM_SUSPENDED"]
    assert book.participants == {}
    folder = tmp_path / "loads"
    folder.mkdir()
    stated = (None, None, {"loyalty": "ARCHIVED"}, {"loyalty": "ACTIVE"}, {"loyalty": "ACTIVE"})
    seen = []
    for number, statuses in enumerate(stated):
        line = log.lines[0] if number == 0 else Log().event("x", idempotency_key=f"k{number}").lines[0]
        scenario = Scenario(definitions=definitions(statuses=statuses), runs=(Run(lines=(line,)),))
        programs = run_in(folder, scenario).programs
        assert programs is not None
        seen.append(programs["loyalty"])
        assert verify_book(folder / "book.duckdb").findings == ()
    assert seen == ["SUSPENDED", "SUSPENDED", "ARCHIVED", "ACTIVE", "ACTIVE"]


def test_events_activate_an_enrollment_that_was_frozen(tmp_path: Path) -> None:
    log = Log().operation("enroll", program_id="loyalty", external_id="alice").event("alice")
    log.operation("enroll", program_id="loyalty", external_id="alice", status="FROZEN")
    log.operation("enroll", program_id="loyalty", external_id="alice", status="FROZEN").event("alice")
    log.operation("enroll", program_id="partner", external_id="alice", status="LOCKED")
    book = decide(tmp_path, log.lines, runs=3)
    assert codes(book) == ["PARTICIPANT_NOT_FOUND", "OK", "OK", "NO_EFFECT", "OK", "OK"]
    assert book.enrollments == {("alice", "loyalty"): "ACTIVE", ("alice", "partner"): "LOCKED"}


@pytest.mark.parametrize("runs", [1, 3])
def test_an_asset_is_unlinked_while_the_program_has_no_entry_in_it(tmp_path: Path, runs: int) -> None:
    log = Log().operation("link_asset", program_id="loyalty", asset_id="PTS")
    log.operation("link_asset", program_id="partner", asset_id="PTS")
    log.operation("unlink_asset", program_id="partner", asset_id="PTS")
    log.operation("unlink_asset", program_id="partner", asset_id="PTS")
    log.operation("unlink_asset", program_id="partner", asset_id="XXX")
    log.operation("upsert_participant", external_id="alice", tags=["vip"]).event("alice")
    log.operation("unlink_asset", program_id="loyalty", asset_id="PTS")
    log.operation("unlink_asset", program_id="loyalty", asset_id="GEM")
    book = decide(tmp_path, log.lines, runs=runs)
    assert codes(book) == [
        "ALREADY_LINKED", "OK", "OK", "ASSET_NOT_LINKED", "ASSET_NOT_FOUND", "OK", "OK", "ASSET_IN_USE", "OK"
    ]  # fmt: skip
    assert book.asset_links == {("loyalty", "PTS"), ("partner", "GEM")}


@pytest.mark.parametrize("runs", [1, 4])
def test_groups_keep_an_admin_and_archived_ones_their_members(tmp_path: Path, runs: int) -> None:
    log = Log().operation("upsert_participant", external_id="alice").operation("upsert_participant", external_id="bob")
    log.operation("create_group", key="smith", name="Smith", members=[ADMIN, {"external_id": "bob"}])
    log.operation("create_group", key="smith", name="Smith", members=[ADMIN])
    log.operation("create_group", name="Nobody", members=[{"external_id": "nobody", "role": "ADMIN"}])
    log.operation("create_group", name="No admin", members=[{"external_id": "bob"}])
    log.operation("create_group", name="Twice", members=[ADMIN, {"external_id": "alice"}])
    log.operation("remove_member", group_id="smith", external_id="alice")
    log.operation("set_member_role", group_id="smith", external_id="bob", role="ADMIN")
    log.operation("remove_member", group_id="smith", external_id="alice")
    log.operation("set_member_role", group_id="smith", external_id="alice", role="ADMIN")
    log.operation("add_member", group_id="smith", external_id="bob")
    log.operation("add_member", group_id="smith", external_id="alice")
    log.operation("add_member", group_id="jones", external_id="alice")
    log.operation("update_group", group_id="smith", name="Smiths").operation("archive_group", group_id="smith")
    log.operation("archive_group", group_id="smith").operation("update_group", group_id="smith", name="Other")
    log.operation("add_tag", group_id="smith", tag="Family")
    book = decide(tmp_path, log.lines, runs=runs)
    assert codes(book)[2:] == [
        "OK", "GROUP_EXISTS", "PARTICIPANT_NOT_FOUND", "LAST_ADMIN", "ALREADY_MEMBER", "LAST_ADMIN", "OK", "OK",
        "NOT_A_MEMBER", "ALREADY_MEMBER", "OK", "GROUP_NOT_FOUND", "OK", "OK", "NO_EFFECT", "GROUP_ARCHIVED", "OK",
    ]  # fmt: skip
    assert book.groups == {"smith": Group(number=3, name="Smiths", status="ARCHIVED")}
    assert book.members["smith", "alice"] == Member(role="MEMBER", status="ACTIVE")
    assert book.tags == {("GROUP", "smith", "family")}


def test_a_group_without_key_has_that_of_its_operation_even_as_a_uuid(tmp_path: Path) -> None:
    key = "0b0e7d5a-0000-4000-8000-000000000001"
    log = Log().operation("upsert_participant", external_id="alice")
    log.operation("create_group", name="Keyless", members=[ADMIN], idempotency_key=key)
    log.operation("create_group", key=key, name="Keyless", members=[ADMIN])
    book = decide(tmp_path, log.lines, runs=2)
    assert codes(book) == ["OK", "OK", "GROUP_EXISTS"]
    assert book.groups == {key: Group(number=2, name="Keyless", status="ACTIVE")}


@pytest.mark.parametrize("runs", [1, 3])
def test_state_operations_set_what_rules_then_see(tmp_path: Path, runs: int) -> None:
    log = Log().event("alice").operation("add_tag", external_id="alice", tag="VIP")
    log.operation("add_tag", external_id="alice", tag="vip").event("alice")
    log.operation("set_tags", external_id="alice", tags=["new"]).event("alice")
    log.operation("remove_tag", external_id="alice", tag="vip")
    log.operation("set_attribute", target="PROGRAM", program_id="loyalty", key="season", value="")
    log.operation("set_attributes", external_id="alice", attributes={"a": "1", "b": "2"})
    log.operation("remove_attribute", external_id="alice", key="b")
    log.operation("remove_attribute", external_id="alice", key="b")
    log.operation("set_attribute", group_id="smith", key="b", value="1")
    book = decide(tmp_path, log.lines, runs=runs)
    assert codes(book) == [
        "OK", "OK", "NO_EFFECT", "OK", "OK", "OK", "NO_EFFECT", "OK", "OK", "OK", "NO_EFFECT", "GROUP_NOT_FOUND"
    ]  # fmt: skip
    assert book.balances["PARTICIPANT", "alice", "PTS", "AVAILABLE"] == 500
    assert book.attributes == {("PROGRAM", "loyalty", "season"): "", ("PARTICIPANT", "alice", "a"): "1"}


def test_counters_are_set_with_their_windows(tmp_path: Path) -> None:
    """§13.2: an omitted window stays, an empty one goes, and the window restarts at the time of the operation."""
    log = Log().event("alice").operation("set_counter", external_id="alice", key="visits", value="1.50")
    log.operation("set_counter", external_id="alice", key="visits", value=1.5)
    log.operation("set_counter", external_id="alice", key="visits", value=7, reset_after="3h")
    log.operation("set_counter", external_id="alice", key="visits", value=8)
    log.event("alice").event("alice").event("alice")
    log.operation("set_counter", external_id="alice", key="visits", value=1, reset_after="")
    log.operation("set_counter", external_id="alice", key="n", value="1e20")
    log.operation("set_counter", external_id="alice", key="n", value="0.0000000000000000001")
    log.operation("delete_counter", external_id="alice", key="n")
    log.operation("delete_counter", external_id="alice", key="visits")
    book = decide(tmp_path, log.lines, runs=2)
    assert codes(book)[1:5] == ["OK", "NO_EFFECT", "OK", "OK"]
    assert codes(book)[8:] == ["OK", "COUNTER_OUT_OF_RANGE", "COUNTER_OUT_OF_RANGE", "NO_EFFECT", "OK"]
    values = [change.new_value for change in book.changes if change.state_type == "counter"]
    assert values == ["1", "1.5", "7", "8", "9", "10", "0", "1", "1", None]
    assert book.counters == {}


def test_a_budget_is_reset_before_its_time(tmp_path: Path) -> None:
    book = definitions()
    rule = {**RULES[1], "actions": [{"type": "CREDIT", "asset_id": "PTS", "amount": "5"}]}
    rule["budgets"] = [{"asset_id": "PTS", "limit": "8", "schedule_type": "INTERVAL", "interval": "24h"}]
    book["programs"][0]["rules"] = [rule]
    log = Log().event("alice").event("alice")
    for asset, key in (("PTS", "visit"), ("PTS", "visit"), ("XXX", "visit"), ("PTS", "nothing"), ("GEM", "visit")):
        log.operation("reset_budget", program_id="loyalty", rule_id=key, asset_id=asset)
    log.event("alice")
    found = decide(tmp_path, log.lines, book=book)
    assert codes(found)[2:7] == ["OK", "NO_EFFECT", "ASSET_NOT_FOUND", "RULE_NOT_FOUND", "BUDGET_NOT_FOUND"]
    assert found.balances["PARTICIPANT", "alice", "PTS", "AVAILABLE"] == 1000


def test_a_level_is_assigned_until_it_expires_or_is_taken_away(tmp_path: Path) -> None:
    book = definitions()
    levels = [{"key": "silver", "rank": 1}, {"key": "gold", "rank": 2}]
    book["programs"][0]["tiers"] = [{"key": "status", "display_name": "Status", "levels": levels}]
    about = {"program_id": "loyalty", "external_id": "alice", "tier": "status"}
    log = Log().operation("set_tier", level="gold", **about).event("alice")
    log.operation("set_tier", level="gold", **about).operation("set_tier", level="gold", **about)
    log.operation("set_tier", **{**about, "tier": "nothing"}, level="gold").operation("set_tier", level="x", **about)
    log.operation("set_tier", level="silver", expires_at="2h", **about).event("bob").event("bob")
    log.operation("set_tier", level="silver", **about).operation("remove_tier", **about)
    log.operation("remove_tier", **about).operation(
        "enroll", program_id="loyalty", external_id="alice", status="FROZEN"
    )
    log.operation("set_tier", level="gold", **about)
    log.operation("set_program_status", program_id="loyalty", status="SUSPENDED")
    log.operation("set_tier", level="gold", **about)
    found = decide(tmp_path, log.lines, runs=2, book=book)
    assert [code for row, code in zip(found.records, codes(found), strict=True) if row.kind == "OPERATION"] == [
        "PARTICIPANT_NOT_FOUND", "OK", "NO_EFFECT", "TIER_NOT_FOUND", "TIER_LEVEL_NOT_FOUND", "OK", "OK", "OK",
        "NO_EFFECT", "OK", "NOT_ENROLLED", "OK", "PROGRAM_SUSPENDED",
    ]  # fmt: skip


def test_repeats_are_dropped_and_other_payloads_refused(tmp_path: Path) -> None:
    log = Log().operation("upsert_participant", external_id="alice", attributes={"a": "1"})
    log.operation("add_tag", external_id="alice", tag="vip")
    lines = [*log.lines, log.lines[0], log.lines[0].replace('"1"', '"2"')]
    book = decide(tmp_path, lines, runs=2)
    assert codes(book) == ["OK", "OK"]
    assert book.counts is not None
    assert (book.counts.duplicates, book.counts.rejected) == (1, 1)
    assert {reject.reason for reject in book.rejects} == {"IDEMPOTENCY_CONFLICT"}


def test_many_writes_of_one_operation_find_room(tmp_path: Path) -> None:
    """More changes than the tables of a run of one record begin with."""
    attributes = {f"key{number}": "x" for number in range(700)}
    tags = [f"tag{number}" for number in range(300)]
    log = Log().operation("upsert_participant", external_id="alice", attributes=attributes, tags=tags)
    log.operation("set_tags", external_id="alice", tags=[])
    book = decide(tmp_path, log.lines)
    assert codes(book) == ["OK", "OK"]
    assert (len(book.attributes), len(book.tags), len(book.changes)) == (700, 0, 1301)


def test_a_member_row_that_was_changed_by_hand_is_found(tmp_path: Path) -> None:
    log = Log().operation("upsert_participant", external_id="alice", email="a@b")
    log.operation("create_group", key="smith", name="Smith", members=[ADMIN])
    log.operation("set_program_status", program_id="partner", status="SUSPENDED")
    decide(tmp_path, log.lines)
    changes = {
        "refold_members": "UPDATE store.members SET role = 2",
        "refold_profiles": "UPDATE store.profiles SET text = 'x' WHERE field = 1",
        "refold_holder_statuses": "INSERT INTO store.holder_statuses VALUES (1, 3)",
        "refold_program_statuses": "UPDATE store.program_statuses SET status = 1",
        "refold_asset_links": "DELETE FROM store.asset_links WHERE program = 2",
    }
    with duckdb.connect(str(tmp_path / "book.duckdb")) as connection:
        for statement in changes.values():
            connection.execute(statement)
    assert {finding.check for finding in verify_book(tmp_path / "book.duckdb").findings} == set(changes)
