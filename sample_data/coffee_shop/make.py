"""Makes the coffee shop's month: events.ndjson, the till's export events.csv of the same events, and the balances.

Deterministic; run it again after changing it and commit what it writes:

    python sample_data/coffee_shop/make.py

The expected balances are worked out here by a small model of the shop's nine rules that shares nothing with earnbook:
one member after the other, plain dictionaries and Decimals.
"""

from __future__ import annotations

import csv
import io
import json
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

BERLIN = ZoneInfo("Europe/Berlin")
FOLDER = Path(__file__).parent
MEMBERS = 140
DAYS = 31

# (product, category, price, weight)
PRODUCTS = (
    ("Espresso", "coffee", "2.80", 16),
    ("Cappuccino", "coffee", "3.90", 24),
    ("Flat White", "coffee", "4.20", 18),
    ("Pumpkin Latte", "coffee", "4.95", 8),
    ("Croissant", "food", "2.55", 14),
    ("Cheesecake", "food", "4.75", 8),
    ("House Blend 250 g", "beans", "9.50", 7),
    ("House Blend 1 kg", "beans", "27.90", 5),
)
KINDS = {"purchase": "Verkauf", "refund": "Rückgabe", "reward": "Prämie"}
CHANNELS = {"counter": "Theke", "app": "App"}


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """One line of the till; `minute` is local time."""

    key: str
    minute: datetime
    card: str
    kind: str
    product: str
    category: str
    quantity: int
    amount: Decimal | None
    channel: str
    voided: bool = False

    @property
    def time(self) -> datetime:
        return self.minute.astimezone(UTC)


class Dice:
    """Choices by `random()` alone, whose sequence Python guarantees for a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random

    def below(self, count: int) -> int:
        return int(self._random() * count)

    def chance(self, percent: int) -> bool:
        return self.below(100) < percent

    def product(self) -> tuple[str, str, Decimal]:
        left = self.below(sum(weight for *_, weight in PRODUCTS))
        for product, category, price, weight in PRODUCTS:
            left -= weight
            if left < 0:
                return product, category, Decimal(price)
        raise AssertionError("the weights cover every draw")


def make_tickets() -> list[Ticket]:
    """The month at two tills, in time order, with refunds, rewards, voids and sales without a card."""
    dice = Dice(20251001)
    tickets: list[Ticket] = []
    numbers: dict[int, int] = defaultdict(int)
    for day in range(DAYS):
        opening = datetime(2025, 10, 1, 7, tzinfo=BERLIN) + timedelta(days=day)
        busy = 74 if opening.weekday() >= 5 else 58
        for minute in sorted(dice.below(12 * 60) for _ in range(busy)):
            till = 1 + dice.below(2)
            numbers[till] += 1
            key = f"T{till}-{numbers[till]:05d}"
            # Adding to an aware time moves the clock on the wall, which is what a till prints.
            tickets.append(make_ticket(dice, key, opening + timedelta(minutes=minute), tickets))
    return tickets


def make_ticket(dice: Dice, key: str, minute: datetime, earlier: list[Ticket]) -> Ticket:
    # The smaller of two draws makes some members regulars.
    card = f"C-{1001 + min(dice.below(MEMBERS), dice.below(MEMBERS))}"
    drawn = dice.below(100)
    if drawn < 4 and (bought := last_purchase(earlier, card)):
        return replace(bought, key=key, minute=minute, kind="refund", channel="counter")
    if drawn < 10:
        return Ticket(
            key=key,
            minute=minute,
            card=card,
            kind="reward",
            product="Cappuccino",
            category="coffee",
            quantity=1,
            amount=None,
            channel="counter",
        )
    product, category, price = dice.product()
    quantity = 2 if dice.chance(18) else 1
    return Ticket(
        key=key,
        minute=minute,
        card="" if dice.chance(3) else card,
        kind="purchase",
        product=product,
        category=category,
        quantity=quantity,
        amount=price * quantity,
        channel="app" if dice.chance(20) else "counter",
        voided=dice.chance(2),
    )


def last_purchase(earlier: list[Ticket], card: str) -> Ticket | None:
    for ticket in reversed(earlier):
        if ticket.card == card and ticket.kind == "purchase" and not ticket.voided:
            return ticket
    return None


# --- files ----------------------------------------------------------------------------------------------------------


def recorded(ticket: Ticket) -> bool:
    """Whether the mapping of the till's export lets a ticket through."""
    return not ticket.voided and not (ticket.kind == "purchase" and not ticket.card)


