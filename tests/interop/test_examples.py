"""The worked examples of both documents, to the byte: PROTOCOL.md, section 22, and PROTOCOL-INNER.md, section 20.

They are read out of the documents, so there is no second copy of them here.
"""

from __future__ import annotations

import re
import unittest
from collections.abc import Iterator
from dataclasses import dataclass, field

import keys
import units
from frames import decode, encode
from noise import SUITES, Handshake, Key, KeyPair
from program import ROOT
from wire import Limits, Opener, Sealer

FIELD = re.compile(r"(\S.*\S) +(\S+)")
PARTS = re.compile(r"\s+(frame|wire|text) +([0-9a-f ]+)")
HEX = re.compile(r"\s+[0-9a-f ]+")


@dataclass
class Item:
    """A line of an example and the hexadecimal that is indented below it, in order: what it is, and the bytes."""

    title: str
    parts: list[tuple[str, bytes]] = field(default_factory=list)

    def all(self, kind: str) -> bytes:
        return b"".join(data for name, data in self.parts if name == kind)


def items(document: str) -> Iterator[Item]:
    text = (ROOT / "docs" / document).read_text()
    begin, end = (re.search(rf"<!-- worked examples: {word}.*-->", text) for word in ("begin", "end"))
    assert begin and end
    item = Item("")
    for line in text[begin.end() : end.start()].splitlines():
        if part := PARTS.fullmatch(line):
            item.parts.append((part[1], bytes.fromhex(part[2])))
        elif HEX.fullmatch(line):
            name, data = item.parts.pop() if item.parts else ("wire", b"")
            item.parts.append((name, data + bytes.fromhex(line)))
        elif secret := re.fullmatch(r"\s+(secret|public) +(\w+)", line):
            # Below "initiator ephemeral" and "responder ephemeral".
            item.parts.append((secret[1], bytes.fromhex(secret[2])))
        elif line and not line.startswith(("  ", "```")):
            yield item
            item = Item(line)
    yield item


def sides(title: str) -> tuple[str, str]:
    """Sender and receiver."""
    found = re.match(r"(?:key |label )?(\w+) → (\w+)", title)
    assert found, title
    return found[1], found[2]


class Example(unittest.TestCase):
    """What both documents have in common: two sides of a handshake, and what is said of them."""

    noise: dict[str, Handshake]
    keys: dict[str, Key]

    def state(self, item: Item) -> bool:
        """True for a line that says what h or ck are, of both sides; it has been compared then."""
        found = re.fullmatch(r"(h|ck) +(?:before|after) message \d +(\w+)", item.title)
        if found:
            for side, noise in self.noise.items():
                self.assertEqual(getattr(noise, found[1]).hex(), found[2], f"{item.title}: {side}")
        return bool(found)

    def split(self, initiator: str, responder: str) -> None:
        self.assertTrue(all(noise.complete for noise in self.noise.values()))
        first, second = (noise.split() for noise in self.noise.values())
        self.assertEqual([key.secret for key in first], [key.secret for key in second])
        self.keys = dict(zip((initiator, responder), first, strict=True))


