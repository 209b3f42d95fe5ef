"""The llvm dialect as LLVM IR text.

    llvm.func @f(%x: f32) -> f32 {           define float @f(float %0) nounwind {
      %y = llvm.fadd %x, %x : f32     -->      %1 = fadd float %0, %0
      llvm.return %y : f32                     ret float %1
    }                                        }

Written directly: building the IR through llvmlite's classes, or printing through xDSL, is many times slower.
The text is a function of the module, the machine and the options alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from xdsl.dialects import llvm
from xdsl.dialects.builtin import (
    ArrayAttr,
    DenseArrayBase,
    DictionaryAttr,
    IntegerAttr,
    ModuleOp,
    StringAttr,
    SymbolRefAttr,
    UnitAttr,
    VectorType,
)
from xdsl.ir import Attribute, Block, Operation, SSAValue, TypeAttribute

from mlc.backends.llvm.debug_info import DebugInfo
from mlc.backends.llvm.llvm_types import MAX_GLOBAL_BYTES, TypeTable, constant_text, escape, quote, size_of
from mlc.backends.llvm.target import function_attributes
from mlc.backends.machine import MachineModel
from mlc.dialects.llvm.ops import SwitchOp
from mlc.dialects.llvm.tile_type import X86AMXType
from mlc.errors import LimitError, UnsupportedError
from mlc.ir.locations import format_location

Edge = tuple[str, tuple[SSAValue, ...]]
"""Label of the predecessor and the values it passes."""


class Emitter:
    """State of one module's text."""

    def __init__(self, machine: MachineModel | None, *, debug: bool) -> None:
        self.machine = machine
        self.types = TypeTable()
        self.lines: list[str] = []
        self.names: dict[SSAValue, str] = {}
        self.labels: dict[Block, str] = {}
        self.targets: dict[Operation, list[str]] = {}
        self.intrinsics: dict[str, str] = {}
        self.defined: set[str] = set()
        self.debug = DebugInfo() if debug else None
        self._count = 0

    # Values

    def value(self, v: SSAValue) -> str:
        """The value's name or constant text."""
        found = self.names.get(v)
        if found is None:
            raise UnsupportedError(f"value of type {v.type} is used before it is defined")
        return found

    def typed(self, v: SSAValue) -> str:
        """`float %3`."""
        return f"{self.types(v.type)} {self.value(v)}"

    def name(self, v: SSAValue) -> str:
        """A fresh name for a result."""
        text = self.names[v] = self.fresh()
        return text

    def has_feature(self, name: str | None) -> bool:
        """Whether the machine is known to have a feature."""
        return self.machine is not None and name in self.machine.features

    def fresh(self) -> str:
        """A name that no value has yet."""
        self._count += 1
        return f"%{self._count - 1}"

    def line(self, text: str) -> None:
        """An instruction without result."""
        self.lines.append(f"  {text}")

    def result(self, op: Operation, text: str) -> None:
        """An instruction with one result."""
        self.lines.append(f"  {self.name(op.results[0])} = {text}")

    def intrinsic(
        self, name: str, result: str, args: Iterable[SSAValue], extra: Iterable[str] = (), fast: str = ""
    ) -> str:
        """A call of an LLVM intrinsic, declared on first use."""
        operands = list(args)
        arg_types = [self.types(a.type) for a in operands] + [e.split(" ")[0] for e in extra]
        self.intrinsics.setdefault(name, f"declare {result} @{name}({', '.join(arg_types)})")
        return f"call {fast}{result} @{name}({', '.join([*(self.typed(a) for a in operands), *extra])})"

    # Module

    def module(self, module: ModuleOp) -> str:
        """The whole text."""
        ops = list(module.ops)
        self.defined = {op.sym_name.data for op in ops if isinstance(op, llvm.FuncOp | llvm.GlobalOp)}
        for op in ops:
            if isinstance(op, llvm.GlobalOp):
                self.global_(op)
            elif isinstance(op, llvm.FuncOp):
                self.function(op)
            elif "constant" not in op.attributes:  # the function of a derived constant is run by the weight store
                raise UnsupportedError(
                    f"op '{op.name}' is not of the llvm dialect", where=format_location(op.location) or None
                )
        head = [f"{name} = type {body}" for name, body in self.types.structs.items()]
        tail = [d for name, d in self.intrinsics.items() if name not in self.defined]
        if self.debug is not None:
            tail += self.debug.metadata()
        return "\n".join([*head, *self.lines, *tail]) + "\n"

    def global_(self, op: llvm.GlobalOp) -> None:
        """A global variable."""
        ty = self.types(op.global_type)
        if size_of(op.global_type) > MAX_GLOBAL_BYTES:
            raise LimitError(
                f"global @{op.sym_name.data} of type {op.global_type}", expected=f"at most {MAX_GLOBAL_BYTES} bytes"
            )
        value = constant_text(op.value, op.global_type, self.types) if op.value is not None else ""
        if not value and op.linkage.linkage.data != "external":
            value = "undef"
        if op.body.blocks:
            value = self._initializer(op)
        alignment = f", align {op.alignment.value.data}" if op.alignment is not None else ""
        section = f', section "{escape(op.section.data.encode())}"' if op.section is not None else ""
        unnamed = {1: "local_unnamed_addr ", 2: "unnamed_addr "}.get(
            op.unnamed_addr.value.data if op.unnamed_addr is not None else 0, ""
        )
        local = "thread_local " if op.thread_local_ is not None else ""
        linkage = "" if op.linkage.linkage.data == "external" and value else f"{op.linkage.linkage.data} "
        kind = "constant" if op.constant is not None else "global"
        self.lines.append(
            f"@{quote(op.sym_name.data)} = {linkage}{local}{unnamed}{kind} {ty} {value}{section}{alignment}"
        )

    def _initializer(self, op: llvm.GlobalOp) -> str:
        """A global initialised by a region: constants, addresses and aggregates of them."""
        for inner in op.body.block.ops:
            match inner.name:
                case (
                    "llvm.mlir.constant"
                    | "llvm.mlir.zero"
                    | "llvm.mlir.addressof"
                    | "llvm.mlir.undef"
                    | "llvm.mlir.poison"
                ):
                    CONSTANTS[inner.name](self, inner)
                case "llvm.return":
                    return self.value(inner.operands[0])
                case _:
                    raise UnsupportedError(f"'{inner.name}' in the initialiser of @{op.sym_name.data}")
        raise UnsupportedError(f"initialiser of @{op.sym_name.data} does not return")

    def function(self, op: llvm.FuncOp) -> None:
        """A definition or declaration."""
        self._count = 0
        ty = op.function_type
        name = op.sym_name.data
        if name.startswith("llvm."):
            raise UnsupportedError(f"function @{name}: the prefix llvm. is kept for intrinsics")
        linkage = op.linkage.linkage.data
        if linkage not in (
            "external",
            "private",
            "internal",
            "weak",
            "linkonce",
            "linkonce_odr",
            "weak_odr",
            "extern_weak",
        ):
            raise UnsupportedError(f"linkage {linkage} of @{name}")
        output = self.types(ty.output)
        convention = convention_of(op)
        head = f"{convention} " if convention != "ccc" else ""
        arg_attrs = op.arg_attrs.data if op.arg_attrs is not None else ()
        args: list[str] = []
        body = op.body.blocks
        for i, arg_type in enumerate(ty.inputs):
            attrs = _argument_attributes(arg_attrs[i], self.types) if i < len(arg_attrs) else ""
            argument = f" {self.name(body[0].args[i])}" if body else ""
            args.append(f"{self.types(arg_type)}{attrs}{argument}")
        if ty.is_variadic:
            args.append("...")
        signature = f"{head}{output} @{quote(name)}({', '.join(args)})"
        if not body:
            kind = "extern_weak " if linkage == "extern_weak" else ""
            self.lines.append(f"declare {kind}{signature} nounwind")
            return
        visible = "" if linkage == "external" else f"{linkage} "
        subprogram = f" !dbg {self.debug.function(op)}" if self.debug is not None else ""
        self.lines.append(f"define {visible}{signature} {self._attributes(op)}{subprogram} {{")
        self._body(op)
        self.lines.append("}")

    def _attributes(self, op: llvm.FuncOp) -> str:
        words = ["nounwind"]
        given = op.properties
        if "no_inline" in given or any(type(v.type) is X86AMXType for inner in op.walk() for v in inner.results):
            words.append("noinline")  # tiles of two functions may not fit the registers together
        if "optimize_none" in given:
            words += ["noinline", "optnone"]
        passthrough = given.get("passthrough")
        for entry in passthrough.data if isinstance(passthrough, ArrayAttr) else ():
            if isinstance(entry, StringAttr):
                if entry.data not in _FUNCTION_ATTRIBUTES:
                    raise UnsupportedError(f"function attribute '{entry.data}' of @{op.sym_name.data}")
                words.append(entry.data)
            elif isinstance(entry, ArrayAttr):
                key, value = (cast(StringAttr, e).data for e in entry.data)
                words.append(f'"{escape(key.encode())}"="{escape(value.encode())}"')
        if self.machine is not None and '"target-cpu"' not in " ".join(words):
            words.append(function_attributes(self.machine))
        return " ".join(dict.fromkeys(words))

    def _body(self, op: llvm.FuncOp) -> None:
        blocks = list(op.body.blocks)
        for n, block in enumerate(blocks):
            self.labels[block] = f"b{n}"
        incoming, detours = self._edges(blocks)
        # A phi may name a value of a later block: its line is filled in when all values have names.
        pending: list[tuple[int, Block]] = []
        for n, block in enumerate(blocks):
            self.lines.append(f"b{n}:")
            if n:
                for arg in block.args:
                    self.name(arg)
                pending.append((len(self.lines), block))
                self.lines += [""] * len(block.args)
            elif incoming.get(block):
                raise UnsupportedError(f"the entry block of @{op.sym_name.data} is the target of a branch")
            for inner in block.ops:
                self._operation(inner)
        self.lines += detours
        for at, block in pending:
            for k, arg in enumerate(block.args):
                edges = [f"[ {self.value(args[k])}, %{source} ]" for source, args in incoming.get(block, ())]
                ty = self.types(arg.type)
                # A block that nothing reaches has no edges to choose from.
                text = f"phi {ty} {', '.join(edges)}" if edges else f"freeze {ty} poison"
                self.lines[at + k] = f"  {self.names[arg]} = {text}"

    def _edges(self, blocks: list[Block]) -> tuple[dict[Block, list[Edge]], list[str]]:
        """For each block, from which label it is reached with what, and the lines of detours.

        A phi knows one value per predecessor: a second edge between two blocks that carries arguments takes a detour.
        """
        incoming: dict[Block, list[Edge]] = {}
        detours: list[str] = []
        for block in blocks:
            last = block.last_op
            if last is None:
                raise UnsupportedError("a block without a terminator")
            seen: set[Block] = set()
            self.targets[last] = labels = []
            for target, args in successors(last):
                source, label = self.labels[block], self.labels[target]
                if target in seen and target.args:
                    source = f"d{len(detours) // 2}"
                    detours += [f"{source}:", f"  br label %{label}"]
                    label = source
                seen.add(target)
                labels.append(label)
                incoming.setdefault(target, []).append((source, args))
        return incoming, detours

    def _operation(self, op: Operation) -> None:
        fn = EMITTERS.get(op.name)
        if fn is None:
            fn = CONSTANTS.get(op.name)
        if fn is None:
            raise UnsupportedError(
                f"op '{op.name}' cannot be written as LLVM IR", where=format_location(op.location) or None
            )
        before = len(self.lines)
        fn(self, op)
        if self.debug is not None and len(self.lines) > before:
            mark = self.debug.location(op)
            if mark:
                self.lines[-1] += f", !dbg {mark}"


