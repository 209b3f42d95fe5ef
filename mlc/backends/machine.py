"""Machine models: what the lowering needs to know of a target, as plain data.

Tile sizes, unrolling and loop orders are computed from these figures (`mlc/lowering/vector`), so a new target is a
new row here. Nothing is probed in this file: `mlc.backends.llvm` recognises the host and picks or adapts a preset.

    model = preset("x86-64-avx512")        # a known model by name
    model = from_features("x86_64", {"avx2", "fma"}, name="znver2")
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace

from mlc.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class MachineModel:
    """One core of a target.

    `vector_bits`: width of a vector register; `vector_registers`: how many the ISA names; `fma`: fused
    multiply-add exists (otherwise a multiply and an add are counted); `fma_per_cycle` and `fma_latency`: full-width
    fused multiply-adds started per cycle, and cycles until a result can be used; `loads_per_cycle`: full-width loads;
    `narrow_per_cycle`: multiply-adds, or loads, of vectors of half the width and less;
    `broadcast_load`: an arithmetic instruction takes a scalar from memory and repeats it in all lanes for free;
    `adds_beside_fma`: as many additions are started beside the fused multiply-adds of a cycle, on units of their own;
    `lane_operand`: a multiply-add takes one lane of a register as a factor (NEON); `masks`: masked loads and stores
    cost about as much as plain ones; `l1`, `l2`, `l3`: bytes of data cache that one core can count on. `tune`: the CPU
    to schedule instructions for, in the code generator's words; empty for the architecture's common ground. `name` is
    free: it only shows in messages.
    """

    name: str
    arch: str
    vector_bits: int
    vector_registers: int
    fma: bool = True
    fma_per_cycle: float = 1
    fma_latency: int = 4
    loads_per_cycle: float = 2
    narrow_per_cycle: float = 2
    broadcast_load: bool = False
    adds_beside_fma: bool = False
    lane_operand: bool = False
    masks: bool = False
    l1: int = 32 << 10
    l2: int = 512 << 10
    l3: int = 8 << 20
    features: tuple[str, ...] = ()
    tune: str = ""

    def lanes(self, element_bits: int) -> int:
        """Elements of `element_bits` in one vector register, at least one."""
        return max(1, self.vector_bits // max(8, element_bits))

    @property
    def dot_bf16(self) -> bool:
        """Whether an instruction adds pairs of bf16 products to full vectors of f32, and pays: where two multiply-adds
        of f32 start per cycle it takes longer (measured; beside a matrix unit it is there for a few rows)."""
        known = "avx512bf16" in self.features and self.vector_bits == 512
        return known and (self.fma_per_cycle < 2 or self.tile_bf16)

    @property
    def lookup(self) -> bool:
        """Whether an instruction looks up the lanes of a vector of f32 in a register of 16 values."""
        return "avx512vl" in self.features and self.vector_bits == 512

    @property
    def dot_int8(self) -> bool:
        """Whether an instruction adds four products, of unsigned and signed i8, to full vectors of i32."""
        return "avx512vnni" in self.features and self.vector_bits == 512

    @property
    def tile_bf16(self) -> bool:
        """Whether a matrix unit multiplies tiles of bf16 and adds to tiles of f32."""
        return {"amx-tile", "amx-bf16"} <= set(self.features) and self.vector_bits == 512

    @property
    def tile_int8(self) -> bool:
        """Whether a matrix unit multiplies tiles of unsigned and signed i8 and adds to tiles of i32."""
        return {"amx-tile", "amx-int8"} <= set(self.features) and self.vector_bits == 512


_AVX512 = MachineModel(
    name="x86-64-avx512",
    arch="x86_64",
    vector_bits=512,
    vector_registers=32,
    loads_per_cycle=1,
    broadcast_load=True,
    masks=True,
    l2=1 << 20,
    l3=16 << 20,
    features=("avx", "avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl"),
)
PRESETS: dict[str, MachineModel] = {
    m.name: m
    for m in (
        MachineModel(
            name="x86-64-sse2",
            arch="x86_64",
            vector_bits=128,
            vector_registers=16,
            fma=False,
            l2=256 << 10,
            features=("sse2",),
        ),
        MachineModel(
            name="x86-64-avx2",
            arch="x86_64",
            vector_bits=256,
            vector_registers=16,
            fma_per_cycle=2,
            features=("avx", "avx2", "fma", "f16c"),
        ),
        _AVX512,
        replace(_AVX512, name="x86-64-avx512-bf16", features=(*_AVX512.features, "avx512vnni", "avx512bf16")),
        replace(
            _AVX512,
            name="x86-64-amx",
            fma_per_cycle=2,
            loads_per_cycle=2,
            broadcast_load=False,
            l1=48 << 10,
            l2=2 << 20,
            features=(*_AVX512.features, "avx512vnni", "avx512bf16", "amx-tile", "amx-bf16", "amx-int8"),
        ),
        MachineModel(
            name="aarch64-neon",
            arch="aarch64",
            vector_bits=128,
            vector_registers=32,
            fma_per_cycle=2,
            lane_operand=True,
            l1=64 << 10,
            features=("neon",),
        ),
    )
}

_SEPARATE_ADDERS = frozenset(("znver4", "znver5"))
"""CPUs whose units for additions are others than those for multiply-adds."""
_TWO_WIDE_FMAS = frozenset(
    (
        *("skylake-avx512", "cascadelake", "cooperlake", "icelake-server", "sapphirerapids", "emeraldrapids"),
        *("graniterapids", "graniterapids-d", "diamondrapids"),
    )
)
"""CPUs that start two multiply-adds of 512 bits per cycle and load as many vectors: a scalar that each multiply-add
reads from memory would take all of the loads."""
_TELLING_FEATURES = frozenset(("amx-tile",))
"""Features of such CPUs alone; a virtual machine may give its processors another's name."""


def preset(name: str) -> MachineModel:
    """The model called `name`."""
    try:
        return PRESETS[name]
    except KeyError:
        raise UsageError(f"unknown machine model '{name}'", expected="one of " + ", ".join(sorted(PRESETS))) from None


def from_features(arch: str, features: Set[str], *, name: str | None = None) -> MachineModel:
    """The widest preset of `arch` whose features are all there, under the name of the CPU.

    `features` holds names as LLVM writes them (`avx512f`, `fma`). An architecture without a preset gets 128-bit
    vectors and 16 registers, which every vector unit mlc may meet has.
    """
    fitting = [m for m in PRESETS.values() if m.arch == arch and set(m.features) <= features]
    if fitting:
        best = max(fitting, key=lambda m: (m.vector_bits, m.fma, len(m.features)))
    elif arch == "aarch64":
        best = PRESETS["aarch64-neon"]
    elif arch == "x86_64":
        best = PRESETS["x86-64-sse2"]
    else:
        best = MachineModel(name=arch, arch=arch, vector_bits=128, vector_registers=16)
    if not name:
        return best
    best = replace(best, name=name, tune=name, features=tuple(sorted(features)))
    if best.vector_bits != 512:
        return best
    if name in _TWO_WIDE_FMAS or _TELLING_FEATURES & features:
        return replace(best, fma_per_cycle=2, loads_per_cycle=2, broadcast_load=False)
    return replace(best, adds_beside_fma=name in _SEPARATE_ADDERS)
