"""Kernels compiled in processes beside this one, where a model has many and the machine has cores for them.

in:  kernels at the buffers level, taken from the driver's queue
out: their object code and remarks, the same bytes as this process would make

`wire.py` what the processes say to each other; `pool.py` this process's side; `worker.py` the other side. `pool` and
`wire` import `mlc.ir` and `mlc.runtime` only. Whatever goes wrong with a process, its kernels are compiled here.
"""
