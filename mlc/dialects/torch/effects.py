"""When a torch op may be removed, merged or moved.

An ATen op on value tensors (`!torch.vtensor`) that neither writes an argument nor draws random numbers is pure: the
aliasing that a view's schema speaks of does not exist between values. On `!torch.tensor` a functional op reads
memory; everything else is unknown.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from xdsl.ir import Attribute, Operation, OpTraits
from xdsl.traits import EffectInstance, MemoryEffect, MemoryEffectKind

from mlc.dialects.aten_schema import Schema
from mlc.dialects.torch.types import NonValueTensorType, TorchDictType, TorchListType, TorchOptionalType
from mlc.dialects.torch.values import constant_value

# Change the outside world or stop the program.
_EFFECTFUL = frozenset(
    [
        "aten._assert_async",
        "aten._assert_scalar",
        "aten._assert_tensor_metadata",
        "aten._functional_assert_async",
        "aten._print",
        "aten.warn",
        "aten.manual_seed",
        "aten.seed",
        "aten.set_grad_enabled",
        "aten.wait",
        "aten.sym_constrain_range",
        "aten.sym_constrain_range_for_size",
        "aten._functional_sym_constrain_range",
        "aten._linalg_check_errors",
        "prim.RaiseException",
        "prim.TimePoint",
    ]
)

# Draw random numbers although no argument is a Generator. Those with an argument that can switch it off name it,
# with the value that does.
_RANDOM: dict[str, tuple[str, object] | None] = {
    "aten.dropout": ("train", False),
    "aten.native_dropout": ("train", False),
    "aten.feature_dropout": ("train", False),
    "aten.alpha_dropout": ("train", False),
    "aten.feature_alpha_dropout": ("train", False),
    "aten.rrelu": ("training", False),
    "aten.scaled_dot_product_attention": ("dropout_p", 0.0),
    "aten._scaled_dot_product_flash_attention_for_cpu": ("dropout_p", 0.0),
    "aten.lstm": ("train", False),
    "aten.gru": ("train", False),
    "aten.rnn_tanh": ("train", False),
    "aten.rnn_relu": ("train", False),
    "aten.rand": None,
    "aten.rand_like": None,
    "aten.randn": None,
    "aten.randn_like": None,
    "aten.randint": None,
    "aten.randint_like": None,
    "aten.randperm": None,
    "aten.bernoulli": None,
    "aten.multinomial": None,
    "aten.normal": None,
    "aten.poisson": None,
    "aten.binomial": None,
    "aten._fused_dropout": None,
    "aten._sample_dirichlet": None,
    "aten._standard_gamma": None,
    "aten.fractional_max_pool2d": None,
    "aten.fractional_max_pool3d": None,
}


def _base_name(name: str) -> str:
    return ".".join(name.split(".")[:2])


def is_random(schema: Schema) -> bool:
    """Whether an op of this schema may draw random numbers."""
    return _base_name(schema.name) in _RANDOM or any(str(a.type).startswith("Generator") for a in schema.arguments)


def _switched_off(op: Operation, schema: Schema) -> bool:
    switch = _RANDOM.get(_base_name(schema.name))
    if switch is None:
        return False
    argument, off = switch
    return constant_value(op.operands[schema.index(argument)]) == off


def _is_mutable(type: Attribute) -> bool:
    """Whether values of this type can change behind the op's back."""
    return isinstance(type, NonValueTensorType | TorchDictType) or (
        isinstance(type, TorchListType | TorchOptionalType) and _is_mutable(type.contained)
    )


_NONE: frozenset[EffectInstance] = frozenset()
_READ = frozenset({EffectInstance(MemoryEffectKind.READ)})


class SchemaEffects(MemoryEffect):
    """The effects that follow from an op's schema, its operand types and constant arguments."""

    @classmethod
    def get_effects(cls, op: Operation) -> AbstractSet[EffectInstance] | None:
        schema: Schema = type(op).schema()  # pyright: ignore[reportAttributeAccessIssue]
        if is_random(schema) and not _switched_off(op, schema):
            return None
        return _READ if any(map(_is_mutable, (*op.operand_types, *op.result_types))) else _NONE


_SCHEMA_EFFECTS = OpTraits(lambda: (SchemaEffects(),))
_UNKNOWN = OpTraits(lambda: ())


def traits_of(schema: Schema) -> OpTraits:
    """Traits of the op class of a schema."""
    effectful = not schema.returns or schema.mutates or _base_name(schema.name) in _EFFECTFUL
    return _UNKNOWN if effectful else _SCHEMA_EFFECTS
