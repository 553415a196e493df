"""The Python client against the `pysock` program. Run as a program, this runs the other tests, too."""

from __future__ import annotations

import socket
import sys
import unittest
from pathlib import Path

import keys
from client import PROTOCOL, Client, Ended
from frames import MESSAGE, REQUEST, Envelope, Failed, Leave, Message, Relay, RelayFailed
from noise import AES_GCM, CHACHA_POLY, SUITES, KeyPair, Suite
from program import Program, run
from served import Served
from talker import NotDelivered
from wire import REKEY_AFTER, Limits, prelude

BIG = bytes(range(251)) * 8_000


class Handshakes(Served):
    psk: tuple[bytes, bytes] | None = None

    def test_first_contact_and_pin_with_each_suite(self) -> None:
        for suite in SUITES.values():
            with self.subTest(suite.cipher_name):
                identity, name = KeyPair.fresh(), f"python{suite.number}"
                first = self.client(name, identity, suite=suite, psk=self.psk)
                self.assertEqual(first.server_key, self.key)
                self.assertEqual(first.server_suites, bytes([2, 1]))
                self.talk(first, name)
                pinned = self.client(name, identity, suite=suite, psk=self.psk, pin=first.server_key)
                # A number stays with its identity (section 11.1).
                self.assertEqual(pinned.number, first.number)
                self.talk(pinned, name)

    def talk(self, client: Client, name: str) -> None:
        test = client.open_channel("test")
        client.post(Envelope(MESSAGE, test), b"hello")
        self.assertEqual(self.server.line(), f"[test] {name}: hello")
        self.assertEqual(client.ask(Envelope(REQUEST, test), b"warm?"), b"warm?")
        self.assertEqual(self.server.line(), f"[test] {name}: warm?")
        self.assertEqual(client.close(), 4)

    def test_a_wrong_pin_is_noticed(self) -> None:
        for suite in SUITES.values():
            with self.subTest(suite.cipher_name), self.assertRaises(Ended) as end:
                self.client(suite=suite, psk=self.psk, pin=KeyPair.fresh().public)
            # The server cannot read message 1. It has no keys to say so, and says it in clear text.
            self.assertEqual(end.exception.alert, 6)

    def test_an_unknown_key_is_shown_before_the_own_one(self) -> None:
        seen: list[bytes] = []

        def look(key: bytes) -> bool:
            seen.append(key)
            return False

        with self.assertRaisesRegex(Ended, "not trusted"):
            self.client("shy", psk=self.psk, trust=look)
        self.assertEqual(seen, [self.key])
        # Nobody has claimed the name: another key gets it.
        self.client("shy", psk=self.psk).close()


class HandshakesWithPsk(Handshakes):
    psk = (bytes(range(8)), bytes(range(32)))
    yaml = f"psk: {keys.to_text(keys.PSK, psk[0] + psk[1])}\n"

    def test_a_missing_a_wrong_and_an_unknown_psk_are_refused(self) -> None:
        hint, secret = self.psk or (b"", b"")
        for psk, alert in ((None, 4), ((hint, bytes(32)), 6), ((bytes(8), secret), 6)):
            for pin in (None, self.key):
                with self.subTest(alert=alert, pin=pin), self.assertRaises(Ended) as end:
                    self.client(psk=psk, pin=pin) if pin else self.client(psk=psk)
                self.assertEqual(end.exception.alert, alert)


