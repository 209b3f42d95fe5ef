"""Take a buffers-level module apart: the main function, one module per kernel, the functions of derived constants.

    { @forward, @arena_size, globals, @kernel_0 …, @const.w … }
        ──▶ main { @forward, @arena_size, globals, declarations }, { @k_<hash> } …, constants { @const.w … }

A kernel's symbol is the hash of its text, so equal kernels of different models share object code.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from xdsl.dialects import func
from xdsl.dialects.builtin import DenseResourceAttr, ModuleOp, StringAttr, SymbolRefAttr
from xdsl.ir import Region

from mlc.errors import InternalError
from mlc.ir.parsing import print_text

ENTRY = "forward"


@dataclass
class KernelPart:
    """One kernel function in a module of its own; `key` is the hash its symbol is made of."""

    key: str
    module: ModuleOp


@dataclass
class ModuleParts:
    """The pieces of a model at the buffers level. `constants[i]` is the resource name behind `consts[i]`; `names`: the
    key of each kernel by the name it had."""

    main: ModuleOp
    kernels: list[KernelPart]
    constant_functions: ModuleOp
    constants: list[str]
    names: dict[str, str]

    def named(self) -> dict[str, tuple[str, func.FuncOp]]:
        """Key and function of each kernel by the name it had."""
        functions = {k.key: next(op for op in k.module.ops if isinstance(op, func.FuncOp)) for k in self.kernels}
        return {name: (key, functions[key]) for name, key in self.names.items()}


def split_module(module: ModuleOp, fingerprint: str) -> ModuleParts:
    """Split `module` in place (its functions are moved out). `fingerprint`: target and version, part of each key."""
    kernels: dict[str, KernelPart] = {}
    renamed: dict[str, str] = {}
    names: dict[str, str] = {}
    constants = ModuleOp([])
    for op in list(module.ops):
        if not isinstance(op, func.FuncOp):
            continue
        if "constant" in op.attributes:
            op.detach()
            constants.body.block.add_op(op)
        elif "kernel" in op.attributes:
            old = op.sym_name.data
            declaration = declaration_of(op)
            module.body.block.insert_op_before(declaration, op)
            op.detach()
            part = kernel_part(op, fingerprint)
            kernels.setdefault(part.key, part)
            renamed[old], names[old] = f"k_{part.key}", part.key
            declaration.properties["sym_name"] = StringAttr(renamed[old])
    seen: set[str] = set()
    for op in list(module.ops):
        if isinstance(op, func.FuncOp) and not op.body.blocks:
            if op.sym_name.data in seen:
                op.detach()
                op.erase()
            else:
                seen.add(op.sym_name.data)
    for op in module.walk():
        if isinstance(op, func.CallOp) and (name := op.callee.root_reference.data) in renamed:
            op.properties["callee"] = SymbolRefAttr(renamed[name])
    return ModuleParts(module, list(kernels.values()), constants, constant_names(module), names)


def constant_names(main: ModuleOp) -> list[str]:
    """Resource names of the module's globals, in order: the layout of the `consts` table."""
    names: list[str] = []
    for op in main.ops:
        if op.name == "memref.global":  # without its class: a start from the cache does not import that dialect
            value = op.properties.get("initial_value")
            if not isinstance(value, DenseResourceAttr):
                raise InternalError(f"global {op.properties['sym_name']} does not name a resource")
            names.append(value.resource_handle.data)
    return names


def kernel_part(op: func.FuncOp, fingerprint: str) -> KernelPart:
    """A kernel function that stands nowhere, in a module of its own and under the name made of its key."""
    op.properties["sym_name"] = StringAttr("kernel")
    op.properties.pop("sym_visibility", None)
    kernel = ModuleOp([op])
    text = print_text(kernel)
    key = hashlib.blake2b(f"{fingerprint}\n{text}".encode(), digest_size=16).hexdigest()
    op.properties["sym_name"] = StringAttr(f"k_{key}")
    return KernelPart(key, kernel)


def declaration_of(op: func.FuncOp) -> func.FuncOp:
    """What stands for a kernel in the module that calls it."""
    declaration = func.FuncOp(op.sym_name.data, op.function_type, Region(), StringAttr("private"))
    declaration.location = op.location
    declaration.attributes["kernel"] = op.attributes["kernel"]
    return declaration
