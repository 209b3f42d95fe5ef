"""Constants computed beside the passes: the same as computed at the end, and nothing where functions change or fail."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
from xdsl.dialects import arith
from xdsl.dialects.builtin import FloatAttr, ModuleOp, f32

from mlc import derived as derived_constants
from mlc.derived import DerivedConstants
from mlc.driver import compile_module
from mlc.errors import InternalError
from mlc.interp import evaluate_constant
from mlc.ir.context import MlcContext, make_context
from mlc.ir.parsing import parse_text
from mlc.ir.resources import ResourceStore
from mlc.lowering.linalg.linalg_form_kernels import LinalgFormKernels
from mlc.options import Options

MODEL = """
func.func @forward(%x: tensor<8x64xf32>) -> tensor<8x96xf32> {
  %w = arith.constant dense_resource<w> : tensor<64x96xf32>
  %v = arith.constant dense_resource<v> : tensor<64x96xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<8x96xf32>
  %z = linalg.fill ins(%zero : f32) outs(%e : tensor<8x96xf32>) -> tensor<8x96xf32>
  %a = linalg.matmul ins(%x, %w : tensor<8x64xf32>, tensor<64x96xf32>) outs(%z : tensor<8x96xf32>) -> tensor<8x96xf32>
  %b = linalg.matmul ins(%x, %v : tensor<8x64xf32>, tensor<64x96xf32>) outs(%a : tensor<8x96xf32>) -> tensor<8x96xf32>
  func.return %b : tensor<8x96xf32>
}"""
CONSTANTS = """
func.func private @first() -> tensor<4x4xf32> attributes {constant} {
  %w = arith.constant dense_resource<w> : tensor<4x4xf32>
  %f = arith.constant 2.0 : f32
  %e = tensor.empty() : tensor<4x4xf32>
  %y = linalg.fill ins(%f : f32) outs(%e : tensor<4x4xf32>) -> tensor<4x4xf32>
  %r = linalg.add ins(%w, %y : tensor<4x4xf32>, tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) -> tensor<4x4xf32>
  func.return %r : tensor<4x4xf32>
}
func.func private @second() -> tensor<4x4xf32> attributes {constant} {
  %w = arith.constant dense_resource<NAME> : tensor<4x4xf32>
  %e = tensor.empty() : tensor<4x4xf32>
  %r = linalg.add ins(%w, %w : tensor<4x4xf32>, tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) -> tensor<4x4xf32>
  func.return %r : tensor<4x4xf32>
}"""


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(derived_constants, "available_cores", lambda: 2)


def model() -> tuple[ModuleOp, MlcContext, np.ndarray]:
    ctx = make_context()
    rng = np.random.default_rng(1)
    for name in "wv":
        ctx.resources.set(name, rng.standard_normal((64, 96), np.float32))
    return parse_text(MODEL, ctx), ctx, rng.standard_normal((8, 64), np.float32)


def some_constants(second: str = "w") -> tuple[ModuleOp, MlcContext]:
    ctx = make_context()
    ctx.resources.set("w", np.arange(16, dtype=np.float32).reshape(4, 4))
    return parse_text(CONSTANTS.replace("NAME", second), ctx), ctx


def finish(derived: DerivedConstants) -> None:
    """Let it compute all of them."""
    thread = derived._thread  # pyright: ignore[reportPrivateUsage]
    if thread.is_alive():
        thread.join()


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == "mlc-constants"]


def test_all_constants_of_a_model_come_from_the_thread(monkeypatch: pytest.MonkeyPatch):
    taken: list[dict[str, np.ndarray]] = []
    take = DerivedConstants.take

    def spy(self: DerivedConstants, functions: ModuleOp) -> dict[str, np.ndarray]:
        finish(self)
        taken.append(dict(take(self, functions)))
        return taken[-1]

    monkeypatch.setattr(DerivedConstants, "take", spy)
    module, ctx, x = model()
    beside = compile_module(module, ctx, Options(cache_dir=""))
    (found,) = taken
    assert len(found) == 2
    assert {c.ctypes.data for c in found.values()} <= {c.ctypes.data for c in beside.executable.constants}
    monkeypatch.setattr(derived_constants, "available_cores", lambda: 1)
    module, ctx, x = model()
    at_the_end = compile_module(module, ctx, Options(cache_dir=""))
    assert taken[1:] == [{}]
    np.testing.assert_array_equal(beside.run([x])[0], at_the_end.run([x])[0])


def test_only_what_is_still_the_same_is_taken():
    module, ctx = some_constants()
    with DerivedConstants(ctx.resources) as derived:
        derived.start(module)
    finish(derived)
    assert list(derived.take(module)) == ["first", "second"]
    (two,) = (op for op in module.walk() if isinstance(op, arith.ConstantOp) and isinstance(op.value, FloatAttr))
    two.properties["value"] = FloatAttr(3.0, f32)
    taken = derived.take(module)
    assert list(taken) == ["second"]
    np.testing.assert_array_equal(taken["second"], evaluate_constant(module, "second", ctx.resources))


def test_what_is_not_there_yet_is_left_to_who_asks(monkeypatch: pytest.MonkeyPatch):
    asked, go = threading.Event(), threading.Event()

    def slow(module: ModuleOp, resources: ResourceStore) -> Callable[[str], np.ndarray]:
        def evaluate(name: str) -> np.ndarray:
            asked.set()
            go.wait()
            return evaluate_constant(module, name, resources)

        return evaluate

    monkeypatch.setattr(derived_constants, "constants_of", slow)
    module, ctx = some_constants()
    with DerivedConstants(ctx.resources) as derived:
        derived.start(module)
    assert asked.wait(60)
    threading.Timer(0.2, go.set).start()
    assert list(derived.take(module)) == ["first"]


def test_no_thread_is_needed(monkeypatch: pytest.MonkeyPatch):
    module, ctx, x = model()
    beside = compile_module(module, ctx, Options(cache_dir=""))

    start = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        if self.name == "mlc-constants":
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    module, ctx, x = model()
    alone = compile_module(module, ctx, Options(cache_dir=""))
    np.testing.assert_array_equal(beside.run([x])[0], alone.run([x])[0])


def test_what_cannot_be_computed_is_told_to_who_asks_for_it():
    module, ctx = some_constants("lost")
    with DerivedConstants(ctx.resources) as derived:
        derived.start(module)
    finish(derived)
    assert not derived.take(module)
    assert not threads()


def test_an_error_of_a_pass_ends_the_thread(monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> None:
        raise InternalError("no kernels today")

    monkeypatch.setattr(LinalgFormKernels, "run", broken)
    module, ctx, _ = model()
    with pytest.raises(InternalError, match="no kernels today"):
        compile_module(module, ctx, Options(cache_dir=""))
    assert not threads()
