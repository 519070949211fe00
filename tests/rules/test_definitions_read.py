"""Reading YAML and JSON with the JSON value set and the place of every value (§6.1)."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earnbook.rules.definitions_nodes import Mapping, Position, Scalar, Sequence, plain
from earnbook.rules.definitions_read import read_documents, read_text
from earnbook.rules.issues import Issue, IssueCode


def read(text: str, file: str = "x.yaml") -> tuple[Any, list[Issue]]:
    issues: list[Issue] = []
    document = read_text(text, file=file, issues=issues)
    return (plain(document.root) if document else None), issues


def value_of(text: str) -> Any:
    found, issues = read(f"a: {text}\n")
    assert issues == []
    return found["a"]


@pytest.mark.parametrize("text", ["yes", "No", "on", "True", "NULL", "2026-01-01", "0x10", "0o7", "007", "1_000"])
def test_what_other_yaml_readers_bend_is_text(text: str) -> None:
    assert value_of(text) == text


@pytest.mark.parametrize("text", [".5", "+5", "1.", ".inf", ".nan", "12:30:00", "1e", "=", "<<x"])
def test_what_is_no_json_number_is_text(text: str) -> None:
    assert value_of(text) == text


@pytest.mark.parametrize(
    "text, value",
    [
        ("5", 5),
        ("-5", -5),
        ("0.10", Decimal("0.10")),
        ("1e3", Decimal("1E+3")),
        ("12345678901234567890.123456789", Decimal("12345678901234567890.123456789")),
        ("null", None),
        ("~", None),
        ("", None),
        ("true", True),
        ("false", False),
        ("'5'", "5"),
        ('"true"', "true"),
        ("''", ""),
    ],
)
def test_plain_scalars_are_json_values(text: str, value: object) -> None:
    found = value_of(text)
    assert found == value
    assert type(found) is type(value)


def test_a_number_keeps_its_digits() -> None:
    assert str(value_of("0.10")) == "0.10"


@pytest.mark.parametrize(
    "text, code, line, message",
    [
        ("a: 1\na: 2\n", IssueCode.DUPLICATE_KEY, 2, "`a` is given twice; it stands already in line 1"),
        ("a: &x 1\n", IssueCode.SYNTAX, 1, "anchor &x: anchors are not read"),
        ("a: !!str 1\n", IssueCode.SYNTAX, 1, "tag tag:yaml.org,2002:str: tags are not read"),
        ("a: !python/object:os.system {}\n", IssueCode.SYNTAX, 1, "tag !python/object:os.system: tags are not read"),
        ("a: 1\n---\nb: 2\n", IssueCode.SYNTAX, 2, "a second document starts here"),
        ("a: 1\n? [b]\n: 2\n", IssueCode.SYNTAX, 2, "a name must be text"),
        ("- a\n", IssueCode.SYNTAX, 1, "a definition file is a mapping of names to values"),
        ("a: b: c\n", IssueCode.SYNTAX, 1, "mapping values are not allowed in this context"),
        ("a:\n\t- b\n", IssueCode.SYNTAX, 2, "found character that cannot start any token"),
        ("a: 12345678901234567890123456789012345\n", IssueCode.INVALID_VALUE, 1, "the number has more than 34 digits"),
        ("a: 1e401\n", IssueCode.INVALID_VALUE, 1, "the number has more than 34 digits or an exponent beyond 400"),
        ("a: " + "[" * 70 + "]" * 70, IssueCode.SYNTAX, 1, "more than 64 levels deep"),
    ],
)
def test_yaml_mistakes_name_place_and_remedy(text: str, code: IssueCode, line: int, message: str) -> None:
    _, issues = read(text)
    assert [(issue.code, issue.file, issue.line) for issue in issues] == [(code, "x.yaml", line)]
    assert message in issues[0].message
    assert issues[0].remedy


def test_an_alias_is_refused_beside_its_anchor() -> None:
    _, issues = read("a: &x 1\nb: *x\n")
    assert [issue.message for issue in issues] == ["anchor &x: anchors are not read", "alias *x: aliases are not read"]


def test_reading_goes_on_after_a_strange_name() -> None:
    found, issues = read("? {a: [1, {b: 2}]}\n: [3]\nc: 4\n")
    assert found == {"c": 4}
    assert len(issues) == 1


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null\n", "\ufeff"])
def test_an_empty_file_defines_nothing(text: str) -> None:
    assert read(text) == ({}, [])


@pytest.mark.parametrize(
    "text, line, message",
    [
        ('{"a": 1, "a": 2}', 1, "`a` is given twice"),
        ('{"a": 1\n "b": 2}', 2, "`,` is expected"),
        ('{"a": 1}\n{}', 2, "something stands after the end of the document"),
        ('{"a": nul}', 1, "a value is expected"),
        ('{"a": 01}', 1, "`,` is expected"),
        ('{"a": NaN}', 1, "a value is expected"),
        ('{"a": "x\ny"}', 1, "invalid control character"),
        ('{"a": "\\ud800"}', 1, "half a surrogate pair"),
        ("{'a': 1}", 1, "a name in double quotes is expected"),
        ('{"a": [1,]}', 1, "a value is expected"),
        ('{"a": ', 1, "the document ends too early"),
        ('{"a": ' + "[" * 70, 1, "more than 64 levels deep"),
    ],
)
def test_json_mistakes_name_their_place(text: str, line: int, message: str) -> None:
    _, issues = read(text, "x.json")
    assert len(issues) == 1
    assert message in issues[0].message
    assert (issues[0].line, issues[0].file) == (line, "x.json")
    assert issues[0].remedy


def test_places_count_from_one_in_both_formats() -> None:
    for file, text in (("x.yaml", 'a:\n  - b: "c"\n'), ("x.json", '{"a":\n   [{"b": "c"}]}')):
        document = read_text(text, file=file, issues=[])
        assert document is not None
        items = document.root.members["a"]
        assert isinstance(items, Sequence)
        item = items.items[0]
        assert isinstance(item, Mapping)
        scalar = item.members["b"]
        assert item.keys["b"] == Position(file, 2, 5 if file == "x.yaml" else 6)
        assert isinstance(scalar, Scalar)
        assert scalar.locate(0) == Position(file, 2, scalar.at.column + 1)


def test_a_character_of_a_block_text_has_its_own_line() -> None:
    document = read_text("a: |\n    x == 1\n    && y\n", file="x.yaml", issues=[])
    assert document is not None
    scalar = document.root.members["a"]
    assert isinstance(scalar, Scalar)
    assert scalar.locate(7) == Position("x.yaml", 3, 5)


def test_a_text_with_escapes_is_only_placed_as_a_whole() -> None:
    document = read_text("a: 'it''s x'\n", file="x.yaml", issues=[])
    assert document is not None
    scalar = document.root.members["a"]
    assert isinstance(scalar, Scalar)
    assert scalar.locate(5) == scalar.at == Position("x.yaml", 1, 4)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(JSON_VALUES, st.booleans())
def test_json_reads_as_the_standard_library_does(value: object, ascii_only: bool) -> None:
    found, issues = read(json.dumps({"a": value}, ensure_ascii=ascii_only, indent=1), "x.json")
    assert issues == []
    assert found == {"a": value}


def test_files_are_read_in_path_order_and_hidden_ones_are_not(tmp_path: Path) -> None:
    for name in ("b.yaml", "a/z.yml", "a.json", ".hidden.yaml", ".git/x.yaml", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    documents, issues = read_documents([tmp_path])
    assert issues == []
    assert [Path(document.file).relative_to(tmp_path).as_posix() for document in documents] == [
        "a.json",
        "a/z.yml",
        "b.yaml",
    ]


def test_unreadable_paths_are_mistakes(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: caf\xe9\n")
    (tmp_path / "empty").mkdir()
    _, issues = read_documents([tmp_path / "latin.yaml", tmp_path / "empty", tmp_path / "gone.yaml"])
    found = {Path(issue.file or "").name: (issue.message, issue.line) for issue in issues}
    assert found == {
        "latin.yaml": ("the file is not UTF-8 text", 2),
        "empty": ("the directory has no definition files", None),
        "gone.yaml": ("there is no such file or directory", None),
    }
