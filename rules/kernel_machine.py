"""From the functions of a generated kernel to machine code, and from machine code to an address.

numba takes a tenth of a second and more for every function, whatever its size: five minutes for 500 rules. The code of
rules needs little of what numba can do: all its values are int64 (bools are 0 and 1), and its statements are those of
`_statement` below. So this file translates them to LLVM itself, some thousand functions in seconds. The function that
numba calls is left to numba (see `lower_kernel`).

In: Python text, of which the functions are translated and the other names are constants (ints and int64 arrays).
Arithmetic wraps at 64 bits as numba's does; whoever generates code checks bounds first. Division and remainder round
down as Python's do; a division by zero, which generated code excludes, gives 0.
"""

from __future__ import annotations

import ast
import ctypes
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
from llvmlite import binding, ir

_INT = ir.IntType(64)
_BYTE = ir.IntType(8)

_COMPARISONS: Mapping[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}


class MachineCode:
    """Machine code in memory, of object files that may call each other; it stays there as long as this object lives."""

    def __init__(self, *images: bytes) -> None:
        module = binding.parse_assembly("")
        self._engine = binding.create_mcjit_compiler(module, _target_machine())
        for image in images:
            self._engine.add_object_file(binding.ObjectFileRef.from_data(image))
        self._engine.finalize_object()

    def address(self, symbol: str) -> int:
        """Where a function starts."""
        return int(self._engine.get_function_address(symbol))

    def assign(self, variable: str, value: int) -> None:
        """Give a variable (see `translate`) its value."""
        address = self._engine.get_global_value_address(_symbol(variable))
        ctypes.c_int64.from_address(address).value = value


class Library:
    """Functions that many object files call."""

    def __init__(self, source: str, constants: Mapping[str, object]) -> None:
        self._source, self._constants = source, constants
        definitions = _definitions(source)
        self.types = {node.name: _function_type(node) for node in definitions}
        self.pure = frozenset(node.name for node in definitions if "store_int64" not in _names(node))

    def image(self) -> bytes:
        """The object file in which the calls end."""
        return _object(_module(_definitions(self._source), self._constants))


def translate(
    source: str,
    constants: Mapping[str, object],
    entry: str,
    symbol: str,
    *,
    library: Library | None = None,
    variables: Iterable[str] = (),
) -> bytes:
    """The object file of the functions of `source`; function `entry` is visible from outside as `symbol`.

    `library` has further functions that the source calls. `variables` are read by the functions and assigned by
    `MachineCode.assign`; they are 0 before.
    """
    definitions = _definitions(source)
    module = _module(definitions, constants, library=library, variables=variables)
    for node in definitions:
        function = module.get_global(_symbol(node.name))
        if node.name == entry:
            function.name = symbol
        else:
            function.linkage = "internal"
    return _object(module)


def _definitions(source: str) -> list[ast.FunctionDef]:
    return [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]


def _names(node: ast.FunctionDef) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _module(
    definitions: Sequence[ast.FunctionDef],
    constants: Mapping[str, object],
    *,
    library: Library | None = None,
    variables: Iterable[str] = (),
) -> ir.Module:
    """Functions as an LLVM module, all of them visible."""
    module = ir.Module(name="earnbook")
    types = {} if library is None else dict(library.types)
    types |= {node.name: _function_type(node) for node in definitions}
    called = {node.name for node in definitions}.union(*(_names(node) for node in definitions))
    functions = {name: ir.Function(module, kind, _symbol(name)) for name, kind in types.items() if name in called}
    for name in functions.keys() & (library.pure if library else frozenset()) - {node.name for node in definitions}:
        functions[name].attributes.add("nounwind")
        functions[name].attributes.add("readnone")
    arrays = {
        name: _array(module, name, value)
        for name, value in constants.items()
        if isinstance(value, np.ndarray) and name in called
    }
    numbers = {name: value for name, value in constants.items() if isinstance(value, int)}
    cells = {name: _variable(module, name) for name in variables}
    for node in definitions:
        _Translator(node, functions, arrays, numbers, cells).translate()
    return module


def _symbol(name: str) -> str:
    return f"earnbook.{name}"


