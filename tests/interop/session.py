"""What a conversation keeps and reports: PROTOCOL-INNER.md, sections 6 to 9 and 13."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from noise import Handshake, Key, NoiseError
from units import NO_SESSION_ID, Hello

# Events beside messages and Failed.


@dataclass(frozen=True)
class SessionOpened:
    id: bytes
    pattern: str
    follows: bool
    continues: bool


@dataclass(frozen=True)
class SessionClosed:
    """Without a code it ended without the other side's Close: `why` says how."""

    code: int | None
    unknown: int
    why: str = ""


@dataclass(frozen=True)
class AttemptFailed:
    """With the notice that said so, if there was one."""

    why: str
    step: int | None = None
    code: int | None = None


class AttemptRefused(NoiseError):
    """No session came of it."""

    def __init__(self, event: AttemptFailed) -> None:
        super().__init__(f"the attempt has failed: {event}")
        self.event = event


@dataclass(frozen=True)
class Lost:
    messages: int


@dataclass(frozen=True)
class Undelivered:
    messages: int


@dataclass(frozen=True)
class Unknown:
    messages: int


@dataclass(frozen=True)
class Reset:
    """All streams are over."""


@dataclass
class Attempt:
    """A handshake under way, section 6."""

    noise: Handshake
    pattern: str
    initiator: bool
    name: bytes
    mine: Hello
    theirs: Hello | None = None
    first: bytes = b""
    began: float = field(default_factory=time.monotonic)
    copies: int = 0


@dataclass
class Session:
    """Sections 7 and 8."""

    id: bytes
    pattern: str
    mine: Hello
    theirs: Hello
    send_key: Key
    receive_key: Key
    initiator: bool
    opening: bool = False
    broken: bool = False
    closing: bool = False
    sent: int = 0
    next: int = 0
    made: float = field(default_factory=time.monotonic)

    @property
    def follows(self) -> bool:
        """Section 9.4."""
        return self.mine.previous == self.theirs.previous != NO_SESSION_ID

    @property
    def continues(self) -> bool:
        """Section 9.5."""
        return self.follows and self.mine.may_go_on and self.theirs.may_go_on
