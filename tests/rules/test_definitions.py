"""Loading definitions: references, ids, keys, orders, and the canonical document with its hash (§2.2, §2.3, §6)."""

from __future__ import annotations

import json
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

import pytest

from earnbook.rules.canonical import canonical_json, read_json
from earnbook.rules.definitions import Definitions, check_definitions, load_definitions, restore
from earnbook.rules.definitions_cel import attribute_expression
from earnbook.rules.definitions_ids import ROOT, object_id
from earnbook.rules.definitions_schema import definitions_schema
from earnbook.rules.issues import IssueError
from earnbook.rules.models import ACTION_MODELS, CreditAction, Rule
from earnbook.rules.times import LotDate

DEMO = """\
organization: {key: demo, name: Demo}
assets:
  - {symbol: PTS, name: Points, scale: 2, inventory_mode: LOT, issuance_policy: UNLIMITED, programs: [loyalty]}
programs:
  - key: loyalty
    name: Customer Loyalty
    rules:
      - {key: base, name: Base 1%, order: 1000, condition: "event.type == 'purchase' && event.amount > 0",
         actions: [{type: CREDIT, asset_id: PTS, amount: "round(event.amount * 0.01, 2)", expires_at: 8760h}]}
"""
"""The example of §6.1."""

SAME_IN_OTHER_WORDS = """\
# The same definitions: other order of fields, other quotes, comments, short names.
programs:
- name: "Customer Loyalty"
  key: 'loyalty'
  rules: []

assets:
- programs:
    - 3a37bb6a-dfc8-50ba-8532-fadfaf037bdb   # the program's id
  issuance_policy: UNLIMITED
  inventory_mode: LOT
  scale: 2
  name: Points
  symbol: PTS
  created_at: 2026-01-01T00:00:00Z
  max_transaction_amount:

organization: {name: Demo, key: demo}
"""

SAME_RULES = """\
rules:
  - program: Customer Loyalty
    actions:
      - expires_at: 525600m
        amount: round(event.amount * 0.01, 2)
        asset: 59BB73FC-F091-5918-A0DC-16C06074DD9C
        type: CREDIT
        target: null
    condition: event.type == 'purchase' && event.amount > 0
    order: 1000
    name: Base 1%
    key: base
    stop_after_match: false
    version: 7
"""

CREDIT = "{type: CREDIT, asset: PTS, amount: 5}"


def load(tmp_path: Path, **files: str) -> Definitions:
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return load_definitions(tmp_path)


def orders(tmp_path: Path, *rules: str) -> list[int]:
    """The orders of rules with these fields, in file order."""
    items = "".join(
        f"  - {{program: loyalty, key: r{n}, name: R{n}, condition: 'true', actions: [{CREDIT}]{fields}}}\n"
        for n, fields in enumerate(rules)
    )
    head = DEMO[: DEMO.index("    rules:")]
    return [rule.order for rule in load(tmp_path, a=head, b="rules:\n" + items).programs[0].rules]


def test_the_golden_ids(tmp_path: Path) -> None:
    definitions = load(tmp_path, demo=DEMO)
    program = definitions.programs[0]
    assert str(ROOT) == "c3d2818c-a39f-5863-ae82-45ab493d25fb"
    assert definitions.organization.id == "247de422-21bc-551b-951a-d6e6f805e3c1"
    assert program.id == "3a37bb6a-dfc8-50ba-8532-fadfaf037bdb"
    assert definitions.assets[0].id == "59bb73fc-f091-5918-a0dc-16c06074dd9c"
    assert program.rules[0].id == "69f0f32e-262e-58b7-a77a-dca8f2f701b5"
    assert object_id(definitions.organization.id, "participant", "alice") == "5f4d6c80-b779-5174-9e3e-37d6ea331a70"


def test_values_are_exact_and_typed(tmp_path: Path) -> None:
    rule = load(tmp_path, demo=DEMO).programs[0].rules[0]
    action = rule.actions[0]
    assert isinstance(action, CreditAction)
    assert (action.asset_id, action.amount, action.bucket) == ("PTS", "round(event.amount * 0.01, 2)", "AVAILABLE")
    assert action.expires_at == LotDate("duration", 31_536_000_000_000)
    assert (rule.key, rule.program_id, rule.order, rule.stop_after_match) == ("base", "loyalty", 1000, False)


