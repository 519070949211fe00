"""`earnbook show KIND KEY`: one thing of a book, explained."""

from __future__ import annotations

from pathlib import Path

import click

from earnbook.jobs.options import Output, book_option, output_options
from earnbook.jobs.output import write_shown
from earnbook.pipeline.show import EVENTS_SHOWN_DEFAULT, show_batch, show_entry, show_event, show_participant


@click.group("show")
def command() -> None:
    """One thing of a book, explained.

    \b
    Examples:
      earnbook show participant alice --book shop.duckdb
      earnbook show batch last --book shop.duckdb
    """


@command.command("participant")
@click.argument("key")
@book_option
@click.option(
    "--events",
    "events_max",
    type=click.IntRange(min=0),
    default=EVENTS_SHOWN_DEFAULT,
    show_default=True,
    metavar="N",
    help="Show so many of the last events.",
)
@output_options
def participant(key: str, book: Path, events_max: int, output: Output) -> None:
    """A participant's balances, open lots, state and last events.

    KEY is the external id or the id.

    \b
    Examples:
      earnbook show participant alice --book shop.duckdb
      earnbook show participant alice --book shop.duckdb --events 50 --format json
    """
    write_shown(output, show_participant(book, key, events_max=events_max))


@command.command("event")
@click.argument("key")
@book_option
@click.option("--program", metavar="KEY", help="The event's program, where several have this key.")
@output_options
def event(key: str, book: Path, program: str | None, output: Output) -> None:
    """What an event did: outcome, every rule, entries, changes, impact.

    KEY is the idempotency key or the id.

    \b
    Examples:
      earnbook show event e-1 --book shop.duckdb
      earnbook show event e-1 --book shop.duckdb --program loyalty --format json
    """
    write_shown(output, show_event(book, key, program=program))


@command.command("entry")
@click.argument("key")
@book_option
@output_options
def entry(key: str, book: Path, output: Output) -> None:
    """A journal entry: postings, lots, and the rule and event behind it.

    KEY is the number (seq) or the id.

    \b
    Examples:
      earnbook show entry 17 --book shop.duckdb
      earnbook show entry 17 --book shop.duckdb --format json
    """
    write_shown(output, show_entry(book, key))


@command.command("batch")
@click.argument("key")
@book_option
@output_options
def batch(key: str, book: Path, output: Output) -> None:
    """A batch: clock, counts, sources, and its seal.

    KEY is the number, or last.

    \b
    Examples:
      earnbook show batch 3 --book shop.duckdb
      earnbook show batch last --book shop.duckdb --format json
    """
    write_shown(output, show_batch(book, key))
