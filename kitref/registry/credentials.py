"""Logins for registries, from Docker's own configuration and nowhere else.

They are found as LinuxKit finds them: by go-containerregistry's `DefaultKeychain`, which asks
docker/cli's `config.json` for `HOST/REPOSITORY` first and for `HOST` then. A helper
(`docker-credential-NAME`) speaks the protocol of docker/docker-credential-helpers.

The docker SDK has a reader of that file too. It takes a broken file for an empty one, waits for a
helper for ever, and logs user names, so it is not used here.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from kitref import errors
from kitref.registry.address import HUB_ADDRESS

HELPER_SECONDS: Final = 5.0
"""How long a helper may take; one that asks a human for a passphrase takes longer, and fails."""

_HUB_KEY: Final = f"https://{HUB_ADDRESS}/v1/"  # `DefaultAuthKey` in go-containerregistry
_TOKEN_USER: Final = "<token>"  # noqa: S105 - docker-credential-helpers: the secret is an identity token
_NOT_FOUND: Final = b"credentials not found in native keychain"  # docker-credential-helpers
_BYTES: Final = 1 << 20
_MEND: Final = "`docker login` writes it anew"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A login for one registry. Its secrets show in no text that is made of it.

    Attributes:
        username: The user.
        password: The password.
        identity_token: A refresh token to give the token server instead; empty where there is none.
    """

    username: str = dataclasses.field(default="", repr=False)
    password: str = dataclasses.field(default="", repr=False)
    identity_token: str = dataclasses.field(default="", repr=False)


Keychain = Callable[[str, str], Login | None]
"""What gives the login for a host that is asked and a repository there, as `docker_login` does."""


def docker_login(address: str, repository: str) -> Login | None:
    """Return the login that Docker's configuration has for a registry.

    Args:
        address: The host that is asked, with its port.
        repository: The repository there.

    Returns:
        The login, None where there is none.

    Raises:
        CredentialsError: The file or a helper is broken.
    """
    path = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    config = _read(path)
    for key in (f"{address}/{repository}", _HUB_KEY if address == HUB_ADDRESS else address):
        helper = _section(config, "credHelpers", path).get(key) or config.get("credsStore")
        login = _ask(helper, key) if helper else _stored(config, key, path)
        if login is not None:
            return login
    return None


def _read(path: Path) -> dict[str, Any]:
    """Return the configuration, empty where there is none."""
    try:
        # O_NONBLOCK: a FIFO of that name does not hold us up.
        with open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK)) as file:
            content = file.read(_BYTES + 1)
        if not content:  # docker/cli takes an empty file too
            return {}
        config = json.loads(content.decode()) if len(content) <= _BYTES else None
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        where = f"{path}:{error.lineno}:{error.colno}"
        raise errors.CredentialsError(f"{where}: no JSON ({error.msg})", remedy=_MEND) from None
    except OSError as error:
        raise errors.CredentialsError(
            f"{path}: {error.strerror}", remedy="make it readable"
        ) from None
    except (ValueError, RecursionError):  # no UTF-8; nested without end
        raise errors.CredentialsError(f"{path}: no JSON", remedy=_MEND) from None
    if not isinstance(config, dict):
        raise errors.CredentialsError(
            f"{path}: no JSON object of at most {_BYTES} bytes", remedy=_MEND
        )
    return config


def _section(config: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    section = config.get(name) or {}
    if not isinstance(section, dict):
        raise errors.CredentialsError(f"{path}: {name} is no JSON object", remedy=_MEND)
    return section


def _stored(config: dict[str, Any], key: str, path: Path) -> Login | None:
    """Return the login that stands in the file itself (`fileStore.Get` in docker/cli)."""
    auths = _section(config, "auths", path)
    entry = auths.get(key)
    if entry is None:
        entry = next((auths[url] for url in auths if _hostname(url) == key), None)
    if entry is None:
        return None
    broken = errors.CredentialsError(f"{path}: auths has no valid login for {key}", remedy=_MEND)
    if not isinstance(entry, dict):
        raise broken
    try:
        pair = base64.b64decode(entry.get("auth") or "", validate=True).decode()
    except (TypeError, ValueError, binascii.Error):
        raise broken from None
    username, colon, password = pair.partition(":")
    if pair and not colon:
        raise broken
    fields = {
        "username": username or entry.get("username", ""),
        "password": password.strip("\0") or entry.get("password", ""),
        "identity_token": entry.get("identitytoken", ""),
    }
    if not all(isinstance(value, str) for value in fields.values()):
        raise broken
    return Login(**fields) if any(fields.values()) else None


def _hostname(url: str) -> str:
    """Return the host of an old entry that is a URL (`ConvertToHostname` in docker/cli)."""
    return re.sub(r"^https?://", "", url).partition("/")[0]


def _ask(helper: object, key: str) -> Login | None:
    """Return the login that a helper has; what it prints is shown nowhere."""
    if not isinstance(helper, str) or not re.fullmatch(r"[\w.-]+", helper):
        raise errors.CredentialsError("Docker's configuration names a helper that is no name")
    program = f"docker-credential-{helper}"
    if (path := shutil.which(program)) is None:
        raise errors.CredentialsError(
            f"{program}, which Docker's configuration names, is not in PATH",
            remedy="install it, or take it out of config.json and log in again",
        )
    code, output = _output(path, key.encode())
    if code and output.strip() == _NOT_FOUND:
        return None
    remedy = f"try `echo {key} | {program} get`"
    if code:
        raise errors.CredentialsError(f"{program} failed with {code}", remedy=remedy)
    try:
        answer = json.loads(output)
        username, secret = answer["Username"], answer["Secret"]
    except (ValueError, KeyError, TypeError, RecursionError):
        username = None
    if not isinstance(username, str) or not isinstance(secret, str):
        raise errors.CredentialsError(
            f"{program} prints something other than a login", remedy=remedy
        )
    if username == _TOKEN_USER:
        return Login(identity_token=secret)
    return Login(username=username, password=secret) if username or secret else None


def _output(program: str, given: bytes) -> tuple[int, bytes]:
    """Run a helper, for a time and up to a size, and return its exit code and what it printed."""
    late = threading.Event()
    try:
        process = subprocess.Popen(
            [program, "get"],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # so that it can be ended with all that it started
        )
    except OSError as error:
        raise errors.CredentialsError(f"{program} cannot be run ({error.strerror})") from None

    def end() -> None:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def end_late() -> None:
        late.set()
        end()

    timer = threading.Timer(HELPER_SECONDS, end_late)
    timer.daemon = True
    timer.start()
    output = b""
    with process, process.stdin as to_it, process.stdout as from_it:  # type: ignore[union-attr]
        try:
            with contextlib.suppress(BrokenPipeError):
                to_it.write(given)
            to_it.close()
            while len(output) <= _BYTES and (piece := from_it.read(_BYTES)):
                output += piece
            if len(output) > _BYTES:
                end()
            process.wait()
        finally:
            timer.cancel()
            end()
    if late.is_set():
        raise errors.CredentialsError(f"{program} did not answer within {HELPER_SECONDS:g} s")
    if len(output) > _BYTES:
        raise errors.CredentialsError(f"{program} prints more than {_BYTES} bytes")
    return process.returncode, output
