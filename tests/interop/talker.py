"""What a connection to a server and a session with a client have in common: messages, requests and streams.

PROTOCOL.md, sections 13 and 14; PROTOCOL-INNER.md, section 12, has the same without parties.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any

from frames import REPLY, REQUEST, Abort, Begin, Chunk, Credit, Done, End, Envelope, Failed, Frame, Message, Stop
from streams import Incoming, Outgoing

PATIENCE = 20.0
# Section 13.4.
INCOMPLETE = 12


class NotDelivered(Exception):
    """Failed or Stop, with its code (section 13.4)."""

    def __init__(self, code: int) -> None:
        super().__init__(f"it was not delivered: failure {code}")
        self.code = code


class Talker(ABC):
    """One thread calls it. Whatever waits reads on meanwhile, and keeps in `backlog` what it did not wait for."""

    incoming: Incoming
    outgoing: Outgoing

    def __init__(self) -> None:
        self.backlog: deque[Any] = deque()
        self._requests = 0

    @abstractmethod
    def transmit(self, *frames: Frame) -> None:
        """Sends them in one record."""

    @abstractmethod
    def longest_body(self) -> int:
        """Of a frame that is alone in its record."""

    @abstractmethod
    def pump(self, until: float) -> None:
        """Waits until something has arrived, acts on it and puts what is left of it into the backlog."""

    def wait(self, wanted: Callable[[Any], bool], seconds: float = PATIENCE) -> Any:
        """The first event that is wanted; the others stay for later."""
        until, looked = time.monotonic() + seconds, 0
        while True:
            while looked < len(self.backlog):
                if wanted(self.backlog[looked]):
                    event = self.backlog[looked]
                    del self.backlog[looked]
                    return event
                looked += 1
            if time.monotonic() >= until:
                raise TimeoutError(f"it did not come within {seconds} s; there is {list(self.backlog)}")
            self.pump(until)

    def wait_for_anything(self, seconds: float = PATIENCE) -> None:
        self.pump(time.monotonic() + seconds)

    def hear(self, kind: int | None = None, seconds: float = PATIENCE) -> Message:
        """The next message, of that kind, other than a reply."""

        def wanted(event: Any) -> bool:
            return isinstance(event, Message) and event.envelope.kind in ((0, 1) if kind is None else (kind,))

        message: Message = self.wait(wanted, seconds)
        return message

    def post(self, envelope: Envelope, data: bytes, seconds: float = PATIENCE) -> None:
        """In one frame if it fits, else as a stream, which has arrived when this returns."""
        # 10: the longest header of a message (section 21.1).
        if len(data) + 10 <= self.longest_body():
            self.transmit(Message(envelope, data))
        else:
            self._stream(envelope, data, seconds)

    def ask(self, envelope: Envelope, data: bytes, seconds: float = PATIENCE) -> bytes:
        """Section 13.2: the numbers only rise, so a late answer is never taken for another's."""
        self._requests += 1
        asked = Envelope(REQUEST, envelope.channel, envelope.party, self._requests)
        answered = Envelope(REPLY, asked.channel, asked.party, asked.request)
        self.post(asked, data, seconds)
        answer = self.wait(
            lambda event: (
                (isinstance(event, Message) and event.envelope == answered)
                or (isinstance(event, Failed) and event.envelope == asked)
            ),
            seconds,
        )
        if isinstance(answer, Failed):
            raise NotDelivered(answer.failure)
        assert isinstance(answer, Message)
        return answer.data

    def answer(self, request: Message, data: bytes) -> None:
        asked = request.envelope
        self.post(Envelope(REPLY, asked.channel, asked.party, asked.request), data)

    def feed(self, n: int) -> None:
        """Sends what the credit of a stream allows, each part in a record of its own."""
        # 1: the number of the stream in front of the data.
        while (frame := self.outgoing.more(n, self.longest_body() - 1)) is not None:
            self.transmit(frame)

    def finish(self, n: int, seconds: float = PATIENCE) -> None:
        """Feeds a stream to its end and waits for Done."""
        until = time.monotonic() + seconds
        stopped, resets = None, self.outgoing.resets
        while not self.outgoing.is_over(n):
            self.feed(n)
            if time.monotonic() >= until:
                raise TimeoutError("the stream got stuck")
            self.pump(until)
            stopped = self.outgoing.stopped(n) or stopped
        if self.outgoing.resets != resets:
            raise NotDelivered(INCOMPLETE)
        if stopped is not None:
            raise NotDelivered(stopped)

    def _stream(self, envelope: Envelope, data: bytes, seconds: float) -> None:
        n, begin = self.outgoing.begin(envelope, data)
        self.transmit(begin)
        self.finish(n, seconds)

    def act_on_stream(self, frame: Frame) -> bool:
        """True if it was a frame of a stream, which is then dealt with."""
        match frame:
            case Begin() | Chunk() | End() | Abort():
                answers, message = self.incoming.act(frame)
                if message is not None:
                    self.backlog.append(message)
            case Credit() | Stop() | Done():
                answers = self.outgoing.act(frame)
            case _:
                return False
        for answer in answers:
            self.transmit(answer)
        return True
