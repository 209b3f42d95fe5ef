"""PyTorch models to the torch dialect.

In: an `nn.Module`, a function of tensors, or an `ExportedProgram`. Out: `Captured`. The default records one real run
(`record.py`); `exported.py` reads torch.export's graphs, for dynamic shapes. `source.py` is what the face uses.
"""

from mlc.frontends.torch.captured import Captured
from mlc.frontends.torch.record import capture
from mlc.frontends.torch.source import MISS, Binding, TorchSource

__all__ = ["MISS", "Binding", "Captured", "TorchSource", "capture"]
