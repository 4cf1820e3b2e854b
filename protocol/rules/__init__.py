"""Oracles over observations: the judge, and the rules of each family.

Rules judge what was seen and never run a role to learn the right answer. Nothing here imports a test framework.
"""

from protocol import requirements
from protocol.rules import heartbeat, notification, query, registration, replies, results, wire
from protocol.rules.framework import Item, Judge, Rule, Vantage, Violation
from protocol.rules.setting import Setting

#: Every rule, in the order of the families.
RULES: tuple[type[Rule], ...] = (
    *wire.RULES,
    *replies.RULES,
    *registration.RULES,
    *heartbeat.RULES,
    *notification.RULES,
    *query.RULES,
    *results.RULES,
)


def rules_for(dialect: str) -> tuple[type[Rule], ...]:
    """The rules whose requirement lives in this dialect."""
    return tuple(rule for rule in RULES if dialect in requirements.get(rule.slug).dialects)


__all__ = ["RULES", "Item", "Judge", "Rule", "Setting", "Vantage", "Violation", "rules_for"]
