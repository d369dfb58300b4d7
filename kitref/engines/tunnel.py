"""An engine behind ``ssh://``, by the user's own ssh command, as the docker command reaches it.

A unix socket stands for the engine. For each connection to it one ssh has the other side's docker
command dial the engine, so keys, known hosts and proxies are what ssh's configuration says. Each
connection is a login there: worth keeping.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import threading
from urllib.parse import unquote

from kitref import errors
from kitref.engines import places

_URL = re.compile(
    r"ssh://(?:(?P<user>[^:/?#]*)@)?(?:\[(?P<ip>[^][]+)]|(?P<host>[^][:/?#@]+))"
    r"(?::(?P<port>[0-9]*))?(?P<path>/[^?#]*)?"
)
_CONNECT_SECONDS = 20  # less than a client waits, so that what ssh says of it is there by then
_END_SECONDS = 3  # what the docker command gives ssh to end


def command(url: str) -> list[str]:
    """Return the ssh command that dials the engine at a URL on its standard input and output.

    Args:
        url: ``ssh://[USER@]HOST[:PORT][/SOCKET]``, percent-encoded.

    Raises:
        EngineAddressError: It is no such address.
    """
    parts = _URL.fullmatch(url)
    if parts is None or not unquote(url).isprintable():
        raise errors.EngineAddressError(
            # Not the part that may be a password.
            f"{re.sub('//.*@', '//...@', url)!r} is no engine's address behind ssh",
            remedy="write ssh://[USER@]HOST[:PORT][/SOCKET]: no password, no query, no fragment",
        )
    user, ip, host, port, path = map(unquote, parts.groups(""))
    there = [f"--host=unix://{path}"] if path.strip("/") else []
    return [
        *("ssh", *(("-l", user) if user else ()), *(("-p", port) if port else ())),
        *f"-o BatchMode=yes -o ConnectTimeout={_CONNECT_SECONDS} -T --".split(),
        ip or host,
        shlex.join(["docker", *there, "system", "dial-stdio"]),  # a shell reads it there
    ]


class Tunnel:
    """The way to one engine behind ssh.

    Args:
        url: As `command` has it. It stays the engine's address, for leases and other processes.

    Attributes:
        url: ``unix://`` and the socket that stands for the engine, in this process alone.

    Raises:
        EngineAddressError: As `command` says.
        EngineUnavailable: There is no ssh. Whether it gets through shows on the first connection.
    """

    def __init__(self, url: str) -> None:
        self._command = command(url)
        if shutil.which("ssh") is None:
            raise errors.EngineUnavailable(
                f"{url} is reached by a command that is not there (ssh)",
                remedy="install OpenSSH's client",
            )
        self._running: list[subprocess.Popen[bytes]] = []
        with contextlib.ExitStack() as undo:
            lease = places.Lease.take({"kind": "private"})
            undo.callback(lease.end)
            folder = places.temporary()
            undo.callback(places.discard, folder)
            lease.write(lease.content | {"folder": str(folder)})
            self._log = folder / "said"
            log = undo.enter_context(self._log.open("ab", buffering=0))
            listener = undo.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(f"{folder}/engine.sock")
            listener.listen()
            self.url = f"unix://{folder}/engine.sock"
            thread = threading.Thread(
                target=self._serve, args=(listener, log.fileno()), daemon=True
            )
            thread.start()
            undo.callback(self._end)
            undo.callback(thread.join)
            undo.callback(listener.shutdown, socket.SHUT_RDWR)  # which wakes the thread
            self._undo = undo.pop_all()

    @property
    def said(self) -> str:
        """What ssh and the other side said last, in printable ASCII; nothing once it is closed."""
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        lines = dict.fromkeys(line.strip() for line in text.splitlines() if line.strip())
        return errors.printable(" / ".join([*lines][-3:]))  # connections that fail say the same

    def close(self) -> None:
        """End every connection and leave nothing; a second time does nothing."""
        self._undo.close()

    def _serve(self, listener: socket.socket, log: int) -> None:
        """Start an ssh for each connection, until the listener is shut down."""
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self._running = [process for process in self._running if process.poll() is None]
            with connection:
                try:
                    process = subprocess.Popen(
                        self._command,
                        stdin=connection.fileno(),
                        stdout=connection.fileno(),
                        stderr=log,
                        start_new_session=True,  # after Ctrl-C the kit still has to clean up there
                    )
                except OSError as error:
                    os.write(log, f"ssh cannot be run ({error.strerror})\n".encode())
                else:
                    self._running.append(process)

    def _end(self) -> None:
        """End every ssh with what it started: a proxy, or the ssh of a script of that name."""
        for number, seconds in ((signal.SIGTERM, _END_SECONDS), (signal.SIGKILL, None)):
            running = [process for process in self._running if process.poll() is None]
            for process in running:
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                for process in running:
                    process.wait(seconds)
