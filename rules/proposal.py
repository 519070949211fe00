"""The reference for `propose`: one event goes through a program's rules with the closures (§10.3, §12).

It means exactly what the generated kernel means (`ledger.schema`): words say what became of each rule, effects are one
per action of every matched rule. It is used for rows the kernel leaves out, for programs without a kernel, and to judge
the kernel by. It changes nothing and knows no books: checks against live state come later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from earnbook.ledger.schema import (
    FX_ACTION,
    FX_REFERENCE,
    FX_REFERENCE_CODE,
    FX_TARGET,
    FX_TARGET_CODE,
    FX_TARGET_KIND,
    FX_TEXT,
    FX_TEXT_KIND,
    FX_VALUE,
    FX_VALUE_CODE,
    FX_VALUE_HIGH,
    FX_VALUE_SCALE,
    WORD_SECTIONS,
    WORDS_ERRORED,
    WORDS_LIMITED,
    WORDS_MATCHED,
    WORDS_OUTSIDE,
    ActionType,
    Int64s,
    Kind,
    Outcome,
    UInt64s,
    word_count,
)
from earnbook.rules.lower_closure import Closure, lower_closure
from earnbook.rules.plan import ActionPlan, ProgramPlan, RulePlan
from earnbook.rules.values import CelError, CelLimit, Timestamp, Value
from earnbook.rules.values_time import timestamp_text

SCALE_MAX = 18
REFERENCE_LENGTH_MAX = 255
COUNTER_DELTA_MAX = 2 * 10**20
"""No counter can take a larger step and stay in its range (§13.1)."""

_WORD = 2**64
_MANTISSA_MAX = 2**127 - 1

Scope = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class ExactNumber:
    """mantissa / 10**scale without trailing zeros; 0 ≤ scale ≤ 18, the mantissa fits 128 bits."""

    mantissa: int
    scale: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RowEffect:
    """One action of a matched rule with its expressions evaluated; the columns of an effect row as plain values.

    `target`: text of a target expression, None for the default target or the program. `attribute` is the new value of
    an attribute beside its kind: str for TEXT, ExactNumber for NUMBER, bool for BOOL, int microseconds for TIMESTAMP.
    """

    action: ActionPlan
    target: str | None = None
    target_code: Outcome = Outcome.OK
    value_code: Outcome = Outcome.OK
    value: ExactNumber = ExactNumber(0, 0)
    attribute_kind: Kind = Kind.ABSENT
    attribute: str | ExactNumber | bool | int | None = None
    reference: str | None = None
    reference_code: Outcome = Outcome.OK


@dataclass(frozen=True, slots=True, kw_only=True)
class RowProposal:
    """What the rules of a program propose for one event; bit n of a set stands for the rule at position n."""

    rule_count: int
    matched: int
    errored: int
    outside: int
    limited: int
    effects: tuple[RowEffect, ...]

    def write(self, effects: Int64s, words: UInt64s, *, program_slot: int, code_of: Callable[[str], int]) -> int:
        """Write the rows and words that the kernel would write; returns the number of effects.

        `code_of` gives the code of a text in the text pool, interning it. Targets other than the default one and the
        program are written as the code of their text.
        """
        count = word_count(self.rule_count)
        words[: WORD_SECTIONS * count] = 0
        sections = {
            WORDS_MATCHED: self.matched,
            WORDS_ERRORED: self.errored,
            WORDS_OUTSIDE: self.outside,
            WORDS_LIMITED: self.limited,
        }
        for section, bits in sections.items():
            for word in range(count):
                words[section * count + word] = np.uint64(bits >> (64 * word) & (_WORD - 1))
        for row, effect in enumerate(self.effects):
            _write_effect(effects[row], effect, program_slot, code_of)
        return len(self.effects)


def _write_effect(row: Int64s, effect: RowEffect, program_slot: int, code_of: Callable[[str], int]) -> None:
    row[:] = 0
    row[FX_ACTION] = effect.action.number
    row[FX_TARGET] = program_slot if effect.action.target_is_program else -1
    if effect.target is not None:
        row[FX_TARGET], row[FX_TARGET_KIND] = code_of(effect.target), effect.action.target_kind
    row[FX_TARGET_CODE] = effect.target_code
    row[FX_VALUE_CODE] = effect.value_code
    low = effect.value.mantissa % _WORD
    row[FX_VALUE] = low if low < _WORD // 2 else low - _WORD
    row[FX_VALUE_HIGH] = effect.value.mantissa >> 64
    row[FX_VALUE_SCALE] = effect.value.scale
    row[FX_TEXT_KIND] = effect.attribute_kind
    match effect.attribute:
        case str(text):
            row[FX_TEXT] = code_of(text)
        case ExactNumber(mantissa=mantissa, scale=scale):
            row[FX_TEXT], row[FX_VALUE_SCALE] = mantissa, scale
        case None:
            pass
        case number:
            row[FX_TEXT] = int(number)
    row[FX_REFERENCE] = -1 if effect.reference is None else code_of(effect.reference)
    row[FX_REFERENCE_CODE] = effect.reference_code


@dataclass(frozen=True, slots=True, kw_only=True)
class _Action:
    plan: ActionPlan
    value: Closure | None
    reference: Closure | None
    text: Closure | str | None
    target: Closure | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    plan: RulePlan
    condition: Closure
    actions: tuple[_Action, ...]


class RowProposer:
    """The closures of one program's rules."""

    def __init__(self, plan: ProgramPlan, scales: Mapping[str, int]) -> None:
        """`scales` are the decimals of each asset, by symbol."""
        self._rules = tuple(_lower_rule(rule) for rule in plan.rules)
        self._scales = scales

    def propose(self, scope: Scope, processed_at: int) -> RowProposal:
        """What the rules propose for the event in `scope` (the variables of §11.1), processed at P (microseconds)."""
        bits = dict.fromkeys((WORDS_MATCHED, WORDS_ERRORED, WORDS_OUTSIDE, WORDS_LIMITED), 0)
        effects: list[RowEffect] = []
        for rule in self._rules:
            section = _judge(rule, scope, processed_at)
            if section is None:
                continue
            bits[section] |= 1 << rule.plan.position
            if section != WORDS_MATCHED:
                continue
            effects.extend(self._effect(action, scope) for action in rule.actions)
            if rule.plan.definition.stop_after_match:
                break
        return RowProposal(
            rule_count=len(self._rules),
            matched=bits[WORDS_MATCHED],
            errored=bits[WORDS_ERRORED],
            outside=bits[WORDS_OUTSIDE],
            limited=bits[WORDS_LIMITED],
            effects=tuple(effects),
        )

    def _effect(self, action: _Action, scope: Scope) -> RowEffect:
        target, target_code = _target(action.target, scope)
        try:
            value = None if action.value is None else action.value(scope)
            reference = None if action.reference is None else action.reference(scope)
            text = action.text(scope) if isinstance(action.text, Closure) else action.text
        except CelLimit:
            return RowEffect(
                action=action.plan, target=target, target_code=target_code, value_code=Outcome.EXPRESSION_LIMIT
            )
        except CelError:
            return RowEffect(
                action=action.plan, target=target, target_code=target_code, value_code=Outcome.EXPRESSION_ERROR
            )
        code, number = Outcome.OK, ExactNumber(0, 0)
        kind, attribute = Kind.ABSENT, None
        if action.value is not None:
            code, number = self._number(action.plan, value)
        if action.text is not None:
            code, kind, attribute = attribute_cell(text)
        good = action.reference is None or (type(reference) is str and 1 <= len(reference) <= REFERENCE_LENGTH_MAX)
        return RowEffect(
            action=action.plan,
            target=target,
            target_code=target_code,
            value_code=code,
            value=number,
            attribute_kind=kind,
            attribute=attribute,
            reference=reference if type(reference) is str else None,
            reference_code=Outcome.OK if good else Outcome.INVALID_REFERENCE,
        )

    def _number(self, action: ActionPlan, value: Value) -> tuple[Outcome, ExactNumber]:
        """A number as the books take it, or the outcome of one that they cannot even be given (§5.3, §13.1)."""
        is_counter = action.type is ActionType.COUNTER
        zero = ExactNumber(0, 0)
        if isinstance(value, bool) or not isinstance(value, int | Decimal) or not Decimal(value).is_finite():
            return (Outcome.INVALID_VALUE if is_counter else Outcome.INVALID_AMOUNT), zero
        exact = Decimal(value)
        if exact == 0:
            return Outcome.OK, zero
        number = exact_number(exact)
        if is_counter:
            if number is None or abs(exact) >= COUNTER_DELTA_MAX:
                return Outcome.COUNTER_OUT_OF_RANGE, zero
            return Outcome.OK, number
        if number is not None:
            return Outcome.OK, number
        if exact < 0:
            return Outcome.AMOUNT_NOT_POSITIVE, zero
        if decimals_of(exact) > self._scales.get(getattr(action.definition, "asset_id", ""), SCALE_MAX):
            return Outcome.AMOUNT_EXCEEDS_SCALE, zero
        return Outcome.AMOUNT_OVERFLOW, zero