class OuterExamples(Example):
    def setUp(self) -> None:
        self.all = list(items("PROTOCOL.md"))
        self.inputs = {f[1]: f[2] for item in self.all if (f := FIELD.fullmatch(item.title))}

    def input(self, name: str) -> bytes:
        return bytes.fromhex(self.inputs[name])

    def pair(self, side: str, kind: str) -> KeyPair:
        pair = KeyPair.of(self.input(f"{side} {kind} secret"))
        self.assertEqual(pair.public, self.input(f"{side} {kind} public"))
        return pair

    def test_text_forms(self) -> None:
        for name in ("client", "server"):
            secret, public = self.input(f"{name} static secret"), self.input(f"{name} static public")
            for form, data, key in ((keys.SECRET, secret, "secret"), (keys.PUBLIC, public, "public")):
                text = self.inputs[f"{name} {key}"]
                self.assertEqual(keys.to_text(form, data), text)
                self.assertEqual(keys.from_text(form, text), data)
                self.assertEqual(keys.from_text(form, text.swapcase()), data)
                with self.assertRaises(ValueError):
                    keys.from_text(form, text[:-1] + ("q" if text[-1] not in "qQ" else "p"))
            self.assertEqual(keys.fingerprint(public), self.inputs[f"{name} fingerprint"])
        psk = self.input("psk hint") + self.input("psk")
        self.assertEqual(keys.to_text(keys.PSK, psk), self.inputs["psk with hint"])

    def begin(self, prelude: bytes) -> None:
        pattern, psk = {1: "XX", 2: "XK"}[prelude[6]], prelude[7] == 1
        server = self.pair("server", "static")
        self.noise = {}
        for side in ("client", "server"):
            self.noise[side] = Handshake(
                pattern,
                SUITES[prelude[5]],
                b"pysock/1 outer" + prelude,
                initiator=side == "client",
                static=self.pair(side, "static"),
                ephemeral=self.pair(side, "ephemeral"),
                remote_static=server.public if side == "client" and pattern == "XK" else None,
                psk=self.input("psk") if psk else None,
            )
        self.payload = b""

    def message(self, item: Item) -> None:
        sender, receiver = sides(item.title)
        written = self.noise[sender].write(self.payload)
        self.assertEqual(len(written).to_bytes(2, "big") + written, item.all("wire"), item.title)
        self.assertEqual(self.noise[receiver].read(written), self.payload)
        if self.payload:
            name = "alice" if sender == "client" else None
            self.assertEqual(Limits.decode(self.payload).encode(name), self.payload)

    def record(self, item: Item, sealers: dict[str, Sealer], openers: dict[str, Opener]) -> None:
        sender, _ = sides(item.title)
        text = item.all("frame")
        self.assertEqual(encode(*decode(text)), text, item.title)
        self.assertTrue(item.title.endswith(f" {sealers[sender].records}"), item.title)
        self.assertEqual(sealers[sender].seal(text), item.all("wire"), item.title)
        self.assertEqual(openers[sender].open(item.all("wire")[2:]), text, item.title)

    def test_connections(self) -> None:
        handshakes = records = 0
        for item in self.all:
            title = item.title
            if found := re.fullmatch(r"prelude +(\w+)", title):
                self.begin(bytes.fromhex(found[1]))
                handshakes += 1
            elif found := re.fullmatch(r"payload of message \d +(.+)", title):
                self.payload = bytes.fromhex(found[1])
            elif "length and message" in title:
                self.message(item)
            elif found := re.fullmatch(r"key (\w+) → \w+ +(\w+)", title):
                self.split("client", "server")
                self.assertEqual(self.keys[found[1]].secret.hex(), found[2])
                sealers = {side: Sealer(key) for side, key in self.keys.items()}
                openers = {side: Opener(key) for side, key in self.keys.items()}
            elif re.match(r"\w+ → \w+, record", title):
                self.record(item, sealers, openers)
                records += 1
            elif title.startswith("### Rekeying"):
                break
            else:
                self.state(item)
        self.assertGreaterEqual((handshakes, records), (6, 20))

    def test_rekeying(self) -> None:
        spoken = (re.fullmatch(r"key client → server +(\w+)", item.title) for item in self.all)
        key = next(filter(None, spoken))[1]
        records = [re.fullmatch(r"record (\d+) +(\w+)", item.title) for item in self.all]
        sealer, checked = Sealer(Key(SUITES[1], bytes.fromhex(key))), 0
        for found in filter(None, records):
            while sealer.records < int(found[1]):
                sealer.seal(b"")
            span = "0-65535" if sealer.records < 2**16 else "65536-"
            self.assertEqual(sealer.key.secret.hex(), self.inputs[f"k of records {span}"])
            self.assertEqual(sealer.seal(bytes.fromhex("1000020000")).hex(), found[2], found[0])
            checked += 1
        self.assertEqual(checked, 4)


