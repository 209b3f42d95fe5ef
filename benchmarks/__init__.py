"""Side-by-side measurements on the model table: `make bench`, or `python -m benchmarks --models resnet18,bert_base`.

Engines run interleaved (A B A B …) in one process; medians and quartiles are reported as ratios to eager. First answers
(cold, and from the disk cache) and peak memory are taken in processes of their own.
"""
