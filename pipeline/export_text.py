"""The whole journal as plain text for other people's ledgers: `ledger` (ledger-cli) and Beancount.

Every entry is one transaction with the signed amounts of its postings; both files end with the balance of every
account, which these programs check while they read. They share nothing with the ledger of this repository, so they are
an outside witness that entries balance and that balances are what the journal adds up to.

Signs are those of the book: value that somebody has is an asset, ISSUANCE is the income that all of it came from, and
what was redeemed or broken is an expense. Names are made so that both programs read them, and so that no two accounts
or commodities become one:

- `Assets:Participants:<external id>:<Bucket>`, `Assets:Groups:<key>:<Bucket>`, `Assets:Wallets:<program>`,
  `Income:Issuance`, `Expenses:Redemption`, `Expenses:Breakage`;
- in a name, letters, digits and `-` stay; any other character is `-x` and two hex digits for each byte of its UTF-8, as
  is a `-` before an `x`; a name that does not begin with a capital or a digit, or begins with `N-`, gets `N-` in front;
- a commodity is the asset's symbol if that is 2 to 20 capital letters, else its letters as capitals with the asset's
  number in letters behind `X` (`USD2` as asset 3 is `USDXC`), which no other asset has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import duckdb

from earnbook.pipeline.errors import EarnbookError
from earnbook.pipeline.export_files import whole_file
from earnbook.pipeline.reports_query import reading
from earnbook.pipeline.store_tables import ObjectKind


class TextFormat(StrEnum):
    """Whose text it is."""

    LEDGER = "ledger-cli"
    BEANCOUNT = "beancount"


@dataclass(frozen=True, slots=True, kw_only=True)
class Commodity:
    """An asset as both programs call it."""

    name: str
    symbol: str
    scale: int


_PLAIN_COMMODITY = re.compile(r"[A-Z]{2,20}")
_ROOTS = {"PARTICIPANT": "Assets:Participants", "GROUP": "Assets:Groups", "PROGRAM": "Assets:Wallets"}
_SYSTEM = {
    "SYSTEM_ISSUANCE": "Income:Issuance",
    "SYSTEM_REDEMPTION": "Expenses:Redemption",
    "SYSTEM_BREAKAGE": "Expenses:Breakage",
}


def write_journal(book: Path, path: Path, text_format: TextFormat) -> int:
    """Writes all entries of a book to a file, whole or not at all; returns how many there are."""
    count = 0
    with reading(book) as connection, whole_file(path) as part, part.open("w", encoding="utf-8") as sink:
        commodities = read_commodities(connection)
        write = _Ledger(commodities) if text_format is TextFormat.LEDGER else _Beancount(commodities)
        sink.writelines(write.head(_first_uses(connection)))
        last = date(1970, 1, 1)
        for entry, legs in _entries(connection):
            last = entry.created_on
            count += 1
            sink.writelines(write.entry(entry, legs))
        sink.writelines(write.balances(_balances(connection), last + timedelta(days=1)))
    return count


def account_name(entity_type: str, entity: str | None, bucket: str) -> str:
    """The account of an entity and bucket in both programs."""
    if entity_type in _SYSTEM:
        return _SYSTEM[entity_type]
    root = f"{_ROOTS[entity_type]}:{component(entity or '')}"
    return root if entity_type == "PROGRAM" else f"{root}:{bucket.capitalize()}"


def component(name: str) -> str:
    """A name as one part of an account: nothing but letters, digits and `-`, different for different names."""
    kept = "".join(
        c if c.isascii() and (c.isalnum() or (c == "-" and name[at + 1 : at + 2] != "x")) else _escaped(c)
        for at, c in enumerate(name)
    )
    starts_well = kept[:1].isdigit() or kept[:1].isupper()
    return kept if starts_well and not kept.startswith("N-") else f"N-{kept}"


def _escaped(character: str) -> str:
    return "".join(f"-x{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def read_commodities(connection: duckdb.DuckDBPyConnection) -> dict[str, Commodity]:
    """The book's assets by symbol, in number order."""
    query = f"SELECT number, key, scale FROM store.objects WHERE kind = {ObjectKind.ASSET} ORDER BY number"
    found: dict[str, Commodity] = {}
    names: set[str] = set()
    for number, symbol, scale in connection.execute(query).fetchall():
        name = commodity_name(symbol, int(number))
        # A plain symbol may look like the made-up name of another asset.
        while name in names:
            name += "X"
        names.add(name)
        found[symbol] = Commodity(name=name, symbol=symbol, scale=int(scale))
    return found


def commodity_name(symbol: str, number: int) -> str:
    """An asset's symbol in capital letters alone."""
    if _PLAIN_COMMODITY.fullmatch(symbol):
        return symbol
    letters = "".join(c for c in symbol.upper() if "A" <= c <= "Z")[:12]
    return f"{letters}X{_in_letters(number)}"


def _in_letters(number: int) -> str:
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


# --- reading --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Entry:
    seq: int
    created_on: date
    action_type: str
    cause: str


@dataclass(frozen=True, slots=True)
class _Amount:
    """An amount of minor units on an account."""

    account: str
    symbol: str
    minor: int


def _entries(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[_Entry, list[_Amount]]]:
    """Every entry with its postings, in journal order."""
    connection.execute(
        """SELECT e.seq, CAST(e.created_at AS DATE), e.action_type, e.cause, p.entity_type, p.entity, p.bucket, p.asset,
            p.amount_minor
        FROM postings AS p JOIN entries AS e ON e.seq = p.entry_seq ORDER BY e.seq, p.index"""
    )
    for (seq, created_on, action_type, cause), rows in groupby(_fetched(connection), key=itemgetter(0, 1, 2, 3)):
        legs = [_Amount(account_name(*row[4:7]), row[7], row[8]) for row in rows]
        yield _Entry(seq, created_on, action_type, cause), legs


