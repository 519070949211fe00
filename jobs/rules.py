"""`earnbook rules`: how rules compile and run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import pyarrow as pa

from earnbook.jobs.options import TIME, Format, Output, config_option, output_options
from earnbook.jobs.output import say, write_document, write_documents, write_rows, write_text
from earnbook.pipeline.clock import wall_clock_us
from earnbook.pipeline.columns import event_of
from earnbook.pipeline.intake_json import find_number_mistake, parse_value
from earnbook.rules.compile import CompiledProgram, CompiledRuleset, compile_ruleset
from earnbook.rules.definitions import Definitions, check_definitions, load_definitions
from earnbook.rules.explain import explain_rule
from earnbook.rules.issues import Issue, IssueError, render_issues
from earnbook.rules.models import Program, Rule
from earnbook.rules.simulate import render_simulation, simulate_rule
from earnbook.rules.simulate_state import StateError, read_state
from earnbook.rules.values import Value

EXIT_MISTAKES = 2
"""The exit status of `check` when there are mistakes, as everywhere (§3.5)."""

_EXAMPLE = """'{"type": "purchase", "amount": 12.5}'"""


@click.group("rules")
def command() -> None:
    """Compile rules, show how they will run, and try one of them.

    \b
    Examples:
      earnbook rules check --config config/
      earnbook rules explain base --config config/
      earnbook rules simulate base --config config/ --event '{"type": "purchase", "amount": 12.5}'
    """


@command.command("check")
@config_option(required=True)
@output_options
def check(config: Path, output: Output) -> None:
    """Check and compile all rules: mistakes, warnings, and what is not accelerated.

    Mistakes are shown all at once with file, line and a caret into the expression; the command then exits with 2.
    Warnings never change the exit status. For CI, json is one document with `issues` and `rules`, ndjson one line for
    each of them.

    \b
    Examples:
      earnbook rules check --config config/
      earnbook rules check --config config/ --format json
    """
    definitions, issues = check_definitions(config)
    compiled = None if definitions is None else compile_ruleset(definitions)
    if output.format in (Format.JSON, Format.NDJSON):
        _write_check(output, issues, compiled)
    elif compiled is None:
        raise IssueError(issues)
    else:
        if issues:
            say(output, render_issues(issues))
        write_rows(output, _rule_rows(compiled))
        for program in compiled.programs:
            for reason in program.plan.coupling:
                say(output, f"{program.key}: events run in one ordered pass: {reason}")
    if compiled is None:
        click.get_current_context().exit(EXIT_MISTAKES)


@command.command("explain")
@click.argument("rule")
@config_option(required=True)
@click.option("--program", metavar="KEY", help="The rule's program, where several have a rule of this key.")
@output_options
def explain(rule: str, config: Path, program: str | None, output: Output) -> None:
    """One rule: what it reads and writes, its generated code, what is not accelerated.

    RULE is the key or the name.

    \b
    Examples:
      earnbook rules explain base --config config/
      earnbook rules explain base --config config/ --program loyalty
    """
    compiled = compile_ruleset(load_definitions(config))
    write_text(output, explain_rule(compiled, _found(compiled, rule, program), rule))


@command.command("simulate")
@click.argument("rule")
@config_option(required=True)
@click.option("--program", metavar="KEY", help="The rule's program, where several have a rule of this key.")
@click.option("--event", required=True, metavar="JSON", help="The event_data object, or @FILE that holds it.")
@click.option(
    "--state",
    metavar="JSON",
    default="{}",
    help="The participant: tags, counters, attributes, tiers; also program and group; or @FILE. Default: nothing.",
)
@click.option("--now", type=TIME, help="The event's time, `now` in expressions. Default: the wall clock.")
@output_options
def simulate(
    rule: str, config: Path, program: str | None, event: str, state: str, now: int | None, output: Output
) -> None:
    """One rule on one event, without a book: does it match, and what would its actions do?

    RULE is the key, the name or the id; its status does not matter. An error of the condition is shown; in a run it
    counts as false. Balances, budgets, time windows and other rules are not looked at.

    \b
    Examples:
      earnbook rules simulate base --config config/ --event '{"type": "purchase", "amount": 12.5}'
      earnbook rules simulate base --config config/ --event @event.json --state '{"counters": {"visits": 9}}' \\
          --now 2026-01-31T18:00:00Z --format json
    """
    definitions = load_definitions(config)
    owner, definition = _defined_rule(definitions, rule, program)
    try:
        given = read_state(_json_object("--state", state), owner)
    except StateError as error:
        raise click.BadParameter(f"{error}.", param_hint="--state") from None
    scope = given.scope(
        owner, definitions.organization.id, _json_object("--event", event), wall_clock_us() if now is None else now
    )
    assets = {asset.symbol: asset for asset in definitions.assets}
    result = simulate_rule(owner, definition, assets, scope, given)
    if output.format in (Format.JSON, Format.NDJSON):
        write_document(output, result.document())
    elif output.format is Format.TABLE:
        write_text(output, render_simulation(result))
    else:
        raise click.UsageError(f"{output.format} has no place for nested results; use table, json or ndjson.")


def _defined_rule(definitions: Definitions, rule: str, program: str | None) -> tuple[Program, Rule]:
    """The one rule of any status with this key, name or id, and its program."""
    found = [
        (owner, defined)
        for owner, defined in definitions.rules()
        if program in (None, owner.key) and rule in (defined.key, defined.name, defined.id)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        owners = ", ".join(owner.key for owner, _ in found)
        raise click.UsageError(
            f"{len(found)} rules are called {rule!r}: add --program, one of {owners}, or use the id."
        )
    known = ", ".join(defined.key for _, defined in definitions.rules())
    raise click.UsageError(f"There is no rule {rule!r}. Rules: {known}.")


def _json_object(option: str, given: str) -> Mapping[str, Value]:
    """The JSON object in an option's text, or in the file after `@`; numbers are Decimals."""
    try:
        text = Path(given[1:]).read_text(encoding="utf-8") if given.startswith("@") else given
        parsed = parse_value(text)
    except OSError as error:
        raise click.BadParameter(f"{given[1:]}: {error.strerror}.", param_hint=option) from None
    except ValueError as error:
        raise click.BadParameter(f"{error}. Write a JSON object such as {_EXAMPLE}.", param_hint=option) from None
    mistake = find_number_mistake(parsed, "")
    if not isinstance(parsed, dict) or mistake is not None:
        message = "not a JSON object" if mistake is None else f"{mistake[0].removeprefix('.')}: {mistake[1]}"
        raise click.BadParameter(f"{message}. Write a JSON object such as {_EXAMPLE}.", param_hint=option)
    return event_of(text)


