"""A program compiled in parts means what the closures mean, and a changed rule compiles nothing but its own part."""

from __future__ import annotations

import os
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from earnbook.rules import kernel_load
from earnbook.rules.compile import compile_program
from earnbook.rules.kernel_cache import prune
from earnbook.rules.kernel_parts import PART_RULES_MAX
from tests.support.kernel_programs import (
    PTS,
    program_of,
    random_entity,
    random_event,
    random_program,
    rule,
)
from tests.support.kernel_rows import NOW, Pool, Row, run_closures, run_kernel

START = "2026-01-01T00:00:00Z"


@pytest.fixture(autouse=True)
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every program is divided, however small."""
    monkeypatch.setattr(kernel_load, "DIVIDED_FUNCTIONS_MIN", 0)


def _many(count: int, **changed: str) -> list[dict[str, Any]]:
    """Rules of which each reads a field of its own; `r3="…"` gives the rule of this key another condition."""
    return [
        rule(changed.get(f"r{number}", f"event.f{number} > {number}"), f"event.f{number} * 2", order=number)
        for number in range(1, count + 1)
    ]


def _parts(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("part_*.o")}


@pytest.mark.parametrize("seed", range(4))
def test_random_rules_in_parts_propose_what_the_closures_propose(seed: int, tmp_path: Path) -> None:
    rng = random.Random(f"parts {seed}")
    ruleset = compile_program(random_program(rng), [PTS], cache_directory=tmp_path)
    if ruleset.programs[0].propose is None:
        pytest.skip(ruleset.programs[0].refused or "")
    rows = [Row(event=random_event(rng), participant=random_entity(rng)) for _ in range(60)]
    pool = Pool()
    expected = run_closures(ruleset, rows, pool)
    for right, found in zip(expected, run_kernel(ruleset, rows, pool), strict=True):
        assert found is None or found == right


def test_windows_stops_and_errors_across_parts(tmp_path: Path) -> None:
    rules = _many(70, r40="event.missing", r66="event.f1 > 100")
    rules[4] |= {"active_from": START, "active_to": START}
    rules[65] |= {"stop_after_match": True}
    ruleset = compile_program(program_of(*rules), [PTS], cache_directory=tmp_path)
    full = {f"f{number}": Decimal(number + number % 2) for number in range(1, 71)}
    rows = [
        Row(event=full),
        Row(event=full, processed_at=NOW + 1),
        Row(event=full | {"f1": Decimal(200)}),
        Row(event={}),
        Row(event=full | {"f70": Decimal("1e30")}),
    ]
    pool = Pool()
    expected, found = run_closures(ruleset, rows, pool), run_kernel(ruleset, rows, pool)
    assert found == [*expected[:4], None]
    assert len(_parts(tmp_path)) > 70 // PART_RULES_MAX


def test_a_changed_rule_compiles_only_its_part(tmp_path: Path) -> None:
    first = compile_program(program_of(*_many(60)), [PTS], cache_directory=tmp_path)
    before = _parts(tmp_path)
    # It reads two new columns and a literal before all others: the numbers of nearly everything shift.
    changed = "event.new > 1 && event.other == 'x'"
    second = compile_program(program_of(*_many(60, r2=changed)), [PTS], cache_directory=tmp_path)
    assert len(_parts(tmp_path) - before) == 1
    event = {f"f{number}": Decimal(number + 1) for number in range(1, 61)} | {"new": Decimal(2), "other": "x"}
    for ruleset in (first, second):
        pool = Pool()
        found = run_kernel(ruleset, [Row(event=event)], pool)
        assert found == run_closures(ruleset, [Row(event=event)], pool)


def test_a_new_rule_moves_no_others_between_parts(tmp_path: Path) -> None:
    rules = _many(60)
    compile_program(program_of(*rules[:2], *rules[3:]), [PTS], cache_directory=tmp_path)
    before = _parts(tmp_path)
    compile_program(program_of(*rules), [PTS], cache_directory=tmp_path)
    assert 1 <= len(_parts(tmp_path) - before) <= 2


def test_damaged_files_are_made_again(tmp_path: Path) -> None:
    program = program_of(*_many(20))
    compile_program(program, [PTS], cache_directory=tmp_path)
    whole = {path: path.read_bytes() for path in tmp_path.rglob("*.o")}
    for number, (path, content) in enumerate(sorted(whole.items())):
        path.write_bytes(content[:-1] if number % 2 else content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    ruleset = compile_program(program, [PTS], cache_directory=tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.o")} == whole
    (found,) = run_kernel(ruleset, [Row(event={f"f{number}": Decimal(99) for number in range(1, 21)})], Pool())
    assert found is not None
    assert found.words[0] == 2**20 - 1


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("keep", [0, 100, -1])
def test_damaged_files_of_numba_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, keep: int
) -> None:
    monkeypatch.setattr("numba.core.config.CACHE_DIR", "")
    program = program_of(rule("event.x > 0", "1"))
    compile_program(program, [PTS], cache_directory=tmp_path)
    (path,) = tmp_path.rglob(f"propose_*.{suffix}")
    whole = path.read_bytes()
    path.write_bytes(whole[:keep] if keep >= 0 else whole[:-500] + bytes([whole[-500] ^ 1]) + whole[-499:])
    ruleset = compile_program(program, [PTS], cache_directory=tmp_path)
    assert len(path.read_bytes()) == len(whole)
    (found,) = run_kernel(ruleset, [Row(event={"x": Decimal(1)})], Pool())
    assert found is not None


def test_the_cache_keeps_what_was_written_last(tmp_path: Path) -> None:
    for number in range(6):
        path = tmp_path / f"part_{number}.o"
        path.write_bytes(b"x" * 5000)
        os.utime(path, ns=(number, number))
    prune(tmp_path, bytes_max=3 * 8192)
    assert _parts(tmp_path) == {"part_3.o", "part_4.o", "part_5.o"}
