"""Mistakes that show only across objects or files (A.5)."""

from __future__ import annotations

from pathlib import Path

import pytest

from earnbook.rules.definitions import check_definitions, load_definitions
from earnbook.rules.issues import IssueCode, IssueError
from tests.support.definition_files import CREDIT, FIRST, HEAD, check


def test_all_mistakes_of_all_files_are_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(HEAD)
    (tmp_path / "b.yaml").write_text("rules:\n  - {program: loyalty, name: x, condition: 'a =', actions: []}\n")
    (tmp_path / "c.json").write_text('{"rewards": [{"program": "nowhere", "name": "y"}], "rulez": []}')
    (tmp_path / "d.yaml").write_text("a: [\n")
    with pytest.raises(IssueError) as error:
        load_definitions(tmp_path)
    found = {(Path(issue.file or "").name, issue.code.value) for issue in error.value.issues}
    assert found == {
        ("b.yaml", "CEL_SYNTAX"),
        ("b.yaml", "INVALID_VALUE"),
        ("c.json", "UNKNOWN_REFERENCE"),
        ("c.json", "MISSING_FIELD"),
        ("c.json", "UNKNOWN_FIELD"),
        ("d.yaml", "SYNTAX"),
    }


def test_two_active_rules_of_one_order_clash(tmp_path: Path) -> None:
    issues = check(
        tmp_path,
        f"""\
        rules:
          - {{key: a, name: A, order: 10, condition: "true", actions: [{CREDIT}]}}
          - {{key: b, name: B, order: 10, condition: "true", actions: [{CREDIT}]}}
          - {{key: c, name: C, order: 10, status: SUSPENDED, condition: "true", actions: [{CREDIT}]}}
        """,
    )
    assert [issue.code for issue in issues] == [IssueCode.ORDER_CLASH]
    assert issues[0].message == f"order 10 is also the order of rule `a` ({tmp_path}/rules.yaml:{FIRST + 1})"
    assert (issues[0].line, issues[0].path) == (FIRST + 2, "programs[loyalty].rules[b].order")
    assert issues[0].remedy == "give each ACTIVE rule of the program its own order, or leave order out"


@pytest.mark.parametrize(
    "inside, message",
    [
        (
            f"rules:\n  - {{key: a, name: A, condition: 'true', actions: [{CREDIT}]}}\n"
            f"  - {{key: a, name: B, condition: 'true', actions: [{CREDIT}]}}\n",
            "two objects have the key `a`",
        ),
        (
            "rules:\n"
            f"  - {{id: 5f4d6c80-b779-5174-9e3e-37d6ea331a70, name: A, condition: 'true', actions: [{CREDIT}]}}\n"
            "  - {id: 5F4D6C80-B779-5174-9E3E-37D6EA331A70, key: b, name: B, condition: 'true',"
            f" actions: [{CREDIT}]}}\n",
            "two objects have the id `5f4d6c80-b779-5174-9e3e-37d6ea331a70`",
        ),
        (
            "automations:\n"
            "  - {key: a, name: A, event_name: e, scope: participants, trigger: {type: immediate}}\n"
            "  - {key: b, name: A, event_name: e, scope: participants, trigger: {type: immediate}}\n",
            "two objects have the name `A`",
        ),
    ],
)
def test_names_are_unique(tmp_path: Path, inside: str, message: str) -> None:
    issues = check(tmp_path, inside)
    assert [issue.code for issue in issues] == [IssueCode.DUPLICATE_KEY]
    assert issues[0].message.startswith(message)
    assert f"rules.yaml:{FIRST + 1}" in issues[0].message
    assert issues[0].line == FIRST + 2


def test_two_organizations_are_one_too_many(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(HEAD)
    (tmp_path / "b.yaml").write_text("organization: {key: second}\n")
    _, issues = check_definitions(tmp_path)
    assert [(issue.code, issue.line) for issue in issues] == [(IssueCode.DUPLICATE_KEY, 1)]
    assert issues[0].message == f"the organization is stated already in {tmp_path}/a.yaml:1"


def test_no_organization_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("programs: [{name: x}]\n")
    _, issues = check_definitions(tmp_path)
    assert [(issue.code, issue.message) for issue in issues] == [
        (IssueCode.MISSING_FIELD, "no file names the organization")
    ]


def test_an_object_outside_programs_names_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(HEAD)
    (tmp_path / "b.yaml").write_text(f"rules:\n  - {{name: x, condition: 'true', actions: [{CREDIT}]}}\n")
    _, issues = check_definitions(tmp_path)
    assert [(issue.code, issue.path, issue.remedy) for issue in issues] == [
        (IssueCode.MISSING_FIELD, "rules[x].program", "add program: key")
    ]


def test_shared_counters_roll_together(tmp_path: Path) -> None:
    issues = check(
        tmp_path,
        """\
        tiers:
          - key: one
            display_name: One
            levels: [{key: gold, rank: 1}]
            lifecycle: {qualification_period: {type: CALENDAR_YEAR}, counters: {qualifying: [spend]}}
          - key: two
            display_name: Two
            levels: [{key: gold, rank: 1}]
            lifecycle:
              qualification_period: {type: CALENDAR_YEAR}
              counters: {qualifying: [nights, spend], rollover: EXCESS}
        """,
    )
    assert [(issue.code, issue.line, issue.message) for issue in issues] == [
        (
            IssueCode.TIER_LIFECYCLE,
            FIRST + 10,
            "tier type `one` rolls counter `spend` at another time or in another way",
        )
    ]


@pytest.mark.parametrize(
    "url",
    ["http://example.com/x", "https://localhost/x", "https://10.0.0.1/x", "https://[::1]/", "https://a.local/", "x"],
)
def test_a_webhook_is_a_public_https_url(tmp_path: Path, url: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"organization: {{key: demo, webhooks: [{{url: '{url}', enabled_events: ['*']}}]}}\n")
    _, issues = check_definitions(file)
    assert [(issue.code, issue.remedy) for issue in issues] == [
        (IssueCode.INVALID_VALUE, "write an https URL of a public host")
    ]
    assert issues[0].path == "organization.webhooks[0].url"


def test_a_secret_never_stands_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("organization: {key: d, webhooks: [{url: 'https://e.com/', enabled_events: ['*'], secret: s}]}\n")
    _, issues = check_definitions(file)
    assert [(issue.code, issue.remedy) for issue in issues] == [(IssueCode.UNKNOWN_FIELD, "did you mean `secret_env`?")]
