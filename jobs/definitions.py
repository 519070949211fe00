"""`earnbook definitions`: definitions without a run."""

from __future__ import annotations

import json
from pathlib import Path

import click

from earnbook.jobs.options import Output, book_option, config_option, lock_wait_option, output_options
from earnbook.jobs.output import say, write_rows, write_text
from earnbook.pipeline.config import LoadRequest
from earnbook.pipeline.drive import load
from earnbook.pipeline.reports_definitions import change_rows, plan_changes
from earnbook.rules.definitions import Definitions, load_definitions
from earnbook.rules.definitions_schema import definitions_schema
from earnbook.rules.issues import render_issues


@click.group("definitions")
def command() -> None:
    """Check, load and describe definitions.

    \b
    Examples:
      earnbook definitions check --config config/
      earnbook definitions schema -o definitions.schema.json
    """


@command.command("check")
@config_option(required=True)
@click.option(
    "--book",
    envvar="EARNBOOK_BOOK",
    show_envvar=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Show what loading them would change in this book.",
)
@output_options
def check(config: Path, book: Path | None, output: Output) -> None:
    """Find all mistakes in definitions, and what loading them would change.

    Every mistake is printed at once with file, line, path and a caret into the expression; the command then exits
    with 2. Nothing is loaded.

    \b
    Examples:
      earnbook definitions check --config config/
      earnbook definitions check --config config/ --book shop.duckdb
    """
    definitions = load_definitions(config)
    if definitions.warnings:
        say(output, render_issues(definitions.warnings))
    say(output, f"{config} is fine: {_contents(definitions)}\nruleset hash {definitions.hash}")
    if book is not None:
        planned = plan_changes(book, definitions)
        write_rows(output, change_rows(planned.changes))
        say(output, f"Loading them into {book} would change {len(planned.changes)} objects.")
        if planned.refusal is not None:
            say(output, f"It would be refused: {planned.refusal}")


@command.command("load")
@book_option
@config_option(required=True)
@click.option("--prune", is_flag=True, help="Archive rules, rewards and automations that the definitions leave out.")
@lock_wait_option
@output_options
def load_command(book: Path, config: Path, prune: bool, lock_wait_seconds: float, output: Output) -> None:
    """Store definitions; they come into force with the next batch's first record.

    \b
    Examples:
      earnbook definitions load --config config/ --book shop.duckdb
      earnbook definitions load --config config/ --book shop.duckdb --prune
    """
    plan = load(LoadRequest(book=book, config=config, prune=prune, lock_wait_seconds=lock_wait_seconds))
    write_rows(output, change_rows(plan.changes))
    if plan.changes:
        say(output, f"{len(plan.changes)} objects change with the next batch that has a record.")
    else:
        say(output, "Nothing changes: the book has these definitions.")


@command.command("schema")
@output_options
def schema(output: Output) -> None:
    """Print the JSON Schema of definitions, for editors.

    \b
    Examples:
      earnbook definitions schema > definitions.schema.json
      earnbook definitions schema -o definitions.schema.json
    """
    write_text(output, json.dumps(definitions_schema(), ensure_ascii=False, indent=2))


def _contents(definitions: Definitions) -> str:
    rules = sum(1 for _ in definitions.rules())
    counts = ((len(definitions.assets), "asset"), (len(definitions.programs), "program"), (rules, "rule"))
    return ", ".join(f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts)
