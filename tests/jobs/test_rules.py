"""`rules` at the command line: check for people and for CI, explain, simulate."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import run_command

SAMPLE = Path(__file__).parents[2] / "sample_data" / "coffee_shop"
PURCHASE = '{"type": "purchase", "amount": 12.5, "category": "coffee"}'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The sample's definitions, free to change."""
    return Path(shutil.copytree(SAMPLE / "config", tmp_path / "config"))


def change_rule(config: Path, old: str, new: str) -> None:
    path = config / "loyalty.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def check_as_json(config: Path, status: int) -> Any:
    result = run_command("rules", "check", "--config", config, "--format", "json")
    assert result.exit_code == status, result.stderr
    return json.loads(result.stdout)


# --- check ----------------------------------------------------------------------------------------------------------


def test_check_lists_the_rules_in_order_with_what_is_not_accelerated(config: Path) -> None:
    document = check_as_json(config, 0)
    assert document["issues"] == []
    assert [rule["order"] for rule in document["rules"]] == [10, 20, 30, 40, 50, 100, 200, 300, 400]
    assert all(rule["accelerated"] and rule["reasons"] == [] for rule in document["rules"])
    assert "participant's BEANS" in document["rules"][0]["writes"]


def test_check_says_why_a_rule_is_not_accelerated(config: Path) -> None:
    change_rule(config, 'condition: event.type == "refund"', "condition: event.list.exists(x, x in participant.tags)")
    (rule,) = [rule for rule in check_as_json(config, 0)["rules"] if rule["rule"] == "refund"]
    assert rule["accelerated"] is False
    (reason,) = rule["reasons"]
    assert "exists" in reason["part"]
    assert reason["instead"]
    assert reason["why"]


def test_check_for_people_shows_rules_and_why_events_stay_in_order(config: Path) -> None:
    result = run_command("rules", "check", "--config", config)
    assert result.exit_code == 0
    assert "tenth-coffee" in result.stdout
    assert "one ordered pass" in result.stderr


def test_warnings_are_listed_with_their_place_and_do_not_fail_the_check(config: Path) -> None:
    change_rule(config, "'member' in", "'Member' in")
    (issue,) = check_as_json(config, 0)["issues"]
    assert issue["severity"] == "warning"
    assert issue["code"] == "UPPER_CASE_TAG"
    assert issue["remedy"] == "write 'member'"
    assert issue["file"].endswith("loyalty.yaml")
    assert issue["path"] == "programs[loyalty].rules[welcome].condition"
    line = (config / "loyalty.yaml").read_text().splitlines()[issue["line"] - 1]
    assert line[issue["column"] - 1 :].startswith("'Member'")
    begin, end = issue["span"]
    assert issue["source"][begin:end] == "'Member'"


def test_mistakes_are_a_document_too_and_exit_with_2(config: Path) -> None:
    change_rule(config, "floor(event.amount * 20)", "floor(event.amount * )")
    change_rule(config, "'member' in", "'Member' in")
    document = check_as_json(config, 2)
    assert [issue["code"] for issue in document["issues"]] == ["UPPER_CASE_TAG", "CEL_SYNTAX"]
    assert document["rules"] == []


def test_ndjson_is_a_line_for_each_issue_and_rule(config: Path) -> None:
    change_rule(config, "'member' in", "'Member' in")
    result = run_command("rules", "check", "--config", config, "--format", "ndjson")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["kind"] for line in lines] == ["issue"] + ["rule"] * 9


def test_mistakes_for_people_have_a_caret(config: Path) -> None:
    change_rule(config, "floor(event.amount * 20)", "floor(event.amout * )")
    result = run_command("rules", "check", "--config", config)
    assert result.exit_code == 2
    assert "CEL_SYNTAX" in result.stderr
    assert "^" in result.stderr


def test_a_run_repeats_warnings_in_its_summary(config: Path, tmp_path: Path) -> None:
    change_rule(config, "'member' in", "'Member' in")
    book = tmp_path / "coffee.duckdb"
    result = run_command("run", "--config", config, "--book", book, "--clock", "event", SAMPLE / "operations.ndjson")
    assert result.exit_code == 0
    assert "tags are in lower case" in result.stderr


# --- explain --------------------------------------------------------------------------------------------------------


def test_explain_shows_reads_writes_and_source(config: Path) -> None:
    result = run_command("rules", "explain", "tenth-coffee", "--config", config)
    assert result.exit_code == 0, result.stderr
    for part in ("event.category", "coffees", "BEANS", "def "):
        assert part in result.stdout


def test_explain_of_an_unknown_rule_names_the_known_ones(config: Path) -> None:
    result = run_command("rules", "explain", "eleventh-coffee", "--config", config)
    assert result.exit_code == 2
    assert "tenth-coffee" in result.stderr


# --- simulate -------------------------------------------------------------------------------------------------------


def test_simulate_needs_no_book(config: Path) -> None:
    state = '{"counters": {"coffees": 9}}'
    result = run_command(
        "rules",
        "simulate",
        "tenth-coffee",
        "--config",
        config,
        "--event",
        PURCHASE,
        "--state",
        state,
        "--format",
        "json",
    )
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["rule"]["name"] == "Every tenth coffee"
    assert (document["matched"], document["status"]) == (True, "evaluated")
    assert (document["actions"][0]["amount"], document["actions"][0]["asset_symbol"]) == ("50", "BEANS")


def test_simulate_reads_files_and_writes_a_line(config: Path, tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text(PURCHASE)
    (tmp_path / "state.json").write_text('{"counters": {"coffees": 8}}')
    event, state = f"@{tmp_path / 'event.json'}", f"@{tmp_path / 'state.json'}"
    options = ("--event", event, "--state", state, "--format", "ndjson", "--program", "loyalty")
    result = run_command("rules", "simulate", "tenth-coffee", "--config", config, *options)
    (line,) = result.stdout.splitlines()
    assert json.loads(line)["matched"] is False


def test_simulate_for_people_shows_the_values(config: Path) -> None:
    options = ("--event", PURCHASE, "--now", "2026-01-31T18:00:00Z")
    result = run_command("rules", "simulate", "Welcome beans", "--config", config, *options)
    assert "matched    yes" in result.stdout
    assert "projected_value 2026-01-31T18:00:00Z" in result.stdout
    assert "would_add yes" in result.stdout


def test_simulate_shows_an_error_of_the_condition(config: Path) -> None:
    result = run_command("rules", "simulate", "halloween", "--config", config, "--event", '{"type": "purchase"}')
    assert result.exit_code == 0
    assert "there is no field 'product' in `event.product`" in result.stdout
    assert "counts as false" in result.stdout


@pytest.mark.parametrize(
    "options, message",
    [
        (("base", "--event", "{"), "--event"),
        (("base", "--event", "[1]"), "not a JSON object"),
        (("base", "--event", '{"a": 1, "a": 2}'), "occurs twice"),
        (("base", "--event", '{"a": 1e999}'), "a: the exponent of a number"),
        (("base", "--event", "@nowhere.json"), "nowhere.json: No such file"),
        (("base", "--event", "{}", "--state", '{"tag": []}'), "did you mean `tags`?"),
        (("basis", "--event", "{}"), "There is no rule 'basis'. Rules: welcome"),
        (("base", "--event", "{}", "--format", "csv"), "use table, json or ndjson"),
    ],
)
def test_simulate_refuses_what_it_cannot_read(config: Path, options: tuple[str, ...], message: str) -> None:
    result = run_command("rules", "simulate", "--config", config, *options)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
