"""Kernels at the buffers level, written tersely, and the check that a pass keeps their meaning.

Kernel("x=4x8 w=8x16 out=4x16").fill("out").contract("mk,kn->mn", "x", "w", "out")
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from mlc.backends.llvm.testing import compile_kernel
from mlc.interp import run_function
from mlc.ir.context import MlcContext, make_context
from mlc.ir.parsing import parse_text
from mlc.ir.pipeline import make_pass
from mlc.ir.verifier import verify_module

OFFSET = 3  # elements before a strided argument

DTYPES = {"f32": np.float32, "f64": np.float64, "i64": np.int64, "i32": np.int32, "i8": np.int8, "i1": np.bool_}

MULTIPLY_ADD = ["%p = arith.mulf %a0, %a1 : f32", "%r = arith.addf %acc, %p : f32"]


class Kernel:
    """A kernel under construction. Arguments: `name=shape[:dtype][@strides]`, `?` for a dynamic dim."""

    def __init__(self, arguments: str) -> None:
        self.types: dict[str, str] = {}
        self.lines: list[str] = []
        for argument in arguments.split():
            name, _, spec = argument.partition("=")
            spec, _, strides = spec.partition("@")
            shape, _, dtype = spec.partition(":")
            layout = f", strided<[{strides}], offset: ?>" if strides else ""
            dims = "x".join(d for d in shape.split("x") if d)
            self.types[name] = f"memref<{dims}{'x' if dims else ''}{dtype or 'f32'}{layout}>"
        self.arguments = list(self.types)

    def element(self, name: str) -> str:
        """Element type of a memref."""
        return self.types[name].removeprefix("memref<").split(",")[0].rstrip(">").split("x")[-1]

    def line(self, text: str) -> Kernel:
        self.lines.append(text)
        return self

    def local(self, name: str, shape: str) -> Kernel:
        """A local buffer."""
        self.types[name] = f"memref<{shape}>"
        return self.line(f"%{name} = memref.alloca() : {self.types[name]}")

    def view(self, name: str, text: str, kind: str) -> Kernel:
        """A view: `text` is the op without its result."""
        self.types[name] = kind
        return self.line(f"%{name} = {text}")

    def fill(self, name: str, value: str = "0.0") -> Kernel:
        kind = self.element(name)
        typed = value if value in ("true", "false") else f"{value} : {kind}"
        self.line(f"%fill{len(self.lines)} = arith.constant {typed}")
        return self.line(f"linalg.fill ins(%fill{len(self.lines) - 1} : {kind}) outs(%{name} : {self.types[name]})")

    def generic(self, equation: str, names: Sequence[str], body: Sequence[str], reduced: str = "") -> Kernel:
        """`equation` is einsum-like with affine expressions: "m,h*2+i->m". The last name is the output; the body sees
        %a0, %a1, ..., the old output %acc, and yields %r."""
        ins, _, out = equation.replace(" ", "").partition("->")
        operands = [*(ins.split("|") if ins else []), out]
        loops: list[str] = []
        for operand in operands[::-1]:
            for token in "".join(c if c.isalnum() else " " for c in operand).split():
                if token[0].isalpha() and token not in ("mod", "floordiv") and token not in loops:
                    loops.append(token)
        maps = ", ".join(f"affine_map<({', '.join(loops)}) -> ({o.replace('_', ' ')})>" for o in operands)
        kinds = ", ".join(
            '"parallel"' if any(loop == t for t in _tokens(out)) and loop not in reduced.split() else '"reduction"'
            for loop in loops
        )
        args = [f"%a{i}: {self.element(n)}" for i, n in enumerate(names[:-1])] + [f"%acc: {self.element(names[-1])}"]
        inputs = f"ins({_list(names[:-1], self.types)}) " if len(names) > 1 else ""
        block = [f"^bb0({', '.join(args)}):", *body, f"linalg.yield %r : {self.element(names[-1])}"]
        suffix = f"_{len(self.lines)}"
        self.lines += [
            f"linalg.generic {{indexing_maps = [{maps}], iterator_types = [{kinds}]}} "
            f"{inputs}outs({_list(names[-1:], self.types)}) {{",
            *(re.sub(r"%([a-z]\w*)", rf"%\1{suffix}", text) for text in block),
            "}",
        ]
        return self

    def contract(self, equation: str, a: str, b: str, out: str) -> Kernel:
        return self.generic(equation, [a, b, out], MULTIPLY_ADD)

    def text(self) -> str:
        """`@k`, and `@entry` that calls it: a strided argument of `@k` is a view of a flat one of `@entry`."""
        params = ", ".join(f"%{n}: {self.types[n]}" for n in self.arguments)
        body = "\n  ".join([*self.lines, "func.return"])
        kernel = f"func.func private @k({params}) attributes {{kernel}} {{\n  {body}\n}}"
        if not any("strided" in self.types[n] for n in self.arguments):
            return kernel
        outer, views = [], []
        for n in self.arguments:
            shape, strides = _layout(self.types[n])
            if strides is None:
                outer.append(f"%{n}: {self.types[n]}")
                continue
            flat = f"memref<{_span(shape, strides)}x{self.element(n)}>"
            outer.append(f"%{n}_flat: {flat}")
            views.append(
                f"%{n} = memref.reinterpret_cast %{n}_flat to offset: [{OFFSET}], sizes: {shape}, strides: {strides} : "
                f"{flat} to {self.types[n].replace('?', str(OFFSET))}"
            )
            views.append(
                f'%{n}_view = "memref.cast"(%{n}) : ({self.types[n].replace("?", str(OFFSET))}) -> {self.types[n]}'
            )
        names = ", ".join(f"%{n}_view" if "strided" in self.types[n] else f"%{n}" for n in self.arguments)
        kinds = ", ".join(self.types[n] for n in self.arguments)
        calls = "\n  ".join([*views, f"func.call @k({names}) : ({kinds}) -> ()", "func.return"])
        return f"{kernel}\nfunc.func private @entry({', '.join(outer)}) attributes {{kernel}} {{\n  {calls}\n}}"

    @property
    def entry(self) -> str:
        """The function that tests call."""
        return "entry" if any("strided" in self.types[n] for n in self.arguments) else "k"

    def arrays(self, sizes: Sequence[int] = (), seed: int = 0) -> list[np.ndarray]:
        """Random arguments; `sizes` replaces the dynamic dims in order of their first use per argument."""
        rng = np.random.default_rng(seed)
        left = list(sizes)
        out: list[np.ndarray] = []
        for name in self.arguments:
            spec = self.types[name].removeprefix("memref<").split(",")[0].rstrip(">")
            *dims, dtype = spec.split("x")
            shape = [left.pop(0) if d == "?" else int(d) for d in dims]
            strides = _layout(self.types[name])[1]
            if strides is not None:
                shape = [_span(shape, strides)]
            out.append(_random(rng, shape, DTYPES[dtype]))
        return out


def _tokens(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text).split()


def _list(names: Sequence[str], types: dict[str, str]) -> str:
    return ", ".join(f"%{n}" for n in names) + " : " + ", ".join(types[n] for n in names)


def _layout(kind: str) -> tuple[list[int], list[int] | None]:
    """Shape and strides (None: dense) of a static memref type."""
    spec, _, layout = kind.removeprefix("memref<").rstrip(">").partition(", strided<")
    shape = [int(d) if d != "?" else -1 for d in spec.split("x")[:-1]]
    return shape, [int(s) for s in layout.split("]")[0].lstrip("[").split(",")] if layout else None


def _span(shape: Sequence[int], strides: Sequence[int]) -> int:
    return OFFSET + sum(s * (n - 1) for s, n in zip(strides, shape, strict=True)) + 1


def _random(rng: np.random.Generator, shape: Sequence[int], dtype: type) -> np.ndarray:
    if dtype is np.bool_:
        return rng.integers(0, 2, shape).astype(np.bool_)
    values = np.asarray(rng.integers(-4, 5, shape))
    if np.issubdtype(dtype, np.integer):
        return values.astype(dtype)
    return np.asarray(values + rng.standard_normal(shape)).astype(dtype)


def copies(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [a.copy() for a in arrays]


def lowered(kernel: Kernel, *passes: str, **options: object) -> tuple[ModuleOp, ModuleOp, MlcContext]:
    """The module before and after `passes` (options go to the first), verified."""
    ctx = make_context()
    before = parse_text(kernel.text(), ctx)
    after = before.clone()
    for i, name in enumerate(passes or ("vectorize-structured",)):
        make_pass(name, options if i == 0 else {}).apply(ctx, after)
    verify_module(after, ctx)
    return before, after, ctx


def structured_left(module: ModuleOp) -> list[str]:
    """Names of linalg ops that are still there."""
    return [op.name for op in module.walk() if op.name.startswith("linalg.")]


def check(
    kernel: Kernel,
    arrays: Sequence[np.ndarray] | None = None,
    *,
    domain: str = "",
    bits: bool = False,
    complete: bool = True,
    native: bool = True,
    tolerance: float = 2e-6,
    **options: object,
) -> ModuleOp:
    """The vectorised kernel does what the kernel does: in the interpreter (exactly in `domain`, and bit for bit when
    `bits`), and natively. `tolerance` is relative to the largest magnitude of each output."""
    before, after, _ = lowered(kernel, **options)
    if complete:
        assert structured_left(after) == []
    arrays = kernel.arrays() if arrays is None else arrays
    if domain:
        whole = [np.rint(a).astype(a.dtype) if a.dtype.kind == "f" else a for a in copies(arrays)]
        _, expected = run_function(before, kernel.entry, copies(whole), domain=domain, raw=True)
        _, got = run_function(after, kernel.entry, copies(whole), domain=domain, raw=True)
        for e, g in zip(expected, got, strict=True):
            np.testing.assert_array_equal(np.asarray(_data(e)), np.asarray(_data(g)))
    _, expected = run_function(before, kernel.entry, copies(arrays))
    _, got = run_function(after, kernel.entry, copies(arrays))
    _compare(expected, got, 0 if bits else tolerance)
    if native:
        own = copies(arrays)
        compile_kernel(after, kernel.entry)(*own)
        _compare(expected, own, 0 if bits else tolerance)
    return after


def _data(value: object) -> object:
    return getattr(value, "array", value)


def _compare(expected: Sequence[np.ndarray], got: Sequence[np.ndarray], tolerance: float) -> None:
    for e, g in zip(expected, got, strict=True):
        e, g = np.asarray(e), np.asarray(g)
        if e.dtype.kind != "f" or tolerance == 0:
            np.testing.assert_array_equal(g, e)
            continue
        finite = np.abs(e[np.isfinite(e)])
        scale = float(finite.max()) if finite.size else 1.0
        np.testing.assert_allclose(g, e, rtol=0, atol=tolerance * max(scale, 1e-30))
