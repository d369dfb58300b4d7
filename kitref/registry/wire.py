"""The HTTP of a pull: one deadline, bounded answers, logins that stay where they belong.

Everything that goes out or comes in passes here, so what the kit promises about them is held here:
a login reaches one server only, a redirect is followed by hand, nothing is read for ever, every
exchange stands in the evidence, and no text that comes out of it has a secret in it.
"""

from __future__ import annotations

import dataclasses
import json
import re
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
import urllib3

from kitref import errors
from kitref.registry.address import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

Outcome = Literal["found", "absent", "login-needed", "unreachable", "refused", "not-asked"]
"""How a pull ends.

`found`: the registry has it, for the platform. `absent`: it answered that it has not.
`login-needed`: it answers 401 or 403, with the login that there is or without one.
`unreachable`: no answer of a registry could be had: nothing there, TLS, too late, or something that
no registry answers (5xx, 429, a web page). `refused`: LinuxKit's library takes the name for none.
`not-asked`: the kit asked nobody, as it was told to stay offline.
"""

LIMIT_BYTES: Final = 4 << 20
"""What is read of an answer: the size of manifest that every registry takes (distribution-spec)."""

_REDIRECTS: Final = 5
_REDIRECT_CODES: Final = (301, 302, 303, 307, 308)
# The error codes of the distribution-spec, and Docker Hub's for its limit. Nothing else that a
# registry writes is shown: it may hold what it was sent.
_CODES: Final = frozenset(
    {
        "BLOB_UNKNOWN", "DENIED", "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID",
        "NAME_UNKNOWN", "TOOMANYREQUESTS", "UNAUTHORIZED", "UNSUPPORTED",
    }
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One HTTP request of a pull, and what came of it.

    Attributes:
        method: `GET` or `POST`.
        url: Its URL without the query.
        status: The status, None where no answer came.
        note: Why no answer came; empty where one did.
    """

    method: str
    url: str
    status: int | None
    note: str = ""

    def __str__(self) -> str:
        """Return it in one line: ``GET https://index.docker.io/v2/: 401``."""
        return f"{self.method} {self.url}: {self.note if self.status is None else self.status}"


class Ended(Exception):
    """A pull has come to its end."""

    def __init__(self, outcome: Outcome, detail: str, digest: str = "") -> None:
        super().__init__(detail)
        self.end = outcome, detail, digest


class NoAnswer(Exception):
    """A request got no answer.

    Args:
        reason: Why, in words.
        try_plain: Whether a server without TLS may stand there.
    """

    def __init__(self, reason: str, *, try_plain: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.try_plain = try_plain


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer to a request, read up to the limit."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes = dataclasses.field(repr=False)

    @property
    def media_type(self) -> str:
        """The Content-Type without its parameters."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    @property
    def kind(self) -> str:
        """The media type, where it is one that can be shown."""
        shown = re.fullmatch(r"[a-z0-9.+-]{1,40}/[a-z0-9.+-]{1,80}", self.media_type)
        return self.media_type if shown else "something"

    @property
    def words(self) -> str:
        """The status, and the registry's error code where it gives a known one."""
        given = record(self.body).get("errors")
        first = given[0] if isinstance(given, list) and given else None
        code = first.get("code") if isinstance(first, dict) else None
        known = isinstance(code, str) and code in _CODES
        return f"{self.status} {code}" if known else f"{self.status}"


class Wire:
    """The requests of one pull.

    Args:
        verify: The certificates to trust, as `requests` takes them.
        offline: Whether to ask no host but this machine itself.
        timeout: Seconds for all requests together.

    Attributes:
        exchanges: Every request so far, in order.
        login_sent: Whether a password or an identity token was sent with one of them.
        secrets: What `clean` takes out.
    """

    def __init__(self, *, verify: str | bool, offline: bool, timeout: float) -> None:
        self.exchanges: list[Exchange] = []
        self.login_sent = False
        self.secrets: set[str] = set()
        self._verify = verify
        self._offline = offline
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._pending: Exchange | None = None
        self._closed = threading.Event()
        self._session = _Session()
        # No ~/.netrc, no bundle of certificates by REQUESTS_CA_BUNDLE.
        self._session.trust_env = False

    def __enter__(self) -> Self:
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Send nothing more, even if a request is still under way; it stands in the evidence."""
        self._closed.set()
        self._session.close()
        if self._pending:
            self.exchanges = [*self.exchanges, self._pending]

    @property
    def late(self) -> str:
        """That the time is over, in words."""
        return f"no whole answer within {self._timeout:g} s"

    def request(
        self,
        url: str,
        *,
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        authorization: str = "",
        accept: str = "application/json",
    ) -> Reply:
        """Send a request, and follow where it is led; a login goes to the first host only."""
        home = origin(url)
        for _ in range(_REDIRECTS + 1):
            headers = {"Accept": accept, "Accept-Encoding": "identity", "User-Agent": "kitref"}
            if authorization and origin(url) == home:
                headers["Authorization"] = authorization
            reply = self._exchange(url, headers, query, form)
            if form is not None or reply.status not in _REDIRECT_CODES:
                return reply
            try:
                target = urljoin(url, reply.headers.get("Location", ""))
            except ValueError:
                target = ""
            way = parts(target)
            if way is None or (url.startswith("https:") and way.scheme != "https"):
                raise Ended("unreachable", "it redirects to no address with TLS")
            url, query = target, None
        raise Ended("unreachable", f"it redirects more than {_REDIRECTS} times")

    def _exchange(
        self,
        url: str,
        headers: Mapping[str, str],
        query: Mapping[str, str] | None,
        form: Mapping[str, str] | None,
    ) -> Reply:
        """Send one request and read its answer; both stand in the evidence."""
        host = urlsplit(url).netloc
        if self._offline and not is_loopback(host):
            raise Ended("not-asked", self.clean(f"offline: {host}, where it leads, is not asked"))
        left = self._deadline - time.monotonic()
        if self._closed.is_set() or left <= 0:
            raise Ended("unreachable", self.late)
        method = "GET" if form is None else "POST"
        shown = self.clean(errors.printable(url.partition("?")[0].partition("#")[0][:300]))
        self._pending = Exchange(method=method, url=shown, status=None, note=self.late)
        self.login_sent |= form is not None or headers.get("Authorization", "")[:6] == "Basic "
        try:
            with self._session.request(
                method,
                url,
                params=query,
                data=form,
                headers=dict(headers),
                timeout=left,
                allow_redirects=False,
                stream=True,
                verify=self._verify,
                # As Go does it: never for this machine itself (net/http, ProxyFromEnvironment).
                proxies={} if is_loopback(host) else requests.utils.get_environ_proxies(url),
            ) as response:
                status, answered = response.status_code, response.headers
                body = self._read(response)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as e:
            reason, try_plain = _reason(e, self._timeout)
            self._settle(dataclasses.replace(self._pending, note=reason))
            raise NoAnswer(reason, try_plain=try_plain) from None
        self._settle(dataclasses.replace(self._pending, status=status, note=""))
        return Reply(url=url, status=status, headers=answered, body=body)

    def _settle(self, exchange: Exchange) -> None:
        """Put a request into the evidence, unless the pull has ended without it."""
        if not self._closed.is_set():
            self.exchanges.append(exchange)
            self._pending = None

    def _read(self, response: requests.Response) -> bytes:
        body = b""
        for piece in response.raw.stream(1 << 16, decode_content=False):
            body += piece
            if len(body) > LIMIT_BYTES:
                raise _TooLong
            if self._closed.is_set() or time.monotonic() > self._deadline:
                raise TimeoutError
        return body

    def clean(self, text: str) -> str:
        """Take out what must be shown nowhere, should a server have sent it back."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


class _Session(requests.Session):
    def get_redirect_target(self, _: requests.Response) -> None:
        """Follow nowhere: requests reads a redirect's body whole even if it is not to follow it."""


class _TooLong(ValueError):
    """An answer that is longer than the limit."""


def trusted() -> str | bool:
    """Return the machine's certificates, those that LinuxKit trusts too (with SSL_CERT_FILE)."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.capath or True


def parts(url: str) -> SplitResult | None:
    """Return a URL in parts, None if it is none to follow: no HTTP, no host, or a login in it."""
    # Only what every parser of URLs reads alike (RFC 3986): the host compared is the host asked.
    if not re.fullmatch(r"[!-~]+", url) or "\\" in url:
        return None
    try:
        split = urlsplit(url)
        _ = split.port
    except ValueError:
        return None
    fine = split.scheme in ("http", "https") and split.hostname and "@" not in split.netloc
    return split if fine else None


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Return what has to be equal for two URLs to be of one server (RFC 6454)."""
    split = urlsplit(url)
    port = split.port or {"http": 80, "https": 443}.get(split.scheme)
    return split.scheme, split.hostname, port


def record(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body, empty where it is none."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _reason(error: BaseException, timeout: float) -> tuple[str, bool]:
    """Say why no answer came, in no library's words, and whether one may come without TLS."""
    chain: list[BaseException] = []
    todo: list[object] = [error]
    while todo:
        link = todo.pop()
        if isinstance(link, BaseException) and link not in chain:
            chain.append(link)
            todo += [*link.args, link.__cause__, link.__context__, getattr(link, "reason", None)]
    for kinds, words, try_plain in _REASONS:
        for link in chain:
            if isinstance(link, kinds):
                why = getattr(link, "verify_message", "") or getattr(link, "reason", "")
                system = getattr(link, "strerror", "") or "connection broken"
                return words.format(why=why or "broken", system=system, seconds=timeout), try_plain
    return "connection broken, or no HTTP", True


_REASONS: Final[tuple[tuple[tuple[type[BaseException], ...], str, bool], ...]] = (
    ((_TooLong,), f"an answer of more than {LIMIT_BYTES >> 20} MiB", False),
    (
        (requests.exceptions.ProxyError, urllib3.exceptions.ProxyError),
        "the proxy of the environment gives no way there",
        False,
    ),
    # Stricter than LinuxKit's library, which tries without TLS here too, and is refused there.
    ((ssl.SSLCertVerificationError,), "TLS: {why}", False),
    ((ssl.SSLError,), "TLS: {why}", True),
    (
        (socket.gaierror, urllib3.exceptions.NameResolutionError),
        "its name does not resolve",
        False,
    ),
    ((ConnectionRefusedError,), "connection refused", True),
    (
        # Not urllib3's TimeoutError: to it, no route to a host is one as well.
        (requests.Timeout, urllib3.exceptions.ReadTimeoutError, TimeoutError),
        "no whole answer within {seconds:g} s",
        False,
    ),
    (
        (requests.exceptions.InvalidURL, urllib3.exceptions.LocationParseError, UnicodeError),
        "no address that can be asked",
        False,
    ),
    ((ConnectionError,), "{system}", True),
    # requests' own errors are OSErrors without a number.
    ((urllib3.exceptions.NewConnectionError,), "no way to the host", True),
)
