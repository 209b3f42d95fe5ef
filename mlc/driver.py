"""Source to executable, read top to bottom: passes of the table, kernels compiled one by one, constants, linking.

    module (torch level) ──module rows──▶ buffers ──split──▶ one module per kernel ──kernel rows──▶ object code
                                              └────────────▶ @forward alone ───────kernel rows──▶ object code

Two cache levels, both on disk: a whole model by its torch-level IR (weights are named there, not contained, so a
retrained model hits; entries of other kinds find it by what was recorded and by the text of a saved model, see
`mlc/keys.py`), and each kernel by its buffers-level text. A start that finds the whole model ends in `mlc/recorded.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from xdsl.dialects.builtin import ModuleOp, StringAttr
from xdsl.ir import Operation

from mlc.build import Builder, InputsFor, places_of
from mlc.cached_bundle import cached_bundle, keep_bundle
from mlc.compiled import Compiled
from mlc.errors import InternalError
from mlc.ir.compact import to_compact
from mlc.ir.context import MlcContext, context_with
from mlc.ir.fast_build import fast_build
from mlc.ir.parsing import print_text
from mlc.ir.resources import ResourceStore
from mlc.ir.verifier import verify_module
from mlc.keys import digest, model_key, text_key
from mlc.linking import link
from mlc.options import Options
from mlc.phases import Phases
from mlc.recorded import Recorded, remember, tuned_for
from mlc.runtime.cache import cache_at, using
from mlc.setting import Setting, setting_of
from mlc.tuning.choices import Choices

ROLLS = "torch-roll-loops"
SHORTEST = 16
"""Ops that steps which become a loop have at least, together with the function and its constants."""


def compile_captured(
    recorded: Recorded,
    resources: ResourceStore,
    options: Options,
    setting: Setting,
    inputs: InputsFor | None,
    phases: Phases,
) -> Compiled:
    """What was just recorded, as a module: equal steps become loops right away, so that nothing that follows depends
    on how many there are. The cache will know it by what was recorded."""
    with phases.phase("module"):
        module = recorded.module()
    ctx = context_with(resources, setting.machine)
    if any(row.pass_name == ROLLS for row in setting.pipeline.module) and _has_more_ops(module, SHORTEST):
        with phases.phase("roll"), fast_build():
            from mlc.lowering.torch.early_loops import roll_early  # noqa: PLC0415 - small models do without

            roll_early(ctx, module)
    compiled = _verified(module, ctx, options, setting, inputs, phases, recorded.module)
    if cache := cache_at(options.cache_dir):
        places = places_of(module) if compiled.executable.assertions else ""
        remember(recorded, compiled.digest, places, setting.fingerprint, cache)
    return compiled


def _has_more_ops(module: ModuleOp, count: int) -> bool:
    return any(n == count for n, _ in enumerate(module.walk()))


def compile_module(module: ModuleOp, ctx: MlcContext, options: Options, inputs: InputsFor | None = None) -> Compiled:
    """Compile a torch-level `module` whose weights are in `ctx.resources`. `module` itself is left as it is.

    `inputs` makes what `options.tune` measures on; without it nothing is tuned.
    """
    phases = Phases()
    with phases.phase("hash"):
        setting = setting_of(options, custom_names(module))
    ctx.machine = setting.machine
    return _verified(module, ctx, options, setting, inputs, phases, lambda: module)


def custom_names(module: ModuleOp) -> set[str]:
    """Ops of a torch-level module that are known by name only."""
    return {_name(op) for op in module.walk() if op.name == "torch.operator"}


def _name(op: Operation) -> str:
    name = op.attributes["name"]
    return name.data.removeprefix("torch.") if isinstance(name, StringAttr) else ""


def _verified(
    module: ModuleOp,
    ctx: MlcContext,
    options: Options,
    setting: Setting,
    inputs: InputsFor | None,
    phases: Phases,
    captured: Callable[[], ModuleOp],
) -> Compiled:
    with phases.phase("verify"):
        verify_module(module, ctx)
    with fast_build(), using(cache_at(options.cache_dir)):
        return _compile(module, ctx, options, setting, inputs if options.tune else None, phases, captured)


def _compile(
    module: ModuleOp,
    ctx: MlcContext,
    options: Options,
    setting: Setting,
    inputs: InputsFor | None,
    phases: Phases,
    captured: Callable[[], ModuleOp],
) -> Compiled:
    cache = cache_at(options.cache_dir)
    with phases.phase("look up"):
        own = module_digest(module) if cache else ""
        key = model_key(own, setting.fingerprint, options, tuned_for(options) if inputs else "")
        bundle = cached_bundle(cache, key, lambda: places_of(module)) if cache else None
    from_cache = bundle is not None
    if bundle is not None:
        executable = link(bundle, ctx.resources, setting.backend, phases)
    else:
        builder = Builder(module, ctx, options, setting.backend, setting.pipeline, setting.fingerprint, cache)
        if inputs is not None:
            bundle, executable = builder.tuned(inputs, phases)
        else:
            built = builder.build(builder.default, phases)
            bundle = built.bundle
            executable = link(
                bundle, ctx.resources, setting.backend, phases, functions=built.functions, derived=built.derived
            )
        if cache:
            with phases.phase("store"):
                keep_bundle(cache, key, bundle, bundle.places)
    executable.num_threads = options.num_threads
    choices = Choices.from_json(bundle.choices)
    compiled = Compiled(executable, captured, ctx.resources, options, setting, phases, from_cache, choices, own)
    compiled.ctx = ctx  # with the remarks of what was compiled here
    return compiled


def module_digest(module: ModuleOp) -> str:
    """What stands for a module in keys: the digest of its compact form, written in a quarter of its text's time."""
    try:
        return digest(to_compact(module))
    except InternalError:  # it has several blocks
        return digest(print_text(module))


def remember_text(unit: Compiled, text: str) -> None:
    """`text`, the source of `unit`, is found in a saved model: it leads to what is cached."""
    if cache := cache_at(unit.options.cache_dir):
        cache.put(text_key(text, unit.setting.fingerprint), unit.digest.encode())
