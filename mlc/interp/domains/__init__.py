"""Value domains of the interpreter: the same op semantics over IEEE floats, GF(p), error bounds, checked integers."""

from __future__ import annotations

from mlc.errors import UsageError
from mlc.interp.domains.bound import BoundDomain
from mlc.interp.domains.field import FieldDomain
from mlc.interp.domains.ieee import IeeeDomain
from mlc.interp.domains.integers import IntegersDomain
from mlc.ir.semantics import Domain

DOMAINS: dict[str, type] = {
    "ieee": IeeeDomain,
    "field": FieldDomain,
    "bound": BoundDomain,
    "integers": IntegersDomain,
}


def make_domain(domain: str | Domain) -> Domain:
    """The domain of that name, or the given one itself."""
    if not isinstance(domain, str):
        return domain
    if domain not in DOMAINS:
        raise UsageError(f"unknown domain '{domain}'", expected=", ".join(DOMAINS))
    return DOMAINS[domain]()
