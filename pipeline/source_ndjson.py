"""NDJSON sources: blocks of lines, scanned as columns; doubtful lines are parsed exactly, one by one.

Row numbers are line numbers, so that a reject is found with any editor; blank lines are no rows. Passes over the
bytes: read and hash, UTF-8 check, scan, and a copy of the wanted texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.ledger.pool import StringPool
from earnbook.ledger.schema import Int8s, Int64s, Kind, UInt8s
from earnbook.pipeline.errors import SourceError
from earnbook.pipeline.intake import EVENT_FIELDS, Row, RowMistake
from earnbook.pipeline.intake_columns import Conformed, Draft, Intake, conform
from earnbook.pipeline.intake_json import EVENT_DATA_BYTES_MAX, JsonMistake, JsonTooDeep, parse_object
from earnbook.pipeline.intake_operation_columns import FIELDS as OPERATION_FIELDS
from earnbook.pipeline.intake_operation_columns import Cells, OperationDraft
from earnbook.pipeline.records import RejectReason
from earnbook.pipeline.source_bytes import Bools, gather, number_cells, timestamps
from earnbook.pipeline.source_scan import BLANK, PLAIN, Spans, Trie, Unknown, build_trie, line_bounds, scan_objects
from earnbook.pipeline.source_text import Texts, is_utf8, to_arrow

BLOCK_BYTES = 8 << 20
"""Bytes read at a time; a block ends at a line break."""

LINE_BYTES_MAX = 256 << 20
"""A longer stretch without line break is not NDJSON."""

_ROOT = ("type", *EVENT_FIELDS)
_TYPE, _EVENT_DATA, _TIMESTAMP = 0, _ROOT.index("event_data"), _ROOT.index("event_timestamp")
_OPERATION_FIELDS = tuple((name,) for name in OPERATION_FIELDS)
_INTEGER_FIELDS = frozenset({"idempotency_key", "external_id", "recipient_external_id"})
_BOM = b"\xef\xbb\xbf"


def read_ndjson(
    stream: IO[bytes], name: str, intake: Intake, block_bytes: int = BLOCK_BYTES, first_line: int = 1
) -> Iterator[Conformed]:
    """Conform the lines of a stream, block by block, in order; the first one has the number `first_line`."""
    trie = event_trie(intake.paths)
    line = first_line
    for block in line_blocks(stream, name, block_bytes):
        buffer = np.frombuffer(block, np.uint8)
        starts, ends = line_bounds(buffer)
        yield _conform_lines(buffer, starts, ends, line, trie, intake)
        line += len(starts)


def event_trie(paths: tuple[tuple[str, ...], ...]) -> Trie:
    """The members wanted of an event row: the fields of §3.2 and `type`, then the event paths."""
    return build_trie((*((name,) for name in _ROOT), *(("event_data", *path) for path in paths)))


def span_cells(
    buffer: UInt8s, spans: Spans, first_slot: int, plain: Bools, pool: StringPool
) -> list[tuple[Int8s, Int64s, Int8s]]:
    """The cells of the event paths whose slots begin at `first_slot`; texts of rows that are not plain stay out."""
    cells = []
    for kind, start, end in zip(spans.kind[first_slot:], spans.start[first_slot:], spans.end[first_slot:], strict=True):
        kinds, values, scales = number_cells(buffer, np.where(plain, kind, np.int8(Kind.ABSENT)), start, end)
        texts = np.flatnonzero(kinds == Kind.TEXT)
        if len(texts):
            values[texts] = pool.intern(_span_texts(buffer, start[texts], end[texts], np.ones(len(texts), np.bool_)))
        booleans = kinds == Kind.BOOL
        values[booleans] = buffer[start[booleans]] == ord("t")
        cells.append((kinds, values, scales))
    return cells


def parse_row(text: str) -> Row:
    """One JSON object as a row; raises RowMistake."""
    try:
        values, texts = parse_object(text)
    except JsonTooDeep as mistake:
        raise RowMistake(RejectReason.EVENT_DATA_TOO_LARGE, "event_data", f"{mistake}: flatten it") from None
    except JsonMistake as mistake:
        raise RowMistake(RejectReason.UNPARSEABLE_ROW, "", f"{mistake}: correct the row") from None
    return Row(values=values, texts=texts)


def line_blocks(stream: IO[bytes], name: str, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Blocks of whole lines; the last one may lack its line break."""
    rest = stream.read(len(_BOM)).removeprefix(_BOM)
    while block := stream.read(block_bytes):
        cut = block.rfind(b"\n") + 1
        if cut == 0:
            rest += block
            if len(rest) > LINE_BYTES_MAX:
                raise SourceError(
                    f"{name}: {LINE_BYTES_MAX:,} bytes without a line break",
                    "NDJSON has one record per line: convert the file, or name its format.",
                )
            continue
        yield rest + block[:cut]
        rest = block[cut:]
    if rest:
        yield rest


