"""The `pysock` program as a process: its lines as they come, and its end."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0


def path() -> Path:
    """Of the program that cargo has built, or the one that PYSOCK names."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    program = Path(os.environ.get("PYSOCK", target / "debug" / "pysock"))
    if not program.exists():
        raise FileNotFoundError(f"{program} is missing: cargo build --package pysock-std --bin pysock")
    return program.resolve()


class Program:
    """A running process. As a context it is killed at the end, if it has not ended by then."""

    def __init__(self, folder: Path, *arguments: str, quiet: bool = False) -> None:
        """With `quiet` what it prints goes nowhere; what it says about itself is still heard."""
        environment = {name: value for name, value in os.environ.items() if name != "PYSOCK_CONFIG"}
        self._child = subprocess.Popen(
            [path(), *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL if quiet else subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._threads: list[threading.Thread] = []
        self._out = self._lines(self._child.stdout) if self._child.stdout else None
        assert self._child.stderr
        self._err = self._lines(self._child.stderr)

    def __enter__(self) -> Program:
        return self

    def kill(self) -> None:
        self._child.kill()
        self._child.wait()

    def __exit__(self, *_: object) -> None:
        self.kill()
        # They end with the process, and before that nothing of theirs is closed.
        for thread in self._threads:
            thread.join(PATIENCE)
        for stream in (self._child.stdin, self._child.stdout, self._child.stderr):
            if stream:
                stream.close()

    def _background(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _lines(self, stream: IO[bytes]) -> queue.Queue[str | None]:
        lines: queue.Queue[str | None] = queue.Queue()

        def read() -> None:
            for line in stream:
                lines.put(line.decode().rstrip("\n"))
            lines.put(None)

        self._background(read)
        return lines

    def line(self) -> str:
        """The next line of its output."""
        assert self._out is not None
        line = _next(self._out, time.monotonic() + PATIENCE)
        if line is None:
            raise EOFError("its output has ended")
        return line

    def says(self, text: str) -> str:
        """The first line with `text` on its standard error."""
        until, seen = time.monotonic() + PATIENCE, []
        while (line := _next(self._err, until)) is not None:
            if text in line:
                return line
            seen.append(line)
        raise EOFError(f"no {text!r} in {seen}")

    def type(self, text: str) -> None:
        assert self._child.stdin
        self._child.stdin.write(text.encode())
        self._child.stdin.flush()

    def feed(self, data: bytes) -> None:
        """All of its input; it may take its time to read it."""

        def write() -> None:
            assert self._child.stdin
            with contextlib.suppress(BrokenPipeError):
                self._child.stdin.write(data)
                self._child.stdin.close()

        self._background(write)

    def close_input(self) -> None:
        assert self._child.stdin
        self._child.stdin.close()

    def end(self) -> tuple[int, str]:
        """Waits for its end: exit code, and what is left of its output and errors."""
        code = self._child.wait(PATIENCE)
        said, until = [], time.monotonic() + PATIENCE
        for lines in (self._out, self._err):
            while lines is not None and (line := _next(lines, until)) is not None:
                said.append(line)
        return code, "\n".join(said)


def run(folder: Path, *arguments: str) -> str:
    """Runs it to its end, which has to be a good one; its output."""
    done = subprocess.run(
        [path(), *arguments], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False
    )
    if done.returncode:
        raise RuntimeError(f"pysock {' '.join(arguments)}: {done.returncode}: {done.stderr.decode()}")
    return done.stdout.decode().strip()


def serve(folder: Path, *arguments: str, quiet: bool = False) -> tuple[Program, tuple[str, int]]:
    """A server on a port of the system's choice, and where it is."""
    server = Program(folder, "serve", "--listen", "127.0.0.1:0", *arguments, quiet=quiet)
    try:
        found = re.search(r"127\.0\.0\.1:(\d+)", server.says("listening on"))
    except BaseException:
        server.__exit__()
        raise
    assert found
    return server, ("127.0.0.1", int(found[1]))


def _next(lines: queue.Queue[str | None], until: float) -> str | None:
    try:
        line = lines.get(timeout=max(0.0, until - time.monotonic()))
    except queue.Empty:
        raise TimeoutError("it says nothing") from None
    if line is None:
        # The end stays the end for whoever asks again.
        lines.put(None)
    return line
