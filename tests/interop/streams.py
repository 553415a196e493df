"""Large messages in parts: PROTOCOL.md, section 14. The inner protocol uses the same (inner section 11)."""

from __future__ import annotations

from dataclasses import dataclass, field

from frames import (
    UNKNOWN_LENGTH,
    Abort,
    Begin,
    Chunk,
    Credit,
    Done,
    End,
    Envelope,
    Frame,
    Message,
    Stop,
)
from wire import WireError

CANCELLED = 8


@dataclass
class _Arriving:
    begin: Begin
    credit: int
    consumed: int = 0
    data: bytearray = field(default_factory=bytearray)


@dataclass
class Incoming:
    """Streams towards this side. A Done that it returns is to be sent at once: then the number is free again."""

    window: int
    streams: int
    _open: dict[int, _Arriving] = field(default_factory=dict)

    def act(self, frame: Begin | Chunk | End | Abort) -> tuple[list[Frame], Message | None]:
        """What to send, and the message if it is whole."""
        n = frame.stream
        if isinstance(frame, Begin):
            if n in self._open or n >= self.streams:
                raise WireError("this stream is not free")
            self._open[n] = _Arriving(frame, self.window)
            return [], None
        if n not in self._open:
            raise WireError("this stream is not open")
        stream = self._open[n]
        if isinstance(frame, Chunk):
            return self._chunk(stream, frame), None
        del self._open[n]
        if isinstance(frame, Abort):
            return [Done(n)], None
        if stream.begin.length not in (UNKNOWN_LENGTH, len(stream.data)):
            raise WireError("the stream ends before its length")
        return [Done(n)], Message(stream.begin.envelope, bytes(stream.data))

    def _chunk(self, stream: _Arriving, chunk: Chunk) -> list[Frame]:
        stream.credit -= len(chunk.data)
        stream.data += chunk.data
        if stream.credit < 0 or len(stream.data) > stream.begin.length:
            raise WireError("more than the credit or the declared length")
        # All is consumed as it comes; it has to be granted when it is half of the window.
        stream.consumed += len(chunk.data)
        if stream.consumed < self.window // 2:
            return []
        granted, stream.consumed = stream.consumed, 0
        stream.credit += granted
        return [Credit(chunk.stream, granted)]

    def __len__(self) -> int:
        return len(self._open)

    def reset(self) -> None:
        self._open.clear()


@dataclass
class _Leaving:
    credit: int
    # Set by Stop: the code with which the receiver has had enough.
    stopped: int | None = None
    ending: bool = False
    data: bytes = b""
    at: int = 0


@dataclass
class Outgoing:
    """Streams from this side."""

    window: int
    streams: int
    resets: int = 0
    _open: dict[int, _Leaving] = field(default_factory=dict)

    def begin(self, envelope: Envelope, data: bytes) -> tuple[int, Begin]:
        """Takes a free number. Section 14: the length is a promise."""
        n = next((n for n in range(self.streams) if n not in self._open), None)
        if n is None:
            raise RuntimeError("every stream is under way")
        self._open[n] = _Leaving(self.window, data=data)
        return n, Begin(n, envelope, len(data))

    def more(self, n: int, longest: int) -> Chunk | End | None:
        """The next frame of a stream, or nothing while there is no credit and behind the end."""
        stream = self._open.get(n)
        if stream is None or stream.ending:
            return None
        if stream.at == len(stream.data):
            stream.ending = True
            return End(n)
        size = min(longest, stream.credit, len(stream.data) - stream.at)
        if not size:
            return None
        stream.credit -= size
        stream.at += size
        return Chunk(n, stream.data[stream.at - size : stream.at])

    def abort(self, n: int) -> Abort:
        self._open[n].ending = True
        return Abort(n, CANCELLED)

    def act(self, frame: Credit | Stop | Done) -> list[Frame]:
        stream = self._open.get(frame.stream)
        if stream is None:
            raise WireError("this stream is free")
        if isinstance(frame, Done):
            if not stream.ending:
                raise WireError("Done before the end")
            del self._open[frame.stream]
        elif not stream.ending:
            if isinstance(frame, Stop):
                stream.stopped, stream.ending = frame.failure, True
                return [Abort(frame.stream, CANCELLED)]
            stream.credit += frame.bytes
            if stream.credit >= 2**32:
                raise WireError("more credit than there is")
        return []

    def is_over(self, n: int) -> bool:
        return n not in self._open

    def stopped(self, n: int) -> int | None:
        return self._open[n].stopped if n in self._open else None

    def __len__(self) -> int:
        return len(self._open)

    def reset(self) -> None:
        self.resets += 1
        self._open.clear()
