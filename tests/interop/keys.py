"""Keys as people see them: PROTOCOL.md, sections 3.2 and 3.3."""

from __future__ import annotations

from noise import hash_of, is_canonical

# BIP-173 and BIP-350.
_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32M = 0x2BC830A3

PUBLIC, SECRET, PSK = "pysock", "pysock-secret-key-", "pysock-psk-"
_SIZES = {PUBLIC: 32, SECRET: 32, PSK: 40}


def _polymod(values: list[int]) -> int:
    state = 1
    for value in values:
        top = state >> 25
        state = (state & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                state ^= generator
    return state


def _expand(part: str) -> list[int]:
    return [ord(c) >> 5 for c in part] + [0] + [ord(c) & 31 for c in part]


def to_text(part: str, data: bytes) -> str:
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    values = [int(bits[at : at + 5], 2) for at in range(0, len(bits), 5)]
    check = _polymod(_expand(part) + values + [0] * 6) ^ _BECH32M
    values += [check >> 5 * (5 - i) & 31 for i in range(6)]
    text = part + "1" + "".join(_ALPHABET[value] for value in values)
    # Public keys are written in lower case, what is secret in upper case.
    return text if part == PUBLIC else text.upper()


def from_text(part: str, text: str) -> bytes:
    if text not in (text.lower(), text.upper()):
        raise ValueError("a key is all upper or all lower case")
    found, _, data = text.lower().rpartition("1")
    if found != part or any(c not in _ALPHABET for c in data):
        raise ValueError(f"this does not begin with {part}1, or is no key at all")
    values = [_ALPHABET.index(c) for c in data]
    if _polymod(_expand(part) + values) != _BECH32M:
        raise ValueError("the checksum is wrong")
    bits = "".join(f"{value:05b}" for value in values[:-6])
    size = _SIZES[part]
    # Fewer than five bits of padding, all of them zero.
    if not 0 <= len(bits) - 8 * size < 5 or "1" in bits[8 * size :]:
        raise ValueError("the key has another length, or padding that is not zero")
    key = bytes(int(bits[at : at + 8], 2) for at in range(0, 8 * size, 8))
    if part == PUBLIC and not is_canonical(key):
        raise ValueError("the public key is not canonical")
    return key


def fingerprint(public: bytes) -> str:
    digits = hash_of(b"pysock/1 fingerprint" + public)[:16].hex()
    return "-".join(digits[at : at + 4] for at in range(0, 32, 4))
