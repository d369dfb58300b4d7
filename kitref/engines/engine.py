"""One live engine: what it is, a tiny image in it, and the question whether it knows a name.

Questions go through the Engine API's image inspect (``GET /images/NAME/json``) with the raw
name: the docker command line rewrites names before it sends them, so it cannot be used to probe.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import io
import json
import re
import tarfile
import urllib.parse
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, Self

import docker

from kitref import errors
from kitref.engines.transport import NO_ANSWER, Transport

if TYPE_CHECKING:
    from collections.abc import Iterable

    import urllib3
    from docker.tls import TLSConfig

    from kitref.rules import Expansion

Kind = Literal["docker", "podman"]
Store = Literal["graph", "containerd", "podman"]
Outcome = Literal["found", "absent", "refused", "not-asked"]

LABEL = "io.kitref.run"
"""The label on every image that the kit makes; its value is the run that made it."""

_TIMEOUT = 30  # seconds for one answer of an engine
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
            url: ``unix://``, ``tcp://``, ``http(s)://``, ``npipe://`` or ``ssh://``.
            name: What to call it.
            source: Where it comes from, for reports.
            private: Whether the kit started it.
            tls: The client's certificates, where the address needs them.

        Returns:
            The engine; close it with `close`.

        Raises:
            EngineUnavailable: Nothing that speaks the Engine API answers there.
            UsageError: Docker's configuration cannot be read.
        """
        if url.startswith("ssh://") and importlib.util.find_spec("paramiko") is None:
            raise errors.EngineUnavailable(
                f"{url} is reached by a package that is not there (paramiko)",
                remedy="pip install paramiko",
            )
        try:
            client = docker.APIClient(
                base_url=url, version="auto", timeout=_TIMEOUT, tls=tls or False
            )
            version, info = client.version(), client.info()
        except (docker.errors.DockerException, *NO_ANSWER) as error:
            raise errors.EngineUnavailable(
                f"no container engine answers at {url} ({_innermost(error)})",
                remedy="start it, check the address, or leave --engine out for a private one",
            ) from error
        except (AttributeError, TypeError) as error:  # the client takes its form for granted
            raise errors.UsageError(
                f"Docker's configuration is none that its client can read ({error})",
                remedy="mend config.json in ~/.docker or DOCKER_CONFIG",
            ) from error
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
            _transport=Transport(client, _TIMEOUT),
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(self, name: str, *, api_version: str = "") -> Answer:
        """Ask for an image by its raw name.

        Args:
            name: Any text; it is sent as it is, percent-encoded.
            api_version: The Engine API version to ask in; by default the engine's highest. An
                engine that refuses it was `not-asked`, and says so.

        Returns:
            The engine's answer. A redirect is none: the engine's router cleans paths such as
            ``a//b`` before anything looks at the name, so the question was not asked.
        """
        path = _quoted(name)
        version = api_version or self._client.api_version
        try:
            response = self._transport.request("GET", f"/v{version}/images/{path}/json")
        except NO_ANSWER as error:
            return Answer(outcome="not-asked", detail=_innermost(error))
        return _read(response)

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
        except (docker.errors.DockerException, *NO_ANSWER) as error:
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
        except (docker.errors.DockerException, *NO_ANSWER) as error:
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
        """Put a name on an image.

        Args:
            image_id: The image.
            name: The name, with or without a tag; without one it gets ``latest``.

        Raises:
            EngineUnavailable: The engine did not do it, or refused the name.
        """
        path, slash, last = name.rpartition("/")
        last, _, tag = last.partition(":")
        to = urllib.parse.urlencode({"repo": f"{path}{slash}{last}", "tag": tag or "latest"})
        self._do("POST", f"{_quoted(image_id)}/tag?{to}", f"would not tag an image as {name}")

    def remove(self, name: str) -> None:
        """Take a name off its image, and the image with its last name. Nothing there is no error.

        Args:
            name: A name that the kit gave, or the ID of an image that the kit made.

        Raises:
            EngineUnavailable: The engine did not do it.
        """
        remedy = f"remove it by hand: docker rmi {name}"
        self._do("DELETE", _quoted(name), f"would not remove {name}", remedy, HTTPStatus.NOT_FOUND)

    def _do(
        self, method: str, path: str, failing: str, remedy: str = "", fine: HTTPStatus | None = None
    ) -> None:
        """Change something about an image, or say what failed."""
        try:
            response = self._transport.request(
                method, f"/v{self._client.api_version}/images/{path}"
            )
        except NO_ANSWER as error:
            reason = _innermost(error)
        else:
            if response.status < HTTPStatus.MULTIPLE_CHOICES or response.status == fine:
                return
            reason = f"{response.status}: {_said(response, _body(response))}"
        raise errors.EngineUnavailable(f"{self.title} {failing} ({reason})", remedy=remedy)

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


def _read(response: urllib3.BaseHTTPResponse) -> Answer:
    """Return what a response says about the name."""
    body = _body(response)
    said = _said(response, body)
    match response.status:
        case 200:
            image_id = str(body.get("Id", ""))
            # Podman leaves the algorithm out.
            return Answer(
                outcome="found",
                image_id=image_id if ":" in image_id else f"sha256:{image_id}",
                arch=str(body.get("Architecture", "")),
            )
        # A router that knows no such path answers 404 too, but not about an image.
        case 404 if re.search(r"image", said, re.IGNORECASE):
            return Answer(outcome="absent", detail=said)
        case 400 | 500 if _NO_NAME.search(said) and not _VERSION_REFUSED.search(said):
            return Answer(outcome="refused", detail=said)
        case status:
            return Answer(outcome="not-asked", detail=f"{status}: {said}")


def _body(response: urllib3.BaseHTTPResponse) -> dict[str, Any]:
    """Return the JSON object in a response, an empty one where there is none."""
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _said(response: urllib3.BaseHTTPResponse, body: dict[str, Any]) -> str:
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
