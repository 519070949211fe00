"""From a program as generated code to a function that the ledger's loop can call, through the cache.

The functions of rules become machine code by `kernel_machine`; the small function that numba knows, which takes the
arrays of a batch apart, is compiled by numba. A program of few rules becomes one object file, in which LLVM sees all of
them together; one of many rules becomes one per few rules (`kernel_parts`), so that a change compiles little.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import ModuleType

import numba
import numpy as np

from earnbook.ledger.schema import Cells, Columns, Tables, propose_signature
from earnbook.rules import kernel_machine
from earnbook.rules.kernel_cache import default_cache_directory, discard_unless_sealed, object_file, prune, seal, store
from earnbook.rules.kernel_machine import Library, MachineCode, host, publish, translate
from earnbook.rules.kernel_parts import TABLE, Part, divide, driver_source, mark_numbers, numbers_of, part_table
from earnbook.rules.kernel_values import ARRAYS, GIVEN, WIDTHS
from earnbook.rules.lower_kernel import (
    ENTRY_START,
    FUNCTIONS_START,
    LoweredProgram,
    entry_source,
    header_source,
    inlined_source,
    library_source,
    numbering,
    used_arrays,
)
from earnbook.rules.plan_columns import Inventory

DIVIDED_FUNCTIONS_MIN = 100
"""Programs with more functions are compiled in parts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Code:
    """Machine code in memory: the address of `rules`, and all that must live as long as that is called."""

    address: int
    kept: tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Objects:
    """The object files of one program, from a cache directory, or made in memory where that is None."""

    directory: Path | None
    made: list[str]

    def get(self, kind: str, source: str, make: Callable[[], bytes]) -> bytes:
        """The machine code of a source."""
        if self.directory is None:
            return make()
        name = f"{kind}_{fingerprint(source)}"
        image, is_new = object_file(self.directory / f"{name}.o", make)
        if is_new:
            self.made.append(name)
        return image


def load_propose(lowered: LoweredProgram, inventory: Inventory, source: str, directory: Path | None = None) -> object:
    """Compile a program, or load it from the cache; the result is a numba function of `propose_signature()`.

    `source` is the program's `program_source`, `directory` the cache directory (default `default_cache_directory()`).
    Where that cannot be written the program is compiled in memory.
    """
    symbol = f"propose_{fingerprint(source)}"
    kernels = (directory or default_cache_directory()) / "kernels"
    objects = _Objects(directory=kernels, made=[])
    try:
        code = _machine_code(lowered, inventory, source, objects)
        path = store(_entry_module(lowered, symbol).encode(), kernels / f"{symbol}.py")
        discard_unless_sealed(path)
        propose = _imported(path, symbol, code)
        seal(path)
        if objects.made:
            prune(kernels)
    except OSError:
        code = _machine_code(lowered, inventory, source, _Objects(directory=None, made=[]))
        return _run(_entry_module(lowered, symbol).replace("cache=True", "cache=False"), symbol, code)
    return propose


def fingerprint(source: str) -> str:
    """The hash of all that decides the machine code of a source."""
    parts = (source, _surroundings())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


@cache
def _surroundings() -> str:
    """What decides machine code beside its source: layouts, versions, the translator and the processor."""
    layout = repr((Columns._fields, Cells._fields, Tables._fields, str(propose_signature())))
    translator = inspect.getsource(kernel_machine)
    return "\0".join((layout, library_source(), translator, numba.__version__, sys.version, host()))


# --- machine code ---------------------------------------------------------------------------------------------------


def is_divided(lowered: LoweredProgram) -> bool:
    """Whether a program is compiled in parts."""
    functions = sum(1 + sum(action.line is None for action in rule.actions) for rule in lowered.rules)
    return functions > DIVIDED_FUNCTIONS_MIN


def _machine_code(lowered: LoweredProgram, inventory: Inventory, source: str, objects: _Objects) -> _Code:
    if is_divided(lowered):
        return _divided(lowered, inventory, objects)
    functions = source[source.index(FUNCTIONS_START) : source.index(ENTRY_START)]
    image = objects.get("program", functions, lambda: translate(functions, _constants(functions), "rules", "rules"))
    code = MachineCode(image)
    return _Code(address=code.address("rules"), kept=(code,))


def _divided(lowered: LoweredProgram, inventory: Inventory, objects: _Objects) -> _Code:
    """The parts of a program, linked with the driver and the functions that they share, and the driver's table."""
    parts = divide(lowered)
    symbols = [f"part_{fingerprint(part.source)}" for part in parts]
    images = {
        symbol: objects.get("part", part.source, partial(_part_image, part, symbol))
        for symbol, part in zip(symbols, parts, strict=True)
    }
    driver = driver_source()
    images["driver"] = objects.get(
        "driver", driver, lambda: translate(driver, {}, "rules", "rules", variables=(TABLE,))
    )
    images["library"] = objects.get("library", "", lambda: _library().image())
    code = MachineCode(*images.values())
    numbers = numbers_of(parts, numbering(lowered, inventory) | mark_numbers(lowered.plan.rules))
    table = part_table(len(lowered.rules), (code.address(symbol) for symbol in symbols), numbers)
    code.assign(TABLE, table.ctypes.data)
    return _Code(address=code.address("rules"), kept=(code, table, numbers))


def _part_image(part: Part, symbol: str) -> bytes:
    return translate(inlined_source(part.source), _library_constants(), "part", symbol, library=_library())


@cache
def _library() -> Library:
    return Library(library_source(), _library_constants())


@cache
def _library_constants() -> dict[str, object]:
    return _constants(library_source())


def _constants(functions: str) -> dict[str, object]:
    """The names that a generated source gives to numbers and arrays."""
    constants: dict[str, object] = {"np": np}
    exec(functions, constants)
    return constants


# --- the function that numba knows ----------------------------------------------------------------------------------


def _entry_module(lowered: LoweredProgram, symbol: str) -> str:
    """The module that numba compiles; it calls the machine code by its symbol."""
    arrays, widths = (tuple(ARRAYS), tuple(WIDTHS)) if is_divided(lowered) else used_arrays(lowered)
    count = len(GIVEN) + len(arrays) + len(widths)
    external = f"rules = types.ExternalFunction({symbol!r}, types.int64(*[types.int64] * {count}))"
    return f"{header_source()}\n{external}\n\n\n{entry_source(arrays, widths)}"


def _imported(path: Path, symbol: str, code: _Code) -> object:
    spec = importlib.util.spec_from_file_location(f"earnbook_{symbol}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # numba finds the module of cached machine code by name.
    sys.modules[spec.name] = module
    _link(module, symbol, code)
    spec.loader.exec_module(module)
    return module.propose


def _run(text: str, symbol: str, code: _Code) -> object:
    module = ModuleType(f"earnbook_{symbol}")
    sys.modules[module.__name__] = module
    _link(module, symbol, code)
    exec(compile(text, f"<{symbol}>", "exec"), module.__dict__)
    return module.propose


def _link(module: ModuleType, symbol: str, code: _Code) -> None:
    """Make the symbol known to LLVM; the module, which stays loaded, keeps the machine code in memory."""
    module.__dict__["machine_code"] = code
    publish(symbol, code.address)
