"""Sessions end to end, through the real server, with the `pysock` program as the other client."""

from __future__ import annotations

from typing import Any

import keys
from frames import MESSAGE, REQUEST, Envelope, Failed, Relay
from inner import Conversation
from noise import KeyPair, NoiseError
from program import Program, run
from served import Served
from session import AttemptRefused, Lost, Reset, SessionClosed, SessionOpened, Undelivered, Unknown
from units import NOT_TRUSTED, REFUSED

# Channel 0 of a session, inner section 12.
TOLD, ASKED = Envelope(MESSAGE, 0), Envelope(REQUEST, 0)
BIG = bytes(range(65, 91)) * 20_000


def trust(_: bytes) -> bool:
    return True


class EndToEnd(Served):
    quiet = True

    def setUp(self) -> None:
        super().setUp()
        self.identity = KeyPair.fresh()
        self.python = self.client(identity=self.identity)

    def listener(self, *arguments: str, **setup: Any) -> tuple[Program, Conversation]:
        """The program as it listens, and a conversation with it that has not begun."""
        rust = self.rust("listen", "--echo", *arguments)
        rust.says("is listening")
        return rust, self.conversation("rust", **setup)

    def conversation(self, name: str, **setup: Any) -> Conversation:
        peer = self.python.find(name)
        assert peer is not None
        if "pin" not in setup:
            setup.setdefault("trust", trust)
        return Conversation(self.python, peer, **setup)

    def greeted(self) -> Conversation:
        """Waits for somebody's first message; the conversation goes on with whoever it is."""
        relay, talk = self.noticed()
        talk.relayed(relay)
        return talk

    def noticed(self) -> tuple[Relay, Conversation]:
        """The first message of somebody, which is not acted on yet."""
        self.python.on_relay = None
        relay = self.python.first_relay()
        return relay, Conversation(self.python, self.python.peers[relay.peer], trust=trust)

    def mended(self, talk: Conversation) -> SessionOpened:
        """The next session, however many attempts it took: a first message may come too early (inner section 14)."""
        opened: SessionOpened = talk.wait(lambda event: isinstance(event, SessionOpened))
        return opened

    # Python begins.

    def test_records_of_suite_2_if_both_sides_have_said_so(self) -> None:
        rust, talk = self.listener(aes=True)
        talk.open()
        assert talk.present is not None
        if not talk.present.theirs.has_aes:
            self.skipTest("the program has no AES on this machine")
        self.assertEqual(talk.present.send_key.suite.number, 2)
        self.dialogue(rust, talk)

    def test_first_contact_by_xx_then_by_kk(self) -> None:
        rust, talk = self.listener()
        opened = talk.open()
        self.assertEqual((opened.pattern, opened.follows), ("XX", False))
        self.assertEqual(talk.pin, keys.from_text(keys.PUBLIC, run(self.folder, "pubkey", "rust.yaml")))
        self.dialogue(rust, talk)
        self.assertEqual(talk.close(), SessionClosed(4, 0))
        # Both have each other's pin now; and the session before is over, so this one follows none.
        opened = talk.open()
        self.assertEqual((opened.pattern, opened.follows), ("KK", False))
        self.dialogue(rust, talk)
        self.assertEqual(talk.close(), SessionClosed(4, 0))

    def dialogue(self, rust: Program, talk: Conversation) -> None:
        talk.post(TOLD, b"hello")
        self.assertEqual(rust.line(), "[end to end] python: hello")
        self.assertEqual(talk.ask(ASKED, b"how warm?"), b"how warm?")
        self.assertEqual(rust.line(), "[end to end] python: how warm?")

    def test_a_wrong_pin_is_noticed_before_anything_is_sent(self) -> None:
        _, talk = self.listener(pin=KeyPair.fresh().public)
        with self.assertRaisesRegex(NoiseError, "another key"):
            talk.open()

    def test_who_is_not_trusted_there_is_told_so(self) -> None:
        (self.folder / "rust.yaml").write_text("peers: pin\n")
        _, talk = self.listener()
        with self.assertRaises(AttemptRefused) as refused:
            talk.open()
        self.assertEqual((refused.exception.event.step, refused.exception.event.code), (REFUSED, NOT_TRUSTED))

    def test_large_messages_both_ways(self) -> None:
        rust, talk = self.listener()
        talk.open()
        self.assertEqual(talk.ask(ASKED, BIG), BIG)
        self.assertEqual(rust.line(), f"[end to end] python: {BIG.decode()}")

    # Rust begins.

    def test_rust_asks_and_python_answers_by_xx_then_by_kk(self) -> None:
        asking = self.arguments("request", "--to", "python", "how warm?")
        talk: Conversation | None = None
        for pattern in ("XX", "KK"):
            with self.subTest(pattern), Program(self.folder, *asking) as rust:
                talk = talk or self.greeted()
                self.assertEqual(talk.opened().pattern, pattern)
                asked = talk.hear(REQUEST)
                self.assertEqual(asked.data, b"how warm?")
                talk.answer(asked, b"21.5")
                # The program shows the reply when the session is closed.
                self.assertEqual(talk.closed().code, 0)
                self.assertEqual(rust.line(), "21.5")
                self.assertEqual(rust.end()[0], 0)

    def test_rust_sends_much_and_python_says_that_all_is_there(self) -> None:
        sending = self.arguments("send", "--to", "python", "-")
        with Program(self.folder, *sending) as rust:
            rust.feed(BIG)
            talk = self.greeted()
            self.assertEqual(talk.hear(MESSAGE).data, BIG)
            # The program reports success only if the answering Close says so.
            self.assertEqual(talk.closed().code, 0)
            self.assertEqual(rust.end()[0], 0)

    def test_a_request_that_python_declines(self) -> None:
        with Program(self.folder, *self.arguments("request", "--to", "python", "?")) as rust:
            talk = self.greeted()
            talk.transmit(Failed(talk.hear(REQUEST).envelope, 6))
            self.assertEqual(talk.closed().code, 0)
            self.assertEqual(rust.end()[0], 5)

    def test_both_speak_in_one_session(self) -> None:
        rust = self.rust("chat", "python")
        talk = self.greeted()
        talk.opened()
        for word in ("one", "two", "three"):
            rust.type(f"{word}\n")
            self.assertEqual(talk.hear(MESSAGE).data, word.encode())
            talk.post(TOLD, word.upper().encode())
            while word.upper() not in (line := rust.line()):
                pass
            self.assertIn("rust" if word in line else "python", line)
        rust.close_input()
        self.assertEqual(talk.closed().code, 0)
        self.assertEqual(rust.end()[0], 0)

    def test_both_begin_at_once(self) -> None:
        # Whose handshake comes first is up to their ephemeral keys: several times, so that both outcomes occur.
        for name in ("one", "two", "three", "four"):
            asking = self.arguments("request", "--to", "python", name, name=name)
            with self.subTest(name), Program(self.folder, *asking) as rust:
                relay, talk = self.noticed()
                talk.begin()
                talk.relayed(relay)
                asked = talk.hear(REQUEST)
                self.assertEqual(asked.data, name.encode())
                talk.answer(asked, b"21.5")
                self.assertEqual(talk.closed().code, 0)
                self.assertEqual(rust.line(), "21.5")
                self.assertEqual(rust.end()[0], 0)

    def test_rust_says_what_it_has_received(self) -> None:
        _, talk = self.listener()
        talk.open()
        for n in range(130):
            talk.post(TOLD, str(n).encode())
        # Due at each multiple of 64, inner section 9.3; it may have taken more until it says so.
        while talk.told.next < 128:
            talk.wait_for_anything()
        self.assertEqual(talk.told.missed, 0)
        self.assertEqual(talk.close(), SessionClosed(4, 0))

    # Handshakes within a conversation, which is how inner sessions change their keys.

    def test_a_new_handshake_loses_nothing(self) -> None:
        rust, talk = self.listener()
        first = talk.open()
        talk.post(TOLD, b"one")
        self.assertEqual(rust.line(), "[end to end] python: one")
        # A stream that goes on in the next session.
        n, begin = talk.outgoing.begin(TOLD, BIG)
        talk.transmit(begin)
        talk.feed(n)
        second = talk.renew()
        self.assertEqual((second.pattern, second.follows, second.continues), ("KK", True, True))
        self.assertNotEqual(first.id, second.id)
        talk.finish(n)
        self.assertEqual(rust.line(), f"[end to end] python: {BIG.decode()}")
        self.assertEqual(talk.ask(ASKED, b"how warm?"), b"how warm?")
        self.assertEqual(talk.close(), SessionClosed(4, 0))
        self.assertFalse([event for event in talk.backlog if isinstance(event, Lost | Undelivered | Reset)])

    def test_a_gap_makes_rust_begin_a_new_handshake(self) -> None:
        rust, talk = self.listener()
        talk.open()
        talk.post(TOLD, b"one")
        talk.lose(2)
        talk.post(TOLD, b"four")
        for word in ("one", "four"):
            self.assertEqual(rust.line(), f"[end to end] python: {word}")
        opened = talk.opened()
        self.assertEqual((opened.pattern, opened.follows, opened.continues), ("KK", True, False))
        talk.wait(lambda event: event == Undelivered(2))
        self.assertEqual(talk.ask(ASKED, b"how warm?"), b"how warm?")
        # The counts have gone on.
        self.assertEqual((talk.sent, talk.missed), (5, 0))

    def test_after_a_restart_of_rust_nothing_is_taken_for_known(self) -> None:
        rust, talk = self.listener()
        talk.open()
        talk.post(TOLD, b"one")
        self.assertEqual(rust.line(), "[end to end] python: one")
        rust.kill()
        # The server says that it has left.
        while talk.present and not talk.present.broken:
            talk.wait_for_anything()
        again = self.rust("listen")
        again.says("is listening")
        talk.post(TOLD, b"two")
        self.assertEqual(again.line(), "[end to end] python: two")
        self.assertEqual((self.mended(talk).follows, talk.sent), (False, 1))
        talk.wait(lambda event: event == Unknown(1))

    def test_a_conversation_outlives_its_connection(self) -> None:
        rust, talk = self.listener()
        talk.open()
        talk.post(TOLD, b"one")
        self.assertEqual(rust.line(), "[end to end] python: one")
        self.python.drop()
        talk.move(self.client(identity=self.identity))
        talk.post(TOLD, b"two")
        self.assertEqual(rust.line(), "[end to end] python: two")
        self.assertTrue(self.mended(talk).follows)
        self.assertEqual(talk.close(), SessionClosed(4, 0))
