"""One live engine: what it is, a tiny image in it, and the question whether it knows a name.

Questions go through the Engine API's image inspect (``GET /images/NAME/json``) with the raw
name: the docker command line rewrites names before it sends them, so it cannot be used to probe.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import re
import tarfile
import urllib.parse
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, Self

import docker
import requests
import urllib3

from kitref import errors
from kitref.engines.transport import AT_ONCE, NoAnswer, Response, Transport
from kitref.engines.tunnel import Tunnel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from docker.tls import TLSConfig

    from kitref.rules import Expansion

Kind = Literal["docker", "podman"]
Store = Literal["graph", "containerd", "podman"]
Outcome = Literal["found", "absent", "refused", "not-asked"]

LABEL = "io.kitref.run"
"""The label on every image that the kit makes; its value is the run that made it."""

_TIMEOUT = 30  # seconds for one answer of an engine
_AT_ONCE_BY_SSH = 4  # each connection is a login; of ten at a time sshd may drop some
_FAILED = (docker.errors.DockerException, requests.RequestException,
           urllib3.exceptions.HTTPError, OSError)  # fmt: skip
"""What the Engine API's client raises where an engine does not do what it is asked for."""

_NO_NAME = re.compile(
    r"invalid reference|invalid repository name|repository name must|must be lower ?case"
    r"|parsing reference|normaliz|invalid format|unsupported transport|invalid tag|invalid digest"
    r"|unsupported digest|cannot specify 64-byte",
    re.IGNORECASE,
)
_VERSION_REFUSED = re.compile(r"client version .* is too (old|new)", re.IGNORECASE)
_LOADED = re.compile(r"Loaded image(?: ID)?: (sha256:[0-9a-f]{64})")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """One question put to an engine, and its answer.

    Attributes:
        engine: The engine that was asked.
        expansion: The name that the rule was given, the rule, and the name that was asked for.
        image: The name as the user wrote it. On a user's engine the kit uses a name of its own
            like it, so that it differs from the one that the rule was given.
        tagged_as: The name under which the image had been tagged.
        outcome: ``found``; ``absent`` (the engine has no such image); ``refused`` (the engine
            said that this is no valid name); ``not-asked`` (no answer about a name: never
            evidence for or against a rule).
        image_id: The ID that the engine gave, or None.
        detail: The engine's own words, where it gave no image.
    """

    engine: Engine
    expansion: Expansion
    image: str
    tagged_as: str
    outcome: Outcome
    image_id: str | None = None
    detail: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an engine said when it was asked for one name; see `Lookup` for the fields."""

    outcome: Outcome
    image_id: str | None = None
    detail: str = ""
    arch: str = ""
    """The image's architecture, in Go's words; empty where none was found."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A live engine.

    Attributes:
        name: What the kit calls it, ``docker-trixie`` or ``docker-own``.
        url: Its address, as DOCKER_HOST would have it.
        kind: ``docker`` or ``podman``.
        version: Its own version.
        api_version: The highest Engine API version that it speaks.
        min_api_version: The lowest one that it accepts.
        store: Its image store.
        arch: The architecture of the images that it runs, in Go's words (``amd64``).
        source: Where it comes from: a suite's package, or how it was found.
        private: Whether the kit started it, for itself alone.
    """

    name: str
    url: str
    kind: Kind
    version: str
    api_version: str
    min_api_version: str
    store: Store
    arch: str
    source: str
    private: bool
    _client: docker.APIClient = dataclasses.field(repr=False, compare=False)
    _transport: Transport = dataclasses.field(repr=False, compare=False)
    _opened: contextlib.ExitStack = dataclasses.field(
        repr=False, compare=False, default_factory=contextlib.ExitStack
    )

    @property
    def title(self) -> str:
        """Return the name with the store, as tables have it: ``docker-trixie/containerd``."""
        return f"{self.name}/{self.store}"

    @classmethod
    def connect(
        cls, url: str, *, name: str, source: str, private: bool, tls: TLSConfig | None = None
    ) -> Self:
        """Connect to the engine at a URL and ask it what it is.

        Args:
            url: ``unix://``, ``tcp://``, ``http(s)://`` or ``ssh://``.
            name: What to call it.
            source: Where it comes from, for reports.
            private: Whether the kit started it.
            tls: The client's certificates, where the address needs them.

        Returns:
            The engine; close it with `close`.

        Raises:
            EngineUnavailable: Nothing that speaks the Engine API answers there.
            EngineAddressError: This is no address behind ssh.
            UsageError: Docker's configuration cannot be read.
        """
        with contextlib.ExitStack() as undo:
            tunnel = Tunnel(url) if url.startswith("ssh://") else None
            if tunnel:
                undo.callback(tunnel.close)
            at = tunnel.url if tunnel else url
            try:
                client = undo.enter_context(
                    contextlib.closing(
                        docker.APIClient(at, version="auto", timeout=_TIMEOUT, tls=tls or False)
                    )
                )
                version, info = client.version(), client.info()
            except _FAILED as error:
                said = (tunnel.said if tunnel else "") or _innermost(error)
                raise errors.EngineUnavailable(
                    f"no container engine answers at {url} ({said})",
                    remedy="start it, check the address, or leave --engine out for a private one",
                ) from error
            except (AttributeError, TypeError) as error:  # the client takes its form for granted
                raise errors.UsageError(
                    f"Docker's configuration is none that its client can read ({error})",
                    remedy="mend config.json in ~/.docker or DOCKER_CONFIG",
                ) from error
            transport = Transport(client, at, _TIMEOUT, _AT_ONCE_BY_SSH if tunnel else AT_ONCE)
            undo.callback(transport.close)
            opened = undo.pop_all()
        component = (version.get("Components") or [{}])[0]
        podman = "podman" in component.get("Name", "").lower()
        details = component.get("Details", {})
        containerd = ["driver-type", "io.containerd.snapshotter.v1"] in (
            info.get("DriverStatus") or []
        )
        return cls(
            name=name,
            url=url,
            kind="podman" if podman else "docker",
            version=version.get("Version") or component.get("Version", "unknown"),
            api_version=version.get("ApiVersion", ""),
            min_api_version=version.get("MinAPIVersion") or details.get("MinAPIVersion", ""),
            store="podman" if podman else "containerd" if containerd else "graph",
            arch=version.get("Arch") or details.get("Arch", ""),
            source=source,
            private=private,
            _client=client,
            _transport=transport,
            _opened=opened,
        )

    def close(self) -> None:
        """Close the connections."""
        self._opened.close()

    def ask(self, name: str, *, api_version: str = "") -> Answer:
        """Ask for an image by its raw name, as `ask_all` does for many."""
        (answer,) = self.ask_all([name], api_version=api_version)
        return answer

    def ask_all(
        self, names: Iterable[str], *, api_version: str = "", at_once: int = AT_ONCE
    ) -> list[Answer]:
        """Ask for images by their raw names.

        Args:
            names: Any texts; they are sent as they are, percent-encoded.
            api_version: The Engine API version to ask in; by default the engine's highest. An
                engine that refuses it was `not-asked`, and says so.
            at_once: How many to ask for at a time.

        Returns:
            The engine's answers. A redirect is none: the engine's router cleans paths such as
            ``a//b`` before anything looks at the name, so the question was not asked.
        """
        images = f"/v{api_version or self._client.api_version}/images"
        paths = [f"{images}/{_quoted(name)}/json" for name in names]
        return [_read(response) for response in self._transport.requests("GET", paths, at_once)]

    def lookup(self, expansion: Expansion, *, image: str, tagged_as: str) -> Lookup:
        """Ask for the name that a rule made, and keep the answer with the question.

        Args:
            expansion: What the rule made of a name; its ``asked`` is the name that is sent.
            image: The name as the user wrote it.
            tagged_as: The name under which the image was tagged.

        Returns:
            The look-up.
        """
        answer = self.ask(expansion.asked)
        return Lookup(
            engine=self,
            expansion=expansion,
            image=image,
            tagged_as=tagged_as,
            outcome=answer.outcome,
            image_id=answer.image_id,
            detail=answer.detail,
        )

    def names(self) -> list[str]:
        """List the names of all images, as the engine shows them: familiar, with their tags.

        Raises:
            EngineUnavailable: The engine did not say.
        """
        try:
            images = self._client.images()
        except _FAILED as error:
            raise errors.EngineUnavailable(
                f"{self.title} would not list its images ({_innermost(error)})"
            ) from error
        names = {name for image in images for name in image.get("RepoTags") or []}
        return sorted(name for name in names if "<none>" not in name)

    def load(self, run: str) -> str:
        """Load the smallest image that every engine takes, without a name.

        It has no layer, and a label that no other image has, so that its ID is its own and
        names can be put on it and taken off it without touching anyone else's image.

        Args:
            run: What to write in the label: the run that makes the image.

        Returns:
            The image's ID in this engine: the configuration's digest in a graph store and in
            Podman, the manifest's in a containerd store.

        Raises:
            EngineUnavailable: The engine did not take it.
        """
        try:
            lines = self._client.load_image(_archive(self.arch, run))  # type: ignore[no-untyped-call]
            said = "".join(line.get("stream", "") for line in lines)
        except _FAILED as error:
            raise errors.EngineUnavailable(
                f"{self.title} took no image ({_innermost(error)})"
            ) from error
        loaded = _LOADED.search(said)
        if loaded is None:
            raise errors.EngineUnavailable(
                f"{self.title} did not say which image it loaded: {said!r}"
            )
        return loaded[1]

    def tag(self, image_id: str, name: str) -> None:
        """Put a name on an image, as `tag_all` does with many.

        Raises:
            EngineUnavailable: The engine did not do it, or refused the name.
        """
        (fault,) = self.tag_all(image_id, [name])
        if fault:
            raise errors.EngineUnavailable(
                f"{self.title} would not tag an image as {name} ({fault})"
            )

    def tag_all(self, image_id: str, names: Sequence[str]) -> list[str]:
        """Put names on an image.

        Args:
            image_id: The image.
            names: The names, with or without a tag; without one they get ``latest``.

        Returns:
            For each name why the engine refused it. Empty where it has the name now.

        Raises:
            EngineUnavailable: The engine did not answer.
        """
        paths = []
        for name in names:
            path, slash, last = name.rpartition("/")
            last, _, tag = last.partition(":")
            to = urllib.parse.urlencode({"repo": f"{path}{slash}{last}", "tag": tag or "latest"})
            paths.append(f"{_quoted(image_id)}/tag?{to}")
        return self._do("POST", paths)

    def remove(self, *names: str) -> None:
        """Take names off their images, and an image with its last one. No such name is no error.

        Args:
            names: Names that the kit gave, or IDs of images that the kit made.

        Raises:
            EngineUnavailable: The engine did not do it.
        """
        faults = self._do("DELETE", [_quoted(name) for name in names], HTTPStatus.NOT_FOUND)
        for name, fault in zip(names, faults, strict=True):
            if fault:
                raise errors.EngineUnavailable(
                    f"{self.title} would not remove {name} ({fault})",
                    remedy=f"remove it by hand: docker rmi {name}",
                )

    def _do(self, method: str, paths: list[str], fine: HTTPStatus | None = None) -> list[str]:
        """Change something about images; say for each what was wrong, if anything.

        Raises:
            EngineUnavailable: The engine did not answer: it may have done it, or may do it yet.
        """
        paths = [f"/v{self._client.api_version}/images/{path}" for path in paths]
        # Podman has an image's names in one record: of two that come at a time, 4.3.1 loses one.
        at_once = 1 if self.kind == "podman" else AT_ONCE
        said = []
        for response in self._transport.requests(method, paths, at_once):
            if isinstance(response, NoAnswer):
                raise errors.EngineUnavailable(f"{self.title} did not answer ({response})")
            if response.status < HTTPStatus.MULTIPLE_CHOICES or response.status == fine:
                said.append("")
            else:
                said.append(f"{response.status}: {_said(response, _body(response))}")
        return said

    def made_by(self, run: str) -> Iterable[tuple[str, list[str]]]:
        """List the images that a run made: their IDs and the names that they still have.

        Args:
            run: The value of the label.

        Returns:
            Pairs of ID and names.
        """
        images = self._client.images(all=True, filters={"label": [f"{LABEL}={run}"]})
        return [
            (image["Id"], [tag for tag in image.get("RepoTags") or [] if "<none>" not in tag])
            for image in images
        ]


def _read(response: Response | NoAnswer) -> Answer:
    """Return what a response says about the name."""
    if isinstance(response, NoAnswer):
        return Answer(outcome="not-asked", detail=str(response))
    body = _body(response)
    said = _said(response, body)
    match response.status:
        case 200 if image_id := str(body.get("Id", "")):
            # Podman leaves the algorithm out.
            return Answer(
                outcome="found",
                image_id=image_id if ":" in image_id else f"sha256:{image_id}",
                arch=str(body.get("Architecture", "")),
            )
        # A router that knows no such path answers 404 too, but not about an image; a server that
        # is no engine may name the path, but not in JSON.
        case 404 if body and re.search(r"image", said, re.IGNORECASE):
            return Answer(outcome="absent", detail=said)
        case 400 | 500 if _NO_NAME.search(said) and not _VERSION_REFUSED.search(said):
            return Answer(outcome="refused", detail=said)
        case status:
            return Answer(outcome="not-asked", detail=f"{status}: {said}")


def _body(response: Response) -> dict[str, Any]:
    """Return the JSON object in a response, an empty one where there is none."""
    try:
        body = json.loads(response.data)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _said(response: Response, body: dict[str, Any]) -> str:
    """Return an engine's own words."""
    said = body.get("message") or body.get("cause")
    return str(said or response.data[:200].decode(errors="replace").strip())


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="/:@", errors="surrogateescape")


def _archive(arch: str, run: str) -> bytes:
    """Return a docker-archive tar of an image with no layer."""
    config = json.dumps(
        {
            "architecture": arch,
            "os": "linux",
            "config": {"Labels": {LABEL: run}},
            "rootfs": {"type": "layers", "diff_ids": []},
        }
    ).encode()
    name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = json.dumps([{"Config": name, "RepoTags": None, "Layers": []}]).encode()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for member, content in ((name, config), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


def _innermost(error: BaseException) -> str:
    """Return the first cause in words, without the layers that were wrapped around it."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(getattr(error, "strerror", None) or error)
