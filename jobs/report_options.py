"""What the commands of `report` share: options for times, names and accounts, and the writing of a `Report`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from earnbook.jobs.options import TIME, TIME_TO, Function, Output, book_option, output_options
from earnbook.jobs.output import say, write_rows
from earnbook.ledger.schema import Bucket, EntityType
from earnbook.pipeline.reports import Report, ReportRequest
from earnbook.pipeline.reports_calendar import Every
from earnbook.pipeline.reports_entries import Owner

_AS_OF = click.option("--as-of", "as_of_us", type=TIME_TO, help="As of this time, inclusive. Default: the present.")
_FROM = click.option("--from", "from_us", type=TIME, help="First processing time, inclusive.")
_TO = click.option("--to", "to_us", type=TIME_TO, help="Last processing time, inclusive.")
_PROGRAM = click.option("--program", metavar="KEY", help="Only this program.")
_ASSET = click.option("--asset", metavar="SYMBOL", help="Only this asset.")
_OPTIONS = {"as-of": _AS_OF, "from": _FROM, "to": _TO, "program": _PROGRAM, "asset": _ASSET}


def report_options(*names: str) -> Callable[[Function], Function]:
    """`--book`, those of --as-of --from --to --program --asset that are named, and the output options.

    The command gets a `request` in place of them, and `output`.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def with_request(
            *args: Any,
            book: Path,
            as_of_us: int | None = None,
            from_us: int | None = None,
            to_us: int | None = None,
            program: str | None = None,
            asset: str | None = None,
            **rest: Any,
        ) -> Any:
            request = ReportRequest(
                book=book, as_of_us=as_of_us, from_us=from_us, to_us=to_us, program=program, asset=asset
            )
            return function(*args, request=request, **rest)

        decorated: Any = output_options(with_request)
        for name in reversed(names):
            decorated = _OPTIONS[name](decorated)
        return book_option(decorated)  # type: ignore[no-any-return]  # functools.wraps loses the type variable

    return decorate


def owner_options(function: Function) -> Function:
    """`--participant`, `--group` and `--wallet`, of which one at most is given; the command gets them as `owner`."""

    @click.option("--participant", metavar="EXTERNAL_ID", help="The accounts of this participant.")
    @click.option("--group", metavar="KEY", help="The accounts of this group.")
    @click.option("--wallet", metavar="PROGRAM", help="The wallet of this program.")
    @functools.wraps(function)
    def with_owner(*args: Any, participant: str | None, group: str | None, wallet: str | None, **rest: Any) -> Any:
        given = [
            Owner(kind=kind, key=key)
            for kind, key in (
                (EntityType.PARTICIPANT, participant),
                (EntityType.GROUP, group),
                (EntityType.PROGRAM, wallet),
            )
            if key is not None
        ]
        if len(given) > 1:
            raise click.UsageError("Give one of --participant, --group and --wallet.")
        return function(*args, owner=given[0] if given else None, **rest)

    return with_owner  # type: ignore[return-value]  # functools.wraps loses the type variable


def bucket_option(function: Function) -> Function:
    """`--bucket`; the command gets a `Bucket` or None as `bucket`."""

    @click.option(
        "--bucket", "bucket_name", type=click.Choice([bucket.name for bucket in Bucket]), help="Only this one."
    )
    @functools.wraps(function)
    def with_bucket(*args: Any, bucket_name: str | None, **rest: Any) -> Any:
        return function(*args, bucket=None if bucket_name is None else Bucket[bucket_name], **rest)

    return with_bucket  # type: ignore[return-value]  # functools.wraps loses the type variable


def by_calendar_option(function: Function) -> Function:
    """`--by day|week|month`; the command gets it as `every`."""
    lengths = click.Choice([one.value for one in Every])
    return click.option(
        "--by", "every", type=lengths, default=Every.MONTH.value, show_default=True, help="Length of the intervals."
    )(function)


def by_bucket_option(function: Function) -> Function:
    """`--by bucket`; the command gets `by_bucket`."""

    @click.option("--by", type=click.Choice(["program", "bucket"]), default="program", help="bucket: split by it, too.")
    @functools.wraps(function)
    def with_by(*args: Any, by: str, **rest: Any) -> Any:
        return function(*args, by_bucket=by == "bucket", **rest)

    return with_by  # type: ignore[return-value]  # functools.wraps loses the type variable


def write_report(output: Output, report: Report, *, more: Sequence[str] = ()) -> None:
    """Writes a report's rows, and says what there is to say about them."""
    write_rows(output, report.table, amounts=report.amounts)
    for line in more:
        say(output, line)
    if report.provisional:
        say(output, "Provisional: the book clock has not passed the end of this report.")
