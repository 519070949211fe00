"""`event_schema`: what it says about event fields, and which mistakes in expressions and in itself it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from earnbook.rules.issues import Issue, IssueCode, LintCode, Severity, render_issue
from tests.support.definition_files import CREDIT, FIRST, check

SCHEMA = """\
event_schema:
  type: object
  title: Events of the till
  required: [type, amount]
  additionalProperties: false
  properties:
    type: {enum: [purchase, refund]}
    amount: {type: number}
    note: {type: [string, 'null']}
    quantity: {type: integer}
    paid: {type: boolean}
    labels: {type: array, items: {type: string}}
    customer:
      type: object
      properties: {name: {type: string}, vip: {type: boolean}}
    lines:
      type: array
      items: {type: object, properties: {sku: {type: string}, price: {type: number}}, additionalProperties: false}
    prices: {type: object, additionalProperties: {type: number}}
    extra: {type: object}
    anything: {}
"""


def issues_of(tmp_path: Path, condition: str, schema: str = SCHEMA) -> list[Issue]:
    """The issues of a rule with this condition in a program with this schema."""
    quoted = condition.replace("'", "''")
    text = f"rules:\n  - {{key: base, name: Base, condition: '{quoted}', actions: [{CREDIT}]}}\n"
    return check(tmp_path, schema + text)


@pytest.mark.parametrize(
    "condition",
    [
        "event.type == 'purchase' && event.amount * event.quantity > 5 && event.paid",
        "event.note == null || event.note.startsWith('x')",
        "'new' in event.labels && event.labels[0] == 'a'",
        "event.customer.name == 'x' && event.customer.unheard_of == 5",
        "event.lines.exists(l, l.sku == 'a' && l.price > 1)",
        "event.prices.anybody > 5 && event.extra.what.ever == true && event.anything == 5",
        "has(event.note) && get(event, 'amount', 0.0) > 1 && 'note' in event && event['paid']",
        "size(event.lines) > 0 && event.amount == 5 && event.quantity in [1, 2]",
    ],
)
def test_what_the_schema_declares_is_no_mistake(tmp_path: Path, condition: str) -> None:
    assert issues_of(tmp_path, condition) == []


@pytest.mark.parametrize(
    "condition, code, marked, remedy",
    [
        ("event.amout > 5", IssueCode.CEL_UNKNOWN_NAME, "amout", "did you mean `amount`?"),
        ("event['amout'] > 5", IssueCode.CEL_UNKNOWN_NAME, "amout", "did you mean `amount`?"),
        ("has(event.zzz)", IssueCode.CEL_UNKNOWN_NAME, "zzz", "choose one of"),
        ("get(event, 'amout', 0.0) > 5", IssueCode.CEL_UNKNOWN_NAME, "'amout'", "did you mean `amount`?"),
        ("'notes' in event", IssueCode.CEL_UNKNOWN_NAME, "'notes'", "did you mean `note`?"),
        ("event.lines.exists(l, l.skew == 'a')", IssueCode.CEL_UNKNOWN_NAME, "skew", "`sku`"),
        ("event.amount.startsWith('1')", IssueCode.CEL_TYPE, "event.amount.startsWith('1')", "(string)"),
        ("event.amount > '5'", IssueCode.CEL_TYPE, "event.amount > '5'", "double(x)"),
        ("event.note > 5", IssueCode.CEL_TYPE, "event.note > 5", "double(x)"),
        ("event.type == 5", IssueCode.CEL_TYPE, "event.type == 5", "texts in quotes"),
        ("event.amount", IssueCode.CEL_TYPE, "event.amount", "compare it"),
        ("event.amount && event.paid", IssueCode.CEL_TYPE, "event.amount", "compare it"),
        ("event.labels.exists(x, x > 5)", IssueCode.CEL_TYPE, "x > 5", "double(x)"),
        ("event.prices.a == 'x'", IssueCode.CEL_TYPE, "event.prices.a == 'x'", "in quotes"),
        ("event.note.length > 5", IssueCode.CEL_TYPE, "length", "only objects and maps"),
        ("event.customer > 5", IssueCode.CEL_TYPE, "event.customer > 5", "one type"),
    ],
)
def test_what_contradicts_the_schema_is_a_mistake(
    tmp_path: Path, condition: str, code: IssueCode, marked: str, remedy: str
) -> None:
    (issue,) = issues_of(tmp_path, condition)
    assert issue.code is code
    assert issue.is_error
    assert issue.source is not None
    assert issue.span is not None
    assert issue.source[issue.span.start : issue.span.end].strip("'") == marked.strip("'")
    assert remedy in issue.remedy
    assert issue.path == "programs[loyalty].rules[base].condition"


def test_a_misspelt_field_of_an_open_object_is_a_warning(tmp_path: Path) -> None:
    (issue,) = issues_of(tmp_path, "event.customer.nmae == 'x'")
    assert (issue.code, issue.severity) == (LintCode.UNDECLARED_FIELD, Severity.WARNING)
    assert issue.remedy.startswith("did you mean `name`?")


def test_other_fields_are_not_questioned_where_the_schema_says_that_there_are_more(tmp_path: Path) -> None:
    schema = "event_schema: {properties: {amount: {type: number}}, additionalProperties: true}\n"
    assert issues_of(tmp_path, "event.amout > 5", schema) == []


def test_without_a_schema_event_fields_may_be_anything(tmp_path: Path) -> None:
    assert issues_of(tmp_path, "event.amount > 5 && event.amount == 'x'", "") == []


def test_action_expressions_see_the_schema(tmp_path: Path) -> None:
    action = "{type: CREDIT, asset: PTS, amount: event.note}"
    issues = check(tmp_path, f"{SCHEMA}rules:\n  - {{key: b, name: B, condition: 'true', actions: [{action}]}}\n")
    assert [(issue.code, issue.path) for issue in issues] == [
        (IssueCode.CEL_TYPE, "programs[loyalty].rules[b].actions[0].amount")
    ]


@pytest.mark.parametrize(
    "schema, code, path, message, remedy",
    [
        ("{type: array}", IssueCode.INVALID_VALUE, "event_schema.type", "event_data is an object", "type: object"),
        ("{typ: object}", IssueCode.UNKNOWN_FIELD, "event_schema.typ", "does not know `typ`", "`type`"),
        ("{properties: {a: {type: text}}}", IssueCode.INVALID_VALUE, "properties.a.type", "`text`", "choose one of"),
        ("{properties: {a: {type: nmber}}}", IssueCode.INVALID_VALUE, "properties.a.type", "`nmber`", "`number`"),
        (
            "{properties: {a: string}}",
            IssueCode.INVALID_VALUE,
            "properties.a",
            "a schema is an object",
            "{type: string",
        ),
        ("{properties: [a]}", IssueCode.INVALID_VALUE, "event_schema.properties", "named schemas", "name: {"),
        ("{properties: {a: {enum: []}}}", IssueCode.INVALID_VALUE, "a.enum", "a list of values", "[one, other]"),
        ("{properties: {a: {enum: [[1]]}}}", IssueCode.INVALID_VALUE, "a.enum[0]", "texts, numbers", "remove it"),
        (
            "{properties: {a: {type: string, enum: [x, 5]}}}",
            IssueCode.INVALID_VALUE,
            "a.enum[1]",
            "5 is not of type string",
            "agree",
        ),
        (
            "{properties: {a: {type: integer, enum: [1, 1.5]}}}",
            IssueCode.INVALID_VALUE,
            "a.enum[1]",
            "1.5 is not of type integer",
            "agree",
        ),
        (
            "{properties: {a: {type: string, items: {}}}}",
            IssueCode.INVALID_COMBINATION,
            "a.items",
            "`items` belongs to type array",
            "type: array",
        ),
        (
            "{properties: {a: {}}, required: [b], additionalProperties: false}",
            IssueCode.UNKNOWN_REFERENCE,
            "event_schema.required[0]",
            "`b` is required",
            "`a`",
        ),
        ("{required: a}", IssueCode.INVALID_VALUE, "event_schema.required", "list of field names", "[type, amount]"),
        ("[]", IssueCode.INVALID_VALUE, "event_schema", "", ""),
    ],
)
def test_mistakes_in_a_schema_have_a_place_and_a_remedy(
    tmp_path: Path, schema: str, code: IssueCode, path: str, message: str, remedy: str
) -> None:
    (issue,) = check(tmp_path, f"event_schema: {schema}\n")
    assert issue.code is code, render_issue(issue)
    assert issue.path is not None
    assert issue.path.startswith("programs[loyalty].event_schema")
    assert issue.path.endswith(path)
    assert message in issue.message
    assert remedy in issue.remedy
    assert (issue.line, issue.is_error) == (FIRST, True)


def test_all_mistakes_of_a_schema_are_reported_at_once(tmp_path: Path) -> None:
    schema = "event_schema: {properties: {a: {type: text}, b: {minimum: 3}}}\n"
    assert [issue.code for issue in check(tmp_path, schema)] == [IssueCode.INVALID_VALUE, IssueCode.UNKNOWN_FIELD]