class Rules(Served):
    def test_preludes_that_the_server_cannot_take(self) -> None:
        good = prelude(CHACHA_POLY, "XX", None)
        for at, value, answer in (
            (0, 0x58, b""),
            (4, 2, b"\0\1\1"),
            (5, 3, b"\0\1\2"),
            (6, 3, b"\0\1\3"),
            (7, 2, b"\0\1\3"),
            (9, 1, b"\0\1\3"),
        ):
            with self.subTest(at=at), socket.create_connection(self.address, 10) as stream:
                stream.sendall(good[:at] + bytes([value]) + good[at + 1 :])
                got = b""
                while data := stream.recv(16):
                    got += data
                self.assertEqual(got, answer)

    def test_a_name_belongs_to_one_key(self) -> None:
        self.client("taken")
        with self.assertRaises(Ended) as end:
            self.client("taken")
        self.assertEqual(end.exception.code, 0x01)

    def test_the_newest_connection_of_a_key_replaces_the_older(self) -> None:
        identity = KeyPair.fresh()
        older = self.client("twice", identity)
        self.client("twice", identity)
        with self.assertRaises(Ended) as end:
            older.hear()
        self.assertEqual(end.exception.code, 0x02)

    def test_unknown_frames_are_skipped_or_fatal_by_bit_7(self) -> None:
        client = self.client()
        for frame in (b"\xff\0\3???", b"\x13\0\0"):
            client._write(client.sealer.seal(frame))
            if frame[0] & 0x80:
                client.ping(b"well")
        with self.assertRaises(Ended) as end:
            client.hear()
        self.assertEqual(end.exception.code, PROTOCOL)

    def test_an_altered_record_ends_the_connection_without_a_word(self) -> None:
        client = self.client()
        record = bytearray(client.sealer.seal(b"\4\0\4ping"))
        record[-1] ^= 1
        client._write(bytes(record))
        with self.assertRaisesRegex(Ended, "end of input"):
            client.hear()

    def test_what_nobody_answers_fails_with_a_code(self) -> None:
        client = self.client()
        with self.assertRaises(NotDelivered) as failure:
            client.open_channel("nowhere")
        self.assertEqual(failure.exception.code, 1)
        test = client.open_channel("test")
        for envelope, code in ((Envelope(REQUEST, test, 999), 2), (Envelope(REQUEST, test, client.number), 9)):
            with self.assertRaises(NotDelivered) as failure:
                client.ask(envelope, b"?")
            self.assertEqual(failure.exception.code, code)

    def test_a_channel_that_was_left_is_none(self) -> None:
        client = self.client()
        self.assertEqual(client.open_channel("test"), 0)
        client.transmit(Leave(0))
        with self.assertRaises(NotDelivered) as failure:
            client.ask(Envelope(REQUEST, 0), b"?")
        self.assertEqual(failure.exception.code, 1)
        self.assertEqual(client.open_channel("test"), 1)


class Channels(Served):
    def test_messages_and_requests_of_another_client(self) -> None:
        python = self.client()
        test = python.open_channel("test")
        rust = self.rust("listen", "test", "--echo")
        rust.says("listening on test")
        # Python speaks.
        found = python.find("rust")
        assert found is not None
        self.assertEqual(python.find(found.key), found)
        self.assertIsNone(python.find("nobody"))
        python.post(Envelope(MESSAGE, test, found.number), b"hello")
        self.assertEqual(rust.line(), "[test] python: hello")
        self.assertEqual(python.ask(Envelope(REQUEST, test, found.number), b"warm?"), b"warm?")
        self.assertEqual(rust.line(), "[test] python: warm?")
        # Rust speaks: to Python, to all, and asks.
        for to in (["--to", "python"], ["--all"]):
            run(self.folder, *self.arguments("send", "--channel", "test", *to, "news", name="other"))
            heard = python.hear(MESSAGE)
            self.assertEqual(heard.data, b"news")
            self.assertEqual(python.peers[heard.envelope.party].name, "other")
        asking = self.arguments("request", "--channel", "test", "--to", "python", "how warm?", name="other")
        with Program(self.folder, *asking) as other:
            asked = python.hear(REQUEST)
            self.assertEqual(asked.data, b"how warm?")
            python.answer(asked, b"21.5")
            self.assertEqual(other.line(), "21.5")
            self.assertEqual(other.end()[0], 0)
        with Program(self.folder, *asking) as other:
            python.transmit(Failed(python.hear(REQUEST).envelope, 6))
            self.assertEqual(other.end()[0], 5)

    def test_relays_to_nobody_fail_without_an_announcement(self) -> None:
        python, other = self.client(), self.client("other")
        found = python.find("other")
        assert found is not None
        other.close()
        for number, code in ((found.number, 13), (999, 2), (python.number, 9)):
            python.transmit(Relay(False, number, b"\x11" + bytes(36)))
            self.assertEqual(python.wait(lambda event: isinstance(event, RelayFailed)), RelayFailed(number, code))
        self.assertFalse(python.peers)

    def test_announcements_are_first_in_first_out(self) -> None:
        python = self.client(limits=Limits(peers=1))
        python.open_channel("test")
        for name in ("one", "two", "one"):
            run(self.folder, *self.arguments("send", "--channel", "test", "--all", "hello", name=name))
            self.assertEqual(python.peers[python.hear().envelope.party].name, name)
            self.assertEqual(len(python.peers), 1)


