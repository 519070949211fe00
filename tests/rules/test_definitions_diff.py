"""What a load changes in a book: history, archiving by absence, kept orders and links, refusals (§6.3)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from earnbook.rules.canonical import read_json
from earnbook.rules.definitions import Definitions, load_definitions
from earnbook.rules.definitions_diff import LoadPlan, ObjectChange, StoredObject, plan_load
from earnbook.rules.issues import IssueCode, IssueError

ORGANIZATION = "organization: {key: demo}\n"
ASSETS = (
    "assets:\n"
    "  - {symbol: PTS, name: Points, scale: 2, inventory_mode: LOT, issuance_policy: UNLIMITED, programs: [one, two]}\n"
)
PROGRAMS = "programs:\n  - {key: one, name: One}\n  - {key: two, name: Two}\n"
BASE = ORGANIZATION + ASSETS + PROGRAMS


def rule(key: str, fields: str = "") -> str:
    return (
        f"  - {{program: one, key: {key}, name: {key.upper()}, condition: 'true',"
        f" actions: [{{type: CREDIT, asset: PTS, amount: 5}}]{fields}}}\n"
    )


def rules(*keys: str) -> str:
    return "rules:\n" + "".join(rule(key) for key in keys)


class Book:
    """Keeps the newest history row of each object, as a book does."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "definitions.yaml"
        self.stored: list[StoredObject] = []
        self.statuses: dict[str, str] = {}

    def plan(self, text: str) -> LoadPlan:
        self._file.write_text(text)
        return plan_load(self.stored, load_definitions(self._file), program_statuses=self.statuses)

    def load(self, text: str) -> LoadPlan:
        plan = self.plan(text).require()
        for change in plan.changes:
            row = StoredObject(change.kind, change.id, change.key, change.program, change.version, change.snapshot)
            known = [index for index, item in enumerate(self.stored) if item.id == change.id]
            if known:
                self.stored[known[0]] = row
            else:
                self.stored.append(row)
        return plan


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path)


def rows(plan: LoadPlan) -> list[tuple[str, str, str, int]]:
    return [(change.kind, change.key, change.change_type, change.version) for change in plan.changes]


def fields(change: ObjectChange) -> dict[str, Any]:
    return dict(read_json(change.changes))


def order_of(definitions: Definitions, key: str) -> int:
    return next(rule.order for _, rule in definitions.rules() if rule.key == key)


def test_a_first_load_creates_everything_in_file_order(book: Book) -> None:
    plan = book.load(BASE + rules("a"))
    assert rows(plan) == [
        ("organization", "demo", "created", 1),
        ("asset", "PTS", "created", 1),
        ("program", "one", "created", 1),
        ("rule", "a", "created", 1),
        ("program", "two", "created", 1),
    ]
    assert all(fields(change) == {} for change in plan.changes)


def test_the_same_load_again_changes_nothing(book: Book) -> None:
    first = book.load(BASE + rules("a", "b"))
    again = book.load(BASE + rules("a", "b"))
    assert again.changes == ()
    assert again.definitions.hash == first.definitions.hash


def test_an_update_names_old_and_new_values(book: Book) -> None:
    book.load(BASE + rules("a"))
    plan = book.load(BASE + "rules:\n" + rule("a", ", description: more, stop_after_match: true"))
    assert rows(plan) == [("rule", "a", "updated", 2)]
    assert fields(plan.changes[0]) == {
        "description": {"old": None, "new": "more"},
        "stop_after_match": {"old": False, "new": True},
    }
    assert read_json(plan.changes[0].snapshot)["description"] == "more"


@pytest.mark.parametrize("status, change_type", [("SUSPENDED", "suspended"), ("ARCHIVED", "archived")])
def test_a_changed_status_names_the_change(book: Book, status: str, change_type: str) -> None:
    book.load(BASE + rules("a"))
    plan = book.load(BASE + "rules:\n" + rule("a", f", status: {status}"))
    assert rows(plan) == [("rule", "a", change_type, 2)]
    back = book.load(BASE + rules("a"))
    assert rows(back) == [("rule", "a", "activated", 3)]


def test_an_absent_rule_is_archived_with_consent_and_comes_back(book: Book) -> None:
    book.load(BASE + rules("a", "b"))
    gone = book.load(BASE + rules("a"))
    assert rows(gone) == [("rule", "b", "archived", 2)]
    assert gone.archived == gone.changes
    assert fields(gone.changes[0]) == {"status": {"old": "ACTIVE", "new": "ARCHIVED"}}
    assert [rule.key for _, rule in gone.definitions.rules()] == ["a"]
    still = book.load(BASE + rules("a"))
    assert (still.changes, still.archived) == ((), ())
    back = book.load(BASE + "rules:\n" + rule("a") + rule("b", ", description: new"))
    assert rows(back) == [("rule", "b", "activated", 3)]
    assert back.archived == ()
    assert order_of(back.definitions, "b") == 20


