"""What a run says about itself (the summary of a run), as plain values that any front end can draw.

In: a `RunReport`. Out: a `Summary` (headline, lines, tables, what to look at next) for people, and a document for
machines with every figure, amounts as text in asset units beside minor units. Nothing is computed here that the report
does not say, except sums of its lines, which show that the figures tie (§3.6).
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from earnbook.ledger.amounts import format_minor
from earnbook.pipeline.clock import format_time
from earnbook.pipeline.config import BalanceTotal, RunReport

_HASH_SHOWN = 12


@dataclass(frozen=True, slots=True)
class SummaryTable:
    """A titled table of text cells; columns marked in `right` hold figures."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A run, told for people: first what happened, then the figures, then where to look next."""

    headline: str
    lines: tuple[tuple[str, str], ...]
    tables: tuple[SummaryTable, ...]
    warnings: tuple[str, ...]
    next_commands: tuple[str, ...]
    ties: bool


def summarise(report: RunReport) -> Summary:
    """The summary of a run."""
    return Summary(
        headline=_headline(report),
        lines=tuple((label, text) for label, text in _lines(report) if text),
        tables=tuple(table for table in (_inputs(report), _movements(report), _balances(report)) if table.rows),
        warnings=(*_broken(report), *report.warnings, *report.notes),
        next_commands=_next_commands(report),
        ties=report.ties,
    )


def report_document(report: RunReport) -> dict[str, object]:
    """Every figure of a run as plain values; amounts are text in asset units, `*_minor` are integers."""
    document = asdict(report)
    document["book"] = str(report.book)
    document["ties"] = report.ties
    document["seconds"] = f"{report.seconds:.3f}"
    document["stage_seconds"] = {stage: f"{seconds:.3f}" for stage, seconds in report.stage_seconds.items()}
    document["clock_before"] = format_time(report.clock_before_us)
    document["clock_after"] = format_time(report.clock_after_us)
    document["movements"] = [
        {**asdict(total), "amount": format_minor(total.amount_minor, total.scale)} for total in report.movements
    ]
    document["balances"] = [
        {
            **asdict(total),
            "opening": format_minor(total.opening_minor, total.scale),
            "change": format_minor(total.change_minor, total.scale),
            "closing": format_minor(total.closing_minor, total.scale),
        }
        for total in report.balances
    ]
    return document


def _headline(report: RunReport) -> str:
    if report.dry_run:
        return f"Dry run: {report.book} is unchanged; this is what the run would do"
    if not report.batches:
        return f"Nothing new: {report.book} is unchanged"
    first, last = report.batches[0], report.batches[-1]
    return f"Committed {f'batch {first}' if first == last else f'batches {first} to {last}'} to {report.book}"


def _lines(report: RunReport) -> list[tuple[str, str]]:
    rejected = sum(report.rejected.values())
    failed = sum(report.failed.values())
    read = f"{report.rows_read:,} read = {report.events:,} events + {report.operations:,} operations + "
    decided = f"{report.new_records:,} new + {report.generated:,} generated = {report.completed:,} completed + "
    known = f"; {report.rejects_known:,} of them known from an earlier run" if report.rejects_known else ""
    return [
        ("Rows", f"{read}{report.duplicates:,} duplicates + {rejected:,} rejected" if report.inputs else ""),
        ("Records", f"{decided}{failed:,} failed" if report.inputs else ""),
        ("Rejected", _counts(report.rejected) + known),
        ("Failed", _counts(report.failed)),
        ("Late", f"{report.late:,} came after a record of a later time" if report.late else ""),
        (
            "Books",
            f"{_plural(report.entries, 'entry', 'entries')}, {_plural(report.lots_created, 'lot')} created, "
            f"{_plural(report.changes, 'change')} of state, "
            f"{_plural(report.participants_created, 'participant')} created",
        ),
        ("Outbox", _plural(report.notifications, "notification") if report.notifications else ""),
        ("Rules", _ruleset(report)),
        ("Closures", _bailed(report)),
        ("Clock", _clock(report)),
        ("Speed", _speed(report)),
        ("Time", _stages(report)),
    ]