def _balances(connection: duckdb.DuckDBPyConnection) -> list[_Amount]:
    """The balances that the book keeps, which the journal has to add up to."""
    rows = connection.execute(
        """SELECT entity_type, entity, bucket, asset, amount_minor FROM balances
        ORDER BY asset, entity_type, entity, bucket"""
    ).fetchall()
    return [_Amount(account_name(*row[:3]), row[3], int(row[4])) for row in rows]


def _first_uses(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, date, str | None]]:
    """Every account with the day of its first entry and its entity's key as it is."""
    rows = connection.execute(
        """SELECT p.entity_type, p.entity, p.bucket, CAST(min(e.created_at) AS DATE)
        FROM postings AS p JOIN entries AS e ON e.seq = p.entry_seq
        GROUP BY ALL ORDER BY 4, 1, 2, 3"""
    ).fetchall()
    return [(account_name(*row[:3]), row[3], row[1]) for row in rows]


def _fetched(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while rows := connection.fetchmany(10_000):
        yield from rows


# --- writing --------------------------------------------------------------------------------------------------------


class _Ledger:
    """ledger-cli: strict names are declared, balances are asserted by a last transaction of zeros."""

    def __init__(self, commodities: dict[str, Commodity]) -> None:
        self._commodities = commodities

    def head(self, uses: Iterable[tuple[str, date, str | None]]) -> Iterator[str]:
        """Declarations of commodities and accounts."""
        for commodity in self._commodities.values():
            yield f"commodity {commodity.name}\n    note {_words(commodity.symbol)}\n"
        for account, _, key in uses:
            yield f"account {account}\n" + (f"    note {_words(key)}\n" if key else "")

    def entry(self, entry: _Entry, legs: Iterable[_Amount]) -> Iterator[str]:
        """One entry; its number is the code."""
        yield f"\n{entry.created_on} * ({entry.seq}) {entry.action_type}\n"
        yield from (f"    {leg.account}  {self._amount(leg)}\n" for leg in legs)

    def balances(self, balances: Iterable[_Amount], on: date) -> Iterator[str]:
        """One transaction of zeros that asserts every balance."""
        lines = [f"    {b.account}  {self._zero(b)} = {self._amount(b)}\n" for b in balances]
        if lines:
            yield f"\n{on} * Balances of the book\n"
        yield from lines

    def _amount(self, amount: _Amount) -> str:
        commodity = self._commodities[amount.symbol]
        return f"{units_text(amount.minor, commodity.scale)} {commodity.name}"

    def _zero(self, amount: _Amount) -> str:
        return self._amount(_Amount(amount.account, amount.symbol, 0))


class _Beancount:
    """Beancount: accounts are opened on the day of their first entry, balances are asserted the day after the last."""

    def __init__(self, commodities: dict[str, Commodity]) -> None:
        self._commodities = commodities

    def head(self, uses: Iterable[tuple[str, date, str | None]]) -> Iterator[str]:
        """Commodities, and an `open` for each account.

        No tolerance needs to be set: Beancount infers half a unit of the last decimal, and every amount has all of its
        asset's decimals, so a transaction that does not balance is off by a whole one.
        """
        uses = list(uses)
        first = uses[0][1] if uses else date(1970, 1, 1)
        for commodity in self._commodities.values():
            yield f"{first} commodity {commodity.name}\n  name: {_quoted(commodity.symbol)}\n"
        for account, on, key in uses:
            yield f"{on} open {account}\n" + (f"  key: {_quoted(key)}\n" if key else "")

    def entry(self, entry: _Entry, legs: Iterable[_Amount]) -> Iterator[str]:
        """One entry; its number and cause are metadata."""
        yield f'\n{entry.created_on} * "{entry.action_type}"\n  seq: {entry.seq}\n  cause: "{entry.cause}"\n'
        yield from (f"  {leg.account}  {self._amount(leg)}\n" for leg in legs)

    def balances(self, balances: Iterable[_Amount], on: date) -> Iterator[str]:
        """Every balance, without any tolerance."""
        yield "\n"
        for balance in balances:
            number, name = self._amount(balance).split(" ")
            yield f"{on} balance {balance.account}  {number} ~ 0 {name}\n"

    def _amount(self, amount: _Amount) -> str:
        commodity = self._commodities[amount.symbol]
        return f"{units_text(amount.minor, commodity.scale)} {commodity.name}"


def units_text(minor: int, scale: int) -> str:
    """Minor units in asset units with exactly `scale` decimals."""
    sign, digits = ("-" if minor < 0 else ""), str(abs(minor)).rjust(scale + 1, "0")
    return f"{sign}{digits[: len(digits) - scale]}.{digits[-scale:]}" if scale else f"{sign}{digits}"


def _words(text: str) -> str:
    """Text that stays on its line."""
    return " ".join(text.split())


def _quoted(text: str) -> str:
    escaped = _words(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def refuse_same_file(paths: Iterable[Path | None]) -> None:
    """Raises EarnbookError where two texts would go to one file."""
    given = [path.resolve() for path in paths if path is not None]
    if len(given) != len(set(given)):
        raise EarnbookError("two exports would go to one file", "Give each a file of its own.")