def _write_check(output: Output, issues: Sequence[Issue], compiled: CompiledRuleset | None) -> None:
    found = [_issue_document(issue) for issue in issues]
    rules = [] if compiled is None else [rule for program in compiled.programs for rule in _rule_documents(program)]
    if output.format is Format.JSON:
        write_document(output, {"issues": found, "rules": rules})
        return
    lines = [{"kind": "issue", **issue} for issue in found] + [{"kind": "rule", **rule} for rule in rules]
    write_documents(output, lines)


def _issue_document(issue: Issue) -> dict[str, object]:
    """An issue for machines: `line` and `column` count from 1, `span` (begin, end) counts characters of `source`."""
    return {
        "severity": issue.severity.value,
        "code": issue.code.value,
        "message": issue.message,
        "remedy": issue.remedy,
        "file": issue.file,
        "line": issue.line,
        "column": issue.column,
        "path": issue.path,
        "source": issue.source,
        "span": None if issue.span is None else [issue.span.start, issue.span.end],
    }


def _rule_documents(program: CompiledProgram) -> list[dict[str, object]]:
    """The rules of a program in order; `accelerated`: the kernel decides all of it, else `reasons` say why not."""
    documents: list[dict[str, object]] = []
    for rule, notes in zip(program.rules, program.notes, strict=True):
        reasons = [{"part": note.text, "instead": note.instead, "why": note.why} for note in dict.fromkeys(notes)]
        if program.refused is not None:
            reasons.insert(0, {"part": rule.definition.key, "instead": "closures", "why": program.refused})
        documents.append(
            {
                "program": program.key,
                "order": rule.definition.order,
                "rule": rule.definition.key,
                "stop": rule.definition.stop_after_match,
                "writes": list(rule.writes),
                "accelerated": program.propose is not None and not reasons,
                "reasons": reasons,
            }
        )
    return documents


def _found(compiled: CompiledRuleset, rule: str, program: str | None) -> str:
    """The key of the one program that has this rule."""
    owners = [
        owner.key
        for owner in compiled.programs
        if program in (None, owner.key) and any(rule in (r.definition.key, r.definition.name) for r in owner.rules)
    ]
    if len(owners) == 1:
        return owners[0]
    if owners:
        raise click.UsageError(
            f"{len(owners)} programs have a rule {rule!r}: add --program, one of {', '.join(owners)}."
        )
    known = ", ".join(r.definition.key for owner in compiled.programs for r in owner.rules)
    raise click.UsageError(f"There is no active rule {rule!r}. Rules: {known}.")


def _rule_rows(compiled: CompiledRuleset) -> pa.Table:
    rows = [row for program in compiled.programs for row in _program_rows(program)]
    schema = pa.schema(
        [
            ("program", pa.string()),
            ("order", pa.int64()),
            ("rule", pa.string()),
            ("stop", pa.bool_()),
            ("writes", pa.string()),
            ("kernel", pa.bool_()),
            ("not_accelerated", pa.string()),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def _program_rows(program: CompiledProgram) -> list[dict[str, object]]:
    """The rules of a program in order; `kernel` says that the kernel proposes, apart from what is named beside it."""
    return [
        {
            "program": program.key,
            "order": rule.definition.order,
            "rule": rule.definition.key,
            "stop": rule.definition.stop_after_match,
            "writes": ", ".join(rule.writes),
            "kernel": program.propose is not None,
            "not_accelerated": program.refused or "; ".join(f"{n.text}: {n.instead} ({n.why})" for n in notes),
        }
        for rule, notes in zip(program.rules, program.notes, strict=True)
    ]
