"""The reference interpreter: runs any level of the IR on numpy, exactly as the ops are defined.

    results = mlc.interp.run_module(module, "forward", [x], resources=store)            # IEEE floats
    results = mlc.interp.run_module(module, "forward", [x], domain="field")             # GF(2^31 - 1)

May import `mlc.ir`, `mlc.arrays`, and `mlc.dialects` through their registered semantics only.
"""

from mlc.interp.domains import DOMAINS, make_domain
from mlc.interp.engine import Interpreter
from mlc.interp.run import constants_of, evaluate_constant, run_function, run_module

__all__ = ["DOMAINS", "Interpreter", "constants_of", "evaluate_constant", "make_domain", "run_function", "run_module"]