def _counts(counts: Mapping[str, int]) -> str:
    """Counts by name, largest first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {name}" for name, count in ordered if count)


def _plural(count: int, noun: str, nouns: str = "") -> str:
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def _ruleset(report: RunReport) -> str:
    if report.ruleset_version is None:
        return ""
    return f"ruleset {report.ruleset_version}{', new with this run' if report.ruleset_changed else ''}"


def _bailed(report: RunReport) -> str:
    if not report.bailed:
        return ""
    return f"{_plural(sum(report.bailed.values()), 'event')} decided without the kernel: {_counts(report.bailed)}"


def _clock(report: RunReport) -> str:
    clock = report.clock.replace(".000000Z", "Z")
    if report.clock_before_us == report.clock_after_us:
        return f"{clock}; book clock stays {_short_time(report.clock_after_us)}"
    if report.clock_before_us <= 0:
        return f"{clock}; book clock now {_short_time(report.clock_after_us)}"
    return f"{clock}; book clock {_short_time(report.clock_before_us)} -> {_short_time(report.clock_after_us)}"


def _short_time(us: int) -> str:
    """A time without the microseconds when there are none."""
    return format_time(us).replace(".000000Z", "Z")


def _speed(report: RunReport) -> str:
    rate = f", {report.rows_read / report.seconds:,.0f} rows/s" if report.seconds > 0 and report.rows_read else ""
    memory = f", peak memory {report.peak_memory_bytes / 2**20:,.0f} MiB" if report.peak_memory_bytes else ""
    return f"{report.seconds:.1f} s{rate}{memory}"


def _stages(report: RunReport) -> str:
    """Where the time went, stages of less than a twentieth of a second left out."""
    return ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in report.stage_seconds.items() if seconds >= 0.05)


def _inputs(report: RunReport) -> SummaryTable:
    """The sources; how many rows a mapping read is a column only where there is a mapping."""
    mapped = any(source.mapped_from is not None for source in report.inputs)
    rows = []
    for source in report.inputs:
        read = () if not mapped else ("" if source.mapped_from is None else f"{source.mapped_from:,}",)
        hashed = source.sha256[:_HASH_SHOWN]
        rows.append((source.name, *read, f"{source.rows:,}", f"{source.rejected:,}", hashed))
    columns = ("input", *(("mapped from",) if mapped else ()), "rows", "rejected", "sha256")
    return SummaryTable("Inputs", columns, tuple(rows), frozenset(range(1, len(columns) - 1)))


def _movements(report: RunReport) -> SummaryTable:
    rows = tuple(
        (
            total.asset,
            total.entry_type,
            f"{total.entries:,}",
            _amount(total.amount_minor, total.scale),
        )
        for total in report.movements
    )
    return SummaryTable("Entries", ("asset", "action", "entries", "amount"), rows, frozenset((2, 3)))


def _balances(report: RunReport) -> SummaryTable:
    """Opening, change and closing per kind of account; each asset ends with the line that must be zero."""
    rows: list[tuple[str, ...]] = []
    for asset in dict.fromkeys(total.asset for total in report.balances):
        lines = [total for total in report.balances if total.asset == asset]
        rows.extend((asset, line.account, *_balance_cells(line)) for line in lines)
        rows.append((asset, "sum", *_balance_cells(_sum(lines))))
    columns = ("asset", "accounts", "opening", "change", "closing")
    return SummaryTable("Balances", columns, tuple(rows), frozenset((2, 3, 4)))


def _sum(lines: list[BalanceTotal]) -> BalanceTotal:
    return BalanceTotal(
        asset=lines[0].asset,
        scale=lines[0].scale,
        account="sum",
        opening_minor=sum(line.opening_minor for line in lines),
        change_minor=sum(line.change_minor for line in lines),
        closing_minor=sum(line.closing_minor for line in lines),
    )


def _balance_cells(total: BalanceTotal) -> tuple[str, str, str]:
    amounts = (total.opening_minor, total.change_minor, total.closing_minor)
    opening, change, closing = (_amount(amount, total.scale) for amount in amounts)
    return opening, change, closing


def _amount(minor: int, scale: int) -> str:
    """An amount with its thousands apart, for people."""
    whole, point, decimals = format_minor(abs(minor), scale).partition(".")
    return f"{'-' if minor < 0 else ''}{int(whole):,}{point}{decimals}"


def _broken(report: RunReport) -> tuple[str, ...]:
    """Said first when the figures do not tie, which only a defect can cause."""
    if report.ties:
        return ()
    return ("The figures do not tie: this is a defect of earnbook. Run `earnbook verify` and do not use this book.",)


def _next_commands(report: RunReport) -> tuple[str, ...]:
    if report.dry_run:
        return ()
    book = shlex.quote(str(report.book))
    commands = []
    if sum(report.rejected.values()):
        commands.append(f'earnbook sql --book {book} "SELECT source, source_row, reason, message FROM rejects"')
    if sum(report.failed.values()):
        commands.append(f"earnbook sql --book {book} \"SELECT * FROM event_status WHERE status = 'FAILED'\"")
    commands.append(f"earnbook report ledger-summary --book {book}")
    commands.append(f"earnbook verify --book {book}")
    return tuple(commands)
