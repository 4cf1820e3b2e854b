"""Frames to messages and back.

On the wire a message is one ZeroMQ multipart:

    identity* | <IDS|MSG> | signature | header | parent_header | metadata | content | buffer*

The signature is the lowercase hexadecimal HMAC over the dictionaries exactly as sent; identities and buffers are not
signed. The oldest dialect has no metadata frame. Decoding has two depths: `Codec.open` verifies the signature and
reads header, parent header and metadata, which is all that a relay needs; `Message.content` is read when asked for,
so that a signed message with unreadable content can still be forwarded. `protocol.messages.read` goes further and
checks a message against its type.

Source: IPython commit a2c57acba, docs/source/development/parallel_messages.txt, "Split Sends"; jupyter_client
messaging.rst, "The Wire Protocol".
"""

from collections.abc import Sequence
from hmac import compare_digest
from typing import Any, Final, NoReturn

import msgspec

from protocol.errors import FrameName, LocalProtocolError, Problem, ProtocolError, RemoteProtocolError
from protocol.packers import UNREADABLE, UNWRITABLE, Frame, Json, Packer, describe, kind_of, unreadable
from protocol.signature import ReplayMemory, signer

DELIMITER: Final = b"<IDS|MSG>"

PARTS: Final[tuple[FrameName, ...]] = ("header", "parent_header", "metadata", "content")
PARTS_WITHOUT_METADATA: Final[tuple[FrameName, ...]] = ("header", "parent_header", "content")