def publish(symbol: str, address: int) -> None:
    """Let code that numba compiles from now on call a function by its symbol."""
    binding.add_symbol(symbol, address)


def host() -> str:
    """What machine code of this process depends on beside its source."""
    return "\0".join((binding.get_default_triple(), binding.get_host_cpu_name(), _features(), str(_version())))


def _version() -> tuple[int, ...]:
    return tuple(int(part) for part in binding.llvm_version_info)


def _features() -> str:
    return str(binding.get_host_cpu_features().flatten())


def _target_machine() -> Any:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    # Not position-independent: LLVM's run-time linker mixes up the offset tables of several object files.
    target = binding.Target.from_default_triple()
    return target.create_target_machine(
        cpu=binding.get_host_cpu_name(), features=_features(), opt=2, reloc="static", codemodel="jitdefault", jit=True
    )


def _object(module: ir.Module) -> bytes:
    """The object file of a module, optimized."""
    machine = _target_machine()
    parsed = binding.parse_assembly(str(module))
    parsed.verify()
    options = binding.create_pipeline_tuning_options(speed_level=2)
    builder = binding.create_pass_builder(machine, options)
    builder.getModulePassManager().run(parsed, builder)
    return bytes(machine.emit_object(parsed))


def _function_type(node: ast.FunctionDef) -> ir.FunctionType:
    return ir.FunctionType(_result_type(node), [_INT] * len(node.args.args))


def _result_type(node: ast.FunctionDef) -> ir.Type:
    """int64, or a struct of them where a tuple is returned."""
    for part in ast.walk(node):
        if isinstance(part, ast.Return) and isinstance(part.value, ast.Tuple):
            return ir.LiteralStructType([_INT] * len(part.value.elts))
    return _INT


def _variable(module: ir.Module, name: str) -> ir.GlobalVariable:
    made = ir.GlobalVariable(module, _INT, _symbol(name))
    made.initializer = _int(0)
    return made


def _array(module: ir.Module, name: str, values: Iterable[Any]) -> ir.GlobalVariable:
    numbers = [int(value) for value in values]
    kind = ir.ArrayType(_INT, len(numbers))
    made = ir.GlobalVariable(module, kind, _symbol(name))
    made.initializer = ir.Constant(kind, numbers)
    made.global_constant = True
    made.linkage = "internal"
    return made


