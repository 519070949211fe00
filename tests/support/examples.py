"""Worked examples as data: definitions, records, the ledger notation they must give, and further expectations.

A file of `tests/examples` is YAML:

- `title`, `section`: what it shows and where SEMANTICS shows it;
- `definitions`: a definitions document;
- `runs`: a list of `clock`, optional `order`, `advance_to`, `program`, `rules` and `rewards`, and `records`: NDJSON, so
  that numbers stay as written. `program` are other fields of the first program, `rules` and `rewards` other contents of
  its rules and rewards by key, in force from that run on.
  In a record that leaves them out, `program_id` is the first program's key (where the type needs one),
  `event_timestamp` (or `effective_at`) the shorthand `at` (a date, or date and time, in UTC), `external_id` alice (of
  events), and `idempotency_key` the row's place, `r0-1` for the first of the first run. `"@lot r0-1 2"` stands for the
  id of lot 2 (0 when left out) that the operation of this key made, `"@redemption r0-1"` for that of its redemption,
  `"@participant alice"` and `"@group smith"` for those of holders;
- `engines`: the engines that run it already; all of them when it is left out;
- `ledger`: the notation of §1.4, for the first asset;
- `outcomes`: the outcome codes of all records, in log order;
- `evaluations`: per record (by log_seq) the rows `rule STATUS [REASON]` in order;
- `actions`: per record the results of all actions in order, `rule RESULT [amount or value]`;
- `created_at`: the creation times of all entries, as dates or dates and times in UTC;
- `counters`, `tags`, `attributes`: the state of participants, groups and programs at the end, `holder.key` to value;
- `balances`: `holder.bucket` to the amount of the first asset at the end;
- `impact`: per record the net change of each account of the first asset (§10.6), without those of 0;
- `tiers`: `participant.type` to the level; `budgets`: `rule/asset` to what is consumed, in asset units;
- `members`: `group.participant` to `ROLE STATUS`; `generated`: the participants of all generated events, in log order;
- `rejects`: the row's place to the reason; `duplicates`: how many there were;
- `redemptions`: by log_seq, in the words of `_redemption`; `rewards`: `STATUS count` by key;
- `entries`: by seq some of `amount`, `reference_id`, `description`, `redemption` (log_seq) and `program`;
- `changes`: per record the rows `type key operation old -> new`.
"""

from __future__ import annotations

import copy
import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from tests.support.logical import LogicalBook, Redemption, Run, Scenario
from tests.support.notation import BUCKETS, SYSTEM_ACCOUNTS, notation_mismatches, parse_notation
from tests.support.oracle_operation_fields import OPERATIONS
from tests.support.oracle_times import format_time

