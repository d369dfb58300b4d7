"""Requests to an engine by libcurl: over connections that stay open, many at a time.

Most engines answer in less time than Python takes to read the headers of their answer: libcurl
takes a quarter of what the Engine API's own client takes, which besides opens a connection for
each name that is asked for. `make bench` shows both.
"""

from __future__ import annotations

import io
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pycurl
import requests
from docker import utils

from kitref import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

    import docker

AT_ONCE: Final = 16
"""How many requests an engine is sent at a time: more it hardly serves any faster (`make bench`).
"""

_GLANCE: Final = 0.5  # seconds until Ctrl-C is looked for while an engine does not answer
_REST: Final = 0.001  # select(2) does not wait for a descriptor above 1023


class Response(NamedTuple):
    """What an engine sent: the status of HTTP, and the body."""

    status: int
    data: bytes


class NoAnswer(Exception):
    """An engine did not answer; says why."""


class Transport:
    """The way to one engine, for any number of threads.

    Args:
        client: The Engine API's client, connected: it knows the certificates and the proxies.
        url: The engine's address.
        seconds: How long to wait for an answer.
        most: How many requests may run at a time.
    """

    def __init__(
        self, client: docker.APIClient, url: str, seconds: float, most: int = AT_ONCE
    ) -> None:
        self._most = most
        scheme, _, path = str(utils.parse_host(url)).partition("://")
        self._options: dict[int, Any] = {
            pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
            pycurl.NOSIGNAL: True,  # a signal is no matter of a thread's
            pycurl.PATH_AS_IS: True,
            pycurl.TIMEOUT_MS: int(seconds * 1000),
            pycurl.USERAGENT: f"kitref/{__version__}",
        }
        self._is_socket = scheme == "http+unix"
        if self._is_socket:
            self._base = "http://localhost"
            # As the client: `unix://run/docker.sock` is one below the root, too.
            path = f"/{path.lstrip('/')}"
            self._options |= {pycurl.UNIX_SOCKET_PATH: path, pycurl.PROXY: ""}
        else:
            # In ASCII, as the client sends it.
            self._base = str(requests.Request(url=client.base_url).prepare().url).rstrip("/")
            self._options |= _of_network(client)
        self._threads = threading.local()

    def requests(
        self, method: str, paths: Iterable[str], at_once: int = AT_ONCE
    ) -> list[Response | NoAnswer]:
        """Send requests that have no body, several at a time.

        Args:
            method: The method of all of them: ``GET``, ``POST`` or ``DELETE``.
            paths: The paths, percent-encoded; they are sent as they are.
            at_once: How many at a time, if so many may; 1 is one after the other.

        Returns:
            For each path the response, or why there was none. A redirect is not followed.
        """
        multi, idle = self._of_this_thread()
        at_once = min(at_once, self._most)
        # Proxies answer 411 to one that may have a body and does not say how long it is.
        headers = ["Content-Length:" if method == "GET" else "Content-Length: 0"]
        waiting = list(enumerate(paths))[::-1]
        running: dict[pycurl.Curl, tuple[int, str, io.BytesIO]] = {}
        answers: dict[int, Response | NoAnswer] = {}
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    place, path = waiting.pop()
                    body = io.BytesIO()
                    curl = idle.pop() if idle else self._connection()
                    try:
                        curl.setopt(pycurl.URL, self._base + path)
                    except pycurl.error:
                        answers[place] = NoAnswer("longer than libcurl sends")
                        continue
                    curl.setopt(pycurl.CUSTOMREQUEST, method)
                    curl.setopt(pycurl.HTTPHEADER, headers)
                    curl.setopt(pycurl.WRITEDATA, body)
                    multi.add_handle(curl)
                    running[curl] = place, path, body
                while multi.perform()[0] == pycurl.E_CALL_MULTI_PERFORM:
                    pass
                _, answered, failed = multi.info_read()
                ended = [*((curl, pycurl.E_OK, "") for curl in answered), *failed]
                for curl, number, said in ended:
                    multi.remove_handle(curl)
                    place, path, body = running.pop(curl)
                    idle.append(curl)
                    if number == pycurl.E_OK:
                        status = curl.getinfo(pycurl.RESPONSE_CODE)
                        answers[place] = Response(status, body.getvalue())
                    elif self._never_arrived(curl, number, alone=not running):
                        waiting.append((place, path))
                        at_once = max(1, len(running))  # no more than it took
                    else:
                        answers[place] = NoAnswer(said or f"libcurl's error {number}")
                if running and not ended and not multi.select(_GLANCE):
                    time.sleep(_REST)
        except BaseException:
            # Ctrl-C, anywhere in here: nothing under way may be there at the next question.
            vars(self._threads).clear()
            multi.close()
            raise
        return [answers[place] for place in range(len(answers))]

    def close(self) -> None:
        """Close the connections of all threads."""
        self._threads = threading.local()

    def _never_arrived(self, curl: pycurl.Curl, number: int, *, alone: bool) -> bool:
        """Whether a request that failed did so before the engine saw it, and may be sent again."""
        if number == pycurl.E_SEND_ERROR:
            # The engine was restarted. Over a new connection this is no such thing.
            return not curl.getinfo(pycurl.NUM_CONNECTS)
        # A full queue: socat's has five places.
        return number == pycurl.E_COULDNT_CONNECT and self._is_socket and not alone

    def _of_this_thread(self) -> tuple[pycurl.CurlMulti, list[pycurl.Curl]]:
        """Return what this thread sends with, and the connections that it does not need now."""
        here = self._threads  # `close` may put others in their place
        # A process that was forked would read the answers to its parent's questions.
        if getattr(here, "process", None) != os.getpid():
            here.process, here.mine = os.getpid(), (pycurl.CurlMulti(), [])
        mine: tuple[pycurl.CurlMulti, list[pycurl.Curl]] = here.mine
        return mine

    def _connection(self) -> pycurl.Curl:
        curl = pycurl.Curl()
        for option, value in self._options.items():
            curl.setopt(option, os.fsencode(value) if isinstance(value, str) else value)
        return curl


def _of_network(client: docker.APIClient) -> dict[int, Any]:
    """Return the proxy and the certificates that the client would use."""
    url = client.base_url
    settings = client.merge_environment_settings(url, {}, None, None, None)
    verify, cert = settings["verify"], settings["cert"]
    known = verify if isinstance(verify, str) else requests.utils.DEFAULT_CA_BUNDLE_PATH
    options: dict[int, Any] = {
        pycurl.PROXY: requests.utils.select_proxy(url, settings["proxies"]) or "",
        pycurl.NOPROXY: "",  # that has been looked at
        pycurl.SSL_VERIFYPEER: bool(verify),
        pycurl.SSL_VERIFYHOST: 2 if verify else 0,
        pycurl.CAPATH if Path(known).is_dir() else pycurl.CAINFO: known,
    }
    if cert:
        options |= {pycurl.SSLCERT: cert[0], pycurl.SSLKEY: cert[1]}
    return options
