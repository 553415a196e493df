"""Noise as PROTOCOL.md, section 6, restates it, with the pattern KK and the token ss of PROTOCOL-INNER.md, section 4.

Nothing here knows what is sent over it: the outer and the inner protocol bring names, prologues and payloads.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass, field
from typing import Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

TAG = 16
KEY = 32


class NoiseError(Exception):
    """Something does not verify, or a key is forbidden. Always fatal to the handshake."""


@dataclass(frozen=True)
class Suite:
    """Section 5 gives the number, 6.1 the cipher and the byte order of its nonce, 6.2 the name."""

    number: int
    cipher_name: str
    nonce_order: Literal["little", "big"]
    cipher: type[ChaCha20Poly1305] | type[AESGCM]


CHACHA_POLY = Suite(1, "ChaChaPoly", "little", ChaCha20Poly1305)
AES_GCM = Suite(2, "AESGCM", "big", AESGCM)
SUITES = {suite.number: suite for suite in (CHACHA_POLY, AES_GCM)}


class Key:
    """SEAL and OPEN with one key, section 6.1. The caller counts."""

    def __init__(self, suite: Suite, secret: bytes) -> None:
        self.suite = suite
        self.secret = secret
        self._cipher = suite.cipher(secret)

    def _nonce(self, n: int) -> bytes:
        return bytes(4) + n.to_bytes(8, self.suite.nonce_order)

    def seal(self, n: int, text: bytes, ad: bytes = b"") -> bytes:
        return self._cipher.encrypt(self._nonce(n), text, ad)

    def open(self, n: int, data: bytes, ad: bytes = b"") -> bytes:
        try:
            return self._cipher.decrypt(self._nonce(n), data, ad)
        except InvalidTag:
            raise NoiseError("it does not verify") from None

    def next(self) -> Key:
        """The key that replaces this one, section 9.3."""
        return Key(self.suite, self.seal(2**64 - 1, bytes(KEY))[:KEY])


@dataclass(frozen=True)
class KeyPair:
    """Section 3.1."""

    secret: bytes = field(repr=False)
    public: bytes

    @staticmethod
    def of(secret: bytes) -> KeyPair:
        public = X25519PrivateKey.from_private_bytes(secret).public_key()
        return KeyPair(secret, public.public_bytes(Encoding.Raw, PublicFormat.Raw))

    @staticmethod
    def fresh() -> KeyPair:
        return KeyPair.of(os.urandom(KEY))


def is_canonical(public: bytes) -> bool:
    """Section 3.1: bit 255 clear, and the value less than the prime."""
    return len(public) == KEY and int.from_bytes(public, "little") < 2**255 - 19


def dh(secret: bytes, public: bytes) -> bytes:
    try:
        return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        # The library's own answer to a result that is all zeros.
        raise NoiseError("the shared secret is all zeros") from None


def hash_of(data: bytes) -> bytes:
    return hashlib.blake2s(data).digest()


def hkdf(ck: bytes, material: bytes) -> tuple[bytes, bytes, bytes]:
    def mac(key: bytes, data: bytes) -> bytes:
        return hmac.new(key, data, hashlib.blake2s).digest()

    t = mac(ck, material)
    o1 = mac(t, b"\x01")
    o2 = mac(t, o1 + b"\x02")
    return o1, o2, mac(t, o2 + b"\x03")


# The tokens of each message, section 6.3 and inner section 4.2. Messages alternate, the initiator's comes first.
PATTERNS: dict[str, tuple[tuple[str, ...], ...]] = {
    "XX": (("e",), ("e", "ee", "s", "es"), ("s", "se")),
    "XK": (("e", "es"), ("e", "ee"), ("s", "se")),
    "KK": (("e", "es", "ss"), ("e", "ee", "se")),
}
# Whose static keys both know beforehand, in the order in which they are mixed in.
KNOWN = {"XX": "", "XK": "R", "KK": "IR"}


class Handshake:
    """One side of one handshake: the symmetric state of section 6.2 and the tokens of section 6.3."""

    def __init__(
        self,
        pattern: str,
        suite: Suite,
        prologue: bytes,
        *,
        initiator: bool,
        static: KeyPair,
        remote_static: bytes | None = None,
        psk: bytes | None = None,
        ephemeral: KeyPair | None = None,
    ) -> None:
        name = f"Noise_{pattern}{'psk0' if psk is not None else ''}_25519_{suite.cipher_name}_BLAKE2s".encode()
        self.h = name.ljust(32, b"\0") if len(name) <= 32 else hash_of(name)
        self.ck = self.h
        self._suite = suite
        self._key: Key | None = None
        self._n = 0
        self._initiator = initiator
        self._psk = psk
        self._messages = list(PATTERNS[pattern])
        if psk is not None:
            self._messages[0] = ("psk", *self._messages[0])
        self._step = 0
        self._s = static
        # Only the examples of the document bring an ephemeral key of their own.
        self._e = ephemeral or KeyPair.fresh()
        self.remote_static = remote_static
        self._remote_e = b""
        self._mix_hash(prologue)
        for side in KNOWN[pattern]:
            known = static.public if (side == "I") == initiator else remote_static
            if known is None or not is_canonical(known):
                raise NoiseError("the other side's key has to be known and canonical")
            self._mix_hash(known)

    @property
    def ephemeral(self) -> bytes:
        return self._e.public

    @property
    def complete(self) -> bool:
        return self._step == len(self._messages)

    def write(self, payload: bytes = b"") -> bytes:
        """The next message, which has to be this side's."""
        message = b""
        for token in self._tokens(mine=True):
            if token == "e":
                message += self._e.public
                self._take_ephemeral(self._e.public)
            elif token == "s":
                message += self._encrypt(self._s.public)
            else:
                self._mix_token(token)
        return message + self._encrypt(payload)

    def read(self, message: bytes) -> bytes:
        """The payload of the other side's message. After an error this handshake is over."""
        for token in self._tokens(mine=False):
            if token == "e":
                self._remote_e, message = _split(message, KEY)
                self._take_ephemeral(self._remote_e)
            elif token == "s":
                sealed, message = _split(message, KEY + TAG)
                self.remote_static = self._decrypt(sealed)
                if not is_canonical(self.remote_static):
                    raise NoiseError("the other side's key is not canonical")
            else:
                self._mix_token(token)
        return self._decrypt(message)

    def split(self, suite: Suite | None = None) -> tuple[Key, Key]:
        """The key of the initiator's records and that of the responder's, end of section 6.3; perhaps for another suite."""
        if not self.complete:
            raise NoiseError("the handshake is not complete")
        k_initiator, k_responder, _ = hkdf(self.ck, b"")
        suite = suite or self._suite
        return Key(suite, k_initiator), Key(suite, k_responder)

    def _tokens(self, *, mine: bool) -> tuple[str, ...]:
        if self.complete or mine != (self._initiator == (self._step % 2 == 0)):
            raise NoiseError("it is the other side's turn")
        self._step += 1
        return self._messages[self._step - 1]

    def _take_ephemeral(self, public: bytes) -> None:
        self._mix_hash(public)
        if self._psk is not None:
            self._mix_key(public)

    def _mix_token(self, token: str) -> None:
        if token == "psk":
            assert self._psk is not None
            self.ck, t, secret = hkdf(self.ck, self._psk)
            self._mix_hash(t)
            self._key, self._n = Key(self._suite, secret), 0
            return
        # The first letter is the initiator's key, the second the responder's.
        initiators, responders = token[0], token[1]
        mine, theirs = (initiators, responders) if self._initiator else (responders, initiators)
        secret = self._e.secret if mine == "e" else self._s.secret
        public = self._remote_e if theirs == "e" else self.remote_static
        assert public is not None
        self._mix_key(dh(secret, public))

    def _mix_hash(self, data: bytes) -> None:
        self.h = hash_of(self.h + data)

    def _mix_key(self, material: bytes) -> None:
        self.ck, secret, _ = hkdf(self.ck, material)
        self._key, self._n = Key(self._suite, secret), 0

    def _encrypt(self, text: bytes) -> bytes:
        sealed = text
        if self._key is not None:
            sealed = self._key.seal(self._n, text, self.h)
            self._n += 1
        self._mix_hash(sealed)
        return sealed

    def _decrypt(self, sealed: bytes) -> bytes:
        text = sealed
        if self._key is not None:
            text = self._key.open(self._n, sealed, self.h)
            self._n += 1
        self._mix_hash(sealed)
        return text


def _split(message: bytes, size: int) -> tuple[bytes, bytes]:
    if len(message) < size:
        raise NoiseError("the message is too short")
    return message[:size], message[size:]
