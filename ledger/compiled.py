"""The one way functions of this package are compiled: numba, cached on disk, exact integer arithmetic only.

No fastmath, no bounds checks (indices are ours), no checks for division by zero (divisors are constants or powers of
ten), no parallel loops. Compiled functions read no globals that change.
numba judges a cached function by its own file alone, although it has the functions it calls inside it; here a cached
function is good only while no file of this package has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit, types

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Compile a function with numba on its first call, or load it from the cache beside its file."""
    # The writer thread may go on while a batch is decided: nothing here touches a Python object.
    return cast(Function, _stamped(njit(cache=True, nogil=True, error_model="numpy")(function)))


def inlined(function: Function) -> Function:
    """As `compiled`, for a small function on the hot path whose calls the machine compiler always expands.

    Only compiled functions can call it: without the code for calls from Python the rest compiles a fifth faster.
    """
    options = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "error_model": "numpy"}
    return cast(Function, _stamped(njit(cache=True, forceinline=True, **options)(function)))


def _stamped(dispatcher: Any) -> Any:
    """Make the cache entry of a function depend on every file of the package, not only on its own.

    And let it be compiled once for all constants: numba would compile it for every constant that a caller passes, which
    was measured to take twice the time; where a call is expanded, the machine compiler sees the constant anyway.
    """
    resolve = dispatcher.get_call_template

    def resolve_plain(arguments: Any, named: Any) -> Any:
        plain = {name: types.unliteral(kind) for name, kind in named.items()}
        return resolve(tuple(types.unliteral(kind) for kind in arguments), plain)

    dispatcher.get_call_template = resolve_plain
    entry: Any = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if entry is not None:
        entry._source_stamp = _package_stamp()
    return dispatcher


@cache
def _package_stamp() -> tuple[tuple[str, int, int], ...]:
    """Name, time and size of every source file of the package."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return tuple((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files)
