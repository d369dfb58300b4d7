"""A registry that the kit starts for itself: a real one, so that what it answers is an answer.

It is the distribution's own docker-registry, fetched and unpacked as the engines are, on a free
port of loopback, with TLS by a certificate authority that is made for the run and a password that
is made for the run. Its images lie in its memory. The kernel ends it with the kit; the temporary
folder of a kit that was killed is swept by the next run.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import hashlib
import json
import re
import secrets
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any, Literal, get_args

import bcrypt
import requests
import trustme

from kitref import errors
from kitref.engines import packages, places
from kitref.reference import DOCKER_HUB
from kitref.registry import tokens
from kitref.registry.credentials import Login

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Auth = Literal["none", "basic", "bearer"]
"""How it asks for a login: not at all, or by which scheme."""

_PACKAGE = "docker-registry"
_KIND = "registry"
_START_SECONDS = 30
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """A private registry that runs.

    Attributes:
        address: Its host and port, ``127.0.0.1:40001``.
        auth: How it asks for a login.
        ca: The file with the certificate of the run's authority, in PEM.
        username: The one user that it knows.
        password: Their password.
        identity_token: What its token server takes instead (`bearer` only).
        version: The package's version.
        pid: The process.
    """

    address: str
    auth: Auth
    ca: Path
    username: str
    password: str = dataclasses.field(repr=False)
    identity_token: str = dataclasses.field(repr=False)
    version: str
    pid: int
    _issuer: tokens.Issuer = dataclasses.field(repr=False)

    @property
    def url(self) -> str:
        """Its URL."""
        return f"https://{self.address}"

    def host_map(self, *hosts: str) -> dict[str, str]:
        """Return the map that leads hosts here, `docker.io` where none is given."""
        return dict.fromkeys(hosts or (DOCKER_HUB,), self.address)

    def login(self, address: str, repository: str) -> Login | None:  # noqa: ARG002 - a `Keychain`
        """Return the login for this registry, and None for every other; give it to `pull`."""
        if address != self.address or self.auth == "none":
            return None
        return Login(username=self.username, password=self.password)

    def push_tiny(self, repository: str, tag: str = "latest", arch: str = "amd64") -> str:
        """Put an image without layers in it: an index with one platform.

        Args:
            repository: Its repository, ``library/alpine``.
            tag: Its tag; one that is there is replaced.
            arch: Its architecture.

        Returns:
            The digest of the platform's manifest.

        Raises:
            EngineUnavailable: The registry did not take it.
        """
        config = _json(
            {
                "architecture": arch,
                "os": "linux",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": []},
            }
        )
        manifest = _json(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": _descriptor(_CONFIG, config),
                "layers": [],
            }
        )
        platform = {"platform": {"os": "linux", "architecture": arch}}
        index = _json(
            {
                "schemaVersion": 2,
                "mediaType": _INDEX,
                "manifests": [_descriptor(_MANIFEST, manifest) | platform],
            }
        )
        base = f"{self.url}/v2/{repository}"
        with requests.Session() as session:
            session.trust_env = False
            session.verify = str(self.ca)
            if self.auth == "basic":
                session.auth = (self.username, self.password)
            elif self.auth == "bearer":
                token = self._issuer.mint([f"repository:{repository}:pull,push"], self.username)
                session.headers["Authorization"] = f"Bearer {token}"
            try:
                upload = session.post(f"{base}/blobs/uploads/", timeout=10)
                upload.raise_for_status()
                puts: tuple[tuple[str, dict[str, str], str, bytes], ...] = (
                    (upload.headers["Location"], {"digest": _digest(config)}, _OCTETS, config),
                    (f"{base}/manifests/{_digest(manifest)}", {}, _MANIFEST, manifest),
                    (f"{base}/manifests/{tag}", {}, _INDEX, index),
                )
                for url, query, kind, body in puts:
                    session.put(
                        url, params=query, data=body, headers={"Content-Type": kind}, timeout=10
                    ).raise_for_status()
            except OSError as error:  # of requests too; without its folder it has no certificate
                raise errors.EngineUnavailable(
                    f"the private registry did not take {repository}:{tag} ({error})"
                ) from None
        return _digest(manifest)


def fetch(progress: Callable[[str, float], None] = lambda _step, _share: None) -> packages.Root:
    """Return the registry's unpacked package, fetched where the cache does not have it.

    Args:
        progress: Called with a step in words and the share of it that is done, 0 to 1.

    Raises:
        EngineUnavailable: It cannot be had here; says why.
    """
    # The machine's own suite: the program then runs on the machine's own C library.
    return packages.fetch(packages.catalogue()["codename"], _KIND, [_PACKAGE], progress)


@contextlib.contextmanager
def serving(
    auth: Auth = "basic",
    progress: Callable[[str, float], None] = lambda _step, _share: None,
) -> Iterator[Registry]:
    """Run a private registry for the length of a ``with`` block.

    Args:
        auth: How it asks for a login.
        progress: Called with a step in words and the share of it that is done, 0 to 1.

    Yields:
        The registry, empty.

    Raises:
        UsageError: There is no such way to ask.
        EngineUnavailable: It could not be fetched or did not start; says what its log says last.
    """
    if auth not in get_args(Auth):
        raise errors.UsageError(
            f"there is no way to ask for a login named {auth!r}",
            remedy="take " + ", ".join(get_args(Auth)),
        )
    if shutil.which("setpriv") is None:
        raise errors.EngineUnavailable(
            "the private registry needs setpriv", remedy="install util-linux"
        )
    root = fetch(progress)
    folder = places.temporary()
    lease = places.Lease.take({"kind": "private", "title": _PACKAGE, "folder": str(folder)})
    try:
        with contextlib.ExitStack() as stack:
            stack.callback(places.discard, folder)
            yield _start(auth, root, folder, lease, stack)
    finally:
        lease.end()


def _start(
    auth: Auth,
    root: packages.Root,
    folder: Path,
    lease: places.Lease,
    stack: contextlib.ExitStack,
) -> Registry:
    """Start the registry, and leave to a stack what ends it."""
    authority = trustme.CA(organization_name="kitref, for one run")
    own = authority.issue_cert("127.0.0.1", "localhost")
    ca, pem = folder / "ca.pem", folder / "registry.pem"
    authority.cert_pem.write_to_path(str(ca))
    own.private_key_and_cert_chain_pem.write_to_path(str(pem))
    username, password = "tester", secrets.token_urlsafe(18)
    identity_token = secrets.token_urlsafe(24)
    issuer = tokens.Issuer(
        key=own.private_key_pem.bytes(), certificate=own.cert_chain_pems[0].bytes().decode()
    )
    config: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {"inmemory": {}, "maintenance": {"uploadpurging": {"enabled": False}}},
        # Port 0: the kernel gives a free one, and the log says which.
        "http": {"addr": "127.0.0.1:0", "tls": {"certificate": f"{pem}", "key": f"{pem}"}},
    }
    if auth == "basic":
        hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds=4)).decode()
        (folder / "htpasswd").write_text(f"{username}:{hashed}\n")
        config["auth"] = {"htpasswd": {"realm": tokens.SERVICE, "path": f"{folder}/htpasswd"}}
    elif auth == "bearer":
        realm = stack.enter_context(
            tokens.listening(issuer, username, password, identity_token, pem)
        )
        config["auth"] = {
            "token": {
                "realm": realm,
                "service": tokens.SERVICE,
                "issuer": tokens.ISSUER,
                "rootcertbundle": f"{ca}",
            }
        }
    (folder / "config.json").write_text(json.dumps(config))  # YAML reads JSON
    with places.locked(root.lock, shared=True) as in_use:
        process = _spawner().submit(_spawn, root, folder, (lease.descriptor, in_use)).result()
    stack.callback(_end, process)
    lease.write(lease.content | {"pid": process.pid})
    return Registry(
        address=_wait(process, folder / "log"),
        auth=auth,
        ca=ca,
        username=username,
        password=password,
        identity_token=identity_token,
        version=root.version,
        pid=process.pid,
        _issuer=issuer,
    )


@functools.cache
def _spawner() -> concurrent.futures.ThreadPoolExecutor:
    """Return the one thread that starts registries, as for engines (prctl(2), PR_SET_PDEATHSIG)."""
    return concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix="registries")


def _spawn(
    root: packages.Root, folder: Path, descriptors: tuple[int, ...]
) -> subprocess.Popen[bytes]:
    program = root.path / "usr/bin/docker-registry"
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", program, "serve", f"{folder}/config.json"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            # Nothing of the user's: REGISTRY_* variables would change its configuration.
            env={"PATH": "/usr/bin:/bin", "HOME": f"{folder}", "OTEL_TRACES_EXPORTER": "none"},
            pass_fds=descriptors,
            start_new_session=True,  # Ctrl-C is for the kit; it ends its registry itself
        )


def _wait(process: subprocess.Popen[bytes], log: Path) -> str:
    """Return the address once the registry listens."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if listens := re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text()):
            return listens[1]
        time.sleep(0.02)
    said = log.read_text(errors="replace").strip().splitlines()[-3:]
    raise errors.EngineUnavailable(
        f"the private registry did not start ({' / '.join(said) or 'its log is empty'})",
        remedy="`kitref engines clean` fetches it anew",
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _json(record: dict[str, Any]) -> bytes:
    return json.dumps(record).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _descriptor(kind: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": _digest(content), "size": len(content)}


_OCTETS = "application/octet-stream"