def event_line(ticket: Ticket) -> str:
    """The ticket as an event; members in the order of the mapping, so that both files give the same text."""
    data: dict[str, object] = {"type": ticket.kind, "product": ticket.product, "category": ticket.category}
    data |= {"quantity": ticket.quantity, "amount": ticket.amount, "channel": ticket.channel}
    body = ",".join(f"{json.dumps(k)}:{json_value(v)}" for k, v in data.items() if v is not None)
    record = {
        "program_id": "loyalty",
        "idempotency_key": ticket.key,
        "external_id": ticket.card,
        "event_timestamp": ticket.minute.isoformat(),
    }
    head = ",".join(f"{json.dumps(k)}:{json.dumps(v)}" for k, v in record.items())
    return f'{{{head},"event_data":{{{body}}}}}'


def json_value(value: object) -> str:
    return str(value) if isinstance(value, Decimal | int) else json.dumps(value, ensure_ascii=False)


def csv_cells(ticket: Ticket) -> list[str]:
    amount = "" if ticket.amount is None else str(ticket.amount).replace(".", ",")
    return [
        ticket.key,
        ticket.minute.strftime("%d.%m.%Y %H:%M"),
        ticket.card,
        KINDS[ticket.kind],
        ticket.product,
        ticket.category,
        str(ticket.quantity),
        amount,
        CHANNELS[ticket.channel],
        "J" if ticket.voided else "N",
    ]


HEADER = ["ticket_no", "sold_at", "card_no", "kind", "product", "category", "quantity", "total", "channel", "voided"]


def bad_rows(tickets: list[Ticket]) -> Iterator[tuple[str, list[str]]]:
    """The same mistakes as (event, export row): no key, no such day, no member, a number used for another sale."""
    sales = [t for t in tickets if t.kind == "purchase" and recorded(t)]
    first, second, third = sales[100], sales[300], sales[500]
    cells = csv_cells(first)
    yield event_line(first).replace(f'"idempotency_key":"{first.key}",', ""), ["", *cells[1:]]
    cells = csv_cells(replace(second, key="T1-90001"))
    line = event_line(replace(second, key="T1-90001"))
    yield line.replace(f'"{second.minute.isoformat()}"', "null"), [cells[0], "31.09.2025 10:00", *cells[2:]]
    reward = Ticket(
        key="T2-90002",
        minute=third.minute,
        card="",
        kind="reward",
        product="Espresso",
        category="coffee",
        quantity=1,
        amount=None,
        channel="counter",
    )
    yield event_line(reward).replace('"external_id":"",', ""), csv_cells(reward)
    reused = replace(sales[700], key=sales[650].key)
    yield event_line(reused), csv_cells(reused)


def native_file(tickets: list[Ticket]) -> str:
    """Events in time order; three lines twice, one cut off in the middle."""
    kept = [t for t in tickets if recorded(t)]
    lines = [event_line(t) for t in sorted(kept, key=lambda t: (t.time, t.key))]
    lines[40:40] = [lines[12], lines[25]]
    lines.append(lines[900])
    for place, (line, _) in zip((200, 600, 1100, 1500), bad_rows(tickets), strict=True):
        lines.insert(place, line)
    lines.insert(1300, lines[1299][:70])
    return "\n".join(lines) + "\n"


def export_file(tickets: list[Ticket]) -> str:
    """The export of one till after the other, three rows twice."""
    rows = [csv_cells(t) for t in sorted(tickets, key=lambda t: t.key)]
    kept = [csv_cells(t) for t in tickets if recorded(t)]
    rows += [kept[12], kept[25], kept[900]]
    for place, (_, cells) in zip((300, 700, 1000, 1600), bad_rows(tickets), strict=True):
        rows.insert(place, cells)
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(rows)
    return sink.getvalue()


# --- expected balances ----------------------------------------------------------------------------------------------


@dataclass
class Lot:
    created: datetime
    left: int
    matures: datetime | None
    expires: datetime


