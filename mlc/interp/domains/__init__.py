"""Value domains of the interpreter: the same op semantics over IEEE floats, GF(p), error bounds, checked integers."""

from __future__ import annotations

from mlc.errors import UsageError
from mlc.interp.domains.ieee import IeeeDomain
from mlc.ir.semantics import Domain

DOMAINS: dict[str, type] = {
    "ieee": IeeeDomain,
}


def make_domain(domain: str | Domain) -> Domain:
    """The domain of that name, or the given one itself."""
    if not isinstance(domain, str):
        return domain
    if domain not in DOMAINS:
        raise UsageError(f"unknown domain '{domain}'", expected=", ".join(DOMAINS))
    return DOMAINS[domain]()
