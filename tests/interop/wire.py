"""What travels: integers and texts, prelude, payloads and records. PROTOCOL.md, sections 2, 5, 6.4 and 9."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from noise import Key, Suite

REKEY_AFTER = 2**16
RECORD_MIN = 19

# The patterns of the prelude, section 5.
PATTERN_NUMBERS = {"XX": 1, "XK": 2}


class WireError(Exception):
    """Section 18: fatal."""


class Reader:
    """Reads a body from its beginning; one that ends early is fatal."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def take(self, size: int) -> bytes:
        if len(self.rest) < size:
            raise WireError("it ends early")
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken

    def uint(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def varint(self, bits: int) -> int:
        """Section 2: seven bits a byte, lowest first, and never longer than need be."""
        value, shift = 0, 0
        while True:
            byte = self.uint(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if value >= 2**bits or (byte == 0 and shift > 7):
                raise WireError("the varint is too long or too large")
            if byte < 0x80:
                return value

    def text(self) -> str:
        return _utf8(self.take(self.varint(32)))

    def short(self) -> str:
        """A name with one byte of length, as in handshake payloads."""
        return _utf8(self.take(self.uint(1)))

    def end(self) -> None:
        """For bodies where the table of section 10.2 says that more is fatal."""
        if self.rest:
            raise WireError("bytes behind the last field")


def _utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise WireError("no UTF-8") from None


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def postcard_text(text: str) -> bytes:
    return varint(len(text.encode())) + text.encode()


def prelude(suite: Suite, pattern: str, hint: bytes | None) -> bytes:
    flags = 0 if hint is None else 1
    return b"PYSK" + bytes([1, suite.number, PATTERN_NUMBERS[pattern], flags]) + (hint or bytes(8))


@dataclass(frozen=True)
class Limits:
    """The payload of handshake messages without the name, section 6.4."""

    record: int = 16_384
    idle: int = 60
    window: int = 65_536
    streams: int = 4
    peers: int = 16

    _LAYOUT = struct.Struct(">HHIBBH")

    def encode(self, name: str | None = None) -> bytes:
        fields = self._LAYOUT.pack(self.record, self.idle, self.window, self.streams, self.peers, 0)
        return fields if name is None else fields + bytes([len(name)]) + name.encode()

    @classmethod
    def decode(cls, payload: bytes) -> Limits:
        """Of a server: without a name. Unknown flags and bytes behind the last field are ignored."""
        record, idle, window, streams, peers, _ = cls._LAYOUT.unpack(Reader(payload).take(cls._LAYOUT.size))
        if record < 256 or not idle or not peers or (streams and window < 256):
            raise WireError("a limit is not allowed")
        return cls(record, idle, window, min(streams, 4), peers)


class Sealer:
    """Seals the records of one direction, sections 9.1 to 9.3."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.records = 0

    def seal(self, text: bytes) -> bytes:
        sealed = self.key.seal(self.records, text)
        self._count()
        return len(sealed).to_bytes(2, "big") + sealed

    def _count(self) -> None:
        self.records += 1
        if self.records % REKEY_AFTER == 0:
            self.key = self.key.next()


class Opener(Sealer):
    """Opens those of the other."""

    def open(self, sealed: bytes) -> bytes:
        text = self.key.open(self.records, sealed)
        self._count()
        return text
