"""Oracles over observations: the judge, and the rules of each family.

Rules judge what was seen and never run a role to learn the right answer. Nothing here imports a test framework.
"""

from protocol.rules.framework import Item, Judge, Rule, Vantage, Violation
from protocol.rules.setting import Setting

__all__ = ["Item", "Judge", "Rule", "Setting", "Vantage", "Violation"]
