"""Targets in LLVM's words, and the machine this process runs on.

Code is generated for the plain architecture plus exactly the features of the model, tuned for the model's CPU: a CPU's
name alone would switch on features that a virtual machine may hide.
"""

from __future__ import annotations

import functools
import platform
from dataclasses import replace

from mlc.backends.llvm.host import host
from mlc.backends.machine import MachineModel, from_features
from mlc.errors import UnsupportedError
from mlc.runtime.cpu_caches import cache_bytes

_GENERIC_CPU = {"x86_64": "x86-64", "aarch64": "generic"}


@functools.cache
def initialize() -> None:
    """Make LLVM's targets known, once."""
    import llvmlite.binding as llvm  # noqa: PLC0415 - not needed for code from the cache

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.initialize_native_asmparser()


def generic_cpu(machine: MachineModel) -> str:
    """The architecture's baseline CPU."""
    return _GENERIC_CPU.get(machine.arch, "generic")


def tune_cpu(machine: MachineModel) -> str:
    """The CPU to tune for."""
    return machine.tune or generic_cpu(machine)


def feature_string(machine: MachineModel) -> str:
    """`+avx,+avx2,…`."""
    return ",".join(f"+{f}" for f in machine.features)


def triple(machine: MachineModel) -> str:
    """Target triple: the host's own for its architecture, a Linux one for others."""
    own = host().triple
    if own.split("-")[0] == machine.arch:
        return own
    if machine.arch not in _GENERIC_CPU:
        raise UnsupportedError(f"no LLVM target for architecture '{machine.arch}'")
    return f"{machine.arch}-unknown-linux-gnu"


def function_attributes(machine: MachineModel) -> str:
    """Attributes that every function compiled for `machine` carries."""
    return (
        f'"target-cpu"="{generic_cpu(machine)}" "tune-cpu"="{tune_cpu(machine)}" '
        f'"target-features"="{feature_string(machine)}" "prefer-vector-width"="{machine.vector_bits}"'
    )


def code_generator(machine: MachineModel) -> str:
    """What object code depends on besides the IR and how it is optimised."""
    return f"{host().version} {triple(machine)} {tune_cpu(machine)} {feature_string(machine)}"


def missing_features(machine: MachineModel) -> list[str]:
    """What code for `machine` needs and this computer lacks: CPU features, or the architecture itself."""
    if host().triple.split("-")[0] != machine.arch:
        return [machine.arch]
    return [f for f in machine.features if f not in host().features]


@functools.cache
def host_machine() -> MachineModel:
    """The machine model of this process: CPU name and features from LLVM, cache sizes from the system."""
    arch = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    withheld = host().withheld  # they tell what processor it is, too
    model = from_features(arch, {*host().features, *withheld}, name=host().cpu)
    model = replace(model, features=tuple(f for f in model.features if f not in withheld))
    sizes = {level: size for level in (1, 2, 3) if (size := cache_bytes(level)) is not None}
    return replace(model, l1=sizes.get(1, model.l1), l2=sizes.get(2, model.l2), l3=sizes.get(3, model.l3))
