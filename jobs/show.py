"""`earnbook show KIND KEY`: one thing of a book, explained."""

from __future__ import annotations

from pathlib import Path

import click

from earnbook.jobs.options import Output, book_option, output_options
from earnbook.jobs.output import write_shown
from earnbook.pipeline.show import EVENTS_SHOWN_DEFAULT
from earnbook.pipeline.show_definitions import show_program, show_rule
from earnbook.pipeline.show_people import show_group, show_participant
from earnbook.pipeline.show_records import show_batch, show_entry, show_event
from earnbook.pipeline.show_value import show_lot, show_redemption

_last_option = click.option(
    "--events",
    "events_max",
    type=click.IntRange(min=0),
    default=EVENTS_SHOWN_DEFAULT,
    show_default=True,
    metavar="N",
    help="Show so many of the last events and changes.",
)


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
@_last_option
@output_options
def participant(key: str, book: Path, events_max: int, output: Output) -> None:
    """A participant's balances, open lots, state, redemptions, last events.

    KEY is the external id or the id.

    \b
    Examples:
      earnbook show participant alice --book shop.duckdb
      earnbook show participant alice --book shop.duckdb --events 50 --format json
    """
    write_shown(output, show_participant(book, key, events_max=events_max))


@command.command("group")
@click.argument("key")
@book_option
@_last_option
@output_options
def group(key: str, book: Path, events_max: int, output: Output) -> None:
    """A group's members, balances, open lots and state.

    KEY is the group's key or the id.

    \b
    Examples:
      earnbook show group smith --book shop.duckdb
      earnbook show group smith --book shop.duckdb --format json
    """
    write_shown(output, show_group(book, key, events_max=events_max))


@command.command("program")
@click.argument("key")
@book_option
@_last_option
@output_options
def program(key: str, book: Path, events_max: int, output: Output) -> None:
    """A program: wallet, assets, rules, tiers, rewards, budgets, state.

    KEY is the program's key or the id.

    \b
    Examples:
      earnbook show program loyalty --book shop.duckdb
      earnbook show program loyalty --book shop.duckdb --format json
    """
    write_shown(output, show_program(book, key, events_max=events_max))


@command.command("rule")
@click.argument("key")
@book_option
@click.option("--program", "program_key", metavar="KEY", help="The rule's program, where several have this key.")
@output_options
def rule(key: str, book: Path, program_key: str | None, output: Output) -> None:
    """A rule: what it says, how it went, what it issued, its versions.

    KEY is the rule's key or the id.

    \b
    Examples:
      earnbook show rule base --book shop.duckdb
      earnbook show rule base --book shop.duckdb --program loyalty --format json
    """
    write_shown(output, show_rule(book, key, program=program_key))


@command.command("lot")
@click.argument("key")
@book_option
@output_options
def lot(key: str, book: Path, output: Output) -> None:
    """A lot: where it came from, every move, what was split off.

    KEY is the number (lot_seq) or the id.

    \b
    Examples:
      earnbook show lot 2 --book shop.duckdb
      earnbook show lot 2 --book shop.duckdb --format json
    """
    write_shown(output, show_lot(book, key))


@command.command("redemption")
@click.argument("key")
@book_option
@output_options
def redemption(key: str, book: Path, output: Output) -> None:
    """A redemption: reward, reversals, postings, lots.

    KEY is the id, the key of the operation that redeemed, or its log_seq.

    \b
    Examples:
      earnbook show redemption r-1 --book shop.duckdb
      earnbook show redemption r-1 --book shop.duckdb --format json
    """
    write_shown(output, show_redemption(book, key))


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
