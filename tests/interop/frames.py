"""The frames inside of records: PROTOCOL.md, section 10, and PROTOCOL-INNER.md, section 11.

Only bytes: what a frame may say at which moment is the business of client.py, inner.py and streams.py.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from wire import Reader, WireError, postcard_text, varint

# Section 11.1.
SERVER, EVERYONE = 0, 2**32 - 1
# Kinds of an envelope, section 10.3.
MESSAGE, REQUEST, REPLY = 0, 1, 2
UNKNOWN_LENGTH = 2**64 - 1


@dataclass(frozen=True)
class Envelope:
    """Section 10.3. To the server a party is the destination, from it the source."""

    kind: int
    channel: int
    party: int = SERVER
    request: int = 0

    _LAYOUT = struct.Struct(">BHII")

    def encode(self) -> bytes:
        return self._LAYOUT.pack(self.kind, self.channel, self.party, self.request)

    @classmethod
    def read(cls, reader: Reader) -> Envelope:
        kind, channel, party, request = cls._LAYOUT.unpack(reader.take(cls._LAYOUT.size))
        if kind > REPLY:
            raise WireError("there is no such kind of message")
        return cls(kind, channel, party, request if kind else 0)


@dataclass(frozen=True)
class Peer:
    number: int
    key: bytes
    name: str

    def encode(self) -> bytes:
        return varint(self.number) + self.key + postcard_text(self.name)

    @classmethod
    def read(cls, reader: Reader) -> Peer:
        return cls(reader.varint(32), reader.take(32), reader.text())


# The frames. Each class is one row of sections 10.2 and 10.3, or of inner section 11.


@dataclass(frozen=True)
class Welcome:
    number: int
    suites: bytes


@dataclass(frozen=True)
class Refused:
    code: int


@dataclass(frozen=True)
class Close:
    """`counts` is what the inner Close carries beside its code: next and missed."""

    code: int
    counts: tuple[int, int] | None = None


@dataclass(frozen=True)
class Ping:
    data: bytes


@dataclass(frozen=True)
class Pong:
    data: bytes


@dataclass(frozen=True)
class Open:
    channel: int
    name: str


@dataclass(frozen=True)
class Opened:
    channel: int
    failure: int


@dataclass(frozen=True)
class Leave:
    channel: int


@dataclass(frozen=True)
class Find:
    """By name, by key, or the next one after a number."""

    query: int
    what: str | bytes | int


@dataclass(frozen=True)
class Found:
    query: int
    peer: Peer | None


@dataclass(frozen=True)
class Message:
    """0x10 to 0x16: message, request or reply in one frame."""

    envelope: Envelope
    data: bytes


@dataclass(frozen=True)
class Failed:
    envelope: Envelope
    failure: int


@dataclass(frozen=True)
class Begin:
    stream: int
    envelope: Envelope
    length: int


@dataclass(frozen=True)
class Chunk:
    stream: int
    data: bytes


@dataclass(frozen=True)
class End:
    stream: int


@dataclass(frozen=True)
class Abort:
    stream: int
    failure: int


@dataclass(frozen=True)
class Stop:
    stream: int
    failure: int


@dataclass(frozen=True)
class Credit:
    stream: int
    bytes: int


@dataclass(frozen=True)
class Done:
    stream: int


@dataclass(frozen=True)
class Relay:
    """`record` tells the two types apart: 0x31 carries records, 0x30 handshakes and notices."""

    record: bool
    peer: int
    unit: bytes


@dataclass(frozen=True)
class RelayFailed:
    peer: int
    failure: int


@dataclass(frozen=True)
class Received:
    """Only in inner sessions, inner section 9.3."""

    next: int
    missed: int


StreamFrame = Begin | Chunk | End | Abort | Stop | Credit | Done
Frame = (
    Welcome
    | Refused
    | Close
    | Ping
    | Pong
    | Open
    | Opened
    | Leave
    | Find
    | Found
    | Peer
    | Message
    | Failed
    | StreamFrame
    | Relay
    | RelayFailed
    | Received
)


def _encode_find(frame: Find) -> bytes:
    if isinstance(frame.what, str):
        choice = b"\0" + postcard_text(frame.what)
    elif isinstance(frame.what, bytes):
        choice = b"\1" + frame.what
    else:
        choice = b"\2" + varint(frame.what)
    return varint(frame.query) + choice


def _decode_find(r: Reader) -> Find:
    query, choice = r.varint(16), r.varint(32)
    if choice > 2:
        raise WireError("an unknown variant of Find")
    return Find(query, (r.text, lambda: r.take(32), lambda: r.varint(32))[choice]())


def _decode_found(r: Reader) -> Found:
    query, present = r.varint(16), r.uint(1)
    if present > 1:
        raise WireError("no option")
    return Found(query, Peer.read(r) if present else None)


def _encode_message(frame: Message) -> tuple[int, bytes]:
    e = frame.envelope
    # Section 10.3: bits 0 and 1 are the kind, bit 2 says that a party follows.
    party = b"" if e.party == SERVER else e.party.to_bytes(4, "big")
    request = e.request.to_bytes(4, "big") if e.kind else b""
    return 0x10 | e.kind | (4 if party else 0), e.channel.to_bytes(2, "big") + party + request + frame.data


def _decode_message(kind: int, r: Reader) -> Message:
    channel, party = r.uint(2), r.uint(4) if kind & 4 else SERVER
    if kind & 4 and party == SERVER:
        raise WireError("the server has types of its own")
    request = r.uint(4) if kind & 3 else 0
    return Message(Envelope(kind & 3, channel, party, request), r.take(len(r.rest)))


def _encode_body(f: Frame) -> tuple[int, bytes]:
    match f:
        case Welcome():
            return 0x01, varint(f.number) + varint(len(f.suites)) + f.suites
        case Refused():
            return 0x02, bytes([f.code])
        case Close():
            return 0x03, bytes([f.code]) + b"".join(n.to_bytes(4, "big") for n in f.counts or ())
        case Ping():
            return 0x04, f.data
        case Pong():
            return 0x05, f.data
        case Open():
            return 0x06, varint(f.channel) + postcard_text(f.name)
        case Opened():
            return 0x07, varint(f.channel) + bytes([f.failure])
        case Leave():
            return 0x08, varint(f.channel)
        case Find():
            return 0x09, _encode_find(f)
        case Found():
            return 0x0A, varint(f.query) + (b"\0" if f.peer is None else b"\1" + f.peer.encode())
        case Peer():
            return 0x0B, f.encode()
        case Message():
            return _encode_message(f)
        case Failed():
            return 0x18, f.envelope.encode() + bytes([f.failure])
        case Begin():
            return 0x20, bytes([f.stream]) + f.envelope.encode() + f.length.to_bytes(8, "big")
        case Chunk():
            return 0x21, bytes([f.stream]) + f.data
        case End():
            return 0x22, bytes([f.stream])
        case Abort():
            return 0x23, bytes([f.stream, f.failure])
        case Stop():
            return 0x24, bytes([f.stream, f.failure])
        case Credit():
            return 0x25, bytes([f.stream]) + f.bytes.to_bytes(4, "big")
        case Done():
            return 0x26, bytes([f.stream])
        case Relay():
            return 0x31 if f.record else 0x30, f.peer.to_bytes(4, "big") + f.unit
        case RelayFailed():
            return 0x32, f.peer.to_bytes(4, "big") + bytes([f.failure])
        case Received():
            return 0x40, f.next.to_bytes(4, "big") + f.missed.to_bytes(4, "big")
    raise TypeError(f"{f} is no frame")


def encode(*frames: Frame) -> bytes:
    """The plain text of a record, section 10.1."""
    text = b""
    for frame in frames:
        kind, body = _encode_body(frame)
        text += bytes([kind]) + len(body).to_bytes(2, "big") + body
    return text


def _relay(kind: int, r: Reader) -> Relay:
    return Relay(kind == 0x31, _client(r.uint(4)), r.take(max(1, len(r.rest))))


def _client(number: int) -> int:
    if number in (SERVER, EVERYONE):
        raise WireError("this number is no client's")
    return number


# Frames that both protocols have. A trailing byte is fatal where `_exact` stands.
_SHARED: dict[int, Callable[[Reader], Frame]] = {
    0x18: lambda r: Failed(Envelope.read(r), r.uint(1)),
    0x20: lambda r: _exact(r, Begin(_stream(r), Envelope.read(r), r.uint(8))),
    0x21: lambda r: Chunk(_stream(r), r.take(max(1, len(r.rest)))),
    0x22: lambda r: _exact(r, End(_stream(r))),
    0x23: lambda r: _exact(r, Abort(_stream(r), r.uint(1))),
    0x24: lambda r: _exact(r, Stop(_stream(r), r.uint(1))),
    0x25: lambda r: _exact(r, Credit(_stream(r), r.uint(4))),
    0x26: lambda r: _exact(r, Done(_stream(r))),
    0x10: lambda r: _decode_message(0x10, r),
    0x11: lambda r: _decode_message(0x11, r),
    0x12: lambda r: _decode_message(0x12, r),
}
_OUTER: dict[int, Callable[[Reader], Frame]] = {
    **_SHARED,
    0x01: lambda r: Welcome(r.varint(32), r.take(r.varint(32))),
    0x02: lambda r: Refused(r.uint(1)),
    0x03: lambda r: Close(r.uint(1)),
    0x04: lambda r: Ping(r.take(4)),
    0x05: lambda r: Pong(r.take(4)),
    0x06: lambda r: Open(r.varint(16), r.text()),
    0x07: lambda r: Opened(r.varint(16), r.uint(1)),
    0x08: lambda r: Leave(r.varint(16)),
    0x09: _decode_find,
    0x0A: _decode_found,
    0x0B: Peer.read,
    0x14: lambda r: _decode_message(0x14, r),
    0x15: lambda r: _decode_message(0x15, r),
    0x16: lambda r: _decode_message(0x16, r),
    0x30: lambda r: _relay(0x30, r),
    0x31: lambda r: _relay(0x31, r),
    0x32: lambda r: RelayFailed(_client(r.uint(4)), r.uint(1)),
}
_INNER: dict[int, Callable[[Reader], Frame]] = {
    **_SHARED,
    0x03: lambda r: Close(r.uint(1), (r.uint(4), r.uint(4))),
    0x40: lambda r: Received(r.uint(4), r.uint(4)),
}


def _exact(reader: Reader, frame: Frame) -> Frame:
    reader.end()
    return frame


def _stream(reader: Reader) -> int:
    number = reader.uint(1)
    if number >= 4:
        raise WireError("there are four streams")
    return number


def decode(text: bytes, *, inner: bool = False) -> list[Frame]:
    """The frames of a record. Unknown types with bit 7 are skipped, all others are fatal (section 10.1)."""
    known, frames, reader = (_INNER if inner else _OUTER), [], Reader(text)
    while reader.rest:
        kind = reader.uint(1)
        body = Reader(reader.take(reader.uint(2)))
        if kind in known:
            frames.append(known[kind](body))
        elif kind < 0x80:
            raise WireError(f"a frame of the unknown type {kind:#04x}")
    return frames