def test_rewards_and_automations_are_archived_by_absence_too(book: Book) -> None:
    book.load(
        BASE + "rewards:\n  - {program: one, name: Card, redemption_type: AMOUNT_BASED, asset: PTS, unit_cost: 1,"
        " status: ACTIVE}\n"
        "automations:\n  - {program: one, name: Daily, event_name: e, scope: program,"
        " trigger: {type: cron, cron_expression: 0 0 * * *}}\n"
    )
    plan = book.load(BASE)
    assert rows(plan) == [("reward", "Card", "archived", 2), ("automation", "Daily", "archived", 2)]
    assert read_json(plan.changes[1].snapshot)["status"] == "archived"
    assert len(plan.archived) == 2


def test_absent_assets_programs_and_tiers_stay_in_force(book: Book) -> None:
    tier = "tiers:\n  - {program: two, key: status, display_name: S, levels: [{key: gold, rank: 1}]}\n"
    first = book.load(BASE + tier)
    plan = book.load(ORGANIZATION)
    assert (plan.changes, plan.archived) == ((), ())
    assert [asset.symbol for asset in plan.definitions.assets] == ["PTS"]
    assert [program.key for program in plan.definitions.programs] == ["one", "two"]
    assert [tier.key for tier in plan.definitions.programs[1].tiers] == ["status"]
    assert plan.definitions.hash == first.definitions.hash


def test_an_assigned_order_is_kept(book: Book) -> None:
    first = book.load(BASE + rules("a", "b"))
    assert (order_of(first.definitions, "a"), order_of(first.definitions, "b")) == (10, 20)
    plan = book.load(BASE + rules("c", "b", "a"))
    assert {key: order_of(plan.definitions, key) for key in "abc"} == {"a": 10, "b": 20, "c": 30}
    assert rows(plan) == [("rule", "c", "created", 1)]


def test_a_new_rule_follows_also_what_is_archived(book: Book) -> None:
    book.load(BASE + rules("a", "b"))
    book.load(BASE + rules("a"))
    plan = book.load(BASE + rules("a", "c"))
    assert order_of(plan.definitions, "c") == 30


def test_a_stated_order_may_clash_with_a_kept_one(book: Book) -> None:
    book.load(BASE + rules("a"))
    plan = book.plan(BASE + "rules:\n" + rule("b", ", order: 10") + rule("a"))
    assert [issue.code for issue in plan.issues] == [IssueCode.ORDER_CLASH]
    assert plan.issues[0].message.startswith("order 10 is also the order of rule `b` (")
    assert plan.issues[0].line == 9


def test_links_are_never_removed_by_a_load(book: Book) -> None:
    book.load(BASE)
    plan = book.load(BASE.replace("[one, two]", "[two]"))
    assert plan.definitions.assets[0].programs == ("two", "one")
    book.load(BASE)


@pytest.mark.parametrize(
    "old, new, kind, name",
    [
        ("scale: 2", "scale: 3", "asset", "scale"),
        ("inventory_mode: LOT", "inventory_mode: SIMPLE", "asset", "inventory_mode"),
        ("issuance_policy: UNLIMITED", "issuance_policy: PREFUNDED", "asset", "issuance_policy"),
        ("{key: one,", "{key: one, id: 5f4d6c80-b779-5174-9e3e-37d6ea331a70,", "program", "id"),
    ],
)
def test_a_field_that_cannot_change_is_refused(book: Book, old: str, new: str, kind: str, name: str) -> None:
    book.load(BASE)
    plan = book.plan(BASE.replace(old, new))
    assert [issue.code for issue in plan.issues] == [IssueCode.IMMUTABLE_FIELD]
    issue = plan.issues[0]
    assert issue.message.startswith(f"`{name}` of {kind} `")
    assert issue.remedy.startswith(f"write {name}: ")
    assert issue.line == (3 if kind == "asset" else 5)
    assert issue.path is not None
    assert issue.path.endswith(f".{name}")
    with pytest.raises(IssueError):
        plan.require()