def _lower_rule(rule: RulePlan) -> _Rule:
    return _Rule(
        plan=rule,
        condition=lower_closure(rule.condition),
        actions=tuple(_lower_action(action) for action in rule.actions),
    )


def _lower_action(action: ActionPlan) -> _Action:
    return _Action(
        plan=action,
        value=None if action.value is None else lower_closure(action.value),
        reference=None if action.reference is None else lower_closure(action.reference),
        text=action.text if action.text is None or isinstance(action.text, str) else lower_closure(action.text),
        target=action.target
        if action.target is None or isinstance(action.target, str)
        else lower_closure(action.target),
    )


def _judge(rule: _Rule, scope: Scope, processed_at: int) -> int | None:
    """The section of the words that a rule belongs to, None for one whose condition is false."""
    definition = rule.plan.definition
    if definition.active_from is not None and processed_at < definition.active_from:
        return WORDS_OUTSIDE
    if definition.active_to is not None and processed_at > definition.active_to:
        return WORDS_OUTSIDE
    try:
        result = rule.condition(scope)
    except CelLimit:
        return WORDS_LIMITED
    except CelError:
        return WORDS_ERRORED
    if result is True:
        return WORDS_MATCHED
    return None if result is False else WORDS_ERRORED


def _target(target: Closure | str | None, scope: Scope) -> tuple[str | None, Outcome]:
    """Stage 1 of §12.3 as far as the expression decides it: what is no text at all is an error of the expression."""
    if target is None or isinstance(target, str):
        return target, Outcome.OK
    try:
        value = target(scope)
    except CelLimit:
        return None, Outcome.EXPRESSION_LIMIT
    except CelError:
        return None, Outcome.EXPRESSION_ERROR
    if value is None or value == "":
        return None, Outcome.TARGET_MISSING
    return (value, Outcome.OK) if type(value) is str else (None, Outcome.EXPRESSION_ERROR)


