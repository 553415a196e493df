"""How two clients come to a session: PROTOCOL-INNER.md, sections 4 to 7, 10 and 14.

Decisions are made by the pin and by `trust` at once, so no attempt ever waits for a person here.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable

from client import Client
from frames import Frame, Peer, Received, Relay
from noise import AES_GCM, CHACHA_POLY, Handshake, NoiseError
from session import Attempt, AttemptFailed, AttemptRefused, Session, SessionOpened
from talker import PATIENCE, Talker
from units import (
    AROUND_UNIT,
    BUSY,
    KK1,
    KK2,
    NAME,
    NEED_XX,
    NO_SESSION,
    NO_SESSION_ID,
    NOT_TRUSTED,
    REFUSED,
    XX1,
    XX2,
    XX3,
    HandshakeUnit,
    Hello,
    handshake,
)
from wire import WireError

PAUSE = 0.125
# Between two attempts, while they fail: section 14, without its doubling.
RETRY = 1.0
DEADLINE = 10.0
# Copies of a first message, section 6, rule 3.
COPIES = 4


class Attempts(Talker):
    """The handshakes with one other client; what they lead to is a `Conversation`."""

    def __init__(self, client: Client, peer: Peer, pin: bytes | None, trust: Callable[[bytes], bool], aes: bool) -> None:
        super().__init__()
        self.client, self.peer, self.pin, self._trust, self._aes = client, peer, pin, trust, aes
        self.present: Session | None = None
        # As responder: the session that a record has to confirm.
        self._pending: Session | None = None
        # A client can be the initiator of one attempt and the responder of another, section 6, rule 3.
        self._own: Attempt | None = None
        self._response: Attempt | None = None
        self._label = -1
        self._not_before = 0.0
        self._short_lived = 0

    @abstractmethod
    def _replace(self, session: Session) -> None:
        """The session takes the place of the present one."""

    @abstractmethod
    def _seal(self, session: Session, *frames: Frame) -> None:
        """Sends a record."""

    @abstractmethod
    def _over(self, code: int | None, why: str = "") -> None:
        """Ends the present session."""

    @abstractmethod
    def _received(self) -> Received:
        """What has been received, section 9.3."""

    def open(self, seconds: float = PATIENCE) -> SessionOpened:
        """Section 5: with a pin by KK, else by XX. Busy is no answer for good: it is asked again after a pause."""
        if self.pin is not None and self.pin != self.peer.key:
            raise NoiseError("the server names another key than the pinned one")
        until = time.monotonic() + seconds
        while True:
            self.begin()
            try:
                return self.opened(seconds)
            except AttemptRefused as refused:
                if refused.event.code != BUSY or time.monotonic() >= until:
                    raise
                self._rest(time.monotonic() + PAUSE)

    def begin(self) -> None:
        """Sends a first message and does not wait."""
        pattern = "XX" if self.pin is None else "KK"
        noise = self._noise(pattern, initiator=True)
        name = noise.ephemeral[:4]
        attempt = Attempt(noise, pattern, True, name, self._hello())
        hello = b"" if pattern == "XX" else attempt.mine.encode()
        attempt.first = HandshakeUnit(XX1 if pattern == "XX" else KK1, name, noise.write(hello)).encode()
        self._own = attempt
        self._relay(attempt.first)

    def opened(self, seconds: float = PATIENCE) -> SessionOpened:
        """Waits for a session of which either side is the initiator."""
        event: SessionOpened | AttemptFailed = self.wait(
            lambda event: isinstance(event, SessionOpened | AttemptFailed), seconds
        )
        if isinstance(event, AttemptFailed):
            raise AttemptRefused(event)
        return event

    def renew(self) -> SessionOpened:
        """A new handshake before its time, but not before the pause is over (section 14)."""
        assert self.present is not None
        self._rest(self._due())
        return self.open()

    def _rest(self, until: float) -> None:
        while time.monotonic() < until:
            self.client.pump(until)

    def _due(self) -> float:
        """Section 14: the pause doubles with each session in a row that was replaced soon."""
        assert self.present is not None
        return self.present.made + min(PAUSE * (1 << self._short_lived), 1.0)

    def _relay(self, unit: bytes, *, record: bool = False) -> None:
        self.client.transmit(Relay(record, self.peer.number, unit))

    def _notice(self, step: int, name: bytes, code: int = 0) -> None:
        self._relay(HandshakeUnit(step, name, bytes([code])).encode())

    def _end(self, attempt: Attempt) -> None:
        if attempt is self._own:
            self._own = None
        else:
            self._response = self._pending = None

    def _give_up(self) -> None:
        """Section 5: deadlines are local. A responder says nothing."""
        late = time.monotonic() - DEADLINE
        if self._own is not None and self._own.began < late:
            self._own = None
            self._failed("no answer")
        if self._response is not None and self._response.began < late:
            self._response = self._pending = None

    def _failed(self, why: str, notice: HandshakeUnit | None = None) -> None:
        self._not_before = time.monotonic() + RETRY
        step, code = (notice.step, notice.code) if notice else (None, None)
        self.backlog.append(AttemptFailed(why, step, code))

    def _noise(self, pattern: str, *, initiator: bool) -> Handshake:
        return handshake(pattern, initiator=initiator, static=self.client.identity, remote_static=self.peer.key)

    def _hello(self) -> Hello:
        """Sections 4.3 and 7.3."""
        self._label = (self._label + 1) % 256
        limits, session = self.client.limits, self.present
        return Hello(
            limits.record - AROUND_UNIT,
            limits.window,
            limits.streams,
            self._label,
            session is not None and not session.broken,
            self._aes,
            session.id if session else NO_SESSION_ID,
            self.client.name,
            self.peer.name,
        )

    def _on_handshake(self, unit: HandshakeUnit) -> None:
        if unit.step in (KK1, XX1):
            self._on_first(unit)
        elif unit.step == NO_SESSION:
            # The header of the record stands in the place of the attempt.
            session = self.present
            counter = int.from_bytes(unit.attempt[1:], "big")
            if session and unit.attempt[0] == session.theirs.label and counter < session.sent:
                session.broken = True
        elif attempt := next((a for a in (self._own, self._response) if a and a.name == unit.attempt), None):
            try:
                self._on_next(attempt, unit)
            except NoiseError as error:
                self._end(attempt)
                self._failed(str(error))
        elif unit.step == REFUSED and self.present and self.present.opening and unit.attempt == self.present.id[:4]:
            self._over(None, "the session was refused while it opened")
            self._failed("refused", unit)

    def _on_next(self, attempt: Attempt, unit: HandshakeUnit) -> None:
        # What is next. A responder that has the last message waits for a record.
        expected = {("KK", True): KK2, ("XX", True): XX2, ("XX", False): XX3}.get((attempt.pattern, attempt.initiator))
        if unit.step in (REFUSED, NEED_XX):
            if unit.step == REFUSED or (attempt.initiator and attempt.pattern == "KK"):
                self._end(attempt)
                self._failed("the answer was no", unit)
        elif unit.step == expected and not attempt.noise.complete:
            attempt.theirs = self._read_hello(attempt.noise, unit.message)
            if attempt.pattern == "XX" and not self._decide(attempt):
                return
            self._complete(attempt)

    def _read_hello(self, noise: Handshake, message: bytes) -> Hello:
        try:
            hello = Hello.decode(noise.read(message))
        except WireError as error:
            raise NoiseError(f"the hello: {error}") from None
        if (hello.name, hello.expected) != (self.peer.name, self.client.name):
            raise NoiseError("the server has told the two sides different names")
        return hello

    def _decide(self, attempt: Attempt) -> bool:
        """Section 5, about the key that XX has proven."""
        key = attempt.noise.remote_static
        if key != self.peer.key:
            raise NoiseError("another key than the server says")
        if self._accepts(key):
            return True
        # Behind message 3 there is a session to name.
        name = attempt.name if attempt.initiator else attempt.noise.h[:4]
        self._notice(REFUSED, name, NOT_TRUSTED)
        raise NoiseError("this key is not trusted")

    def _accepts(self, key: bytes) -> bool:
        if self.pin is None and self._trust(key):
            self.pin = key
        return key == self.pin

    def _on_first(self, unit: HandshakeUnit) -> None:
        """Section 6: a greeting. Bounds against floods are left out."""
        own, theirs = self._own, unit.message[:32]
        if unit.attempt != theirs[:4] or self.peer.key == self.client.identity.public:
            return
        if own is not None and own.noise.ephemeral <= theirs:
            if own.noise.ephemeral != theirs and own.copies < COPIES:
                own.copies += 1
                self._relay(own.first)
            return
        session = self.present
        if session and session.closing:
            self._notice(REFUSED, unit.attempt, BUSY)
            return
        if session and not session.opening and not session.broken and time.monotonic() < self._due():
            self._notice(REFUSED, unit.attempt, BUSY)
            return
        if self._response is not None and self._response.name == unit.attempt:
            return
        pattern = "KK" if unit.step == KK1 else "XX"
        noise = self._noise(pattern, initiator=False)
        try:
            payload = noise.read(unit.message)
            if pattern == "KK":
                theirs_hello = Hello.decode(payload)
            elif payload:
                return
        except (NoiseError, WireError):
            if pattern == "KK":
                self._notice(NEED_XX, unit.attempt)
            return
        attempt = Attempt(noise, pattern, False, unit.attempt, self._hello())
        if pattern == "KK":
            attempt.theirs = theirs_hello
            if (theirs_hello.name, theirs_hello.expected) != (self.peer.name, self.client.name):
                self._notice(REFUSED, unit.attempt, NAME)
                return
            if not self._accepts(self.peer.key):
                self._notice(REFUSED, unit.attempt, NOT_TRUSTED)
                return
        self._response, self._pending = attempt, None
        step = KK2 if pattern == "KK" else XX2
        self._relay(HandshakeUnit(step, unit.attempt, noise.write(attempt.mine.encode())).encode())
        if noise.complete:
            self._complete(attempt)

    def _complete(self, attempt: Attempt) -> None:
        """Section 7, and the last paragraph of section 6."""
        noise = attempt.noise
        assert attempt.theirs is not None
        if attempt.initiator and attempt.pattern == "XX":
            self._relay(HandshakeUnit(XX3, attempt.name, noise.write(attempt.mine.encode())).encode())
        if attempt.mine.previous != (self.present.id if self.present else NO_SESSION_ID):
            raise NoiseError("another handshake was faster")
        # Section 8.1: both hellos decide.
        suite = AES_GCM if attempt.mine.has_aes and attempt.theirs.has_aes else CHACHA_POLY
        of_initiator, of_responder = noise.split(suite)
        keys = (of_initiator, of_responder) if attempt.initiator else (of_responder, of_initiator)
        session = Session(noise.h[:8], attempt.pattern, attempt.mine, attempt.theirs, *keys, attempt.initiator)
        if not attempt.initiator:
            # A record has to confirm it: a replay cannot.
            self._pending = session
            return
        session.opening = attempt.pattern == "XX"
        self._replace(session)
        self._seal(session, *([] if session.opening else [self._received()]))