def test_other_words_for_the_same_have_the_same_hash(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    first = load(one, demo=DEMO)
    second = load(two, a=SAME_IN_OTHER_WORDS, rules=SAME_RULES)
    assert second.document == first.document
    assert second.hash == first.hash == sha256(first.document.encode()).hexdigest()


def test_yaml_and_json_say_the_same(tmp_path: Path) -> None:
    definitions = load(tmp_path, demo=DEMO)
    other = tmp_path / "json"
    other.mkdir()
    (other / "demo.json").write_text(json.dumps(json.loads(definitions.document), indent=3))
    assert load_definitions(other).hash == definitions.hash


@pytest.mark.parametrize(
    "old, new",
    [("order: 1000", "order: 999"), ("0.01", "0.010"), ("8760h", "8761h"), ("Base 1%", "Base"), ("PTS", "PTX")],
)
def test_any_other_content_has_another_hash(tmp_path: Path, old: str, new: str) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    assert load(one, demo=DEMO).hash != load(two, demo=DEMO.replace(old, new)).hash


def test_sources_are_no_part_of_the_hash(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
    first = load(one, demo=DEMO)
    second = load(
        two,
        demo=DEMO,
        sources="sources:\n  pos:\n    program: Customer Loyalty\n    format: csv\n    select: |\n      SELECT 1\n",
    )
    assert second.hash == first.hash
    assert second.sources["pos"].program == "loyalty"
    assert second.sources["pos"].select == "SELECT 1\n"


def test_a_document_is_canonical_and_reads_back(tmp_path: Path) -> None:
    definitions = load(tmp_path, demo=DEMO, sources="sources: {pos: {select: SELECT 1}}\n")
    assert canonical_json(read_json(definitions.document)) == definitions.document
    again = Definitions.from_document(definitions.document, sources=definitions.sources_document())
    assert again.hash == definitions.hash
    assert (again.organization, again.assets, again.programs) == (
        definitions.organization,
        definitions.assets,
        definitions.programs,
    )
    assert again.sources == definitions.sources


def test_objects_come_in_file_order_with_snapshots(tmp_path: Path) -> None:
    definitions = load(
        tmp_path,
        demo=DEMO,
        more="rewards:\n  - {program: loyalty, name: Card, redemption_type: UNIT_BASED, asset: PTS, unit_cost: 10.50,"
        " status: DRAFT, metadata: {size: 1.50, none: null}}\n"
        "tiers:\n  - {program: loyalty, key: status, display_name: Status, levels: [{key: gold, rank: 1}]}\n",
    )
    objects = list(definitions.objects())
    assert [(item.kind, item.key, item.program) for item in objects] == [
        ("organization", "demo", ""),
        ("asset", "PTS", ""),
        ("program", "loyalty", ""),
        ("rule", "base", "loyalty"),
        ("tier", "status", "loyalty"),
        ("reward", "Card", "loyalty"),
    ]
    reward = read_json(objects[-1].snapshot)
    assert (reward["unit_cost"], reward["metadata"]) == (Decimal("10.5"), {"size": Decimal("1.5"), "none": None})
    assert "rules" not in read_json(objects[2].snapshot)
    assert restore("rule", objects[3].snapshot) == definitions.programs[0].rules[0]


def test_a_key_defaults_to_the_id_else_the_name(tmp_path: Path) -> None:
    identifier = "5f4d6c80-b779-5174-9e3e-37d6ea331a70"
    rules = (
        f"rules:\n  - {{program: loyalty, id: {identifier.upper()}, name: One, condition: true, actions: [{CREDIT}]}}\n"
        f"  - {{program: loyalty, name: Two, condition: 'true', actions: [{CREDIT}]}}\n"
    )
    found = load(tmp_path, a=DEMO, b=rules).programs[0].rules
    assert [(rule.key, rule.id) for rule in found[1:]] == [
        (identifier, identifier),
        ("Two", object_id("3a37bb6a-dfc8-50ba-8532-fadfaf037bdb", "rule", "Two")),
    ]


def test_omitted_orders_follow_the_highest_in_file_order(tmp_path: Path) -> None:
    assert orders(tmp_path, "", "", "") == [10, 20, 30]
    assert orders(tmp_path, "", ", order: 500", "") == [510, 500, 520]


def test_an_exported_object_is_accepted_as_it_is(tmp_path: Path) -> None:
    exported = {
        "rules": [
            {
                "id": "0f4d6c80-b779-5174-9e3e-37d6ea331a70",
                "program_id": "3a37bb6a-dfc8-50ba-8532-fadfaf037bdb",
                "name": "Exported",
                "condition": "true",
                "order": 5,
                "active_from": None,
                "created_at": "2026-01-01T00:00:00Z",
                "updated_at": None,
                "deleted_at": None,
                "budgets": [
                    {
                        "asset_id": "59bb73fc-f091-5918-a0dc-16c06074dd9c",
                        "limit": "100.00",
                        "schedule_type": "CRON",
                        "cron_expression": "0 0 1 * *",
                        "interval": None,
                        "consumed": "12.00",
                        "next_reset_at": "2026-02-01T00:00:00Z",
                    }
                ],
                "actions": [
                    {
                        "type": "CREDIT",
                        "asset_id": "59bb73fc-f091-5918-a0dc-16c06074dd9c",
                        "amount": "5",
                        "tag": None,
                        "allow_negative": False,
                    }
                ],
            }
        ]
    }
    (tmp_path / "b.json").write_text(json.dumps(exported))
    definitions = load(tmp_path, a=DEMO)
    rule = definitions.programs[0].rules[1]
    assert rule.budgets[0].limit == 100
    assert rule.budgets[0].asset_id == "PTS"
    assert [warning.message for warning in definitions.warnings] == [
        "`allow_negative` does not belong to CREDIT and is ignored"
    ]


def test_check_gives_what_load_raises(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(DEMO.replace("scale: 2", "scale: 19"))
    definitions, issues = check_definitions(tmp_path)
    assert definitions is None
    with pytest.raises(IssueError) as error:
        load_definitions(tmp_path)
    assert list(error.value.issues) == issues
    assert [issue.message for issue in issues] == ["19 is more than 18"]


@pytest.mark.parametrize("text", ["gold", "hello world", "unknown.thing", "5", "", "[1].all(event, event > 0)"])
def test_attribute_text_without_a_variable_is_literal(text: str) -> None:
    assert attribute_expression(text) is None


@pytest.mark.parametrize("text", ["event.x", "now", "now()", "=1 + 1", "size(participant.tags)", "[event.x][0]"])
def test_attribute_text_with_a_variable_or_a_mark_is_cel(text: str) -> None:
    assert attribute_expression(text) is not None


def test_canonical_json_has_one_form() -> None:
    value = {"b": [Decimal("1.50"), Decimal("1E+3"), -0, Decimal("-0.0")], "a": "é\n\u2028", "B": None, "t": True}
    assert canonical_json(value) == '{"B":null,"a":"é\\n\u2028","b":[1.5,1000,0,0],"t":true}'
    with pytest.raises(TypeError, match="float"):
        canonical_json(0.5)


def test_the_schema_knows_every_field_and_short_name() -> None:
    schema = definitions_schema()
    credit = schema["$defs"]["CreditAction"]
    assert set(CreditAction.model_fields) | {"asset", "created_at"} <= set(credit["properties"])
    assert credit["oneOf"] == [{"required": ["asset_id"]}, {"required": ["asset"]}]
    assert credit["additionalProperties"] is False
    assert set(schema["$defs"]["Rule"]["required"]) == {"name", "condition", "actions"}
    assert "default" not in schema["$defs"]["Rule"]["properties"]["order"]
    assert {model.__name__ for model in ACTION_MODELS.values()} | {Rule.__name__} <= set(schema["$defs"])
    assert set(schema["properties"]) == {
        "organization",
        "assets",
        "programs",
        "rules",
        "tiers",
        "rewards",
        "automations",
        "sources",
    }
    json.dumps(schema)
