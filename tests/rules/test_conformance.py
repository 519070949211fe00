"""The runner of the public conformance cases: what passes, what fails, what is a deviation."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from earnbook.rules.conformance import DEVIATIONS, main, report, run_cases


def case(name: str, expression: str, expect: dict[str, object], **more: object) -> str:
    """One line of a case file."""
    fields = {"id": name, "file": name.partition("/")[0], "expr": expression, "expect": expect}
    return json.dumps(fields | more)


def value(kind: str, plain: object) -> dict[str, object]:
    """An expected value."""
    return {"kind": "value", "value": {"t": kind, "v": plain}}


BYTES = {"t": "bytes", "v": "eA=="}
LIST = {"t": "list", "v": [{"t": "int", "v": 1}, {"t": "int", "v": 2}]}
UNBOUND: dict[str, object] = {"kind": "error", "messages": ["unbound function"]}
ERROR: dict[str, object] = {"kind": "error", "messages": ["any"]}


@pytest.mark.parametrize(
    "line",
    [
        case("a/b/c", "1 + 1", value("int", 2)),
        case("a/b/c", "x + 1u", value("uint", 3), bindings={"x": {"t": "uint", "v": 2}}),
        case("a/b/c", "0.0 / 0", value("double", "NaN")),
        case("a/b/c", "{'a': [b'x']}", value("map", [[{"t": "string", "v": "a"}, {"t": "list", "v": [BYTES]}]])),
        case("a/b/c", "duration('1s')", value("duration", {"seconds": 1, "nanos": 0})),
        case("a/b/c", "1 / 0", ERROR),
        case("a/b/c", "'a' + 1", ERROR),
        case("a/b/c", "[1, 2]", {"kind": "typed", "value": None, "type": "list(int)"}),
        case("a/b/c", "[1, 2]", {"kind": "typed", "value": LIST, "type": "list(int)"}),
        case("a/b/c", "int", {"kind": "typed", "value": None, "type": "type(int)"}),
        case("a/b/c", "int", {"kind": "typed", "value": {"t": "type", "v": "int"}, "type": "type"}),
        case("a/b/c", "timestamp(0)", {"kind": "typed", "value": None, "type": "google.protobuf.Timestamp"}),
        case("a/b/c", "math.greatest(1, 2)", {"kind": "typed", "value": None, "type": "int"}),
        case("a/b/c", "[[1], ['a']]", {"kind": "typed", "value": None, "type": "list(dyn)"}),
        case("a/b/c", "has(x.y)", UNBOUND, disable_macros=True, bindings={"x": {"t": "int", "v": 1}}),
        case("a/b/c", "nothing(1)", UNBOUND, disable_check=True),
        case("a/b/c", "nothing(1) || true", value("bool", True), disable_check=True),
    ],
)
def test_cases_that_pass(line: str) -> None:
    (result,) = run_cases([line])
    assert result.problem == ""
    assert result.is_expected


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (case("a/b/c", "1 + 1", value("int", 3)), "expected 3, got 2"),
        (case("a/b/c", "1 + 1", value("double", 2.0)), "got 2"),
        (case("a/b/c", "true", value("int", 1)), "got True"),
        (case("a/b/c", "1 / 0", value("int", 1)), "got an error"),
        (case("a/b/c", "1", ERROR), "expected an error"),
        (case("a/b/c", "nothing(1)", ERROR), "expected an error"),
        (case("a/b/c", "nothing(1)", ERROR, disable_check=True), "no function `nothing`"),
        (case("a/b/c", "(1).nothing()", ERROR, disable_check=True), "no method `nothing`"),
        (case("a/b/c", "1", {"kind": "typed", "value": None, "type": "uint"}), "expected type uint, got int"),
        (case("a/b/c", "[1, 2]", {"kind": "typed", "value": LIST, "type": "list(dyn)"}), "expected type list(dyn)"),
        (case("a/b/c", "[1]", {"kind": "typed", "value": LIST, "type": "list(int)"}), "expected [1, 2]"),
    ],
)
def test_cases_that_fail(line: str, problem: str) -> None:
    (result,) = run_cases([line])
    assert problem in result.problem
    assert not result.is_expected


def test_a_listed_case_must_fail() -> None:
    listed = next(iter(DEVIATIONS))
    (result,) = run_cases([case(listed, "1", value("int", 1))])
    assert not result.is_expected
    assert any("no deviation" in line for line in report([result]))
    (result,) = run_cases([case(listed, "1", value("int", 2))])
    assert result.is_expected


def test_the_command_says_what_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cases.jsonl"
    file.write_text("\n".join([case("a/b/good", "1", value("int", 1)), case("a/b/bad", "1", value("int", 2))]))
    assert main([str(file)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["all", "1", "passed", "1", "failed"]
    assert lines[2].startswith("FAILED a/b/bad")
    assert main([]) == 2


def test_the_public_suite_passes_but_for_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    data = os.environ.get("EARNBOOK_TEST_DATA")
    if not data:
        pytest.skip("EARNBOOK_TEST_DATA does not name the shared test data")
    code = main([str(Path(data).parent / "conformance" / "cel_cases.jsonl")])
    assert code == 0, capsys.readouterr().out
    assert len(DEVIATIONS) < 0.02 * 1011
