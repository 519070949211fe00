"""The one way functions of this package are compiled: numba, cached on disk, exact integer arithmetic only.

No fastmath, no bounds checks (indices are ours), no parallel loops; compiled functions read no globals that change, so
that the cache is good across processes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile a function with numba on its first call, or load it from the cache beside its file."""
    return cast(Function, njit(cache=True)(function))


def inlined(function: Function) -> Function:
    """As `compiled`, for a small function on the hot path whose calls are always expanded by the machine compiler."""
    return cast(Function, njit(cache=True, forceinline=True)(function))
