"""mlc beside its peers on the model table: `make bench`.

    make bench                                         every row, 1 thread and all threads, and the contended rows
    make bench MODEL=resnet50 PEERS=openvino THREADS=2 RUNS=15          a part of it
    make bench PRECISION=bfloat16                      engines that have it, in bfloat16 (or int8): see `precisions.py`
    make bench CONTENDED=1                             2 threads while another process keeps one core busy
    make bench FRESH=1                                 start over instead of going on with an interrupted run
    make bench-accept                                  the latest ratios become those that regressions are seen against

In: the rows of `models.py`, the engines of `engines.py` and `onnx_engines.py` that are installed, `ratios.json`.
Out: `results.md` (tables), `results.json` (everything), `results.png` (chart) of the latest run of the whole table, and
`results-part.*` of the latest of a part: chosen rows, peers or threads, contended rows alone. Lower precisions have
files of their own (`files.py`). While a run goes on, `progress/*.jsonl` holds what is done, so that the same command
continues where an interrupted one stopped. `make bench-accept` takes the latest run in float32, whole or part.

Every engine has a process of its own per row (`worker.py`), so that no engine's threads, allocator or memory count for
another's.
The processes live side by side and answer in turns, A B A B …; only one works at any time. A turn is one untimed call
and then calls for at least 10 ms; what is reported are medians and quartiles over the turns, and ratios within a round.

What the columns mean:

- *x best peer*, *x eager*: their time over mlc's, median of the rounds' ratios; above 1 mlc is faster. The best peer is
  the fastest of all others.
- *% FMA*: floating-point operations of the model (products counted as direct ones) over mlc's time, as a share of what
  a loop of independent fused multiply-adds reaches (`limits.py`, before and after the run, the better counts).
- *% bandwidth*: weights, inputs and outputs once each, over mlc's time, as a share of streaming memory. Above 100 where
  they stay in the cache from call to call.
- *cold*, *cached*: seconds from the `nn.Module` to the first result, with empty caches and then in a new process.
  Cached means for ONNX Runtime and OpenVINO that the .onnx file is there already (OpenVINO's model cache is on, too),
  for torch.jit that the traced file is, for inductor its cache directory, for mlc its disk cache.
- *MB to the first result*, *MB running*: peak resident memory above the imported libraries, weights included: on the
  way to the first result with empty caches; and in turns of a process that started from its cache, so without what
  exporters and compilers leave behind, after the module was given up.
- *error*: largest difference from a float64 run, relative to the largest value; worst of all outputs. In lower
  precision a † marks engines whose error is so small that they computed in float32 (`notes.py`).
"""
