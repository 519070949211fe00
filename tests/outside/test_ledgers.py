"""Outside witnesses: ledger (ledger-cli) and Beancount read exported journals and come to the balances of the book.

Select with `-m outside`: what is not installed yet is installed, `ledger` by apt-get and `beancount` by pip into a
virtual environment of its own.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TypeAlias

import pytest

from earnbook.pipeline.export_text import account_name, read_commodities
from earnbook.pipeline.reports_query import reading
from tests.support.book_maker import make_small_book
from tests.support.command_line import run_command
from tests.support.engines import run_in
from tests.support.examples import example_names, load_example

pytestmark = pytest.mark.outside

Balances: TypeAlias = dict[tuple[str, str], Decimal]
"""By account and commodity, without those of 0."""

ROOT = Path(__file__).parents[2]
BEANCOUNT_BALANCES = """
import collections, json, sys
from beancount import loader
from beancount.core import data
entries, errors, _ = loader.load_file(sys.argv[1])
assert not errors, errors[:5]
found = collections.defaultdict(int)
transactions = [entry for entry in entries if isinstance(entry, data.Transaction)]
for entry in transactions:
    for posting in entry.postings:
        found[posting.account, posting.units.currency] += posting.units.number
rows = [[account, commodity, str(number)] for (account, commodity), number in found.items()]
print(json.dumps({"transactions": len(transactions), "balances": rows}))
"""


def execute(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)


def must(*words: str | Path) -> str:
    done = execute(*words)
    assert done.returncode == 0, f"{words[0]}: {done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def ledger() -> str:
    if shutil.which("ledger") is None:
        must("apt-get", "update", "-qq")
        must("apt-get", "install", "-y", "-qq", "ledger")
    program = shutil.which("ledger")
    assert program is not None
    return program


@pytest.fixture(scope="session")
def beancount(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has Beancount."""
    folder = tmp_path_factory.mktemp("beancount")
    must(sys.executable, "-m", "venv", folder)
    must(folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "beancount")
    return folder / "bin"


def _coffee_shop(folder: Path) -> Path:
    shop = ROOT / "sample_data/coffee_shop"
    where = ("--config", shop / "config", "--book", folder / "coffee.duckdb", "--clock", "event")
    result = run_command("run", *where, shop / "events.ndjson", shop / "operations.ndjson")
    assert result.exit_code == 0, result.stderr
    return folder / "coffee.duckdb"


def _generated(folder: Path) -> Path:
    """Twelve rules on 70,000 events: lots, holds, overdrafts, expirations, two assets of different scale."""
    made = run_command("generate", folder / "events.parquet", "--events", "70000", "--participants", "5000")
    assert made.exit_code == 0, made.stderr
    config = ROOT / "tests/benchmarks/full/definitions.yaml"
    where = ("--config", config, "--book", folder / "generated.duckdb", "--clock", "event", "--no-progress")
    result = run_command("run", *where, folder / "events.parquet")
    assert result.exit_code == 0, result.stderr
    expired = run_command("advance", "--book", folder / "generated.duckdb", "--to", "2026-08-15", "--no-horizon")
    assert expired.exit_code == 0, expired.stderr
    return folder / "generated.duckdb"


def _written_by_hand(folder: Path) -> Path:
    make_small_book(folder / "small.duckdb")
    return folder / "small.duckdb"


def _export(book: Path) -> tuple[Path, Path]:
    paths = book.with_suffix(".ledger"), book.with_suffix(".beancount")
    result = run_command("export", "--book", book, "--ledger-cli", paths[0], "--beancount", paths[1])
    assert result.exit_code == 0, result.stderr
    return paths


def _of_the_book(book: Path) -> tuple[int, Balances]:
    """Its entries, and its balances from the balance table."""
    with reading(book) as connection:
        commodities = read_commodities(connection)
        (entries,) = connection.execute("SELECT count(*) FROM entries").fetchall()[0]
        rows = connection.execute("SELECT entity_type, entity, bucket, asset, amount_minor FROM balances").fetchall()
    return int(entries), {
        (account_name(kind, entity, bucket), commodities[asset].name): Decimal(minor).scaleb(-commodities[asset].scale)
        for kind, entity, bucket, asset, minor in rows
        if minor
    }


def _of_ledger(ledger: str, file: Path, commodities: set[str]) -> Balances:
    found: Balances = {}
    for commodity in sorted(commodities):
        shown = must(
            ledger, "--args-only", "--strict", "--file", file, "balance", "--flat", "--no-total", "--limit",
            f'commodity == "{commodity}"', "--balance-format", "%(account)\t%(display_total)\n",
        )  # fmt: skip
        for line in shown.splitlines():
            account, amount = line.split("\t")
            number, name = amount.split()
            assert name == commodity
            found[account.strip(), name] = Decimal(number)
    return found


def _of_beancount(beancount: Path, file: Path) -> tuple[int, Balances]:
    must(beancount / "bean-check", file)
    said = json.loads(must(beancount / "python", "-c", BEANCOUNT_BALANCES, file))
    found = {(account, commodity): Decimal(number) for account, commodity, number in said["balances"]}
    return said["transactions"], {place: number for place, number in found.items() if number}


def _witness(book: Path, ledger: str, beancount: Path) -> int:
    """Both programs come to the balances of the book; returns its entries."""
    ledger_file, beancount_file = _export(book)
    entries, balances = _of_the_book(book)
    assert _of_ledger(ledger, ledger_file, {commodity for _, commodity in balances}) == balances
    assert _of_beancount(beancount, beancount_file) == (entries, balances)
    return entries


@pytest.mark.parametrize("make", [_written_by_hand, _coffee_shop], ids=["by hand", "coffee shop"])
def test_both_programs_come_to_the_balances_of_a_sample(
    make: object, tmp_path: Path, ledger: str, beancount: Path
) -> None:
    assert callable(make)
    assert _witness(make(tmp_path), ledger, beancount) > 0


def test_both_programs_come_to_the_balances_of_a_hundred_thousand_entries(
    tmp_path: Path, ledger: str, beancount: Path
) -> None:
    entries = _witness(_generated(tmp_path), ledger, beancount)
    print(f"{entries:,} entries")
    assert entries > 100_000


def _money_examples() -> Iterator[str]:
    """The examples of §9 and §16: every action type and kind of account."""
    return (name for name in example_names() if re.match(r"m\d|forfeit|hold|release|redeem|reverse|transfer", name))


def test_both_programs_come_to_the_balances_of_every_example_about_money(
    tmp_path: Path, ledger: str, beancount: Path
) -> None:
    for name in _money_examples():
        folder = tmp_path / name
        folder.mkdir()
        run_in(folder, load_example(name).scenario, mode="closures")
        assert _witness(folder / "book.duckdb", ledger, beancount) > 0, name


def test_both_programs_find_one_wrong_amount(tmp_path: Path, ledger: str, beancount: Path) -> None:
    ledger_file, beancount_file = _export(_written_by_hand(tmp_path))
    for file in (ledger_file, beancount_file):
        text = file.read_text(encoding="utf-8")
        assert text.count("  30.00 PTS\n") == 1
        file.write_text(text.replace("  30.00 PTS\n", "  30.01 PTS\n"), encoding="utf-8")
    assert execute(ledger, "--args-only", "--file", ledger_file, "balance").returncode != 0
    assert execute(beancount / "bean-check", beancount_file).returncode != 0
