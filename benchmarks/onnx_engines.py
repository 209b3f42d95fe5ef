"""The engines that run ONNX files, each in its best configuration for one request at a time.

Both get the file that `torch.onnx.export(dynamo=True)` writes. Inputs are bound once, without copies; of the interfaces
each offers for a call, the faster one counts.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.prepared import Prepared


def onnx_file(model: nn.Module, inputs: tuple[Any, ...], files: Path) -> Path:
    """The model's file; exported unless an earlier process has done it."""
    path = files / "model.onnx"
    if not path.exists():
        with torch.inference_mode(False), torch.no_grad():
            torch.onnx.export(model, inputs, str(path), dynamo=True, external_data=True, verbose=False)
    return path


def int8_file(model: nn.Module, inputs: tuple[Any, ...], files: Path) -> Path:
    """The same with matrix products quantised dynamically, by ONNX Runtime's own tool."""
    path = files / "int8.onnx"
    if not path.exists():
        quantization = importlib.import_module("onnxruntime.quantization")
        source = onnx_file(model, inputs, files)
        products, weights = ["MatMul", "Gemm"], quantization.QuantType.QInt8
        quantization.quantize_dynamic(source, path, op_types_to_quantize=products, weight_type=weights)
    return path


def onnx_runtime(model: nn.Module, inputs: tuple[Any, ...], threads: int, files: Path) -> Prepared:
    """ONNX Runtime's CPU provider, all graph optimisations, its default spinning."""
    return _onnx_runtime(onnx_file(model, inputs, files), inputs, threads)


def onnx_runtime_int8(model: nn.Module, inputs: tuple[Any, ...], threads: int, files: Path) -> Prepared:
    """The same on quantised products."""
    return _onnx_runtime(int8_file(model, inputs, files), inputs, threads)


def _onnx_runtime(path: Path, inputs: tuple[Any, ...], threads: int) -> Prepared:
    ort = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    arrays = [x.numpy() for x in inputs]
    feeds = {i.name: array for i, array in zip(session.get_inputs(), arrays, strict=True)}
    binding = session.io_binding()
    for name, array in feeds.items():
        binding.bind_cpu_input(name, array)
    for output in session.get_outputs():
        binding.bind_output(output.name, "cpu")
    ways = [lambda: session.run(None, feeds), lambda: session.run_with_iobinding(binding)]
    return Prepared(ways, lambda: session.run(None, feeds))


def openvino(model: nn.Module, inputs: tuple[Any, ...], threads: int, files: Path) -> Prepared:
    """OpenVINO's CPU plugin, tuned for latency, in float32."""
    return _openvino(*openvino_request(model, inputs, threads, files))


def openvino_bfloat16(model: nn.Module, inputs: tuple[Any, ...], threads: int, files: Path) -> Prepared:
    """The same with bfloat16 allowed inside."""
    return _openvino(*openvino_request(model, inputs, threads, files, precision="bf16"))


def _openvino(request: Any, arrays: list[np.ndarray]) -> Prepared:
    def asynchronous() -> None:
        request.start_async()
        request.wait()

    def answer() -> list[np.ndarray]:
        request.infer()
        return [np.array(t.data) for t in request.output_tensors]

    kept = arrays  # the request only points at them
    return Prepared([lambda: request.infer(share_outputs=True), asynchronous], lambda: answer() if kept else [])


def openvino_request(
    model: nn.Module,
    inputs: tuple[Any, ...],
    threads: int,
    files: Path,
    *,
    profile: bool = False,
    precision: str = "f32",
) -> tuple[Any, list[np.ndarray]]:
    """An inference request with its inputs set, and the arrays it reads (to be kept alive)."""
    ov = importlib.import_module("openvino")
    path = onnx_file(model, inputs, files)
    core = ov.Core()
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": precision,
        "CACHE_DIR": str(files / "openvino"),
        "PERF_COUNT": profile,
    }
    request = core.compile_model(str(path), "CPU", settings).create_infer_request()
    arrays = [x.numpy() for x in inputs]
    for i, array in enumerate(arrays):
        request.set_input_tensor(i, ov.Tensor(array, shared_memory=True))
    return request, arrays
