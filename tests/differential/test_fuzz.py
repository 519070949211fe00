"""The differential comparison in small, and the proof that it sees faults."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cel_expr_python import cel

from tests.differential.fuzz import (
    EVENT,
    DisagreementError,
    Tally,
    compare_google,
    compare_kernel,
    compare_machine,
)
from tests.differential.fuzz_faults import CLOSURE_FAULTS, KERNEL_FAULTS, ClosureFault, KernelFault
from tests.support.google import google_engine

BATCHES_MAX = 500
"""Batches in which a fault must show."""


@pytest.fixture(scope="module")
def engine() -> cel.Env:
    """Google's engine."""
    return google_engine(EVENT)


def test_kernel_and_closures_agree_on_damaged_rows() -> None:
    total = sum((compare_kernel(f"suite.{number}") for number in range(25)), Tally())
    assert total.compared > 1_000


def test_machine_code_and_closures_agree_on_damaged_rows() -> None:
    assert compare_machine("suite.0").compared > 100


def test_closures_and_google_s_engine_agree_on_damaged_rows(engine: cel.Env) -> None:
    total = sum((compare_google(f"suite.{number}", engine) for number in range(40)), Tally())
    assert total.compared == 40 * 50


@pytest.mark.parametrize("fault", KERNEL_FAULTS, ids=lambda fault: fault.name)
def test_a_fault_of_the_kernel_shows(fault: KernelFault) -> None:
    assert _is_found(lambda seed: compare_kernel(seed, rewrite=fault.rewrite))


@pytest.mark.parametrize(
    ("fault", "engine_name"),
    [(fault, name) for fault in CLOSURE_FAULTS for name in fault.shows],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_a_fault_of_the_closures_shows(fault: ClosureFault, engine_name: str, engine: cel.Env) -> None:
    with fault.applied():
        assert _is_found(compare_kernel if engine_name == "kernel" else lambda seed: compare_google(seed, engine))


def _is_found(compare: Callable[[str], Tally]) -> bool:
    for number in range(BATCHES_MAX):
        try:
            compare(f"fault.{number}")
        except DisagreementError:
            return True
    return False