class Message:
    """One message: routing identities, four dictionaries, buffers.

    A message made by `Codec.open` also keeps the frames it came in (`signature` and `parts`), so that a relay can pass
    them on unchanged. Messages are values: nothing changes one after it was made; `replace` makes another.

    Raises LocalProtocolError for identities and buffers that no socket could send: an identity equal to the
    delimiter, a buffer with gaps in its memory.
    """

    __slots__ = ("_content", "_metadata", "_packer", "_parent", "buffers", "header", "identities", "parts", "signature")

    def __init__(
        self,
        header: Json,
        *,
        parent_header: Json | None = None,
        metadata: object = None,
        content: object = None,
        buffers: Sequence[Frame] = (),
        identities: Sequence[bytes] = (),
    ) -> None:
        self.header = header
        self._parent: Json | None = {} if parent_header is None else parent_header
        self._metadata: object = {} if metadata is None else metadata
        self._content: object = {} if content is None else content
        self.buffers: tuple[Frame, ...] = tuple(buffers)
        self.identities: tuple[bytes, ...] = tuple(identities)
        if DELIMITER in self.identities:
            raise LocalProtocolError(_DELIMITER_AS_IDENTITY)
        for buffer in self.buffers:
            if type(buffer) is not bytes and not memoryview(buffer).contiguous:
                raise LocalProtocolError(*_buffer_mistakes(self.buffers))
        self.signature: Frame | None = None
        self.parts: tuple[Frame, ...] | None = None
        self._packer: Packer | None = None

    @property
    def msg_id(self) -> str:
        """The identifier that replies name in their parent header."""
        return self.header["msg_id"]  # type: ignore[no-any-return]

    @property
    def msg_type(self) -> str:
        """What the message is; receivers dispatch on it."""
        return self.header["msg_type"]  # type: ignore[no-any-return]

    @property
    def parent_header(self) -> Json:
        """The header of the request that this message answers, or `{}`. Raises RemoteProtocolError."""
        if self._parent is None:
            self._parent = self._read(1, "parent_header")
        return self._parent

    @property
    def metadata(self) -> Json:
        """The metadata as a plain dictionary. Raises RemoteProtocolError."""
        if self._metadata is None:
            if self.parts is None or len(self.parts) == len(PARTS_WITHOUT_METADATA):
                self._metadata = {}
            else:
                self._metadata = self._read(2, "metadata")
        return _plain(self._metadata)

    @property
    def content(self) -> Json:
        """The content as a plain dictionary, decoded at the first look. Raises RemoteProtocolError."""
        if self._content is None:
            self._content = self._read(-1, "content")
        return _plain(self._content)

    def _read(self, index: int, name: FrameName) -> Json:
        assert self.parts is not None
        assert self._packer is not None
        try:
            return self._packer.decode(self.parts[index])
        except UNREADABLE as error:
            raise RemoteProtocolError(unreadable(name, self.parts[index], self._packer, error)) from None

    def replace(self, **changes: Any) -> "Message":
        """The same message with some of `header, parent_header, metadata, content, buffers, identities` exchanged.

        The result is unsigned; `Codec.encode` signs it anew. Raises RemoteProtocolError if an unchanged part cannot
        be read.
        """
        fields = {
            "parent_header": self.parent_header,
            "metadata": self.metadata,
            "content": self.content,
            "buffers": self.buffers,
            "identities": self.identities,
        }
        return Message(changes.pop("header", self.header), **(fields | changes))

    def shares(self, other: "Message") -> bool:
        """Whether both hold the very same parts, as the copies of a message do that was handed on unread."""
        return (
            self.header is other.header
            and self._parent is other._parent
            and self._metadata is other._metadata
            and self._content is other._content
            and self.buffers is other.buffers
            and self.parts is other.parts
        )

    def __eq__(self, other: object) -> bool:
        """Whether both mean the same; the bytes in which they were written do not matter."""
        if not isinstance(other, Message):
            return NotImplemented
        return (
            self.identities == other.identities
            and self.header == other.header
            and self.parent_header == other.parent_header
            and self.metadata == other.metadata
            and self.content == other.content
            and self.buffers == other.buffers
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{self.header.get('msg_type')} {self.header.get('msg_id')}, {len(self.buffers)} buffers>"


def _plain(value: object) -> Json:
    return value if isinstance(value, dict) else msgspec.to_builtins(value)


class Codec:
    """Encodes and decodes messages for one key, signature scheme and packer.

    `metadata=False` speaks the oldest dialect, whose messages have three dictionaries. `replay` refuses what was
    accepted before; without a key there is nothing to recognise a message by, so it is not consulted.
    """

    def __init__(
        self,
        key: bytes = b"",
        *,
        scheme: str = "hmac-sha256",
        packer: str = "json",
        metadata: bool = True,
        replay: ReplayMemory | None = None,
    ) -> None:
        self.key = key
        self.scheme = scheme
        self.packer = Packer(packer)
        self.parts: tuple[FrameName, ...] = PARTS if metadata else PARTS_WITHOUT_METADATA
        self.replay = replay if key else None
        self.sign = signer(key, scheme)
        self._count = len(self.parts)
        self._length = 2 + self._count  # with delimiter and signature
        self._has_metadata = metadata

    def remembering(self, replay: ReplayMemory) -> "Codec":
        """The same codec with another memory; to prepare the key anew would take longer."""
        twin = _new(Codec)
        twin.__dict__.update(self.__dict__)
        twin.replay = replay if self.key else None
        return twin

    def __repr__(self) -> str:
        # Never the key: representations end up in logs and reports.
        return f"<Codec {self.scheme} {self.packer.name} {'signed' if self.key else 'unsigned'}>"

    def encode(self, message: Message) -> list[Frame]:
        """The frames of a message, signed. Raises LocalProtocolError for what every peer would refuse.

        Buffers are passed through as they are: no byte of them is copied. The oldest dialect has no place for
        metadata and leaves it out.
        """
        packer = self.packer
        encode = packer.encode
        header = message.header
        try:
            first = encode(header)
            parent = encode(message._parent if message._parent is not None else message.parent_header)
            content = encode(message._content if message._content is not None else message.content)
            if self._has_metadata:
                metadata = encode(message._metadata if message._metadata is not None else message.metadata)
                parts = [first, parent, metadata, content]
            else:
                metadata = content
                parts = [first, parent, content]
        except UNWRITABLE:
            raise LocalProtocolError(*self._mistakes(message)) from None
        objects = packer.object_starts
        if not (
            isinstance(header, dict)
            and type(header.get("msg_id")) is str
            and type(header.get("msg_type")) is str
            and parent[0] in objects
            and metadata[0] in objects
            and content[0] in objects
        ):
            raise LocalProtocolError(*self._mistakes(message))
        return [*message.identities, DELIMITER, self.sign(b"".join(parts)), *parts, *message.buffers]

    def forward(self, message: Message, identities: Sequence[bytes]) -> list[Frame]:
        """The frames of a received message under other identities, its signed parts byte for byte as they came."""
        if message.parts is None or message.signature is None:
            return self.encode(message.replace(identities=identities))
        if DELIMITER in identities:
            raise LocalProtocolError(_DELIMITER_AS_IDENTITY)
        return [*identities, DELIMITER, message.signature, *message.parts, *message.buffers]

    def open(self, frames: Sequence[Frame]) -> Message:
        """The message in these frames, verified, down to header, parent header and metadata.

        Raises RemoteProtocolError, with every problem found.
        """
        message = self.open_header(frames)
        decode = self.packer.decode
        parts = message.parts
        assert parts is not None
        try:
            message._parent = decode(parts[1])
            if len(parts) == 4:
                message._metadata = decode(parts[2])
        except UNREADABLE:
            self.refuse(frames)
        return message

    def open_header(self, frames: Sequence[Frame]) -> Message:
        """As `open`, but parent header and metadata stay unread until they are asked for."""
        frames = tuple(frames)  # slices of a tuple are tuples: what the message keeps is cut out only once
        try:
            at = frames.index(DELIMITER)
        except ValueError:
            self.refuse(frames)
        end = at + self._length
        parts = frames[at + 2 : end]
        if len(parts) != self._count:
            self.refuse(frames)
        signature = frames[at + 1]
        packer = self.packer
        if self.key and not compare_digest(self.sign(b"".join(parts)), signature):
            self.refuse(frames)
        try:
            header = packer.decode(parts[0])
        except UNREADABLE:
            self.refuse(frames)
        if type(header.get("msg_id")) is not str or type(header.get("msg_type")) is not str:
            self.refuse(frames)
        if self.replay is not None and not self.replay.admit(bytes(signature)):
            raise RemoteProtocolError(
                Problem("signature", "wire.replay-refused", "a signature not seen before", "one accepted earlier")
            )
        message = _new(Message)
        message.header = header
        message._parent = message._metadata = message._content = None
        message.buffers = frames[end:]
        if type(frames[at]) is bytes:
            message.identities = frames[:at]  # type: ignore[assignment]
        else:
            # Identities are looked up in tables and sent back later, when the frames of a receiver may be gone.
            message.identities = tuple(map(bytes, frames[:at]))
        message.signature = signature
        message.parts = parts
        message._packer = packer
        return message

    def refuse(self, frames: Sequence[Frame]) -> NoReturn:
        """Raise a RemoteProtocolError with every problem of frames that the fast path could not accept."""
        raise RemoteProtocolError(*self.problems(frames))

    def problems(self, frames: Sequence[Frame]) -> list[Problem]:
        """Everything that keeps these frames from being a message, down to the metadata; content is not looked at."""
        try:
            at = frames.index(DELIMITER)
        except ValueError:
            return [
                Problem(
                    "delimiter", "wire.delimiter-present", f"a frame {DELIMITER!r}", f"none in {len(frames)} frames"
                )
            ]
        rest = frames[at + 1 :]
        names: tuple[FrameName, ...] = ("signature", *self.parts)
        found: list[Problem] = [
            Problem(name, "wire.all-parts-present", f"a {name} frame", "the message ends before it")
            for name in names[len(rest) :]
        ]
        if not found:
            found += self._signature_problems(bytes(rest[0]), b"".join(rest[1 : len(names)]))
        for name, frame in zip(self.parts, rest[1:], strict=False):
            if name != "content":
                found += self._part_problems(name, frame)
        return found

    def _signature_problems(self, signature: bytes, signed: bytes) -> list[Problem]:
        # The right signature is never part of the text: who sees the report could use it.
        if not self.key:
            return []
        right = self.sign(signed)
        if compare_digest(right, signature):
            return []
        if not signature:
            what = "an empty frame"
        elif signature.lower() == right:
            what = "uppercase digits"
        elif len(signature) != len(right):
            what = f"{len(signature)} bytes"
        else:
            what = "another value"
        expected = f"{len(right)} lowercase hexadecimal digits, the {self.scheme} of the dictionaries"
        return [Problem("signature", "wire.signature-verified", expected, what)]

    def _part_problems(self, name: FrameName, frame: Frame) -> list[Problem]:
        try:
            value = self.packer.decode(frame)
        except UNREADABLE as error:
            return [unreadable(name, frame, self.packer, error)]
        return _header_problems(value) if name == "header" else []

    def _mistakes(self, message: Message) -> list[Problem]:
        """Everything that keeps a message of ours from being sent."""
        parts: dict[FrameName, object] = {
            "header": message.header,
            "parent_header": {} if message._parent is None else message._parent,
            "metadata": {} if message._metadata is None else message._metadata,
            "content": {} if message._content is None else message._content,
        }
        found: list[Problem] = []
        for name in self.parts:
            try:
                written = self.packer.encode(parts[name])
            except UNWRITABLE as error:
                found.append(Problem(name, "wire.parts-readable", f"values that {self.packer.name} holds", str(error)))
                continue
            if written[0] not in self.packer.object_starts or (name == "header" and not isinstance(parts[name], dict)):
                found.append(Problem(name, "wire.parts-are-objects", "a dictionary", kind_of(parts[name]), "$"))
            elif name == "header":
                found += _header_problems(message.header)
        return found


_new = object.__new__

_DELIMITER_AS_IDENTITY: Final = Problem(
    "identities", "wire.delimiter-present", "no identity equal to the delimiter", "the delimiter"
)


def _buffer_mistakes(buffers: Sequence[Frame]) -> list[Problem]:
    return [
        Problem("buffers", "wire.buffers-are-bytes", "bytes in a row", "memory with gaps", f"[{index}]")
        for index, buffer in enumerate(buffers)
        if not memoryview(buffer).contiguous
    ]


def _header_problems(header: Json) -> list[Problem]:
    return [
        Problem("header", f"wire.header-{key.replace('_', '-')}", "a string", describe(header, key), f"$.{key}")
        for key in ("msg_id", "msg_type")
        if type(header.get(key)) is not str
    ]


__all__ = [
    "DELIMITER",
    "PARTS",
    "PARTS_WITHOUT_METADATA",
    "UNREADABLE",
    "Codec",
    "Frame",
    "Json",
    "Message",
    "Packer",
    "ProtocolError",
    "ReplayMemory",
    "describe",
    "signer",
    "unreadable",
]
