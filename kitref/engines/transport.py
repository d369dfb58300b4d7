"""Requests to an engine over connections that stay open.

The Engine API's own client keeps connections by whole URL: it would open one for each name that is
asked for, and look through the environment for a proxy each time, which takes longer than most
engines take to answer. Its transports are used here as they are, whatever the address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import requests
import urllib3

try:
    from paramiko import SSHException
except ImportError:  # which only ssh:// needs; the client imports it too, where it is there
    SSHException = OSError

if TYPE_CHECKING:
    import docker
    from requests.adapters import HTTPAdapter


NO_ANSWER: Final = (
    requests.RequestException, urllib3.exceptions.HTTPError, SSHException, OSError, EOFError,
)  # fmt: skip
"""What is raised where an engine does not answer, whatever the address."""


class Transport:
    """The way to one engine.

    Args:
        client: The Engine API's client, connected.
        seconds: How long to wait for an answer.
    """

    def __init__(self, client: docker.APIClient, seconds: float) -> None:
        self._seconds = seconds
        self._request = requests.Request("GET", client.base_url).prepare()
        url = str(self._request.url)
        self._adapter = cast("HTTPAdapter", client.get_adapter(url))  # they all are one
        settings = client.merge_environment_settings(url, {}, None, None, None)
        self._settings: dict[str, Any] = {
            name: settings[name] for name in ("verify", "proxies", "cert")
        }
        # Through a plain HTTP proxy a path is asked for with its host.
        self._before = self._adapter.request_url(self._request, settings["proxies"]).rstrip("/")

    def request(self, method: str, path: str) -> urllib3.BaseHTTPResponse:
        """Send a request that has no body.

        Args:
            method: ``GET``, ``POST`` or ``DELETE``.
            path: The path, percent-encoded; it is sent as it is.

        Returns:
            The response, read to its end. A redirect is not followed.

        Raises:
            NO_ANSWER: There was no answer; one of these.
        """
        # Asked for each time: the client drops what it has not used for a while.
        connections = cast(
            "urllib3.HTTPConnectionPool",
            self._adapter.get_connection_with_tls_context(self._request, **self._settings),
        )
        return connections.urlopen(
            method,
            f"{self._before}{path}",
            redirect=False,
            retries=False,
            timeout=self._seconds,
            assert_same_host=False,  # a proxy's host is another
        )