class _Translator:
    """The state of translating one function. Locals are stack slots at first; LLVM makes registers of them."""

    def __init__(
        self,
        node: ast.FunctionDef,
        functions: Mapping[str, ir.Function],
        arrays: Mapping[str, ir.GlobalVariable],
        numbers: Mapping[str, int],
        variables: Mapping[str, ir.GlobalVariable],
    ) -> None:
        self._node = node
        self._functions = functions
        self._arrays = arrays
        self._numbers = numbers
        self._variables = variables
        self._function = functions[node.name]
        self._entry = self._function.append_basic_block("entry")
        self._builder = ir.IRBuilder(self._function.append_basic_block("body"))
        self._locals: dict[str, Any] = {}
        self._intrinsics: Mapping[str, Callable[..., Any]] = {
            "int": lambda value: value,
            "abs": self._absolute,
            "load_int64": self._load_int64,
            "load_int8": self._load_int8,
            "store_int64": self._store_int64,
            "room": self._room,
            "call_at": self._call_at,
        }

    def translate(self) -> None:
        """Fill the function."""
        body = self._builder.block
        for argument, value in zip(self._node.args.args, self._function.args, strict=True):
            self._assign(argument.arg, value)
        self._block(self._node.body)
        if not self._builder.block.is_terminated:
            # Nothing comes here, or nothing reads the result.
            self._builder.ret(ir.Constant(self._function.function_type.return_type, ir.Undefined))
        ir.IRBuilder(self._entry).branch(body)

    # Statements

    def _block(self, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            if self._builder.block.is_terminated:
                return
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self._assign(name, self._value(value))
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=value):
                for target, part in zip(targets, self._parts(value), strict=True):
                    self._assign(_name(target), part)
            case ast.AugAssign(target=ast.Name(id=name), op=operator, value=value):
                self._assign(name, self._binary(operator, self._read(name), self._value(value)))
            case ast.If(test=test, body=body, orelse=orelse):
                with self._builder.if_else(self._truth(test)) as (then, otherwise):
                    with then:
                        self._block(body)
                    with otherwise:
                        self._block(orelse)
            case ast.While(test=test, body=body):
                self._while(test, body)
            case ast.Return(value=ast.Tuple(elts=parts)):
                self._return([self._value(part) for part in parts])
            case ast.Return(value=value) if value is not None:
                self._builder.ret(self._value(value))
            case ast.Expr(value=ast.Constant()):
                pass
            case ast.Expr(value=ast.Call() as call):
                self._call(call)
            case _:
                raise NotImplementedError(f"kernels have no {ast.unparse(node)}")

    def _while(self, test: ast.expr, body: Sequence[ast.stmt]) -> None:
        head, inner, after = (self._function.append_basic_block() for _ in range(3))
        self._builder.branch(head)
        self._builder.position_at_end(head)
        self._builder.cbranch(self._truth(test), inner, after)
        self._builder.position_at_end(inner)
        self._block(body)
        if not self._builder.block.is_terminated:
            self._builder.branch(head)
        self._builder.position_at_end(after)

    def _return(self, parts: Sequence[Any]) -> None:
        made: Any = ir.Constant(self._function.function_type.return_type, ir.Undefined)
        for position, part in enumerate(parts):
            made = self._builder.insert_value(made, part, position)
        self._builder.ret(made)

    def _parts(self, node: ast.expr) -> list[Any]:
        """The values of a tuple, written out or returned by a function."""
        if isinstance(node, ast.Tuple):
            return [self._value(part) for part in node.elts]
        made = self._value(node)
        return [self._builder.extract_value(made, position) for position in range(len(made.type.elements))]

    def _assign(self, name: str, value: Any) -> None:
        self._builder.store(value, self._slot(name))

    def _slot(self, name: str) -> Any:
        if name not in self._locals:
            self._locals[name] = ir.IRBuilder(self._entry).alloca(_INT, name=name)
        return self._locals[name]

    # Values

    def _value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=int(number)):
                return _int(int(number))
            case ast.Name(id=name):
                return self._read(name)
            case ast.BinOp(left=left, op=operator, right=right):
                return self._binary(operator, self._value(left), self._value(right))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._builder.neg(self._value(operand))
            case ast.UnaryOp(op=ast.Not()) | ast.BoolOp() | ast.Compare():
                return self._builder.zext(self._truth(node), _INT)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self._choice(self._truth(test), lambda: self._value(body), lambda: self._value(orelse), _INT)
            case ast.Call():
                return self._call(node)
            case ast.Subscript(value=ast.Name(id=array), slice=index):
                place = self._builder.gep(self._arrays[array], [_int(0), self._value(index)])
                return self._builder.load(place)
            case _:
                raise NotImplementedError(f"kernels have no {ast.unparse(node)}")

    def _read(self, name: str) -> Any:
        if name in self._locals:
            return self._builder.load(self._locals[name])
        if name in self._variables:
            return self._builder.load(self._variables[name])
        return _int(int(self._numbers[name]))

    def _truth(self, node: ast.expr) -> Any:
        """A condition as one bit; `and` and `or` evaluate no more than they need."""
        match node:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self._builder.not_(self._truth(operand))
            case ast.BoolOp(op=junction, values=[first, *rest]):
                made = self._truth(first)
                for operand in rest:
                    made = self._junction(made, operand, is_and=isinstance(junction, ast.And))
                return made
            case ast.Compare(left=left, ops=operators, comparators=comparators):
                values = [self._value(part) for part in (left, *comparators)]
                tests = [
                    self._builder.icmp_signed(_COMPARISONS[type(operator)], one, other)
                    for operator, one, other in zip(operators, values, values[1:], strict=False)
                ]
                return reduce(self._builder.and_, tests)
            case _:
                return self._builder.icmp_signed("!=", self._value(node), _int(0))

    def _junction(self, made: Any, operand: ast.expr, *, is_and: bool) -> Any:
        bit = ir.IntType(1)
        if is_and:
            return self._choice(made, lambda: self._truth(operand), lambda: ir.Constant(bit, 0), bit)
        return self._choice(made, lambda: ir.Constant(bit, 1), lambda: self._truth(operand), bit)

    def _choice(self, test: Any, positive: Callable[[], Any], negative: Callable[[], Any], kind: ir.Type) -> Any:
        with self._builder.if_else(test) as (then, otherwise):
            with then:
                one, one_block = positive(), self._builder.block
            with otherwise:
                other, other_block = negative(), self._builder.block
        made = self._builder.phi(kind)
        made.add_incoming(one, one_block)
        made.add_incoming(other, other_block)
        return made

    def _binary(self, operator: ast.operator, left: Any, right: Any) -> Any:
        builder = self._builder
        match operator:
            case ast.Add():
                return builder.add(left, right)
            case ast.Sub():
                return builder.sub(left, right)
            case ast.Mult():
                return builder.mul(left, right)
            case ast.RShift():
                return builder.ashr(left, right)
            case ast.LShift():
                return builder.shl(left, right)
            case ast.BitAnd():
                return builder.and_(left, right)
            case ast.BitOr():
                return builder.or_(left, right)
            case ast.FloorDiv():
                return self._divided(left, right)[0]
            case ast.Mod():
                return self._divided(left, right)[1]
            case _:
                raise NotImplementedError(f"kernels have no {type(operator).__name__}")

    def _divided(self, left: Any, right: Any) -> tuple[Any, Any]:
        """Quotient and remainder, rounded down. Processors trap at x / 0 and at the smallest integer / -1."""
        builder = self._builder
        is_zero = builder.icmp_signed("==", right, _int(0))
        is_minus = builder.icmp_signed("==", right, _int(-1))
        divisor = builder.select(builder.or_(is_zero, is_minus), _int(1), right)
        quotient = builder.sdiv(left, divisor)
        rest = builder.srem(left, divisor)
        signs_differ = builder.icmp_signed("<", builder.xor(rest, divisor), _int(0))
        is_down = builder.and_(builder.icmp_signed("!=", rest, _int(0)), signs_differ)
        quotient = builder.select(is_down, builder.sub(quotient, _int(1)), quotient)
        rest = builder.select(is_down, builder.add(rest, divisor), rest)
        quotient = builder.select(is_minus, builder.neg(left), builder.select(is_zero, _int(0), quotient))
        return quotient, builder.select(is_zero, _int(0), rest)

    def _call(self, node: ast.Call) -> Any:
        name = _name(node.func)
        arguments = [self._value(argument) for argument in node.args]
        if name in self._intrinsics:
            return self._intrinsics[name](*arguments)
        return self._builder.call(self._functions[name], arguments)

    def _absolute(self, value: Any) -> Any:
        return self._builder.select(self._builder.icmp_signed("<", value, _int(0)), self._builder.neg(value), value)

    def _load_int64(self, address: Any, index: Any) -> Any:
        return self._builder.load(self._place(address, index, _INT))

    def _load_int8(self, address: Any, index: Any) -> Any:
        return self._builder.sext(self._builder.load(self._place(address, index, _BYTE)), _INT)

    def _store_int64(self, address: Any, index: Any, value: Any) -> Any:
        return self._builder.store(value, self._place(address, index, _INT))

    def _room(self, size: ir.Constant) -> Any:
        """The address of so many int64 that live as long as the call of the function."""
        return self._builder.ptrtoint(ir.IRBuilder(self._entry).alloca(_INT, size=size), _INT)

    def _call_at(self, address: Any, *arguments: Any) -> Any:
        kind = ir.FunctionType(_INT, [_INT] * len(arguments)).as_pointer()
        return self._builder.call(self._builder.inttoptr(address, kind), arguments)

    def _place(self, address: Any, index: Any, kind: ir.Type) -> Any:
        return self._builder.gep(self._builder.inttoptr(address, kind.as_pointer()), [index])


def _int(value: int) -> ir.Constant:
    return ir.Constant(_INT, value)


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    raise NotImplementedError(f"kernels have no {ast.unparse(node)}")
