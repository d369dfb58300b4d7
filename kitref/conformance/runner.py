"""An adapter run over questions: whatever it does, each gets a reply, and the run ends."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

from kitref import errors
from kitref.conformance.contract import LINE_LIMIT, Reply, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kitref.conformance.contract import Question

SECONDS: Final = 10.0
"""How long an adapter may take for its next line."""

_IN_PROCESS: Final = ("-m", "kitref.conformance.inprocess")
_STARTS: Final = 26  # that all fail; then the rest is missing
_RUN_SECONDS: Final = 3600.0  # for all questions together
_ERRORS_KEPT: Final = 2000  # characters of its standard error
_GRACE: Final = 2.0  # seconds to end by itself
_FLOOD: Final = Reply(trouble="torrent", detail="more than two lines a question")


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
    at_most: float = _RUN_SECONDS,
    report: Callable[[int, int], None] = lambda _done, _of: None,
) -> list[Reply]:
    """Run an adapter over questions.

    One that dies, hangs or floods loses the question that it was at, and is started again with the
    next. It is given up where no start has brought an answer yet, where it hung or flooded as many
    times, or after an hour.

    Args:
        command: The adapter.
        questions: What to ask.
        seconds: How long it may take for its next line.
        at_most: How long all of it may take.
        report: Called with how many questions are answered, and of how many.

    Returns:
        A reply a question, in order.

    Raises:
        UsageError: The adapter cannot be started.
    """
    replies: list[Reply] = []
    idle = slow = 0  # starts
    end = time.monotonic() + at_most
    while left := questions[len(replies) :]:
        if time.monotonic() > end:
            why = f"not asked: the run took longer than {at_most:g} s; ask less of it by --family"
        elif max(idle, slow) >= _STARTS:
            why = f"not asked: it failed {_STARTS} times before"
        else:
            with contextlib.closing(_Run(command, left, seconds)) as running:
                for answered in running.answer(end):
                    report(len(replies) + answered, len(questions))
            replies += running.replies
            # Who has answered and dies at a text shows which; who has not is broken altogether.
            idle += all(reply.trouble for reply in replies)
            slow += any(reply.trouble in {"time-out", "torrent"} for reply in replies[-1:])
            continue
        replies += [Reply(trouble="missing", detail=why)] * len(left)
    return replies


class _Run:
    """One start of an adapter, up to its end or its first trouble but a malformed line."""

    def __init__(
        self, command: Sequence[str], questions: Sequence[Question], seconds: float
    ) -> None:
        self.questions = questions
        self.places = {question.id: at for at, question in enumerate(questions)}
        self.replies: list[Reply] = []
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

    def answer(self, end: float) -> Iterator[int]:
        """Fill `replies`, up to the first trouble that ends the run, or to a time.

        Yields:
            How many questions have a reply.
        """
        for thread in self.threads:  # not before: what ends the run here ends the adapter too
            thread.start()
        lines = 0
        while len(self.replies) < len(self.questions):
            if time.monotonic() > end:
                return
            # Lines out of turn answer nothing, so that there could be no end of them.
            said = self._next() if lines < 2 * len(self.questions) else _FLOOD
            if isinstance(said, Reply):
                self.replies.append(said)
                yield len(self.replies)
                return
            self._take(said)
            lines += 1
            yield len(self.replies)
        with contextlib.suppress(queue.Empty):  # it stays; that is its own affair
            if (more := self.lines.get(timeout=min(self.seconds, _GRACE))) is not None:
                self._take(more)

    def close(self) -> None:
        """End the adapter and all that it started."""
        self.ended = True
        with contextlib.suppress(subprocess.TimeoutExpired):
            if self.process.poll() is None and not self.lines.qsize():
                self.process.wait(0.05)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        end = time.monotonic() + _GRACE
        # The reader may wait for room. Or, as the others, for a child that left the session and
        # holds the pipe open: then it is left behind; each thread closes its own pipe at its end.
        while self.threads[1].is_alive() and time.monotonic() < end:
            with contextlib.suppress(queue.Empty):
                self.lines.get_nowait()
            self.threads[1].join(0.01)
        for thread in filter(threading.Thread.is_alive, self.threads):
            thread.join(max(0, end - time.monotonic()))

    def _next(self) -> bytes | Reply:
        """Return its next line, or why there is none."""
        try:
            line = self.lines.get(timeout=self.seconds)
        except queue.Empty:
            return Reply(trouble="time-out", detail=f"no line within {self.seconds:g} s")
        if line is None:
            return self._death()
        if len(line) > LINE_LIMIT:
            return Reply(trouble="torrent", detail=f"a line of more than {LINE_LIMIT:,} bytes")
        return line

    def _take(self, line: bytes) -> None:
        """Give a line to the question that it names; without a name, to the next in order."""
        reply = read(line)
        at = len(self.replies)
        place = self.places.get(reply.id) if isinstance(reply.id, str) else None
        if place is None:
            place = at
            if reply.id is not None:
                detail = f"its id is that of no question: {reply.id!r}"[:200]
                reply = Reply(trouble="malformed", detail=detail)
        if place < at:
            if self.replies[place].trouble != "malformed":  # the line before this one says more
                detail = f"a line for it again, or out of its turn: {line[:80]!r}"
                self.replies[place] = Reply(trouble="malformed", detail=detail)
        elif place == len(self.questions):
            detail = f"more lines than questions: {line[:80]!r}"
            self.replies[-1] = Reply(trouble="torrent", detail=detail)
        else:
            skipped = Reply(trouble="missing", detail=f"its line is that of {reply.id}")
            self.replies += [skipped] * (place - at)
            self.replies.append(reply)

    def _death(self) -> Reply:
        """Return what the end of its output means for the question that it was at."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(_GRACE)
        self.threads[2].join(_GRACE)
        code = self.process.poll()
        said = self.errors.decode(errors="replace").strip()[-_ERRORS_KEPT:]
        if code in (0, None):
            left = len(self.questions) - len(self.replies)
            return Reply(
                trouble="missing", detail=f"its output ended with {left} lines to come. {said}"
            )
        how = signal.Signals(-code).name if code and code < 0 else f"exit code {code}"
        return Reply(trouble="crash", detail=f"{how}. {said}".strip())

    def _write(self) -> None:
        pipe = self.process.stdin
        assert pipe is not None  # noqa: S101 - it was asked for
        with contextlib.suppress(OSError, ValueError), pipe:
            for question in self.questions:
                pipe.write(question.line)
                pipe.flush()

    def _read(self) -> None:
        pipe = self.process.stdout
        assert pipe is not None  # noqa: S101 - it was asked for
        with contextlib.suppress(OSError, ValueError), pipe:
            while not self.ended and (line := pipe.readline(LINE_LIMIT + 2)):
                self.lines.put(line.rstrip(b"\r\n") if line.endswith(b"\n") else line)
                if len(line) > LINE_LIMIT:
                    break
        if not self.ended:
            self.lines.put(None)

    def _listen(self) -> None:
        pipe = self.process.stderr
        assert pipe is not None  # noqa: S101 - it was asked for
        with contextlib.suppress(OSError, ValueError), pipe:
            while chunk := pipe.read1(1 << 16):  # type: ignore[attr-defined]
                self.errors = (self.errors + chunk)[-_ERRORS_KEPT * 4 :]