def _conform_lines(
    buffer: UInt8s, starts: Int64s, ends: Int64s, first_line: int, trie: Trie, intake: Intake
) -> Conformed:
    scan = scan_objects(buffer, starts, ends, trie, len(_ROOT) + len(intake.paths))
    rows = np.flatnonzero(scan.status != BLANK)
    starts, ends = starts[rows], ends[rows]
    spans = Spans(scan.spans.kind[:, rows], scan.spans.start[:, rows], scan.spans.end[:, rows])
    plain = (scan.status[rows] == PLAIN) & (spans.kind[_EVENT_DATA] == Kind.MAP)
    plain &= spans.kind[_TYPE] == Kind.ABSENT
    plain &= spans.end[_EVENT_DATA] - spans.start[_EVENT_DATA] <= EVENT_DATA_BYTES_MAX
    plain &= _utf8_rows(buffer, starts, ends)
    texts, plain = _field_texts(buffer, spans, plain)
    times, is_timed = timestamps(
        buffer, spans.start[_TIMESTAMP], spans.end[_TIMESTAMP], assume_utc=intake.contract.assume_utc
    )
    draft = Draft(
        source_rows=rows.astype(np.int64) + first_line,
        texts=texts,
        timestamps=times,
        is_timed=is_timed & (spans.kind[_TIMESTAMP] == Kind.TEXT),
        event_data=_span_texts(buffer, spans.start[_EVENT_DATA], spans.end[_EVENT_DATA], plain),
        cells=span_cells(buffer, spans, len(_ROOT), plain, intake.pool),
        doubtful=~plain,
        unknown={name: bits[rows] for name, bits in _unknown_rows(buffer, scan.unknown).items()},
        operations=_operations(buffer, starts, ends, scan.status[rows], spans, intake),
    )

    def line(index: int) -> bytes:
        return buffer[starts[index] : ends[index]].tobytes()

    return conform(draft, intake, lambda index: read_line(line(index)), lambda index: raw_text(line(index)))


def _operations(
    buffer: UInt8s, starts: Int64s, ends: Int64s, status: Int8s, spans: Spans, intake: Intake
) -> OperationDraft | None:
    """The lines with a type, scanned again for the fields of operations."""
    rows = np.flatnonzero((status == PLAIN) & (spans.kind[_TYPE] == Kind.TEXT))
    if not len(rows):
        return None
    starts, ends = starts[rows], ends[rows]
    scan = scan_objects(buffer, starts, ends, build_trie(_OPERATION_FIELDS), len(_OPERATION_FIELDS))
    doubtful = (scan.status != PLAIN) | (scan.unknown.bits != 0) | scan.unknown.nulls
    doubtful |= ~_utf8_rows(buffer, starts, ends)
    fields = {}
    for slot, name in enumerate(OPERATION_FIELDS):
        if name == "effective_at":
            continue
        kinds, start, end = scan.spans.kind[slot], scan.spans.start[slot], scan.spans.end[slot]
        present = (kinds != Kind.ABSENT) & ~doubtful
        if present.any():
            kinds = np.where(present, kinds, np.int8(Kind.ABSENT))
            fields[name] = Cells(kinds, Texts(*gather(buffer, start, end, present), present))
    time = OPERATION_FIELDS.index("effective_at")
    times, is_timed = timestamps(
        buffer, scan.spans.start[time], scan.spans.end[time], assume_utc=intake.contract.assume_utc
    )
    is_timed &= scan.spans.kind[time] == Kind.TEXT
    return OperationDraft(rows=rows, fields=fields, timestamps=times, is_timed=is_timed, doubtful=doubtful)


def raw_text(data: bytes) -> str:
    """The bytes of a row as text for its reject; bytes that are not UTF-8 are shown as \\xNN."""
    return data.decode("utf-8", errors="backslashreplace").strip("\r\n")


def read_line(data: bytes) -> Row:
    """The bytes of one line as a row; raises RowMistake."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        why = f"the row is not UTF-8 (byte {error.start + 1}): save the file as UTF-8"
        raise RowMistake(RejectReason.UNPARSEABLE_ROW, "", why) from None
    return parse_row(text)


def _utf8_rows(buffer: UInt8s, starts: Int64s, ends: Int64s) -> Bools:
    """Which rows are UTF-8; nearly always all of them, which one check of the block shows."""
    good = np.ones(len(starts), np.bool_)
    if is_utf8(buffer):
        return good
    for row in range(len(starts)):
        good[row] = is_utf8(buffer[starts[row] : ends[row]])
    return good


def _field_texts(buffer: UInt8s, spans: Spans, plain: Bools) -> tuple[dict[str, pa.Array], Bools]:
    """The text fields of the rows, and which rows are plain still: a field of another kind needs the exact checks."""
    texts = {}
    for slot, name in enumerate(_ROOT):
        if slot in (_TYPE, _EVENT_DATA, _TIMESTAMP):
            continue
        kind = spans.kind[slot]
        is_text, is_integer = kind == Kind.TEXT, (kind == Kind.NUMBER) & (name in _INTEGER_FIELDS)
        plain = plain & (is_text | is_integer | (kind == Kind.ABSENT) | (kind == Kind.NULL))
        present = (is_text | is_integer) & plain
        column = _span_texts(buffer, spans.start[slot], spans.end[slot], present)
        if is_integer.any():
            has_sign_or_point = pc.match_substring_regex(column, "[-.]").fill_null(False)
            plain = plain & ~(is_integer & has_sign_or_point.to_numpy(zero_copy_only=False))
        texts[name] = column
    return texts, plain


def _span_texts(buffer: UInt8s, start: Int64s, end: Int64s, present: Bools) -> pa.Array:
    offsets, data = gather(buffer, start, end, present)
    return to_arrow(Texts(offsets, data, present))


def _unknown_rows(buffer: UInt8s, unknown: Unknown) -> dict[str, Bools]:
    """Which lines have each unknown member."""
    return {
        raw_text(buffer[unknown.start[n] : unknown.end[n]].tobytes()): (unknown.bits >> np.uint64(n)) & np.uint64(1)
        == 1
        for n in range(int(unknown.used[0]))
    }
