"""The pull of an expanded name, up to its manifest: which registry is asked, and what it answers.

It goes the way that LinuxKit's registry library goes (go-containerregistry, `remote.Get`): `/v2/`,
the login that its challenge asks for, the manifest, the platform's manifest in an index. No layer
is read. Where the kit is stricter than the library, it is so on purpose: a login is sent over TLS
only, and to no other host than the registry that it is for and the token server that this
registry's challenge names.

The HTTP client is `requests` (in `wire.py`), as it is the docker SDK's. A client of registries
would be nearer, but python-dxf, which takes host, repository and reference apart, has no time-out
for its logins, no bound on what it reads, no identity tokens and no say in redirects.
"""

from __future__ import annotations

import base64
import concurrent.futures
import dataclasses
import hashlib
import re
import threading
from typing import TYPE_CHECKING, Any, Final, NoReturn

from kitref import errors
from kitref.reference import DOCKER_HUB
from kitref.registry import credentials as logins
from kitref.registry.address import (
    HUB_ADDRESS,
    Place,
    is_authority,
    is_loopback,
    locate,
    may_be_plain,
)
from kitref.registry.wire import (
    Ended,
    Exchange,
    NoAnswer,
    Outcome,
    Reply,
    Wire,
    origin,
    parts,
    record,
    trusted,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from kitref.registry.credentials import Keychain, Login

_INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_DIGEST: Final = re.compile(r"sha256:[a-f0-9]{64}")
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
# RFC 9110, 11.6.1, for the two schemes that registries use.
_CHALLENGE: Final = re.compile(
    r"(?:\A|[,\s])(basic|bearer)(?=[\s,]|\Z)"
    r'((?:[\s,]*[\w-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s,"]*))*)',
    re.IGNORECASE,
)
_PARAMETER: Final = re.compile(r'([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*))')


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a pull.

    Attributes:
        asked: The name, literally.
        arch: The architecture that it was asked for.
        outcome: How it ended.
        detail: Why, in words.
        host: The host of the name; empty where the outcome is `refused`.
        address: The host that was asked for it, or would have been; empty as above.
        mapped: Whether the address comes from the host map.
        digest: The digest of the platform's manifest; empty unless `found`.
        login_sent: Whether a login was sent, to the registry or to its token server.
        exchanges: Every HTTP request, in order.
    """

    asked: str
    arch: str
    outcome: Outcome
    detail: str
    host: str = ""
    address: str = ""
    mapped: bool = False
    digest: str = ""
    login_sent: bool = False
    exchanges: tuple[Exchange, ...] = ()

    @property
    def route(self) -> str:
        """Which host is asked, in words: `docker.io, mapped to 127.0.0.1:40001`."""
        if self.address == self.host:
            return self.host
        return f"{self.host}, {'mapped to' if self.mapped else 'that is'} {self.address}"

    def __str__(self) -> str:
        """Return it in one line, with the host map where it was used."""
        at = f" at {self.route}" if self.host else ""
        return f"{errors.printable(self.asked)}: {self.outcome}{at} ({self.detail})"


def pull(
    asked: str,
    *,
    arch: str = "amd64",
    credentials: Keychain | None = None,
    host_map: Mapping[str, str] | None = None,
    offline: bool = False,
    ca: Path | None = None,
    timeout: float = 10.0,
) -> Answer:
    """Ask the registry of an expanded name for its manifest.

    Args:
        asked: The expanded name; nothing is added to it but what LinuxKit's library adds.
        arch: The architecture, as Go writes it: `amd64`, `arm64`.
        credentials: What gives the login for a host that is *asked*; by default Docker's
            configuration, and none at all when offline. A mapped host never gets the login of the
            host that it stands for.
        host_map: Hosts of names, and the address to ask in their place: `docker.io` to
            `127.0.0.1:40001`.
        offline: Ask no host but those that the map leads to on this machine.
        ca: The certificates to trust for mapped hosts, in PEM; by default the machine's, as for
            all others.
        timeout: Seconds for the whole of it.

    Returns:
        What came of it; whatever a registry does, this is an answer and no exception.

    Raises:
        UsageError: The host map leads to no host, or `ca` cannot be read.
    """
    try:
        place = locate(asked)
    except errors.Unpullable as error:
        return Answer(asked=asked, arch=arch, outcome="refused", detail=str(error))
    hosts = host_map or {}
    hub = place.address == HUB_ADDRESS
    mapped = hosts.get(place.host) or (hosts.get(DOCKER_HUB) if hub else None)
    if mapped and not is_authority(mapped):
        raise errors.UsageError(
            f"the host map leads {place.host} to {errors.printable(mapped)!r}",
            remedy="give a host with its port, 127.0.0.1:5000",
        )
    answer = Answer(
        asked=asked,
        arch=arch,
        outcome="not-asked",
        detail="offline: no registry is asked",
        host=place.host,
        address=mapped or place.address,
        mapped=mapped is not None,
    )
    if offline and not (mapped and is_loopback(mapped)):
        return answer
    if ca and not ca.is_file():
        raise errors.UsageError(f"{ca} is no file", remedy="give the authority's certificate, PEM")
    keychain = credentials or (None if offline else logins.docker_login)
    verify = str(ca) if ca and mapped else trusted()
    with Wire(verify=verify, offline=offline, timeout=timeout) as wire:
        trip = _Trip(dataclasses.replace(place, address=answer.address), arch, keychain, wire)
        outcome, detail, digest = _within(timeout, trip.go, wire.late)
    return dataclasses.replace(
        answer,
        outcome=outcome,
        detail=wire.clean(detail),
        digest=digest,
        login_sent=wire.login_sent,
        exchanges=tuple(wire.exchanges),
    )


def _within(seconds: float, go: Callable[[], NoReturn], late: str) -> tuple[Outcome, str, str]:
    """Make a pull, and return how it ended: outcome, detail, digest.

    It runs in a thread of its own: name resolution, and a server that sends its headers byte by
    byte, know no time-out. A thread that is late is left to itself.
    """
    done: concurrent.futures.Future[tuple[Outcome, str, str]] = concurrent.futures.Future()

    def run() -> None:
        try:
            go()
        except Ended as ended:
            done.set_result(ended.end)
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            done.set_exception(error)

    threading.Thread(target=run, daemon=True, name="pull").start()
    try:
        return done.result(seconds)
    except concurrent.futures.TimeoutError:
        return "unreachable", late, ""


class _Trip:
    """One pull under way."""

    def __init__(self, place: Place, arch: str, keychain: Keychain | None, wire: Wire) -> None:
        self._place = place
        self._arch = arch
        self._keychain = keychain
        self._wire = wire
        self._looked = False

    def go(self) -> NoReturn:
        """Ask for the manifest, then for the platform's in it; always ends by `Ended`."""
        base, authorization = self._ping()
        reply, content = self._manifest(base, authorization, self._place.reference)
        if reply.media_type in _MANIFESTS:
            detail = "a manifest of its own, whose architecture LinuxKit does not compare"
            raise Ended("found", detail, _digest(reply))
        digest = self._platform(content)
        reply, _ = self._manifest(base, authorization, digest)
        if reply.media_type not in _MANIFESTS:
            raise Ended("unreachable", f"its index leads to {reply.kind}, no manifest")
        raise Ended("found", f"linux/{self._arch} in an index", digest)

    def _ping(self) -> tuple[str, str]:
        """Find the registry and log in to it; return its base URL and the header of the login."""
        address = self._place.address
        schemes = ("https", "http") if may_be_plain(address) else ("https",)
        reasons: list[str] = []
        for scheme in schemes:
            base = f"{scheme}://{address}/v2/"
            try:
                reply = self._wire.request(base)
            except NoAnswer as error:
                reasons.append(error.reason)
                if error.try_plain:
                    continue
                break
            if reply.status not in (200, 401):
                raise Ended("unreachable", f"no registry there: it answers {reply.words} to /v2/")
            return base, self._authorize(reply, base) if reply.status == 401 else ""  # noqa: PLR2004
        raise Ended("unreachable", "; without TLS: ".join(reasons))

    def _authorize(self, reply: Reply, base: str) -> str:
        """Return the header that a challenge asks for, empty where there is no login."""
        found = _CHALLENGE.search(reply.headers.get("WWW-Authenticate", ""))
        if found is None:
            raise Ended("login-needed", "it asks for a login by no scheme that LinuxKit knows")
        parameters = {
            name.lower(): re.sub(r"\\(.)", r"\1", quoted) or plain
            for name, quoted, plain in _PARAMETER.findall(found[2])
        }
        # A challenge binds the registry only if it is the registry's own, said over TLS; without
        # that, no login is even looked for.
        own = base.startswith("https:") and origin(reply.url) == origin(base)
        login = self._login() if own else None
        if found[1].lower() == "bearer":
            return f"Bearer {self._token(reply.url, parameters, login)}"
        if login is None or not (login.username or login.password):
            return ""
        return self._basic(login)

    def _login(self) -> Login | None:
        """Return the login for the registry."""
        if self._keychain is None:
            return None
        self._looked = True
        try:
            login = self._keychain(self._place.address, self._place.repository)
        except errors.CredentialsError as error:
            raise Ended("login-needed", f"it asks for a login, and {error}") from None
        if login:
            self._wire.secrets |= {login.password, login.identity_token} - {""}
        return login

    def _basic(self, login: Login) -> str:
        pair = base64.b64encode(f"{login.username}:{login.password}".encode()).decode()
        self._wire.secrets.add(pair)
        return f"Basic {pair}"

    def _token(self, registry: str, parameters: Mapping[str, str], login: Login | None) -> str:
        """Get a token from the server that a challenge names.

        Source: the token and OAuth2 specifications of the distribution project.
        """
        realm = parameters.get("realm", "")
        way = parts(realm)
        allowed = ("https", "http") if registry.startswith("http:") else ("https",)
        if way is None or way.scheme not in allowed:
            raise Ended("unreachable", "it names no token server with TLS")
        query = {"scope": f"repository:{self._place.repository}:pull"}
        if service := parameters.get("service"):
            query["service"] = service
        reply = None
        try:
            if login and login.identity_token:
                form = {
                    **query,
                    "client_id": "kitref",
                    "grant_type": "refresh_token",
                    "refresh_token": login.identity_token,
                }
                reply = self._wire.request(realm, form=form)
                login = None  # a server without OAuth2 is asked again, with no login
            if reply is None or reply.status in (404, 405):
                authorization = self._basic(login) if login else ""
                reply = self._wire.request(realm, query=query, authorization=authorization)
        except NoAnswer as error:
            raise Ended("unreachable", f"its token server: {error.reason}") from None
        if reply.status in (401, 403):
            raise Ended("login-needed", self._denied(f"its token server answers {reply.words}"))
        grant = record(reply.body)
        token = grant.get("access_token") or grant.get("token")
        if reply.status != 200 or not isinstance(token, str) or not _TOKEN.fullmatch(token):  # noqa: PLR2004
            raise Ended("unreachable", f"its token server answers {reply.words} and no token")
        self._wire.secrets.add(token)
        return token

    def _manifest(
        self, base: str, authorization: str, reference: str
    ) -> tuple[Reply, dict[str, Any]]:
        """Get a manifest or an index, whole and with the digest that was asked for."""
        url = f"{base}{self._place.repository}/manifests/{reference}"
        accept = ", ".join((*_MANIFESTS, *_INDEXES))
        try:
            reply = self._wire.request(url, authorization=authorization, accept=accept)
        except NoAnswer as error:
            raise Ended("unreachable", error.reason) from None
        if reply.status in (401, 403):
            raise Ended("login-needed", self._denied(f"it answers {reply.words}"))
        if reply.status == 404:  # noqa: PLR2004
            raise Ended("absent", f"it answers {reply.words}")
        if reply.status != 200:  # noqa: PLR2004
            raise Ended("unreachable", f"it answers {reply.words}")
        if reply.media_type not in (*_MANIFESTS, *_INDEXES):
            raise Ended("unreachable", f"it answers with {reply.kind}, no manifest")
        if not (content := record(reply.body)):
            raise Ended("unreachable", "it answers with a manifest that is no JSON object")
        if _DIGEST.fullmatch(reference) and reference != _digest(reply):
            raise Ended("unreachable", "it answers with another manifest than the digest's")
        return reply, content

    def _platform(self, index: dict[str, Any]) -> str:
        """Return the digest that an index has for the platform (`ImagePull` in LinuxKit)."""
        entries = index.get("manifests")
        offered = []
        for entry in entries if isinstance(entries, list) else []:
            platform = entry.get("platform") if isinstance(entry, dict) else None
            if not isinstance(platform, dict):
                continue
            name = f"{platform.get('os')}/{platform.get('architecture')}"
            digest = entry.get("digest")
            if name == f"linux/{self._arch}" and _DIGEST.fullmatch(str(digest)):
                return str(digest)
            if re.fullmatch(r"[a-z0-9]{1,16}/[a-z0-9]{1,16}", name):
                offered.append(name)
        others = ", ".join(dict.fromkeys(offered[:100])) or "no platform"
        raise Ended("absent", f"its index has {others}, not linux/{self._arch}")

    def _denied(self, answer: str) -> str:
        if self._wire.login_sent:
            return f"{answer} to the login that there is for {self._place.address}"
        if self._looked:
            answer += f", and there is no login for {self._place.address}"
        else:
            answer += ", and no login was sent"
        if self._place.address == HUB_ADDRESS:
            answer += "; Docker Hub says so of repositories that do not exist too"
        return answer


def _digest(reply: Reply) -> str:
    return f"sha256:{hashlib.sha256(reply.body).hexdigest()}"
