"""Parts of hand-written pages that follow from the code: the envelope's picture, a worked signature, the descriptor."""

from collections.abc import Iterator

from conformance.exchanges import KEY
from conformance.site import markdown as md
from conformance.site.diagrams import envelope_diagram
from conformance.targets import descriptor
from protocol.messages import example, rows
from protocol.wire import Codec


def parts() -> Iterator[tuple[str, str]]:
    """Name and text of every part."""
    yield "envelope", md.raw(envelope_diagram())
    yield "signature", _signature()
    yield "descriptor", md.docstring(descriptor.__doc__ or "", "toml")
    yield (
        "features",
        md.table(
            ("feature", "what the target must do"),
            [(md.code(name), md.prose(text)) for name, text in descriptor.FEATURES.items()],
        ),
    )


def _signature() -> str:
    """One small message, frame by frame, with what it takes to compute its signature."""
    message = example(rows("connection_request")[0])
    frames = [bytes(frame).decode() for frame in Codec(KEY).encode(message)]
    names = ("delimiter", "signature", "header", "parent header", "metadata", "content")
    return md.page(
        "With the key",
        md.fence("text", KEY.decode()),
        f"a {md.code(message.msg_type)} leaves a client's DEALER as these {len(frames)} frames:",
        md.fence("text", "\n".join(f"{name:14} {frame}" for name, frame in zip(names, frames, strict=True))),
        "The signature is the hexadecimal HMAC-SHA256 of the last four, joined without anything between them:",
        md.fence(
            "python",
            "import hashlib, hmac\n\n"
            "signature = hmac.new(key, header + parent_header + metadata + content, hashlib.sha256).hexdigest()",
        ),
    )
