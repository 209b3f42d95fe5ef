"""What of a model cannot be captured: collected while it runs, reported all at once.

2 things in this model cannot be compiled:
  model.py:12 (head): reads the value of a tensor in Python: aten.item
  model.py:30: draws random numbers: aten.rand
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn

from mlc.errors import UnsupportedError
from mlc.frontends.torch.graph import Location

READS_VALUE = (
    "keep the value in tensors (torch.where, torch.index_select, masks) or compute it before the call and pass it "
    "as a Python number"
)
DATA_SIZE = (
    "keep sizes fixed (torch.where or a product with the mask in place of x[mask], topk(k) in place of nonzero), or "
    "compute it before the call"
)
OUTPUT_SIZE = (
    "say how many there will be: repeat_interleave(..., output_size=n); each call checks that the repeats sum to n"
)
CLASSES = "say how many there are: one_hot(x, num_classes=n)"
PRINTS = "leave it out, or print only `if not torch.compiler.is_compiling()`"
CONTROL_FLOW = (
    "torch.cond works; write a loop as a Python loop of a fixed number of steps (torch.where keeps what is done), or "
    "run it outside of the model"
)
RANDOM = "draw the numbers outside of the model and pass them as inputs"
TRAINING = "call model.eval() before compiling; where it is a function, pass training=False"
GIVES_MEMORY = "compute a new tensor, or change a registered buffer with copy_()"
KEEPS_STATE = "register it with register_buffer(), or return it and pass it back in"


@dataclass
class Problems:
    """Problems in the order they were met; one per place and message."""

    found: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, message: str, location: Location, hint: str) -> None:
        """Note a problem and go on."""
        self.found.setdefault((str(location), message), hint)

    def fail(self, message: str, location: Location, hint: str) -> NoReturn:
        """Note a problem after which the run cannot go on."""
        self.add(message, location, hint)
        raise self.error()

    def raise_if_any(self) -> None:
        """Raise when something was found."""
        if self.found:
            raise self.error()

    def error(self) -> UnsupportedError:
        """All of them as one error."""
        hints = "; ".join(dict.fromkeys(self.found.values()))
        if len(self.found) == 1:
            ((where, message),) = self.found
            return UnsupportedError(f"this model {message}", where=where or None, hint=hints)
        lines = [f"  {where or '(unknown place)'}: {message}" for where, message in self.found]
        return UnsupportedError(
            f"{len(self.found)} things in this model cannot be compiled:\n" + "\n".join(lines), hint=hints
        )
