"""The decorators of a case."""

import pytest

#: The requirements that a case tests: `@requirement("registration.duplicate-uuid-refused")`.
requirement = pytest.mark.requirement

#: The features without which a case says nothing about a target: `@needs("db")`.
needs = pytest.mark.needs

__all__ = ["needs", "requirement"]
