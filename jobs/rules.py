"""`earnbook rules`: how rules compile and run."""

from __future__ import annotations

from pathlib import Path

import click
import pyarrow as pa

from earnbook.jobs.options import Output, config_option, output_options
from earnbook.jobs.output import say, write_rows, write_text
from earnbook.rules.compile import CompiledProgram, CompiledRuleset, compile_ruleset
from earnbook.rules.definitions import load_definitions
from earnbook.rules.explain import explain_rule
from earnbook.rules.issues import render_issues


@click.group("rules")
def command() -> None:
    """Compile rules and show how they will run.

    \b
    Examples:
      earnbook rules check --config config/
      earnbook rules explain base --config config/
    """


@command.command("check")
@config_option(required=True)
@output_options
def check(config: Path, output: Output) -> None:
    """Compile all rules and list them, with what is not accelerated.

    Mistakes are printed all at once with file, line and a caret into the expression; the command then exits with 2.

    \b
    Examples:
      earnbook rules check --config config/
      earnbook rules check --config config/ --format json
    """
    definitions = load_definitions(config)
    if definitions.warnings:
        say(output, render_issues(definitions.warnings))
    compiled = compile_ruleset(definitions)
    write_rows(output, _rule_rows(compiled))
    for program in compiled.programs:
        for reason in program.plan.coupling:
            say(output, f"{program.key}: events run in one ordered pass: {reason}")


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
