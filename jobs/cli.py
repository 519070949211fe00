"""The `earnbook` command: finds the command, and turns every way a job can end into an exit code.

Commands are imported only when they run, so that `earnbook --help` and shell completion answer at once. This module is
the only place where exceptions become exit codes (§3.5): 0 done, 1 the job could not be done, 2 usage or definition
mistake, 3 an integrity finding, 4 done but a `--fail-on` condition met, 130 interrupted.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import click

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_FINDING = 3
EXIT_INTERRUPTED = 130


class CommandEntry(NamedTuple):
    """Where a command lives, and its line in the list of commands (tested to be the first line of its own help)."""

    module: str
    help: str


COMMANDS: dict[str, CommandEntry] = {
    "run": CommandEntry("earnbook.jobs.run", "Decide event and operation files and commit them to a book."),
    "stream": CommandEntry(
        "earnbook.jobs.stream", "Decide records as they arrive and commit them to a book, batch by batch."
    ),
    "advance": CommandEntry("earnbook.jobs.advance", "Do only what falls due up to a time."),
    "retry": CommandEntry("earnbook.jobs.retry", "Process FAILED events again, with the rules and the state of now."),
    "verify": CommandEntry("earnbook.jobs.verify", "Re-read a book: seals, balances, every property."),
    "report": CommandEntry("earnbook.jobs.report", "Figures over a whole book."),
    "reconcile": CommandEntry("earnbook.jobs.reconcile", "Compare a book with an outside file, key by key."),
    "export": CommandEntry("earnbook.jobs.export", "Write a book as Parquet by batch, or as text for other ledgers."),
    "show": CommandEntry("earnbook.jobs.show", "One thing of a book, explained."),
    "outbox": CommandEntry("earnbook.jobs.outbox", "Print the notifications of a book, in order."),
    "definitions": CommandEntry("earnbook.jobs.definitions", "Check, load and describe definitions."),
    "rules": CommandEntry("earnbook.jobs.rules", "Compile rules, show how they will run, and try one of them."),
    "simulate": CommandEntry("earnbook.jobs.simulate", "Try a whole ruleset over a copy of the book, and compare."),
    "generate": CommandEntry("earnbook.jobs.generate", "Make synthetic events for trials and benchmarks."),
    "sql": CommandEntry("earnbook.jobs.sql", "Query the views of a book, read-only."),
}


class _Commands(click.Group):
    """A group that imports a command's module when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = importlib.import_module(entry.module).command
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.module}.command is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}. Commands: {', '.join(COMMANDS)}.")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        from earnbook.pipeline.errors import EarnbookError, UntiedReport
        from earnbook.rules.issues import IssueError

        try:
            return super().invoke(ctx)
        except IssueError as error:
            click.echo(str(error), err=True)
            ctx.exit(EXIT_USAGE)
        except UntiedReport as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(EXIT_FINDING)
        except EarnbookError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(EXIT_FAILED)
        except (KeyboardInterrupt, click.Abort):
            click.echo("Interrupted. Committed batches stay; the same command does the rest.", err=True)
            ctx.exit(EXIT_INTERRUPTED)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="earnbook", prog_name="earnbook")
def cli() -> None:
    """Rewards books in bulk: event files in, exact double-entry journal out.

    \b
    Examples:
      earnbook run --config sample_data/coffee_shop/config --book coffee.duckdb \\
          --clock event sample_data/coffee_shop/events.ndjson
      earnbook report ledger-summary --book coffee.duckdb
      earnbook verify --book coffee.duckdb
    """


def main() -> None:
    """Entry point of the installed command."""
    cli(prog_name="earnbook")