def test_keys_of_known_ids_cannot_change(book: Book) -> None:
    identifier = ", id: 5f4d6c80-b779-5174-9e3e-37d6ea331a70"
    book.load(BASE + "rules:\n" + rule("a", identifier))
    plan = book.plan(BASE + "rules:\n" + rule("b", identifier))
    assert [(issue.code, issue.message) for issue in plan.issues] == [
        (IssueCode.IMMUTABLE_FIELD, "`key` of rule `b` cannot change from a to b")
    ]
    moved = book.plan(BASE + "rules:\n" + rule("a", identifier).replace("program: one", "program: two"))
    assert [issue.message for issue in moved.issues] == ["`program_id` of rule `a` cannot change from one to two"]


def test_a_reward_keeps_type_and_asset(book: Book) -> None:
    reward = (
        "rewards:\n  - {program: one, key: r, name: R, redemption_type: %s, asset: PTS, unit_cost: 1, status: DRAFT}\n"
    )
    book.load(BASE + reward % "UNIT_BASED")
    plan = book.plan(BASE + reward % "AMOUNT_BASED")
    assert [(issue.code, issue.line) for issue in plan.issues] == [(IssueCode.IMMUTABLE_FIELD, 8)]


def test_an_archived_tier_type_stays_archived(book: Book) -> None:
    tier = "tiers:\n  - {program: one, key: t, display_name: T, levels: [{key: gold, rank: 1}]%s}\n"
    book.load(BASE + tier % ", status: ARCHIVED")
    plan = book.plan(BASE + tier % "")
    assert [issue.message for issue in plan.issues] == ["`status` of tier `t` cannot change from ARCHIVED to ACTIVE"]


def test_a_book_keeps_its_organization(book: Book) -> None:
    book.load(BASE)
    plan = book.plan(BASE.replace("key: demo", "key: other"))
    assert [(issue.code, issue.message) for issue in plan.issues] == [
        (IssueCode.IMMUTABLE_FIELD, "the book belongs to organization `demo`, not `other`")
    ]
    assert (plan.issues[0].line, plan.issues[0].path) == (1, "organization.key")


def test_objects_of_an_archived_program_cannot_change(book: Book) -> None:
    archived = BASE.replace("name: One", "name: One, status: ARCHIVED")
    book.load(BASE + rules("a"))
    book.load(archived + rules("a"))
    plan = book.plan(archived + "rules:\n" + rule("a", ", description: x") + rule("b"))
    assert [(issue.code, issue.line) for issue in plan.issues] == [
        (IssueCode.ARCHIVED_PROGRAM, 8),
        (IssueCode.ARCHIVED_PROGRAM, 9),
    ]
    assert plan.issues[0].message == "program `one` is ARCHIVED; its rule `a` cannot change"
    assert plan.issues[0].remedy == "set status: ACTIVE of program one, or undo the change"


def test_absence_changes_nothing_in_an_archived_program(book: Book) -> None:
    archived = BASE.replace("name: One", "name: One, status: ARCHIVED")
    book.load(archived + rules("a"))
    plan = book.load(archived)
    assert (plan.changes, plan.archived) == ((), ())
    assert [rule.key for _, rule in plan.definitions.rules()] == ["a"]


def test_an_archived_program_may_return_with_changes(book: Book) -> None:
    archived = BASE.replace("name: One", "name: One, status: ARCHIVED")
    book.load(archived + rules("a"))
    plan = book.load(BASE + "rules:\n" + rule("a", ", description: x"))
    assert rows(plan) == [("program", "one", "activated", 2), ("rule", "a", "updated", 2)]


def test_a_status_set_by_an_operation_counts_until_the_file_states_another(book: Book) -> None:
    book.load(BASE + rules("a"))
    book.statuses = {"one": "ARCHIVED"}
    plan = book.plan(BASE + "rules:\n" + rule("a", ", description: x"))
    assert [issue.code for issue in plan.issues] == [IssueCode.ARCHIVED_PROGRAM]


def test_a_stored_document_can_be_planned_without_places(book: Book) -> None:
    plan = book.load(BASE + rules("a"))
    pending = Definitions.from_document(plan.definitions.document)
    assert plan_load(book.stored, pending).changes == ()
    changed = Definitions.from_document(plan.definitions.document.replace('"scale":2', '"scale":3'))
    (issue,) = plan_load(book.stored, changed).issues
    assert (issue.code, issue.file, issue.path) == (IssueCode.IMMUTABLE_FIELD, None, "scale")


def test_webhooks_disappear_with_the_file(book: Book) -> None:
    hook = "organization: {key: demo, webhooks: [{url: 'https://example.com/x', enabled_events: ['*']}]}\n"
    book.load(BASE.replace(ORGANIZATION, hook))
    plan = book.load(BASE)
    assert rows(plan) == [("webhook", "https://example.com/x", "archived", 2)]
    assert plan.archived == ()