class InnerExamples(Example):
    def setUp(self) -> None:
        self.all = list(items("PROTOCOL-INNER.md"))

    def begin(self, pattern: str, initiator: str) -> None:
        responder = {"alice": "bob", "bob": "alice"}[initiator]
        self.roles = (initiator, responder)
        self.noise = {
            side: units.handshake(
                pattern,
                initiator=side == initiator,
                static=self.statics[side],
                remote_static=self.statics[other].public,
                ephemeral=self.ephemerals["initiator" if side == initiator else "responder"],
            )
            for side, other in ((initiator, responder), (responder, initiator))
        }
        self.payload = b""

    def message(self, item: Item) -> None:
        sender, receiver = sides(item.title)
        unit = units.HandshakeUnit.decode(item.all("wire"))
        self.assertEqual(unit.attempt, self.noise[self.roles[0]].ephemeral[:4])
        self.assertEqual(self.noise[sender].write(self.payload), unit.message, item.title)
        self.assertEqual(unit.encode(), item.all("wire"))
        self.assertEqual(self.noise[receiver].read(unit.message), self.payload)
        if self.payload:
            hello = units.Hello.decode(self.payload)
            self.assertEqual(hello.encode(), self.payload)
            self.assertEqual((hello.name, hello.expected), (sender, receiver))
            self.labels[receiver] = hello.label

    def record(self, item: Item, label: int, counter: int) -> None:
        sender, _ = sides(item.title)
        self.assertEqual(label, self.labels[sender], item.title)
        head, body = item.all("text"), item.all("frame")
        self.assertEqual(encode(*decode(body, inner=True)), body, item.title)
        records = int.from_bytes(head[4:], "big")
        text = units.Text(int.from_bytes(head[:4], "big"), records, body)
        self.assertEqual(text.seal(self.keys[sender], label, counter), item.all("wire"), item.title)
        unit = units.RecordUnit.decode(item.all("wire"))
        self.assertEqual((unit.label, unit.counter, unit.open(self.keys[sender])), (label, counter, text))

    def test_sessions(self) -> None:
        self.statics: dict[str, KeyPair] = {}
        self.ephemerals: dict[str, KeyPair] = {}
        # The label that a side writes is in the hello of the other.
        self.labels: dict[str, int] = {}
        counted = {"sessions": 0, "records": 0, "notices": 0}
        pattern = initiator = ""
        for item in self.all:
            title = item.title
            if found := re.fullmatch(r"(\w+) static secret +(\w+)", title):
                self.statics[found[1]] = KeyPair.of(bytes.fromhex(found[2]))
            elif found := re.fullmatch(r"protocol name +Noise_(\w\w)_\w+", title):
                pattern = found[1]
            elif found := re.fullmatch(r"initiator {2,}(\w+)", title):
                initiator = found[1]
            elif found := re.fullmatch(r"(\w+) ephemeral", title):
                self.ephemerals[found[1]] = KeyPair.of(item.all("secret"))
                self.assertEqual(self.ephemerals[found[1]].public, item.all("public"))
                if found[1] == "responder":
                    self.begin(pattern, initiator)
            elif title.startswith("payload of message"):
                self.payload = item.all("wire")
            elif re.match(r"\w+ → \w+, message", title):
                self.message(item)
                self.payload = b""
            elif found := re.fullmatch(r"session id +(\w+)", title):
                self.split(*self.roles)
                self.assertEqual({noise.h[:8].hex() for noise in self.noise.values()}, {found[1]})
                counted["sessions"] += 1
            elif found := re.fullmatch(r"(key|label) (\w+) → \w+ +(\w+)", title):
                own = self.keys[found[2]].secret if found[1] == "key" else bytes([self.labels[found[2]]])
                self.assertEqual(own.hex(), found[3], title)
            elif found := re.search(r", label (\w\w), counter (\d+)", title):
                self.record(item, int(found[1], 16), int(found[2]))
                counted["records"] += 1
            elif re.fullmatch(r"\w+ → \w+ \(Relay 0x30\)", title):
                notice = units.HandshakeUnit.decode(item.all("wire"))
                self.assertEqual(notice.encode(), item.all("wire"))
                self.assertIn(notice.step, (units.NEED_XX, units.REFUSED, units.NO_SESSION))
                counted["notices"] += 1
            else:
                self.state(item)
        self.assertEqual(counted, {"sessions": 4, "records": 22, "notices": 3})


if __name__ == "__main__":
    unittest.main()