class Streams(Served):
    yaml = "max_message: 3000000\n"
    quiet = True

    def test_large_messages_both_ways(self) -> None:
        # With the smallest records and windows that there are, and with large ones.
        for limits, data in ((Limits(record=256, window=256, streams=1), BIG[:20_000]), (Limits(), BIG)):
            with self.subTest(limits):
                python = self.client(f"python{limits.record}", limits=limits)
                test = python.open_channel("test")
                self.assertEqual(python.ask(Envelope(REQUEST, test), data), data)
                self.assertEqual(python.close(), 4)

    def test_an_aborted_stream_takes_its_request_back(self) -> None:
        python = self.client()
        test = python.open_channel("test")
        n, begin = python.outgoing.begin(Envelope(REQUEST, test, request=999), BIG)
        python.transmit(begin)
        python.feed(n)
        python.transmit(python.outgoing.abort(n))
        python.finish(n)
        self.assertEqual(python.ask(Envelope(REQUEST, test), b"well?"), b"well?")
        self.assertFalse(python.backlog)

    def test_a_stream_that_is_too_large_is_stopped(self) -> None:
        python = self.client()
        test = python.open_channel("test")
        with self.assertRaises(NotDelivered) as failure:
            python.post(Envelope(MESSAGE, test), BIG * 2)
        self.assertEqual(failure.exception.code, 4)
        # The number is free again, and the connection unharmed.
        self.assertEqual(python.ask(Envelope(REQUEST, test), BIG), BIG)


class Rekeying(Served):
    quiet = True

    def test_records_65536_of_both_directions_have_the_next_key(self) -> None:
        for suite in (CHACHA_POLY, AES_GCM):
            with self.subTest(suite.cipher_name):
                self.cross(suite)

    def cross(self, suite: Suite) -> None:
        python = self.client(f"python{suite.number}", suite=suite)
        test = python.open_channel("test")
        directions = (python.sealer, python.opener)
        first = [direction.key.secret for direction in directions]
        while min(direction.records for direction in directions) < REKEY_AFTER + 2:
            # Each waits for its answer, so that no record carries two.
            n = python.sealer.records.to_bytes(4, "big")
            self.assertEqual(python.ping(n).data, n)
            if python.sealer.records > REKEY_AFTER - 3:
                self.assertEqual(python.ask(Envelope(REQUEST, test), n), n)
        for direction, key in zip(directions, first, strict=True):
            self.assertNotEqual(direction.key.secret, key)
        self.assertEqual(python.close(), 4)


class Silence(Served):
    quiet = True

    def test_pings_keep_the_connection_that_silence_would_end(self) -> None:
        python = self.client(limits=Limits(idle=2))
        with self.assertRaises(TimeoutError):
            # Without a Ping it would be over.
            python.wait(lambda event: isinstance(event, Message), 4.5)
        self.assertEqual(python.close(), 4)


if __name__ == "__main__":
    # All that is here, each file once.
    unittest.main(module=None, argv=[sys.argv[0], "discover", "-s", str(Path(__file__).parent), *sys.argv[1:]])