EXAMPLES = Path(__file__).parent.parent / "examples"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One worked example; `expected` is its document without definitions and runs."""

    name: str
    scenario: Scenario
    engines: tuple[str, ...] | None
    expected: Mapping[str, Any]


def example_names() -> list[str]:
    """All examples, by file name."""
    return sorted(path.stem for path in EXAMPLES.glob("*.yaml"))


def load_example(name: str) -> Example:
    """The example of `tests/examples/<name>.yaml`."""
    document = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8"))
    definitions = document.pop("definitions")
    program = definitions["programs"][0]["key"]
    runs = _with_ids(tuple(_read_runs(document.pop("runs"), definitions, program)), definitions)
    engines = tuple(document.pop("engines")) if "engines" in document else None
    scenario = Scenario(definitions=definitions, runs=runs)
    return Example(name=name, scenario=scenario, engines=engines, expected=document)


def _read_runs(runs: Sequence[Mapping[str, Any]], definitions: Mapping[str, Any], program: str) -> Iterator[Run]:
    for number, run in enumerate(runs):
        if not run.keys() & {"program", "rules", "rewards"}:
            yield _read_run(run, number, program)
            continue
        definitions = copy.deepcopy(definitions)
        definitions["programs"][0].update(run.get("program", {}))
        for kind in ("rules", "rewards"):
            for item in definitions["programs"][0].get(kind, []):
                item.update(run.get(kind, {}).get(item["key"], {}))
        yield replace(_read_run(run, number, program), definitions=definitions)


def _read_run(run: Mapping[str, Any], number: int, program: str) -> Run:
    rows = [row for row in run.get("records", "").splitlines() if row.strip()]
    return Run(
        lines=tuple(_complete(row, f"r{number}-{place}", program) for place, row in enumerate(rows, start=1)),
        clock=run["clock"],
        order=run.get("order", "time"),
        advance_to=run.get("advance_to"),
    )


def _complete(row: str, key: str, program: str) -> str:
    """Puts what a short record leaves out in front of its members, so that numbers keep their text."""
    fields = json.loads(row)
    front: dict[str, str] = {}
    if "program_id" not in fields and _needs_program(fields):
        front["program_id"] = program
    if "idempotency_key" not in fields:
        front["idempotency_key"] = key
    if "at" in fields:
        time = fields["at"] if "T" in fields["at"] else fields["at"] + "T00:00:00Z"
        front["effective_at" if "type" in fields else "event_timestamp"] = time
        row = row.replace(f'"at": {json.dumps(fields["at"])}, ', "", 1)
    if "type" not in fields and "external_id" not in fields and "participant_id" not in fields:
        front["external_id"] = "alice"
    return "{" + json.dumps(front)[1:-1] + ", " + row.strip().removeprefix("{")


def _with_ids(runs: tuple[Run, ...], definitions: Mapping[str, Any]) -> tuple[Run, ...]:
    """The runs with ids (§2.3) in place of what stands for them."""
    organization = uuid.uuid5(
        uuid.uuid5(uuid.NAMESPACE_DNS, "earnbook"), f"organization:{definitions['organization']['key']}"
    )
    operations: dict[str, uuid.UUID] = {}
    for line in (line for run in runs for line in run.lines if '"type": "' in line and '"effective_at"' in line):
        fields = json.loads(line)
        program = fields.get("program_id")
        scope = organization if program is None else uuid.uuid5(organization, f"program:{program}")
        key = fields["idempotency_key"]
        operations.setdefault(key, uuid.uuid5(scope, f"operation:{fields['type']}:{key}"))

    def named(found: re.Match[str]) -> str:
        kind, name, place = found.groups()
        # A row that is not there stands for an id that nobody has.
        made_by = operations.get(name, organization)
        match kind:
            case "lot":
                return str(uuid.uuid5(uuid.uuid5(made_by, "entry:0"), f"lot:{place or 0}"))
            case "redemption":
                return str(uuid.uuid5(made_by, "redemption"))
        return str(uuid.uuid5(organization, f"{kind}:{name}"))

    pattern = re.compile(r"@(lot|redemption|participant|group) ([\w-]+)(?: (\d+))?")
    return tuple(replace(run, lines=tuple(pattern.sub(named, line) for line in run.lines)) for run in runs)


def _needs_program(fields: Mapping[str, Any]) -> bool:
    return "type" not in fields or OPERATIONS[fields["type"]].needs_program or fields.get("target") == "PROGRAM"


def mismatches(example: Example, book: LogicalBook) -> list[str]:
    """Where a book differs from what the example expects; empty when it is as written."""
    asset = example.scenario.definitions["assets"][0]
    expected = example.expected
    found: list[str] = []
    if "ledger" in expected:
        steps = parse_notation(expected["ledger"])
        found += notation_mismatches(steps, book, asset=asset["symbol"], scale=asset["scale"])
    if "outcomes" in expected:
        found += _unequal("outcomes", expected["outcomes"], [outcome.code for outcome in book.outcomes])
    if "created_at" in expected:
        shown = [format_time(entry.created_at) for entry in book.entries]
        found += _unequal("created_at", [_time(text) for text in expected["created_at"]], shown)
    for log_seq, rows in expected.get("evaluations", {}).items():
        found += _unequal(f"evaluations of record {log_seq}", rows, list(_evaluations(book, log_seq)))
    for log_seq, rows in expected.get("actions", {}).items():
        found += _unequal(f"actions of record {log_seq}", rows, list(_actions(book, log_seq, asset["scale"])))
    for log_seq, accounts in expected.get("impact", {}).items():
        found += _unequal(f"impact of record {log_seq}", _amounts(accounts), _impact(book, asset, log_seq))
    if "balances" in expected:
        found += _unequal("balances", _amounts(expected["balances"]), _balances(book, asset, expected["balances"]))
    if "counters" in expected:
        counters = {f"{name}.{key}": counter.value for (_, name, key), counter in book.counters.items()}
        found += _unequal("counters", expected["counters"], counters)
    if "tags" in expected:
        found += _unequal("tags", sorted(expected["tags"]), sorted(f"{name}.{tag}" for _, name, tag in book.tags))
    if "attributes" in expected:
        attributes = {f"{name}.{key}": text for (_, name, key), text in book.attributes.items()}
        found += _unequal("attributes", expected["attributes"], attributes)
    return found + _state_mismatches(expected, book, asset)


def _state_mismatches(expected: Mapping[str, Any], book: LogicalBook, asset: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    if "tiers" in expected:
        tiers = {f"{name}.{key}": tier.level for (name, _, key), tier in book.tiers.items()}
        found += _unequal("tiers", expected["tiers"], tiers)
    if "budgets" in expected:
        consumed = {f"{rule}/{symbol}": budget.consumed for (_, rule, symbol), budget in book.budgets.items()}
        shown = {name: Decimal(minor).scaleb(-asset["scale"]) for name, minor in consumed.items()}
        found += _unequal("budgets", _amounts(expected["budgets"]), shown)
    if "members" in expected:
        members = {f"{group}.{name}": f"{row.role} {row.status}" for (group, name), row in book.members.items()}
        found += _unequal("members", expected["members"], members)
    if "generated" in expected:
        generated = {record.log_seq for record in book.records if record.type == "SYSTEM"}
        people = [row.participant for row in book.outcomes if row.log_seq in generated and row.attempt == 1]
        found += _unequal("generated", expected["generated"], people)
    return found + _money_mismatches(expected, book, asset["scale"])


def _money_mismatches(expected: Mapping[str, Any], book: LogicalBook, scale: int) -> list[str]:
    found: list[str] = []
    if "rejects" in expected:
        rejects = {f"r{reject.run}-{reject.row}": reject.reason for reject in book.rejects}
        found += _unequal("rejects", expected["rejects"], rejects)
    if "duplicates" in expected and book.counts is not None:
        found += _unequal("duplicates", expected["duplicates"], book.counts.duplicates)
    if "redemptions" in expected:
        redemptions = {row.log_seq: _redemption(row, scale) for row in book.redemptions}
        found += _unequal("redemptions", expected["redemptions"], redemptions)
    if "rewards" in expected:
        rewards = {key: f"{reward.status} {reward.redeemed_count}" for (_, key), reward in book.rewards.items()}
        found += _unequal("rewards", expected["rewards"], rewards)
    for seq, columns in expected.get("entries", {}).items():
        entry = book.entries[seq - 1]
        shown = {name: getattr(entry, name) for name in columns}
        if "amount" in columns:
            shown["amount"] = f"{Decimal(entry.amount).scaleb(-scale)}"
        found += _unequal(f"entry {seq}", columns, shown)
    for log_seq, rows in expected.get("changes", {}).items():
        changes = [
            f"{change.state_type} {change.key} {change.operation} {change.old_value} -> {change.new_value}"
            for change in book.changes
            if change.cause_number == log_seq
        ]
        found += _unequal(f"changes of record {log_seq}", rows, changes)
    return found


def _redemption(row: Redemption, scale: int) -> str:
    """`alice 20 to REDEMPTION, 10 reversed, PARTIALLY_REVERSED; gift 2 at 10, 1 reversed`."""

    def amount(minor: int | None) -> str:
        return f"{Decimal(minor or 0).scaleb(-scale)}"

    kind, name = row.target
    target = name or kind.removeprefix("SYSTEM_")
    told = f"{row.participant} {amount(row.amount)} to {target}, {amount(row.reversed_amount)} reversed, {row.status}"
    if row.reward is None:
        return told
    if row.quantity is None:
        return f"{told}; {row.reward} at {amount(row.unit_cost)}"
    return f"{told}; {row.reward} {row.quantity} at {amount(row.unit_cost)}, {row.reversed_quantity} reversed"


def _time(text: str) -> str:
    return text if "T" in text else f"{text}T00:00:00Z"


def _evaluations(book: LogicalBook, log_seq: int) -> Iterator[str]:
    for row in book.evaluations:
        if row.log_seq == log_seq:
            yield f"{row.rule} {row.status}" + (f" {row.reason}" if row.reason else "")


def _actions(book: LogicalBook, log_seq: int, scale: int) -> Iterator[str]:
    for row in book.evaluations:
        if row.log_seq != log_seq or row.actions is None:
            continue
        for action in row.actions:
            # Of an action without effect a book tells nothing more.
            is_told = action.result != "NO_EFFECT" and action.amount is not None
            amount = f"{Decimal(action.amount or 0).scaleb(-scale)}" if is_told else None
            value = None if action.result == "NO_EFFECT" else action.value
            yield " ".join(part for part in (row.rule, action.result, amount or value, action.code) if part)


def _impact(book: LogicalBook, asset: Mapping[str, Any], log_seq: int) -> dict[str, Decimal]:
    """Net change by account as the notation names it; a program's wallet is `wallet`."""
    names = {kind: name for name, kind in SYSTEM_ACCOUNTS.items()} | {"PROGRAM": "wallet"}
    letters = {bucket: letter for letter, bucket in BUCKETS.items()}
    total: dict[str, int] = {}
    for entry in book.entries:
        if (entry.cause, entry.cause_number, entry.asset) != ("EVENT", log_seq, asset["symbol"]):
            continue
        for posting in entry.postings:
            kind, holder, _, bucket = posting.account
            name = names.get(kind) or f"{holder}.{letters[bucket]}"
            total[name] = total.get(name, 0) + posting.amount
    return {name: Decimal(amount).scaleb(-asset["scale"]) for name, amount in total.items() if amount}


def _amounts(texts: Mapping[str, str]) -> dict[str, Decimal]:
    return {account: Decimal(text) for account, text in texts.items()}


def _balances(book: LogicalBook, asset: Mapping[str, Any], accounts: Sequence[str] | Mapping[str, str]) -> object:
    balances = {}
    for account in accounts:
        holder, _, bucket = account.rpartition(".")
        kind = "GROUP" if holder in book.groups else "PARTICIPANT"
        amount = book.balances.get((kind, holder, asset["symbol"], BUCKETS[bucket]), 0)
        balances[account] = Decimal(amount).scaleb(-asset["scale"])
    return balances


def _unequal(what: str, expected: object, shown: object) -> list[str]:
    return [] if expected == shown else [f"{what}: expected {expected}, the book has {shown}"]
