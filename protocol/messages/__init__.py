"""Every message type, one row each; finding, reading, checking and building messages.

Rows live in one module per family; `registry` collects them, `reading` checks messages against them, `build` and
`examples` make messages. JSON Schemas derived from the rows are in `protocol.schema`.
"""

from protocol.messages.base import (
    ALL,
    DOCUMENTED,
    MODERN,
    NINE,
    OLD,
    AbortedContent,
    Buffers,
    Content,
    Empty,
    ErrorContent,
    KeyedContent,
    MessageType,
    Metadata,
    OkContent,
    Reading,
)
from protocol.messages.build import build, header, plain, reply, reply_name
from protocol.messages.examples import example, examples
from protocol.messages.reading import problems, read, validate
from protocol.messages.registry import DEFAULT_DIALECT, DIALECTS, REGISTRY, lookup, names, requirements_of, rows

__all__ = [
    "ALL",
    "DEFAULT_DIALECT",
    "DIALECTS",
    "DOCUMENTED",
    "MODERN",
    "NINE",
    "OLD",
    "REGISTRY",
    "AbortedContent",
    "Buffers",
    "Content",
    "Empty",
    "ErrorContent",
    "KeyedContent",
    "MessageType",
    "Metadata",
    "OkContent",
    "Reading",
    "build",
    "example",
    "examples",
    "header",
    "lookup",
    "names",
    "plain",
    "problems",
    "read",
    "reply",
    "reply_name",
    "requirements_of",
    "rows",
    "validate",
]
