"""What the tests against the real server have in common."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path
from typing import Any

import keys
from client import Client
from noise import KeyPair
from program import Program, run, serve


def trust(_: bytes) -> bool:
    """First contact."""
    return True


class Served(unittest.TestCase):
    """Each test has a server of its own, which echoes requests on the channel `test`."""

    yaml = ""
    quiet = False

    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        # Empty parts would do, too: the program then makes its key beside the file.
        config = self.folder / "server.yaml"
        config.write_text(self.yaml)
        config.chmod(0o600)
        server, self.address = serve(self.folder, "--channel", "test", "--echo", quiet=self.quiet)
        self.server = self.enterContext(server)
        self.at = f"{self.address[0]}:{self.address[1]}"
        self.key = keys.from_text(keys.PUBLIC, run(self.folder, "pubkey", "server.yaml"))

    def client(self, name: str = "python", identity: KeyPair | None = None, **setup: Any) -> Client:
        if "pin" not in setup:
            setup.setdefault("trust", trust)
        client = Client(self.address, identity or KeyPair.fresh(), name, **setup)
        self.addCleanup(client.drop)
        return client

    def arguments(self, command: str, *rest: str, name: str = "rust") -> list[str]:
        return [command, *rest, "--server", self.at, "--name", name, "--config", f"{name}.yaml"]

    def rust(self, command: str, *rest: str, name: str = "rust") -> Program:
        return self.enterContext(Program(self.folder, *self.arguments(command, *rest, name=name)))
