"""What compiled models are found by in the cache.

    graph ──graph_key──▶ digest of its module ──model_key──▶ bundle       as a capture has it
    text  ──text_key───▶ digest of its module ──model_key──▶ bundle       as a saved model has it
    module ──module_digest (mlc/driver.py)────────────┘

A module is known by its digest once it has been built and rolled; the first two find that without building it.
"""

from __future__ import annotations

import hashlib

from mlc.options import Options


def digest(text: str) -> str:
    """What stands for a text in keys."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def model_key(module: str, fingerprint: str, options: Options, tuned: str = "") -> str:
    """Under which a whole model is cached. `module`: its digest at the torch level. `tuned`: where choices that are not
    the default come from."""
    direct = "" if options.winograd else "direct"
    return digest(f"{fingerprint}\n{options.precision} {options.debug} {tuned} {direct}\n{module}")


def placed_key(model: str, places: str) -> str:
    """Under which a model is cached that has assertions. `model`: its `model_key`; `places`: the hash of its source
    lines, which messages name."""
    return digest(f"{model}\nat {places}")


def text_key(text: str, fingerprint: str) -> str:
    """Under which the digest of the module is cached whose text is `text`."""
    return digest(f"{fingerprint}\nmodule of {digest(text)}")


def graph_key(graph: str, fingerprint: str) -> str:
    """Under which the digest of the module is cached that is made of a graph. `graph`: that one's digest."""
    return digest(f"{fingerprint}\nmodule of graph {graph}")


def places_key(graph: str, places: str, fingerprint: str) -> str:
    """Under which the hash of the source lines of that module is cached. `places`: the hash of the graph's."""
    return digest(f"{fingerprint}\nplaces {places} of graph {graph}")
