"""Types of options that say what they convert to, with every version of click."""

from typing import TYPE_CHECKING, Generic, TypeVar

import click

T = TypeVar("T")

if TYPE_CHECKING:
    ParamType = click.ParamType
else:

    class ParamType(click.ParamType, Generic[T]):
        """`click.ParamType`, which older versions of click do not let be parametrised."""


__all__ = ["ParamType"]
