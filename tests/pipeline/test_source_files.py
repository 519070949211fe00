"""Which files inputs name, how they are opened, and what is refused (§3.5, §4.1)."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sys
from pathlib import Path

import pytest
import zstandard

from earnbook.pipeline.config import Progress
from earnbook.pipeline.errors import SourceError
from earnbook.pipeline.source_files import find_inputs
from tests.support.staging import event, records_of, stage, write_lines


def rows(count: int, prefix: str = "k") -> list[dict[str, object]]:
    return [event(idempotency_key=f"{prefix}{n}") for n in range(count)]


def test_inputs_keep_their_order_and_globs_are_sorted(tmp_path: Path) -> None:
    for name in ("b.ndjson", "a.ndjson", "z.csv", "sub/c.jsonl", "sub/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    inputs = (str(tmp_path / "z.csv"), str(tmp_path / "*.ndjson"), str(tmp_path / "sub"))
    found = find_inputs(inputs)
    assert [Path(file.name).name for file in found] == ["z.csv", "a.ndjson", "b.ndjson", "c.jsonl"]
    assert [file.format for file in found] == ["csv", "ndjson", "ndjson", "ndjson"]


@pytest.mark.parametrize("compression", ["gz", "zst"])
def test_compressed_files_are_read_and_hashed_as_they_are(tmp_path: Path, compression: str) -> None:
    plain = "".join(json.dumps(row) + "\n" for row in rows(50)).encode()
    path = tmp_path / f"a.ndjson.{compression}"
    # Two members one after the other, as log shippers write them.
    pack = gzip.compress if compression == "gz" else zstandard.ZstdCompressor().compress
    path.write_bytes(pack(plain[: len(plain) // 2]) + pack(plain[len(plain) // 2 :]))
    staged = stage(path)
    assert len(records_of(staged)) == 50
    assert staged.sources[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_compressed_csv_and_parquet_are_read(tmp_path: Path) -> None:
    text = "program_id,idempotency_key,event_timestamp,external_id,event_data\nloyalty,k,2026-01-01T00:00:00Z,a,{}\n"
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert len(records_of(stage(tmp_path / "a.csv.gz"))) == 1


def test_standard_input_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = "".join(json.dumps(row) + "\n" for row in rows(3)).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    staged = stage("-")
    assert [row["idempotency_key"] for row in records_of(staged)] == ["k0", "k1", "k2"]
    assert (staged.sources[0].name, staged.sources[0].sha256) == ("-", hashlib.sha256(data).hexdigest())
    with pytest.raises(SourceError, match="given twice"):
        find_inputs(("-", "-"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.ndjson", None, "no such file"),
        ("no-*.ndjson", None, "no file matches"),
        ("a.txt", b"", "format is not known"),
        ("a.parquet", b"PAR1 nothing", "not readable as parquet"),
        ("a.arrow", b"nothing", "not readable as arrow"),
        ("a.ndjson.gz", gzip.compress(b"{}\n" * 999, mtime=0)[:-20], "reading failed"),
        ("a.ndjson.gz", b"no gzip", "reading failed"),
        ("a.ndjson.zst", b"no zstandard", "reading failed"),
    ],
)
def test_an_input_that_cannot_be_read_is_refused(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError) as caught:
        stage(tmp_path / name)
    assert message in caught.value.message
    assert caught.value.remedy


def test_an_empty_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no event files"):
        find_inputs((str(tmp_path),))
    with pytest.raises(SourceError, match="no format 'xml'"):
        find_inputs((str(tmp_path),), "xml")


def test_the_format_can_be_named(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "export.txt", rows(2))
    assert len(records_of(stage(path, format="ndjson"))) == 2


def test_progress_counts_the_bytes_of_all_files(tmp_path: Path) -> None:
    steps: list[Progress] = []
    paths = [write_lines(tmp_path / f"{n}.ndjson", rows(20, str(n))) for n in range(2)]
    stage(*paths, progress=steps.append)
    total = sum(path.stat().st_size for path in paths)
    assert (steps[-1].done, steps[-1].total, steps[-1].unit) == (total, total, "bytes")
    assert [step.done for step in steps] == sorted(step.done for step in steps)


def test_a_file_without_rows_is_a_source_without_rows(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text("\n\n")
    (source,) = stage(tmp_path / "a.ndjson").sources
    assert (source.rows_read, source.accepted) == (0, 0)
