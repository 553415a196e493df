"""Sessions from client to client: PROTOCOL-INNER.md. `Conversation` is everything about one other client.

Decisions are made by the pin and by `trust` at once, so no attempt ever waits for a person here.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from client import ANSWERED, CLOSE_WAIT, DONE, PROTOCOL, Client
from frames import Begin, Close, Envelope, Failed, Frame, Message, Peer, Received, Relay, RelayFailed, decode, encode
from noise import Handshake, NoiseError
from session import (
    Attempt,
    AttemptFailed,
    AttemptRefused,
    Lost,
    Reset,
    Session,
    SessionClosed,
    SessionOpened,
    Undelivered,
    Unknown,
)
from streams import Incoming, Outgoing, is_stream
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
    RecordUnit,
    Text,
    handshake,
)
from wire import WireError

PAUSE = 0.125
RENEW_AFTER = 2**20
# Between two attempts, while they fail: section 14, without its doubling.
RETRY = 1.0


class Conversation(Talker):
    def __init__(
        self, client: Client, peer: Peer, *, pin: bytes | None = None, trust: Callable[[bytes], bool] = lambda key: False
    ) -> None:
        """`peer` is what the server says of the other side. An accepted key becomes the pin."""
        super().__init__()
        self.client, self.peer, self.pin, self._trust = client, peer, pin, trust
        self.present: Session | None = None
        self._before: Session | None = None
        self._pending: Session | None = None
        self._attempt: Attempt | None = None
        self._label = -1
        self._seam = 0
        self._not_before = 0.0
        self._short_lived = 0
        self._new_lineage()
        self.incoming = Incoming(client.limits.window, client.limits.streams)
        self.outgoing = Outgoing(0, 0)
        client.on_relay = self.relayed

    def _new_lineage(self) -> None:
        """Section 9.1."""
        self.sent = self.next = self.missed = 0
        self.told = Received(0, 0)

    # What the application does.

    def open(self, seconds: float = PATIENCE) -> SessionOpened:
        """Section 5: with a pin by KK, else by XX. Busy is no answer for good: it is asked again after a pause."""
        if self.pin is not None and self.pin != self.peer.key:
            raise NoiseError("the server names another key than the pinned one")
        until = time.monotonic() + seconds
        while True:
            self._begin()
            try:
                return self.opened(seconds)
            except AttemptRefused as refused:
                if refused.event.code != BUSY or time.monotonic() >= until:
                    raise
                self._rest(time.monotonic() + PAUSE)

    def _begin(self) -> None:
        pattern = "XX" if self.pin is None else "KK"
        noise = self._noise(pattern, initiator=True)
        name = noise.ephemeral[:4]
        attempt = Attempt(noise, pattern, True, name, self._hello())
        hello = b"" if pattern == "XX" else attempt.mine.encode()
        attempt.first = HandshakeUnit(XX1 if pattern == "XX" else KK1, name, noise.write(hello)).encode()
        self._attempt = attempt
        self._relay(attempt.first)

    def opened(self, seconds: float = PATIENCE) -> SessionOpened:
        """Waits for a session of which either side is the initiator."""
        event = self.wait(lambda event: isinstance(event, SessionOpened | AttemptFailed), seconds)
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
        return self.present.made + min(PAUSE * 2**self._short_lived, 1.0)

    def closed(self, seconds: float = PATIENCE) -> SessionClosed:
        """Waits until the other side closes."""
        event: SessionClosed = self.wait(lambda event: isinstance(event, SessionClosed), seconds)
        return event

    def close(self) -> SessionClosed:
        """Section 13. Streams that are arriving end here and count as missed."""
        assert self.present is not None
        self.missed += len(self.incoming)
        self.incoming.reset()
        self.transmit(Close(DONE, (self.next, self.missed)))
        self.present.closing = True
        return self.closed(CLOSE_WAIT)

    def lose(self, messages: int) -> None:
        """Loses a record with so many messages, as a server could: counter and numbers are used up."""
        assert self.present is not None
        self.present.sent += 1
        self.sent += messages

    def move(self, client: Client) -> None:
        """To a new outer connection of the same identity. Section 15: the session is broken, and is mended there."""
        found = client.find(self.peer.key)
        assert found is not None
        self.client, self.peer, self._attempt = client, found, None
        client.on_relay = self.relayed
        if self.present is not None:
            self.present.broken = True

    # What a Talker needs.

    def post(self, envelope: Envelope, data: bytes, seconds: float = PATIENCE) -> None:
        """Section 9.6: in a broken session no messages are sent; the one that follows it does."""
        until = time.monotonic() + seconds
        while self.present is not None and (self.present.broken or self.present.opening):
            if time.monotonic() >= until:
                raise TimeoutError("the session is not mended")
            self.pump(until)
        super().post(envelope, data, seconds)

    def transmit(self, *frames: Frame) -> None:
        session = self.present
        assert session is not None and not session.opening and not session.closing, "there is no session to send in"
        self._seal(session, *frames)

    def longest_body(self) -> int:
        assert self.present is not None
        # Section 19.1: 27, or 31 in the first record, which is never a message here.
        return min(self.present.theirs.unit, self.client.server.record - AROUND_UNIT) - 27

    def pump(self, until: float) -> None:
        if self._wants_a_handshake():
            due = max(self._due(), self._not_before)
            if time.monotonic() >= due:
                self._begin()
            else:
                until = min(until, due)
        self.client.pump(until)

    def _wants_a_handshake(self) -> bool:
        session = self.present
        if session is None or session.opening or session.closing or self._attempt or self._pending:
            return False
        return session.broken or session.sent >= RENEW_AFTER

    # Units.

    def _relay(self, unit: bytes, *, record: bool = False) -> None:
        self.client.transmit(Relay(record, self.peer.number, unit))

    def _notice(self, step: int, name: bytes, code: int = 0) -> None:
        self._relay(HandshakeUnit(step, name, bytes([code])).encode())

    def relayed(self, relay: Relay | RelayFailed) -> None:
        """What the server passes on. Section 3.1: what cannot be resolved or read is dropped, and never ends the connection."""
        stamp = self.client.peers.get(relay.peer)
        if stamp is None or stamp.key != self.peer.key:
            return
        # The other side may have connected anew.
        self.peer = stamp
        if isinstance(relay, RelayFailed):
            if self.present is not None:
                self.present.broken = True
            return
        try:
            unit = (RecordUnit if relay.record else HandshakeUnit).decode(relay.unit)
        except WireError:
            return
        if isinstance(unit, RecordUnit):
            self._on_record(unit)
            return
        try:
            self._on_handshake(unit)
        except NoiseError as error:
            self._failed(str(error))

    def _failed(self, why: str, notice: HandshakeUnit | None = None) -> None:
        self._attempt, self._not_before = None, time.monotonic() + RETRY
        step, code = (notice.step, notice.code) if notice else (None, None)
        self.backlog.append(AttemptFailed(why, step, code))

    # Handshakes.

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
            if session and unit.attempt[0] == session.theirs.label:
                if int.from_bytes(unit.attempt[1:], "big") < session.sent:
                    session.broken = True
        elif self._attempt is not None and unit.attempt == self._attempt.name:
            self._on_next(self._attempt, unit)
        elif unit.step == REFUSED and self.present and self.present.opening and unit.attempt == self.present.id[:4]:
            self._over(None, "the session was refused while it opened")
            self._failed("refused", unit)

    def _on_next(self, attempt: Attempt, unit: HandshakeUnit) -> None:
        expected = {("KK", True): KK2, ("XX", True): XX2, ("XX", False): XX3}.get((attempt.pattern, attempt.initiator))
        if unit.step in (REFUSED, NEED_XX):
            if unit.step == REFUSED or (attempt.initiator and attempt.pattern == "KK"):
                self._failed("the answer was no", unit)
        elif unit.step == expected:
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
        own = self._attempt
        if own is not None and own.initiator:
            mine, theirs = own.noise.ephemeral, unit.message[:32]
            if mine <= theirs:
                if mine != theirs and own.copies < 4:
                    own.copies += 1
                    self._relay(own.first)
                return
        elif own is not None and own.name == unit.attempt:
            return
        session = self.present
        if session and session.closing:
            self._notice(REFUSED, unit.attempt, BUSY)
            return
        if session and not session.opening and not session.broken and time.monotonic() < self._due():
            self._notice(REFUSED, unit.attempt, BUSY)
            return
        if unit.attempt != unit.message[:4]:
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
        self._attempt = attempt
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
        self._attempt = None
        if attempt.mine.previous != (self.present.id if self.present else NO_SESSION_ID):
            raise NoiseError("another handshake was faster")
        of_initiator, of_responder = noise.split()
        keys = (of_initiator, of_responder) if attempt.initiator else (of_responder, of_initiator)
        session = Session(noise.h[:8], attempt.pattern, attempt.mine, attempt.theirs, *keys, attempt.initiator)
        if not attempt.initiator:
            # A record has to confirm it: a replay cannot.
            self._pending = session
            return
        session.opening = attempt.pattern == "XX"
        self._replace(session)
        self._seal(session, *([] if session.opening else [Received(self.next, self.missed)]))

    def _replace(self, session: Session) -> None:
        """Sections 7.4, 9.4 and 9.5: the new session takes the place of the present one."""
        old, self.present, self._pending = self.present, session, None
        self._short_lived = self._short_lived + 1 if old and time.monotonic() < old.made + 60 else 0
        self._before = old if session.follows else None
        self._seam = old.sent if old and session.follows else 0
        if not session.follows:
            if old is not None:
                self.backlog.append(Unknown(self.sent - self.told.next))
            self._new_lineage()
        if not session.continues:
            if len(self.incoming) or len(self.outgoing):
                self.backlog.append(Reset())
            if session.follows and len(self.incoming):
                self.missed += len(self.incoming)
                self.backlog.append(Lost(len(self.incoming)))
            self.incoming.reset()
            self.outgoing.reset()
        elif old is not None and old.broken and session.mine.may_go_on:
            session.broken = True
        # What is under way keeps its credit; what is begun from now on has the new window.
        self.outgoing.window, self.outgoing.streams = session.theirs.window, session.theirs.streams
        if not session.opening:
            self._tell(session)

    def _tell(self, session: Session) -> None:
        self.backlog.append(SessionOpened(session.id, session.pattern, session.follows, session.continues))

    # Records.

    def _seal(self, session: Session, *frames: Frame) -> None:
        text = Text(self.sent, self._seam if session.sent == 0 else 0, encode(*frames))
        unit = text.seal(session.send_key, session.theirs.label, session.sent)
        session.sent += 1
        self.sent += sum(isinstance(frame, Message | Begin) for frame in frames)
        self._relay(unit, record=True)

    def _on_record(self, unit: RecordUnit) -> None:
        """Section 8.2: find, check, open, accept."""
        header = bytes([unit.label]) + unit.counter.to_bytes(3, "big")
        sessions = [s for s in (self._pending, self.present, self._before) if s and s.mine.label == unit.label]
        if not sessions:
            self._notice(NO_SESSION, header)
            return
        session = sessions[0]
        if unit.counter < session.next:
            return
        try:
            text = unit.open(session.receive_key)
        except NoiseError:
            self._notice(NO_SESSION, header)
            return
        gap, session.next = unit.counter - session.next, unit.counter + 1
        confirmed = session is self._pending
        if confirmed:
            self._replace(session)
        assert self.present is not None
        if session is self.present:
            self._first_of_session(session, unit, text)
        if gap:
            self.present.broken = True
        try:
            self._count(text.number)
            self._act_on_all(decode(text.frames, inner=True))
        except WireError as error:
            self._seal(self.present, Close(PROTOCOL, (self.next, self.missed)))
            self._over(None, f"the other side broke a rule: {error}")
            return
        if confirmed and self.present:
            self._seal(self.present, Received(self.next, self.missed))

    def _first_of_session(self, session: Session, unit: RecordUnit, text: Text) -> None:
        if session.opening:
            # Section 14 counts the pause from here.
            session.opening, session.made = False, time.monotonic()
            self._tell(session)
            self._seal(session, Received(self.next, self.missed))
        if self._before is not None:
            # Section 9.5: is the end of the session before there, too?
            if session.continues and (unit.counter or text.records != self._before.next):
                session.broken = True
            self._before = None

    def _count(self, number: int) -> None:
        """Section 9.2."""
        lost = (number - self.next) % 2**32
        if lost >= 2**31:
            raise WireError("the number of messages goes backwards")
        if lost:
            self.next = number
            self.missed += lost
            self.backlog.append(Lost(lost))
            self._received_is_due()

    def _received_is_due(self) -> None:
        if self.present and not self.present.opening and not self.present.closing:
            self._seal(self.present, Received(self.next, self.missed))

    def _act_on_all(self, frames: list[Frame]) -> None:
        for frame in frames:
            if self.present is None:
                # Behind Close nothing is looked at.
                return
            match frame:
                case Received():
                    self._compare(frame)
                case Close(code, counts):
                    assert counts is not None
                    self._compare(Received(*counts))
                    self._closed(self.present, code)
                case Failed():
                    self.backlog.append(frame)
                case _:
                    self._act_on(frame)

    def _act_on(self, frame: Frame) -> None:
        assert self.present is not None
        if isinstance(frame, Message | Begin):
            self.next = (self.next + 1) % 2**32
        if isinstance(frame, Message):
            self.backlog.append(frame)
        elif is_stream(frame) and not self.present.broken:
            self.act_on_stream(frame)
        elif isinstance(frame, Begin):
            self.missed += 1
        if isinstance(frame, Message | Begin) and self.next % 64 == 0:
            self._received_is_due()

    def _compare(self, received: Received) -> None:
        """Section 9.3."""
        news = (received.next - self.told.next) % 2**32
        if news > (self.sent - self.told.next) % 2**32:
            raise WireError("it has received what was never sent")
        missed = (received.missed - self.told.missed) % 2**32
        if missed >= 2**31:
            raise WireError("what was missed goes backwards")
        self.told = received
        if missed:
            self.backlog.append(Undelivered(missed))

    def _closed(self, session: Session, code: int) -> None:
        if not session.closing:
            self.missed += len(self.incoming)
            self._seal(session, Close(ANSWERED, (self.next, self.missed)))
        self._over(code)

    def _over(self, code: int | None, why: str = "") -> None:
        """Section 13: the counts of the lineage end with it."""
        self.present = self._before = None
        self.backlog.append(SessionClosed(code, (self.sent - self.told.next) % 2**32, why))
        self._new_lineage()
        self.incoming.reset()
        self.outgoing.reset()
