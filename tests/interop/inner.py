"""Sessions from client to client: PROTOCOL-INNER.md, sections 7 to 9 and 11 to 15.

`Conversation` is everything about one other client. How its sessions are made is in attempts.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from attempts import Attempts
from client import ANSWERED, CLOSE_WAIT, DONE, PROTOCOL, Client
from frames import Begin, Close, Envelope, Failed, Frame, Message, Peer, Received, Relay, RelayFailed, decode, encode
from noise import NoiseError
from session import (
    Lost,
    Reset,
    Session,
    SessionClosed,
    SessionOpened,
    Undelivered,
    Unknown,
)
from streams import Incoming, Outgoing
from talker import PATIENCE
from units import (
    AROUND_UNIT,
    NO_SESSION,
    HandshakeUnit,
    RecordUnit,
    Text,
)
from wire import WireError

# Section 14: a new handshake is wanted after so many records or seconds; by the responder later.
RENEW_AFTER = 2**20
HOUR, LATER = 3600.0, 600.0


class Conversation(Attempts):
    def __init__(
        self,
        client: Client,
        peer: Peer,
        *,
        pin: bytes | None = None,
        trust: Callable[[bytes], bool] = lambda _: False,
        aes: bool = False,
    ) -> None:
        """`peer` is what the server says of the other side. An accepted key becomes the pin. `aes`: whether it takes records of suite 2."""
        super().__init__(client, peer, pin, trust, aes)
        self._before: Session | None = None
        self._seam = 0
        self._new_lineage()
        self.incoming = Incoming(client.limits.window, client.limits.streams)
        self.outgoing = Outgoing(0, 0)
        client.on_relay = self.relayed

    def _new_lineage(self) -> None:
        """Section 9.1."""
        self.sent = self.next = self.missed = 0
        self.told = Received(0, 0)

    # What the application does.

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
        self.client, self.peer = client, found
        self._own = self._response = self._pending = None
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
        self._give_up()
        if self._wants_a_handshake():
            due = max(self._due(), self._not_before)
            if time.monotonic() >= due:
                self.begin()
            else:
                until = min(until, due)
        self.client.pump(until)

    def _wants_a_handshake(self) -> bool:
        session = self.present
        if session is None or session.opening or session.closing or self._own or self._response:
            return False
        age = HOUR if session.initiator else HOUR + LATER
        return session.broken or session.sent >= RENEW_AFTER or time.monotonic() >= session.made + age

    # Units.

    def relayed(self, relay: Relay | RelayFailed) -> None:
        """What the server passes on, section 3.1: what cannot be resolved or read is dropped."""
        if isinstance(relay, RelayFailed):
            # About a number that was named to the server, announced or not.
            if relay.peer == self.peer.number:
                self._relay_failed(relay.failure)
            return
        stamp = self.client.peers.get(relay.peer)
        if stamp is None or stamp.key != self.peer.key:
            return
        # The other side may have connected anew.
        self.peer = stamp
        try:
            if relay.record:
                record = RecordUnit.decode(relay.unit)
            else:
                handshake = HandshakeUnit.decode(relay.unit)
        except WireError:
            return
        if relay.record:
            self._on_record(record)
        else:
            self._on_handshake(handshake)

    def _replace(self, session: Session) -> None:
        """Sections 7.4, 9.4 and 9.5: the new session takes the place of the present one."""
        old, self.present = self.present, session
        self._own = self._response = self._pending = None
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

    def _relay_failed(self, failure: int) -> None:
        """Section 15: it ends an own attempt and breaks the session, but changes no count."""
        if self._own is not None:
            self._own = None
            self._failed(f"the server could not pass it on: failure {failure}")
        if self.present is not None and self.present.closing:
            self._over(None, "the other side has left")
        elif self.present is not None:
            self.present.broken = True

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
            self._seal(self.present, self._received())

    def _first_of_session(self, session: Session, unit: RecordUnit, text: Text) -> None:
        if session.opening:
            # Section 14 counts the pause from here.
            session.opening, session.made = False, time.monotonic()
            self._tell(session)
            self._seal(session, self._received())
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

    def _received(self) -> Received:
        return Received(self.next, self.missed)

    def _received_is_due(self) -> None:
        if self.present and not self.present.opening and not self.present.closing:
            self._seal(self.present, self._received())

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
        elif not self.present.broken:
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
