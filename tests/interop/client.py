"""The client of the outer protocol, over a TCP connection: PROTOCOL.md, sections 4 to 18 and 20.1."""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable
from typing import Any

from frames import (
    EVERYONE,
    Close,
    Find,
    Found,
    Frame,
    Open,
    Opened,
    Peer,
    Ping,
    Pong,
    Refused,
    Relay,
    RelayFailed,
    Welcome,
    decode,
    encode,
)
from noise import CHACHA_POLY, Handshake, KeyPair, NoiseError, Suite
from streams import Incoming, Outgoing
from talker import PATIENCE, NotDelivered, Talker
from wire import RECORD_MIN, Limits, Opener, Sealer, WireError, prelude

HANDSHAKE_MAX = 256
CLOSE_WAIT = 5.0
DONE, PROTOCOL, ANSWERED = 0x00, 0x03, 0x04


class Ended(Exception):
    """The connection is over. `code` is of Close or Refused and authenticated, `alert` is not (section 19)."""

    def __init__(self, what: str, *, code: int | None = None, alert: int | None = None) -> None:
        super().__init__(what)
        self.code = code
        self.alert = alert


class Client(Talker):
    """A connection that has been admitted."""

    number: int
    server_suites: bytes
    server_key: bytes

    def __init__(
        self,
        address: tuple[str, int],
        identity: KeyPair,
        name: str,
        *,
        suite: Suite = CHACHA_POLY,
        pin: bytes | None = None,
        psk: tuple[bytes, bytes] | None = None,
        trust: Callable[[bytes], bool] = lambda _: False,
        limits: Limits = Limits(),  # noqa: B008, it cannot be changed
        seconds: float = 10.0,
    ) -> None:
        """With a pin by XK, else by XX: then `trust` decides about the server's key (section 6.5).

        `psk` is hint and secret. One deadline covers everything up to Welcome.
        """
        super().__init__()
        self.identity, self.name, self.limits = identity, name, limits
        self.peers: dict[int, Peer] = {}
        self.on_relay: Callable[[Relay | RelayFailed], None] | None = None
        self._channels = self._queries = 0
        self._buffer = b""
        self._closed = False
        until = time.monotonic() + seconds
        self._socket = socket.create_connection(address, timeout=seconds)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._handshake(suite, pin, psk, trust, until)
            self._admission(until)
        except BaseException:
            self._socket.close()
            raise

    def _handshake(
        self,
        suite: Suite,
        pin: bytes | None,
        psk: tuple[bytes, bytes] | None,
        trust: Callable[[bytes], bool],
        until: float,
    ) -> None:
        pattern = "XX" if pin is None else "XK"
        hint, secret = psk or (None, None)
        first = prelude(suite, pattern, hint)
        noise = Handshake(
            pattern,
            suite,
            b"pysock/1 outer" + first,
            initiator=True,
            static=self.identity,
            remote_static=pin,
            psk=secret,
        )
        self._write(first + _with_length(noise.write()))
        payload = noise.read(self._unit(until, HANDSHAKE_MAX, least=2, alert=True))
        self.server = Limits.decode(payload)
        assert noise.remote_static is not None
        self.server_key = noise.remote_static
        # Before message 3, which shows the own key.
        if pin is None and not trust(self.server_key):
            raise Ended("the server's key is not trusted")
        self._write(_with_length(noise.write(self.limits.encode(self.name))))
        to_server, to_client = noise.split()
        self.sealer, self.opener = Sealer(to_server), Opener(to_client)
        self.incoming = Incoming(self.limits.window, self.limits.streams)
        self.outgoing = Outgoing(self.server.window, self.server.streams)
        self._idle = min(self.limits.idle, self.server.idle)
        self._heard, self._pinged = time.monotonic(), False

    def _admission(self, until: float) -> None:
        """Section 8: the first frame that is not skipped is Welcome or Refused."""
        frames: list[Frame] = []
        while not frames:
            frames = self._record(until, alert=True)
        match frames.pop(0):
            case Welcome(number, suites) if 0 < number < EVERYONE and len(suites) <= 16:
                self.number, self.server_suites = number, suites
            case Refused(code):
                raise Ended(f"refused with code {code:#04x}", code=code)
            case other:
                self._fail(WireError(f"{other} in place of Welcome"))
        self._act(frames)

    # What the application does.

    def open_channel(self, name: str) -> int:
        """Section 12: numbers go up from 0, and are used up also by a failure."""
        channel = self._channels
        self._channels += 1
        self.transmit(Open(channel, name))
        opened = self.wait(lambda event: isinstance(event, Opened) and event.channel == channel)
        if opened.failure:
            raise NotDelivered(opened.failure)
        return channel

    def find(self, what: str | bytes | int) -> Peer | None:
        """Section 15."""
        query = self._queries = (self._queries + 1) % 2**16
        self.transmit(Find(query, what))
        found: Found = self.wait(lambda event: isinstance(event, Found) and event.query == query)
        return found.peer

    def first_relay(self) -> Relay:
        """Of a client with which no conversation takes it yet."""
        relay: Relay = self.wait(lambda event: isinstance(event, Relay))
        return relay

    def ping(self, data: bytes) -> Pong:
        """Waits for the Pong; so each one comes in a record of its own."""
        self.transmit(Ping(data))
        pong: Pong = self.wait(lambda event: isinstance(event, Pong))
        return pong

    def close(self) -> int:
        """Section 17. Code 4 says that the server has read everything."""
        if not self._closed:
            self.transmit(Close(DONE))
            self._closed = True
        try:
            self.wait(lambda _: False, CLOSE_WAIT)
        except Ended as end:
            if end.code is None:
                raise
            return end.code
        finally:
            self._socket.close()
        raise AssertionError("a connection ends with Close or an error")

    def drop(self) -> None:
        """Ends without a word."""
        self._socket.close()

    # What a Talker needs.

    def transmit(self, *frames: Frame) -> None:
        text = encode(*frames)
        if len(text) + 16 > self.server.record:
            raise ValueError("this is more than the server takes in a record")
        # Behind the own Close nothing is sent, not even an answer.
        if not self._closed:
            self._write(self.sealer.seal(text))

    def longest_body(self) -> int:
        # Section 21.1.
        return self.server.record - 19

    def pump(self, until: float) -> None:
        # A Close may end an idle wait, never the keep-alive of section 16.
        silent = self._heard + self._idle
        ping = self._heard + self._idle / 2
        wake = min(until, silent if self._pinged or self._closed else ping)
        try:
            frames = self._record(wake)
        except TimeoutError:
            now = time.monotonic()
            if now >= silent:
                self._socket.close()
                raise Ended("the server is silent") from None
            if now >= ping and not self._pinged:
                self._pinged = True
                self.transmit(Ping(bytes(4)))
            return
        self._act(frames)

    def _act(self, frames: list[Frame]) -> None:
        try:
            for frame in frames:
                self._act_on(frame)
        except WireError as error:
            self._fail(error)

    def _act_on(self, frame: Frame) -> None:
        match frame:
            case Close(code):
                # Everything before it is read. What is behind it in the record is not looked at.
                if not self._closed:
                    self.transmit(Close(ANSWERED))
                self._closed = True
                self._socket.close()
                raise Ended(f"closed with code {code:#04x}", code=code)
            case Ping(data):
                self.transmit(Pong(data))
            case Peer(number):
                self._announce(number, frame)
            case Welcome() | Refused():
                raise WireError("it is admitted already")
            case Relay() | RelayFailed() if self.on_relay is not None:
                self.on_relay(frame)
            case _ if not self.act_on_stream(frame):
                self.backlog.append(frame)

    def _announce(self, number: int, peer: Peer) -> None:
        """Section 11.2: first in, first out; use moves nothing."""
        if not 0 < number < EVERYONE:
            raise WireError("this number is announced for nobody")
        if number not in self.peers and len(self.peers) == self.limits.peers:
            del self.peers[next(iter(self.peers))]
        self.peers[number] = peer

    def _fail(self, error: WireError) -> Any:
        """Section 18: what arrived in a record that verified is answered with Close 3."""
        with contextlib.suppress(OSError):
            self.transmit(Close(PROTOCOL))
        self._closed = True
        self._socket.close()
        raise error

    # Bytes.

    def _record(self, until: float, *, alert: bool = False) -> list[Frame]:
        sealed = self._unit(until, self.limits.record, least=RECORD_MIN, alert=alert)
        try:
            text = self.opener.open(sealed)
        except NoiseError:
            # Without a word: anyone on the path can cause it (section 9.2).
            self._socket.close()
            raise
        self._heard, self._pinged = time.monotonic(), False
        try:
            return decode(text)
        except WireError as error:
            self._fail(error)
            raise

    def _unit(self, until: float, most: int, *, least: int, alert: bool = False) -> bytes:
        """Section 4: a length is judged as soon as it is there. What has come of a unit is kept if time runs out."""
        self._fill(2, until)
        size = int.from_bytes(self._buffer[:2], "big")
        if alert and size == 1:
            self._fill(3, until)
            raise Ended(f"alert {self._buffer[2]}", alert=self._buffer[2])
        if not least <= size <= most:
            self._socket.close()
            raise Ended(f"a unit of {size} bytes")
        self._fill(2 + size, until)
        unit, self._buffer = self._buffer[2 : 2 + size], self._buffer[2 + size :]
        return unit

    def _fill(self, size: int, until: float) -> None:
        while len(self._buffer) < size:
            left = until - time.monotonic()
            if not select.select([self._socket], [], [], max(0.0, left))[0]:
                raise TimeoutError
            try:
                data = self._socket.recv(65_536)
            except ConnectionError:
                data = b""
            if not data:
                self._socket.close()
                raise Ended("the end of input before Close")
            self._buffer += data

    def _write(self, data: bytes) -> None:
        # The server reads on while it writes, so that a bounded wait is all that it takes.
        self._socket.settimeout(PATIENCE)
        self._socket.sendall(data)


def _with_length(message: bytes) -> bytes:
    return len(message).to_bytes(2, "big") + message