@dataclass
class Member:
    """What the shop knows of a member; all beans are in lots, oldest first, less what is owed."""

    joined: bool = False
    coffees: int = 0
    lots: list[Lot] = field(default_factory=list)
    owed: int = 0
    cashback: Decimal = Decimal("0.00")

    def pass_time(self, now: datetime) -> None:
        """Maturities and expirations up to `now`, in the order in which they fall due."""
        due = [(lot.matures, 1, lot) for lot in self.lots if lot.matures is not None and lot.matures <= now]
        due += [(lot.expires, 2, lot) for lot in self.lots if lot.expires <= now]
        for _, rank, lot in sorted(due, key=lambda item: item[:2]):
            if rank == 1:
                lot.matures = None
                self._repay(lot)
            else:
                lot.left = 0
        self.lots = [lot for lot in self.lots if lot.left > 0]

    def credit(self, now: datetime, beans: int, *, days: int, matures_days: int = 0) -> None:
        if beans == 0:
            return
        matures = now + timedelta(days=matures_days) if matures_days else None
        lot = Lot(now, beans, matures, now + timedelta(days=days))
        self.lots.append(lot)
        if matures is None:
            self._repay(lot)

    def debit(self, beans: int) -> None:
        for lot in self.lots:
            if lot.matures is None:
                taken = min(lot.left, beans)
                lot.left -= taken
                beans -= taken
        self.owed += beans

    @property
    def available(self) -> int:
        return sum(lot.left for lot in self.lots if lot.matures is None) - self.owed

    @property
    def deferred(self) -> int:
        return sum(lot.left for lot in self.lots if lot.matures is not None)

    def _repay(self, lot: Lot) -> None:
        repaid = min(self.owed, lot.left)
        lot.left -= repaid
        self.owed -= repaid


PUMPKIN_FROM = datetime(2025, 10, 26, 23, tzinfo=UTC)
PUMPKIN_TO = datetime(2025, 10, 31, 22, 59, 59, tzinfo=UTC)


def apply_rules(member: Member, ticket: Ticket) -> None:
    """One ticket; a reward without enough beans changes nothing."""
    now, amount = ticket.time, ticket.amount or Decimal(0)
    member.pass_time(now)
    welcome = 0 if member.joined else 100
    if ticket.kind == "reward" and member.available + welcome < 120:
        return
    if welcome:
        member.joined = True
        member.credit(now, welcome, days=10)
    if ticket.kind == "reward":
        member.debit(120)
    elif ticket.kind == "refund":
        member.debit(floor(amount * 10))
    else:
        apply_purchase(member, ticket, now, amount)


def apply_purchase(member: Member, ticket: Ticket, now: datetime, amount: Decimal) -> None:
    if ticket.category == "coffee":
        if member.coffees % 10 == 9:
            member.credit(now, 50, days=365)
        member.coffees += 1
    if ticket.product.startswith("Pumpkin") and PUMPKIN_FROM <= now <= PUMPKIN_TO:
        member.credit(now, 25 * ticket.quantity, days=90)
    if ticket.category == "beans" and amount >= 20:
        member.cashback += (amount * Decimal("0.03")).quantize(Decimal("0.01"), ROUND_HALF_UP)
    if ticket.channel == "app":
        member.credit(now, floor(amount * 20), days=365, matures_days=2)
    else:
        member.credit(now, floor(amount * 10), days=365)


def floor(value: Decimal) -> int:
    return int(value.to_integral_value(ROUND_FLOOR))


def balances_file(tickets: list[Ticket]) -> str:
    """external_id, asset, available, deferred at the last moment of the month's log."""
    members: dict[str, Member] = defaultdict(Member)
    kept = sorted((t for t in tickets if recorded(t)), key=lambda t: (t.time, t.key))
    for ticket in kept:
        apply_rules(members[ticket.card], ticket)
    rows = ["external_id,asset,available,deferred"]
    for card in sorted(members):
        member = members[card]
        member.pass_time(kept[-1].time)
        rows.append(f"{card},BEANS,{member.available},{member.deferred}")
        if member.cashback:
            rows.append(f"{card},EUR,{member.cashback},0.00")
    return "\n".join(rows) + "\n"


def make_files() -> dict[str, str]:
    """File name to content."""
    tickets = make_tickets()
    return {
        "events.ndjson": native_file(tickets),
        "events.csv": export_file(tickets),
        "expected_balances.csv": balances_file(tickets),
    }


if __name__ == "__main__":
    for name, text in make_files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
