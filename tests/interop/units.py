"""What stands in Relay frames: PROTOCOL-INNER.md, sections 3, 4, 8.1, 8.3 and 10.1. Only bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from noise import CHACHA_POLY, Handshake, Key, KeyPair
from wire import Reader, WireError

UNIT_MIN = 233
# Around a unit in an outer record: tag, frame header, number (section 3.5).
AROUND_UNIT = 23
NO_SESSION_ID = bytes(8)

# Steps of handshake messages, section 3.2, and of notices, section 10.1.
KK1, KK2, XX1, XX2, XX3 = 0x01, 0x02, 0x11, 0x12, 0x13
NEED_XX, REFUSED, PATIENCE, NO_SESSION = 0x20, 0x21, 0x22, 0x23
# Codes of Refused, section 10.2.
NOT_TRUSTED, NAME, BUSY = 0x01, 0x02, 0x81

_PATTERN_BYTES = {"XX": 0x01, "KK": 0x03}


@dataclass(frozen=True)
class Hello:
    """Section 4.3."""

    unit: int
    window: int
    streams: int
    label: int
    may_go_on: bool
    has_aes: bool
    previous: bytes
    name: str
    expected: str

    _LAYOUT = struct.Struct(">HIBBB8s")

    def encode(self) -> bytes:
        names = b"".join(bytes([len(name)]) + name.encode() for name in (self.name, self.expected))
        flags = int(self.may_go_on) | int(self.has_aes) << 1
        fields = (self.unit, self.window, self.streams, self.label, flags, self.previous)
        return self._LAYOUT.pack(*fields) + names

    @classmethod
    def decode(cls, payload: bytes) -> Hello:
        reader = Reader(payload)
        unit, window, streams, label, flags, previous = cls._LAYOUT.unpack(reader.take(cls._LAYOUT.size))
        if unit < UNIT_MIN or (streams and window < 256):
            raise WireError("a value of the hello is not allowed")
        flag = [bool(flags & bit) for bit in (1, 2)]
        return cls(unit, window, min(streams, 4), label, *flag, previous, reader.short(), reader.short())


def handshake(
    pattern: str,
    *,
    initiator: bool,
    static: KeyPair,
    remote_static: bytes | None,
    ephemeral: KeyPair | None = None,
) -> Handshake:
    """Section 4.1."""
    return Handshake(
        pattern,
        CHACHA_POLY,
        b"pysock/1 inner" + bytes([CHACHA_POLY.number, _PATTERN_BYTES[pattern]]),
        initiator=initiator,
        static=static,
        # In XX nothing is known beforehand: what the server says is compared later.
        remote_static=remote_static if pattern == "KK" else None,
        ephemeral=ephemeral,
    )


@dataclass(frozen=True)
class HandshakeUnit:
    """Section 3.2, and the notices of 3.3: there `message` is the code."""

    step: int
    attempt: bytes
    message: bytes

    def encode(self) -> bytes:
        return bytes([self.step]) + self.attempt + self.message

    @classmethod
    def decode(cls, unit: bytes) -> HandshakeUnit:
        reader = Reader(unit)
        return cls(reader.uint(1), reader.take(4), reader.rest)

    @property
    def code(self) -> int:
        return self.message[0] if self.message else 0


@dataclass(frozen=True)
class RecordUnit:
    """Section 3.4."""

    label: int
    counter: int
    sealed: bytes

    @classmethod
    def decode(cls, unit: bytes) -> RecordUnit:
        if len(unit) < 24:
            raise WireError("too short for a record")
        return cls(unit[0], int.from_bytes(unit[1:4], "big"), unit[4:])

    def open(self, key: Key) -> Text:
        """Counter, number and so on are judged by the session."""
        reader = Reader(key.open(self.counter, self.sealed))
        number = reader.uint(4)
        records = reader.uint(4) if self.counter == 0 else 0
        return Text(number, records, reader.rest)


@dataclass(frozen=True)
class Text:
    """Section 8.3."""

    number: int
    records: int
    frames: bytes

    def seal(self, key: Key, label: int, counter: int) -> bytes:
        head = self.number.to_bytes(4, "big")
        if counter == 0:
            head += self.records.to_bytes(4, "big")
        return bytes([label]) + counter.to_bytes(3, "big") + key.seal(counter, head + self.frames)
