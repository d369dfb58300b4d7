"""An adapter run over questions: whatever it does, each gets a reply, and the run ends."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Final

from kitref import errors
from kitref.conformance.contract import LINE_LIMIT, Reply, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kitref.conformance.contract import Question

SECONDS: Final = 10.0
"""How long an adapter may take for its next line."""

_IN_PROCESS: Final = ("-m", "kitref.conformance.inprocess")
_RESTARTS: Final = 25  # of an adapter that dies or hangs; then the rest is missing
_ERRORS_KEPT: Final = 2000  # characters of its standard error
_GRACE: Final = 2.0  # seconds to end by itself


def in_process(name: str) -> list[str]:
    """Return the command that runs a Python function as an adapter.

    Args:
        name: ``module:function``; the function takes a text and `with_tag`, and returns a mapping
            of parts, a text (what is asked for), or raises.
    """
    return [sys.executable, *_IN_PROCESS, name]


def function_of(command: Sequence[str]) -> str:
    """Return the function that a command runs; empty where it is no such command."""
    return command[-1] if tuple(command[1:-1]) == _IN_PROCESS else ""


def run(
    command: Sequence[str],
    questions: Sequence[Question],
    *,
    seconds: float = SECONDS,
    report: Callable[[int, int], None] = lambda _done, _of: None,
) -> list[Reply]:
    """Run an adapter over questions.

    One that dies, hangs or floods loses the question that it was at, and is started again with the
    next, a bounded number of times.

    Args:
        command: The adapter.
        questions: What to ask.
        seconds: How long it may take for its next line.
        report: Called with how many questions are answered, and of how many.

    Returns:
        A reply a question, in order.

    Raises:
        UsageError: The adapter cannot be started.
    """
    replies: list[Reply] = []
    starts = 0
    while len(replies) < len(questions):
        if starts > _RESTARTS:
            last = Reply(trouble="missing", detail=f"not asked: it failed {starts} times before")
            replies += [last] * (len(questions) - len(replies))
            break
        starts += 1
        with contextlib.closing(_Run(command, questions[len(replies) :], seconds)) as running:
            for reply in running:
                replies.append(reply)
                report(len(replies), len(questions))
    return replies


class _Run:
    """One start of an adapter, up to its end or its first trouble but a malformed line."""

    def __init__(
        self, command: Sequence[str], questions: Sequence[Question], seconds: float
    ) -> None:
        self.questions = questions
        self.seconds = seconds
        self.lines: queue.Queue[bytes | None] = queue.Queue(maxsize=64)
        self.errors = b""
        self.ended = False
        try:
            # A session of its own, so that its children end with it.
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise errors.UsageError(
                f"{command[0]} cannot be started ({error})", remedy="check the command after --"
            ) from error
        self.threads = [
            threading.Thread(target=each, daemon=True)
            for each in (self._write, self._read, self._listen)
        ]
        for thread in self.threads:
            thread.start()

    def __iter__(self) -> Iterator[Reply]:
        """Yield a reply a question, up to the first trouble that ends the run."""
        for at, _ in enumerate(self.questions):
            try:
                line = self.lines.get(timeout=self.seconds)
            except queue.Empty:
                yield Reply(trouble="time-out", detail=f"no line within {self.seconds:g} s")
                return
            if line is None:
                yield self._death(at)
                return
            if len(line) > LINE_LIMIT:
                yield Reply(trouble="torrent", detail=f"a line of more than {LINE_LIMIT:,} bytes")
                return
            reply = read(line)
            if at == len(self.questions) - 1 and (extra := self._extra()):
                reply = Reply(trouble="torrent", detail=extra)
            yield reply

    def close(self) -> None:
        """End the adapter and all that it started."""
        self.ended = True
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self.process.poll() is None and not self.lines.qsize():
                self.process.wait(0.05)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        while self.threads[1].is_alive():  # it may wait for room
            with contextlib.suppress(queue.Empty):
                self.lines.get_nowait()
            self.threads[1].join(0.01)
        for thread in self.threads:
            thread.join(_GRACE)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()

    def _death(self, at: int) -> Reply:
        """Return what the end of its output means for the question that it was at."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_GRACE)
        self.threads[2].join(_GRACE)
        code = self.process.poll()
        said = self.errors.decode(errors="replace").strip()[-_ERRORS_KEPT:]
        if code in (0, None):
            left = len(self.questions) - at
            return Reply(
                trouble="missing", detail=f"its output ended with {left} lines to come. {said}"
            )
        how = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
        return Reply(trouble="crash", detail=f"{how}. {said}".strip())

    def _extra(self) -> str:
        """Return what is wrong where more comes than was asked for."""
        try:
            line = self.lines.get(timeout=min(self.seconds, _GRACE))
        except queue.Empty:
            return ""  # it stays; that is its own affair
        return "" if line is None else f"more lines than questions: {line[:80]!r}"

    def _write(self) -> None:
        pipe = self.process.stdin
        assert pipe is not None  # noqa: S101 - it was asked for
        with contextlib.suppress(OSError, ValueError):
            for question in self.questions:
                pipe.write(question.line)
                pipe.flush()
            pipe.close()

    def _read(self) -> None:
        pipe = self.process.stdout
        assert pipe is not None  # noqa: S101 - it was asked for
        with contextlib.suppress(OSError, ValueError):
            while not self.ended and (line := pipe.readline(LINE_LIMIT + 2)):
                self.lines.put(line.rstrip(b"\r\n") if line.endswith(b"\n") else line)
                if len(line) > LINE_LIMIT:
                    break
        if not self.ended:
            self.lines.put(None)

    def _listen(self) -> None:
        pipe = self.process.stderr
        assert pipe is not None  # noqa: S101 - it was asked for
        with contextlib.suppress(OSError, ValueError):
            while chunk := pipe.read1(1 << 16):  # type: ignore[attr-defined]
                self.errors = (self.errors + chunk)[-_ERRORS_KEPT * 4 :]