def successors(op: Operation) -> list[tuple[Block, tuple[SSAValue, ...]]]:
    """Targets of a terminator, in order, and what it passes to each."""
    match op:
        case llvm.BrOp():
            return [(op.successor, tuple(op.operands))]
        case llvm.CondBrOp():
            return [(op.then_block, tuple(op.then_arguments)), (op.else_block, tuple(op.else_arguments))]
        case SwitchOp():
            default = (op.default_destination, tuple(op.default_operands))
            return [default, *((block, args) for _, block, args in op.cases())]
        case _ if op.successors:
            raise UnsupportedError(f"terminator '{op.name}' cannot be written as LLVM IR")
        case _:
            return []


_POINTER_FLAGS = (
    "noalias", "nocapture", "nonnull", "noundef", "readonly", "writeonly", "readnone", "returned", "signext", "zeroext",
    "inreg", "nofree", "noext", "immarg",
)  # fmt: skip


def _argument_attributes(attrs: DictionaryAttr, types: TypeTable) -> str:
    out = ""
    for key, value in attrs.data.items():
        name = key.removeprefix("llvm.")
        if name == key:
            continue
        if isinstance(value, UnitAttr) and name in _POINTER_FLAGS:
            out += " captures(none)" if name == "nocapture" else f" {name}"
        elif name == "align" and isinstance(value, IntegerAttr):
            out += f" align {value.value.data}"
        elif name in ("dereferenceable", "dereferenceable_or_null") and isinstance(value, IntegerAttr):
            out += f" {name}({value.value.data})"
        elif name in ("byval", "sret", "byref", "inalloca") and isinstance(value, TypeAttribute):
            out += f" {name}({types(value)})"
    return out