def attribute_cell(value: Value) -> tuple[Outcome, Kind, str | ExactNumber | bool | int | None]:
    """The new value of an attribute as a typed cell (§11.4); what has no cell of its own is TEXT."""
    if isinstance(value, str):
        return Outcome.OK, Kind.TEXT, value
    if isinstance(value, bool):
        return Outcome.OK, Kind.BOOL, value
    if isinstance(value, Timestamp):
        if value.nanoseconds % 1000:
            return Outcome.OK, Kind.TEXT, timestamp_text(value)
        return Outcome.OK, Kind.TIMESTAMP, value.nanoseconds // 1000
    if isinstance(value, int | Decimal) and Decimal(value).is_finite():
        number = exact_number(Decimal(value))
        if number is None or not -(2**63) <= number.mantissa < 2**63:
            return Outcome.OK, Kind.TEXT, _plain_text(Decimal(value))
        return Outcome.OK, Kind.NUMBER, number
    return Outcome.INVALID_VALUE, Kind.ABSENT, None


def exact_number(value: Decimal) -> ExactNumber | None:
    """A finite number with at most 18 decimals inside 128 bits, without trailing zeros; None for any other."""
    if value == 0:
        return ExactNumber(0, 0)
    scale = decimals_of(value)
    if scale > SCALE_MAX or value.adjusted() > 40:
        return None
    sign, digits, exponent = value.as_tuple()
    mantissa = int("".join(map(str, digits)))
    shift = scale + int(exponent)
    mantissa = mantissa * 10**shift if shift >= 0 else mantissa // 10**-shift
    return ExactNumber(-mantissa if sign else mantissa, scale) if mantissa <= _MANTISSA_MAX else None


def decimals_of(value: Decimal) -> int:
    """How many decimals a finite number has, trailing zeros aside."""
    _, digits, exponent = value.as_tuple()
    zeros = 0
    while zeros < len(digits) and digits[-1 - zeros] == 0:
        zeros += 1
    return max(0, -(int(exponent) + zeros))


def _plain_text(value: Decimal) -> str:
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
