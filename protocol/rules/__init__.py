"""Oracles over observations: the judge, and the rules of each family.

Rules judge what was seen and never run a role to learn the right answer. Nothing here imports a test framework.
"""

from collections.abc import Collection

from protocol import requirements
from protocol.requirements import Requirement
from protocol.rules import (
    delivery,
    heartbeat,
    keeping,
    kernels,
    monitor,
    notification,
    output,
    query,
    reaching,
    registration,
    replies,
    resubmissions,
    results,
    state,
    wire,
)
from protocol.rules.framework import Item, Judge, Rule, Vantage, Violation
from protocol.rules.setting import Setting

#: The rules about the work that passes the queues, and about what the roles note of their inner state.
INVARIANTS: tuple[type[Rule], ...] = (*delivery.RULES, *reaching.INVARIANTS, *output.RULES, *state.RULES)

#: Every rule, in the order of the families.
RULES: tuple[type[Rule], ...] = (
    *wire.RULES,
    *replies.RULES,
    *registration.RULES,
    *heartbeat.RULES,
    *notification.RULES,
    *query.RULES,
    *results.RULES,
    *keeping.RULES,
    *resubmissions.RULES,
    *reaching.RULES,
    *monitor.RULES,
    *kernels.RULES,
    *INVARIANTS,
)


def rules_for(dialect: str, roles: Collection[str] = ()) -> tuple[type[Rule], ...]:
    """The rules whose requirement lives in this dialect and binds one of these roles (empty: any role)."""
    return tuple(rule for rule in RULES if _is_meant(requirements.get(rule.slug), dialect, roles))


def _is_meant(requirement: Requirement, dialect: str, roles: Collection[str]) -> bool:
    return dialect in requirement.dialects and (not roles or not set(roles).isdisjoint(requirement.roles))


__all__ = ["INVARIANTS", "RULES", "Item", "Judge", "Rule", "Setting", "Vantage", "Violation", "rules_for"]