def fast_flags(op: Operation) -> str:
    """Fast-math flags of an op, in LLVM's order, with a trailing space."""
    flags = op.properties.get("fastmathFlags")
    names = {str(f) for f in getattr(flags, "data", ())}
    if not names:
        return ""
    if len(names) == 7:
        return "fast "
    return "".join(f"{n} " for n in ("nnan", "ninf", "nsz", "arcp", "contract", "afn", "reassoc") if n in names)


def suffix(ty: Attribute, types: TypeTable) -> str:
    """A type's part of an overloaded intrinsic's name: `v16f32`, `i64`, `p0`."""
    if isinstance(ty, VectorType):
        return f"v{ty.get_shape()[0]}{suffix(ty.element_type, types)}"
    text = types(ty)
    return {"float": "f32", "double": "f64", "half": "f16", "ptr": "p0"}.get(text, text)


_FUNCTION_ATTRIBUTES = frozenset(
    (
        *("alwaysinline", "cold", "hot", "inlinehint", "minsize", "mustprogress", "nofree", "noinline", "norecurse"),
        *("nosync", "nounwind", "optnone", "optsize", "willreturn"),
    )
)

EmitFn = Callable[[Emitter, Operation], None]
EMITTERS: dict[str, EmitFn] = {}
CONSTANTS: dict[str, EmitFn] = {}


def emits(*names: str) -> Callable[[EmitFn], EmitFn]:
    """Register how ops are written."""

    def register(fn: EmitFn) -> EmitFn:
        for name in names:
            EMITTERS[name] = fn
        return fn

    return register


def convention_of(op: llvm.FuncOp | llvm.CallOp) -> str:
    """The calling convention, checked: it goes into the text as it is."""
    convention = op.CConv.convention.data
    if convention not in ("ccc", "fastcc", "coldcc"):
        raise UnsupportedError(f"calling convention '{convention}'")
    return convention


def ints(attr: Attribute | None) -> list[int]:
    """Values of a dense integer array property."""
    return cast(list[int], list(attr.get_values())) if isinstance(attr, DenseArrayBase) else []


def symbol(attr: Attribute | None) -> str:
    """Name of a flat symbol reference."""
    assert isinstance(attr, SymbolRefAttr)
    return attr.string_value()
