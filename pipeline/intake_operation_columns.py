"""Intake of many money operations at once: the plain ones by columns, as `intake_columns` does with events.

A reader hands over an `OperationDraft`: the operation rows of a block with every field as a column. A row is *good* if
it passes the checks of §3.5 in the simple forms that columns can see; its canonical fields (§3.4) are then written
column by column, byte for byte as `intake_operations` writes them. Every other row is for that module: columns never
refuse anything.

Sketch: a dozen short columns a row; 2 µs an operation, half of it writing the canonical fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from earnbook.ledger.schema import Int8s, Int32s, Int64s, Kind
from earnbook.pipeline.intake import Contract, RowMistake
from earnbook.pipeline.intake_plain import (
    plain_keys,
    plain_lengths,
    plain_recipients,
    plain_uuids,
    program_numbers,
)
from earnbook.pipeline.intake_values import check_field
from earnbook.pipeline.operation_fields import (
    ALL,
    RECIPIENTS_MAX,
    SPECIFICATIONS,
    EntityNeed,
    FieldKind,
    FieldSpec,
    OperationSpec,
)
from earnbook.pipeline.records import Given
from earnbook.pipeline.source_amounts import plain_amounts
from earnbook.pipeline.source_bytes import Bools, timestamps
from earnbook.pipeline.source_lists import split_lists
from earnbook.pipeline.source_text import Member, Texts, build_lists, build_objects, from_arrow, to_arrow

_TYPES: Mapping[str, OperationSpec] = {
    name: SPECIFICATIONS[name]
    for name in ("adjust", "hold", "release", "forfeit", "void_hold", "redeem", "transfer", "fund", "burn")
}
FIELDS = tuple(dict.fromkeys(name for spec in _TYPES.values() for name in spec.names))
"""The fields of the types that columns read."""

_SPECS: Mapping[str, FieldSpec] = {name: field for spec in _TYPES.values() for name, field in spec.fields.items()}
_KEYS = ("external_id", "source_external_id")
_IDS = ("participant_id", "source_participant_id")
_GROUPS = ("group_id", "source_group_id")
_INTEGERS = frozenset({"idempotency_key", *_KEYS})
_ABSENT, _TEXT, _NUMBER, _BOOL, _LIST = (
    int(kind) for kind in (Kind.ABSENT, Kind.TEXT, Kind.NUMBER, Kind.BOOL, Kind.LIST)
)


@dataclass(frozen=True, slots=True)
class Cells:
    """One field of some rows: the kind of each value (ABSENT where there is none) and its characters.

    The characters are those of a TEXT without quotes and escapes, of a plain NUMBER, of a BOOL, or the JSON text of a
    LIST; of other kinds nothing is known.
    """

    kinds: Int8s
    texts: Texts


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationDraft:
    """The operation rows of a draft, as a reader leaves them.

    `rows` are their places in the draft; all other members are about these rows alone. `timestamps` are microseconds of
    `effective_at`, which is not among the `fields`, where `is_timed`; `doubtful` rows have something that the columns
    do not show.
    """

    rows: Int64s
    fields: Mapping[str, Cells]
    timestamps: Int64s
    is_timed: Bools
    doubtful: Bools
    is_cells: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainOperations:
    """The operations that are good as they stand, as record columns; `rows` are their places in the draft."""

    rows: Int64s
    operation: Int8s
    program: Int32s
    timestamps: Int64s
    given: Int8s
    keys: pa.Array
    participants: pa.Array
    fields: pa.Array


def plain_operations(draft: OperationDraft, contract: Contract) -> PlainOperations:
    """The good rows of a draft."""
    checks = _Checks(draft, contract)
    checks.common()
    checks.types()
    members = [member for name in sorted(checks.cells) if name in _SPECS for member in checks.members(name)]
    members += checks.common_members()
    # A row may have turned out not to be good while its members were written: objects are built last.
    objects = build_objects(sorted(members, key=lambda member: member.name), checks.good)
    return checks.result(to_arrow(objects))


class _Checks:
    """The checks over the columns of one draft: `good` says which rows have passed all of them so far."""

    def __init__(self, draft: OperationDraft, contract: Contract) -> None:
        self._draft, self._contract = draft, contract
        self.cells = draft.fields
        self.good = draft.is_timed & ~draft.doubtful
        if contract.horizon_us is not None:
            self.good &= draft.timestamps <= contract.horizon_us
        self._empty, self._present = {}, {}
        for name, cells in self.cells.items():
            empty = (cells.kinds == _TEXT) & (np.diff(cells.texts.offsets) == 0)
            self._empty[name] = empty
            self._present[name] = (cells.kinds != _ABSENT) & ~(empty & draft.is_cells)

    # --- checks of rows ---------------------------------------------------------------------------------------------

    def common(self) -> None:
        """Key, program and type, and whom an operation is about."""
        for name in ("idempotency_key", "type", "program_id", *_KEYS, *_IDS, *_GROUPS):
            self._want(name, self._is_text(name))
        self._keys = self._text("idempotency_key")
        self.good &= plain_keys(self._keys)
        self._program = program_numbers(self._text("program_id"), self._contract)
        self.good &= self._program >= 0
        for name in _IDS:
            self._want(name, plain_uuids(self._text(name)))
        for name in (*_KEYS, *_GROUPS):
            self._want(name, plain_lengths(self._text(name)))
        numbers = {name: number for number, name in enumerate(_TYPES)}
        encoded = self._text("type").dictionary_encode()
        known = [numbers.get(text, -1) for text in encoded.dictionary.to_pylist()]
        self._type = np.array([*known, -1], np.int64)[encoded.indices.fill_null(len(known)).to_numpy()]
        self.good &= self._type >= 0

    def types(self) -> None:
        """What each type has, needs and excludes."""
        is_all = self._is_value("amount", ALL)
        for number, spec in enumerate(_TYPES.values()):
            of_type = self._type == number
            if not of_type.any():
                continue
            bad = np.zeros(len(of_type), np.bool_)
            for name, present in self._present.items():
                bad |= present if name not in spec.names else self._bad_empties(name, spec)
            for name, field in spec.fields.items():
                if field.required:
                    bad |= ~self._is_present(name)
            if spec.entity is not EntityNeed.NONE:
                named = [self._is_present(name) for name in spec.entity.value]
                bad |= np.count_nonzero(named, axis=0) != 1
            if "amount" in spec.fields and spec.fields["amount"].kind is not FieldKind.AMOUNT:
                bad |= is_all
            for rule in spec.exclusions:
                is_given = self._is_value(rule.name, None if rule.value is None else str(rule.value).lower())
                bad |= is_given & self._is_value(rule.other, rule.other_value)
            self.good &= ~(of_type & bad)

    def _bad_empties(self, name: str, spec: OperationSpec) -> Bools:
        """Empty values of a field of a type that are not plainly absent, and not plainly values either."""
        field = spec.fields.get(name)
        if self._draft.is_cells:
            is_absent = name not in spec.entity.value if field is None else not (field.required or field.is_meant)
        else:
            is_absent = field is not None and field.length_min == 0
        return np.zeros(len(self.good), np.bool_) if is_absent else self._empty[name]

    def _is_present(self, name: str) -> Bools:
        found = self._present.get(name)
        return np.zeros(len(self.good), np.bool_) if found is None else found

    def _is_value(self, name: str, value: str | None) -> Bools:
        """Where a field is present, and has this text if there is one to have."""
        present = self._is_present(name)
        if value is None or not present.any():
            return present
        found: Bools = pc.equal(self._text(name), value).fill_null(False).to_numpy(zero_copy_only=False)
        return found

    def _want(self, name: str, passes: Bools) -> None:
        self.good &= ~self._is_present(name) | passes

    def _is_text(self, name: str) -> Bools:
        """Texts, and whole numbers where these stand for texts (§3.2)."""
        if name not in self.cells:
            return self._is_present(name)
        cells = self.cells[name]
        is_text = cells.kinds == _TEXT
        if name in _INTEGERS and (cells.kinds == _NUMBER).any():
            has_sign_or_point = pc.match_substring_regex(to_arrow(cells.texts), "[-.]").fill_null(True)
            is_text |= (cells.kinds == _NUMBER) & ~has_sign_or_point.to_numpy(zero_copy_only=False)
        found: Bools = is_text
        return found

    def _texts(self, name: str) -> Texts:
        """The characters of a field in the rows that are still good."""
        if name not in self.cells:
            rows = len(self.good)
            return Texts(np.zeros(rows + 1, np.int64), np.zeros(1, np.uint8), np.zeros(rows, np.bool_))
        texts = self.cells[name].texts
        return texts._replace(present=self._present[name] & self.good)

    def _text(self, name: str) -> pa.Array:
        return to_arrow(self._texts(name))

    # --- members of the canonical fields ----------------------------------------------------------------------------

    def common_members(self) -> list[Member]:
        """The members that are not fields of a type's own."""
        ids = pa.array([program.id for program in self._contract.programs], pa.string())
        program = ids.take(pa.array(np.where(self.good, self._program, 0)))
        members = [
            Member("type", self._texts("type"), True),
            Member("program_id", from_arrow(program), True),
            Member("effective_at", _digits(self._draft.timestamps, self.good), False),
        ]
        entities = [name for name in (*_KEYS, *_IDS, *_GROUPS) if name in self.cells]
        return members + [Member(name, self._texts(name), True) for name in entities]

    def members(self, name: str) -> list[Member]:
        """A field of a type's own: its canonical values; rows whose value is not plain are not good any more."""
        field, kinds = _SPECS[name], self.cells[name].kinds
        if not (self._present[name] & self.good).any():
            return []
        match field.kind:
            case FieldKind.NUMBER | FieldKind.AMOUNT:
                self._want(name, (kinds == _TEXT) | (kinds == _NUMBER))
                return [Member(name, self._amounts(name), True)]
            case FieldKind.BOOL:
                is_word = self._is_value(name, "true") | self._is_value(name, "false")
                self._want(name, (kinds == _BOOL) | ((kinds == _TEXT) & is_word & self._draft.is_cells))
                return [Member(name, self._texts(name), False)]
            case FieldKind.RECIPIENTS:
                self._want(name, (kinds == _LIST) | ((kinds == _TEXT) & self._draft.is_cells))
                return [Member(name, self._recipients(name), False)]
            case FieldKind.LOTS:
                self._want(name, np.zeros(len(kinds), np.bool_))
                return []
        self._want(name, kinds == _TEXT)
        match field.kind:
            case FieldKind.DATE | FieldKind.TIME:
                return self._times(name, field)
            case FieldKind.ASSET:
                return [Member(name, self._assets(name), True)]
            case FieldKind.CHOICE:
                choices = pa.array(field.choices, pa.string())
                self._want(name, pc.is_in(self._text(name), choices).to_numpy(zero_copy_only=False))
            case _:
                self._want(name, np.diff(self.cells[name].texts.offsets) <= field.length_max)
        return [Member(name, self._texts(name), True)]

    def _assets(self, name: str) -> Texts:
        self._want(name, plain_lengths(self._text(name)))
        encoded = self._text(name).dictionary_encode()
        ids = pa.array([self._contract.asset_id(text) for text in encoded.dictionary.to_pylist()], pa.string())
        return from_arrow(ids.take(encoded.indices))

    def _times(self, name: str, field: FieldSpec) -> list[Member]:
        """Times become microseconds; durations, few different ones, are checked one by one and stay as they are."""
        texts = self._texts(name)
        starts, ends = texts.offsets[:-1], texts.offsets[1:]
        values, is_time = timestamps(texts.data, starts, ends, assume_utc=self._contract.assume_utc)
        is_time &= texts.present
        encoded = to_arrow(texts._replace(present=texts.present & ~is_time)).dictionary_encode()
        stays = [self._stays(name, text, field) for text in encoded.dictionary.to_pylist()]
        is_kept = np.array([*stays, False])[encoded.indices.fill_null(len(stays)).to_numpy(zero_copy_only=False)]
        self._want(name, is_time | is_kept)
        return [
            Member(name, _digits(values, is_time), False),
            Member(name, texts._replace(present=is_kept), True),
        ]

    def _stays(self, name: str, text: str, field: FieldSpec) -> bool:
        """Whether a text is its own canonical value."""
        try:
            return check_field(name, text, field, self._contract, -1) == text
        except RowMistake:
            return False

    def _amounts(self, name: str) -> Texts:
        texts = self._texts(name)
        amounts, is_plain = plain_amounts(texts)
        is_all = self._is_value(name, ALL)
        self._want(name, is_plain | is_all)
        if not is_all.any():
            return amounts
        return from_arrow(pc.if_else(pa.array(is_all & self.good), ALL, to_arrow(amounts)))

    def _recipients(self, name: str) -> Texts:
        lists = split_lists(self._texts(name))
        objects, is_plain = plain_recipients(self.cells[name].texts.data, lists.starts, lists.ends)
        counts = np.maximum(lists.counts, 0)
        offsets = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=offsets[1:])
        plain_before = np.zeros(len(is_plain) + 1, np.int64)
        np.cumsum(is_plain, out=plain_before[1:])
        are_plain = plain_before[offsets[1:]] - plain_before[offsets[:-1]] == counts
        self._want(name, are_plain & (lists.counts >= 1) & (lists.counts <= RECIPIENTS_MAX))
        return build_lists(offsets, self._present[name] & self.good, objects, is_quoted=False)

    # --- result -----------------------------------------------------------------------------------------------------

    def result(self, objects: pa.Array) -> PlainOperations:
        """The good rows as record columns."""
        rows = np.flatnonzero(self.good)
        codes = np.array([int(spec.code) for spec in _TYPES.values()], np.int8)
        by_key = np.logical_or.reduce([self._is_present(name) for name in _KEYS])
        by_id = np.logical_or.reduce([self._is_present(name) for name in _IDS])
        given = np.where(by_key, np.int8(Given.EXTERNAL_ID), np.where(by_id, np.int8(Given.PARTICIPANT_ID), np.int8(0)))
        participants = pc.coalesce(*(self._text(name).cast(pa.string()) for name in (*_KEYS, *_IDS)))
        chosen = pa.array(rows)
        return PlainOperations(
            rows=self._draft.rows[rows],
            operation=codes[self._type[rows]],
            program=self._program[rows],
            timestamps=self._draft.timestamps[rows],
            given=given[rows],
            keys=self._keys.take(chosen).cast(pa.string()),
            participants=participants.take(chosen),
            fields=objects.take(chosen).cast(pa.string()),
        )


def _digits(values: Int64s, present: Bools) -> Texts:
    """Integers as texts."""
    return from_arrow(pa.array(values, mask=~present).cast(pa.string()))
