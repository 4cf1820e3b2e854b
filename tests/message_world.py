"""What tests of messages share: the rows that are spoken, a codec per dialect, and what `read` says of a message."""

import pytest

from protocol.errors import RemoteProtocolError
from protocol.messages import NINE, OLD, REGISTRY, build, read
from protocol.wire import Codec

KEY = b"5f0c2b1e-9d3a7c6b5e4f3a2b1c0d9e8f"
CONTENT = "wire.content-matches-type"
METADATA = "wire.metadata-matches-type"
SPOKEN = [(row, dialect) for row in REGISTRY if not row.is_raw for dialect in row.dialects]


def title(value):
    return value if isinstance(value, str) else f"{value.channels[0]}.{value.name}"


spoken = pytest.mark.parametrize(("row", "dialect"), SPOKEN, ids=title)


def codec(dialect=NINE, packer="json", **options):
    return Codec(KEY, packer=packer, metadata=dialect != OLD, **options)


def refusal(message, channel, dialect=NINE):
    """What `read` says about a message, as (frame, path, rule), after encoding it."""
    one = codec(dialect)
    with pytest.raises(RemoteProtocolError) as caught:
        read(one, one.encode(message), channel, dialect)
    return [(problem.frame, problem.path, problem.rule) for problem in caught.value.problems]


def asked(msg_type, content, **fields):
    return build(msg_type, content, msg_id="m_1", **fields)
