"""The diagnosis: each cause produced for real, told from the others, and its remedies tried."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import http.server
import json
import multiprocessing
import os
import re
import secrets
import socket
import socketserver
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker as sdk
import pytest

from kitref import diagnose, errors, linuxkit, registry
from kitref.engines import attach, private
from kitref.linuxkit import binary
from kitref.linuxkit import client as clients
from kitref.reference import parse
from kitref.registry.private import serving
from kitref.report import diagnoses as said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kitref.diagnose import Diagnosis
    from kitref.engines import Engine

pytestmark = pytest.mark.live

EXAMPLES = Path(__file__).parents[1] / "examples"
OLD, NEW = "v1.0.1", "v1.8.2"


@contextlib.contextmanager
def holding(engine: Engine, *names: str, arch: str = "") -> Iterator[str]:
    """Have an image in an engine under some names, and nothing of it afterwards."""
    maker = dataclasses.replace(engine, arch=arch) if arch else engine
    image_id = maker.load(secrets.token_hex(6))
    for name in names:
        engine.tag(image_id, name)
    try:
        yield image_id
    finally:
        for name in names:
            engine.remove(parse(name).canonical)


def setting(
    engine: Engine | errors.KitrefError,
    release: str,
    *,
    cache: Path = Path("/nonexistent"),
    ask: Callable[[str], registry.Answer] | None = None,
    **options: Any,  # noqa: ANN401 - the rest of a Setting
) -> linuxkit.Setting:
    offline = functools.partial(registry.pull, offline=True)
    return linuxkit.Setting(
        client=clients.find(release), engine=engine, cache=cache, registry=ask or offline, **options
    )


def diagnosed(text: str, how: linuxkit.Setting, **options: Any) -> Diagnosis:  # noqa: ANN401
    (found,) = diagnose.diagnose(linuxkit.alone(text), how, **options)
    return found


def code(found: Diagnosis) -> str | None:
    return found.cause.code if found.cause else None


def verified(found: Diagnosis) -> list[str]:
    return [each.command or each.what for each in found.remedies if each.verified == "live"]


# The causes, one after the other.


def test_a_name_that_is_found_has_no_cause(docker: Engine) -> None:
    with holding(docker, "a.io/found:1") as image_id:
        found = diagnosed("a.io/found:1", setting(docker, NEW))
    assert (found.path.ends, found.cause, found.remedies) == ("engine", None, ())
    assert found.path.steps[-1].image_id == image_id


def test_a_name_with_a_domain_that_the_rule_rewrote(docker: Engine) -> None:
    with holding(docker, "bastion.io/rewritten:local"):
        found = diagnosed("bastion.io/rewritten:local", setting(docker, OLD), verify=True)
        assert code(found) == "domain-rewritten"
        assert found.path.ends == "nowhere"
        assert found.cause
        evidence = "\n".join(found.cause.evidence)
        assert "docker: docker.io/bastion.io/rewritten:local: absent" in evidence
        assert "kit: bastion.io/rewritten:local: found" in evidence
        assert verified(found) == [
            "use linuxkit v1.3.0 of 2024-07-11 or later",
            "docker tag bastion.io/rewritten:local docker.io/bastion.io/rewritten:local",
        ]
        mended = diagnosed("bastion.io/rewritten:local", setting(docker, "v1.3.0"))
        assert mended.path.ends == "engine"


def test_a_tag_that_was_not_tried_says_that_a_model_did(docker: Engine) -> None:
    with holding(docker, "bastion.io/model:local"):
        found = diagnosed("bastion.io/model:local", setting(docker, OLD))
    assert [each.verified for each in found.remedies] == ["live", "model"]


def test_docker_hub_written_out_under_the_old_rule_has_another_way_to_write_it(
    docker: Engine,
) -> None:
    with holding(docker, "hubname:1"):
        found = diagnosed("docker.io/hubname:1", setting(docker, OLD))
    assert code(found) == "domain-rewritten"
    assert "hubname:1" in verified(found)


@pytest.mark.parametrize(
    "options", [pytest.param({"docker": False}, id="no-docker"), {"pull": True}], ids=str
)
def test_a_build_that_does_not_ask_docker(docker: Engine, options: dict[str, Any]) -> None:
    with holding(docker, "a.io/unasked:1"):
        found = diagnosed("a.io/unasked:1", setting(docker, NEW, **options))
        both = diagnosed("a.io/unasked:1", setting(docker, OLD, **options))
    assert code(found) == "docker-not-asked"
    assert [each.verified for each in found.remedies] == ["live"]
    assert code(both) == "docker-not-asked"
    assert both.cause
    assert diagnose.CAUSES["domain-rewritten"] in both.cause.why
    assert len(set(both.cause.evidence)) == len(both.cause.evidence)
    # The one that has to come first is first, and says that more has to follow.
    assert both.remedies[0].what.endswith(", and also as follows")
    assert verified(both)[0] == "use linuxkit v1.3.0 of 2024-07-11 or later"


def test_a_build_that_does_not_ask_docker_and_an_engine_that_is_not_there(tmp_path: Path) -> None:
    away = errors.EngineUnavailable(f"no container engine answers at unix://{tmp_path}/no.sock")
    found = diagnosed("a.io/unasked:1", setting(away, NEW, docker=False))
    assert code(found) == "no-such-image"
    assert found.cause
    assert f"whether the engine has the image ({away})" in found.cause.missing


def test_an_image_in_the_engine_of_the_context(docker: Engine, tmp_path: Path) -> None:
    away = errors.EngineUnavailable(f"no container engine answers at unix://{tmp_path}/no.sock")
    place = diagnose.Elsewhere(engine=docker, origin="docker context remote")
    with holding(docker, "a.io/there:1"):
        found = diagnosed("a.io/there:1", setting(away, NEW), elsewhere=[place])
        unasked = diagnosed("a.io/there:1", setting(away, NEW, docker=False), elsewhere=[place])
        old = diagnosed("a.io/there:1", setting(away, OLD), elsewhere=[place])
        how = setting(away, OLD, docker=False)
        unasked_old = diagnosed("a.io/there:1", how, elsewhere=[place])
    assert code(found) == "other-engine"
    assert verified(found) == [f"export DOCKER_HOST={docker.url}"]
    assert code(unasked) == "docker-not-asked"
    assert unasked.cause
    assert diagnose.CAUSES["other-engine"] in unasked.cause.why
    assert verified(unasked) == [f"export DOCKER_HOST={docker.url}"]
    # There, the old rule asks for another name: the engine alone mends nothing.
    assert old.cause
    assert f"; and there, {diagnose.CAUSES['domain-rewritten']}: " in old.cause.why
    assert unasked_old.cause
    for second in ("other-engine", "domain-rewritten"):
        assert diagnose.CAUSES[second] in unasked_old.cause.why
    assert (old.remedies[0].command, old.remedies[0].verified) == (
        f"export DOCKER_HOST={docker.url}",
        "no",
    )
    assert verified(old) == ["use linuxkit v1.3.0 of 2024-07-11 or later"]


def test_an_engine_of_the_context_that_gives_no_answer(docker: Engine) -> None:
    silent = diagnose.Elsewhere(
        engine=errors.EngineUnavailable("no container engine answers at tcp://far:1"),
        origin="docker context far",
    )
    found = diagnosed("a.io/far:1", setting(docker, NEW), elsewhere=[silent])
    assert code(found) == "no-such-image"
    assert found.cause
    assert found.cause.missing.startswith(
        "whether the engine of the docker context far has the image (no container engine answers"
    )


def test_a_nested_hub_name(docker: Engine) -> None:
    found = diagnosed("foo/bar/baz:1", setting(docker, OLD))
    assert code(found) == "nested-hub-name"
    assert found.cause
    # Go's registry library takes no first part without '.' or ':' for a host.
    assert "to containerd's parser a pull goes to foo" in found.cause.why
    assert "the registry library of this release asks index.docker.io" in found.cause.why
    assert found.cause.missing == "whether a registry has it (offline: no registry is asked)"
    assert (found.remedies[0].command, found.remedies[0].verified) == (
        "docker.io/foo/bar/baz:1",
        "no",
    )
    with holding(docker, "foo/bar/baz:1"):
        assert diagnosed("foo/bar/baz:1", setting(docker, OLD)).cause is None


def test_a_nested_hub_name_that_the_hub_answered_for(docker: Engine) -> None:
    with _registry("basic") as server:
        ask = functools.partial(registry.pull, host_map=server.host_map(), ca=server.ca)
        found = diagnosed("foo/bar/baz:1", setting(docker, OLD, ask=_offline(ask)))
    assert code(found) == "registry-login"
    assert found.cause
    assert "with docker.io/ in front of the name or without" in found.cause.why


def test_a_port_that_was_taken_for_a_tag(docker: Engine, tmp_path: Path) -> None:
    name = "localhost:5000/ported"
    _cached(tmp_path, f"{name}:latest", "amd64")
    found = diagnosed(name, setting(docker, NEW, cache=tmp_path))
    assert code(found) == "port-taken-for-tag"
    (remedy,) = found.remedies
    assert (remedy.command, remedy.verified) == (f"{name}:latest", "live")
    assert remedy.proof == f"cache: {name}:latest: found"
    # The fixed rule adds the tag.
    fixed = setting(docker, NEW, cache=tmp_path)
    fixed = dataclasses.replace(fixed, client=clients.of_rule("fixed"))
    assert code(diagnosed(name, fixed)) != "port-taken-for-tag"


def test_an_engine_that_refuses_the_api_version() -> None:
    spec = private.choose("private", "containerd")
    try:
        running = private.running(spec, variables={"DOCKER_MIN_API_VERSION": "1.44"})
        with running as engine, holding(engine, "old-client:1"):
            if engine.min_api_version != "1.44":
                pytest.skip(f"{engine.title} {engine.version} knows no DOCKER_MIN_API_VERSION")
            found = diagnosed("old-client:1", setting(engine, "nitro-cli@1.3.1"))
            helped = setting(engine, "nitro-cli@1.3.1", api_version="1.44")
            ends = diagnosed("old-client:1", helped).path.ends
            newest = diagnosed("old-client:1", setting(engine, NEW)).path.ends
            rows = diagnose.bisect(linuxkit.alone("old-client:1"), setting(engine, NEW))
    except errors.EngineUnavailable as error:
        pytest.skip(str(error))
    assert code(found) == "api-version-refused"
    assert found.cause
    assert "client version 1.41 is too old" in found.cause.evidence[0]
    assert found.cause.evidence[1].startswith("kit: old-client:1: found")
    # Nothing is lost where nothing was asked.
    assert [row.release.version for row in rows if row.not_asked] == [
        "v0.8", "v0.8.1", "v1.0.0", "v1.0.1", "v1.2.0",
    ]  # fmt: skip
    assert [(row.release.version, row.gained, row.lost) for row in rows if row.flips] == [
        ("v1.3.0", ("old-client:1",), ())
    ]
    assert verified(found) == [
        "export DOCKER_API_VERSION=1.44",
        "use nitro-cli v1.3.3 of 2024-09-05 or later",
    ]
    assert (ends, newest) == ("engine", "engine")


def test_an_image_of_another_architecture(docker: Engine) -> None:
    with holding(docker, "a.io/arched:1", arch="arm64"):
        found = diagnosed("a.io/arched:1", setting(docker, NEW, arch="amd64"))
        same = diagnosed("a.io/arched:1", setting(docker, NEW, arch="arm64"))
        unchecked = diagnosed("a.io/arched:1", setting(docker, "v1.5.1", arch="amd64"))
    assert code(found) == "architecture-differs"
    assert verified(found) == ["linuxkit build --arch arm64 ..."]
    assert (same.path.ends, unchecked.path.ends) == ("engine", "engine")


@pytest.mark.parametrize(
    ("there", "wanted", "expected"),
    [
        pytest.param("a.io/alike:2", "a.io/alike:1", "other-tag", id="tag"),
        pytest.param("a.io/alike:1", "b.io/alike:1", "other-domain", id="domain"),
        pytest.param("alike:1", "b.io/alike:1", "other-domain", id="hub-official"),
        pytest.param("a.io/alike:1", "A.IO/alike:1", "other-case", id="case-of-domain"),
        pytest.param("a.io/alike:RC", "a.io/alike:rc", "other-case", id="case-of-tag"),
    ],
)
def test_an_image_under_another_name(
    docker: Engine, there: str, wanted: str, expected: str
) -> None:
    with holding(docker, there):
        found = diagnosed(wanted, setting(docker, NEW))
    assert code(found) == expected
    assert found.cause
    assert found.cause.evidence[1].startswith(f"kit: {wanted}: ")
    assert (found.remedies[0].command, found.remedies[0].verified) == (there, "live")
    assert (found.remedies[1].command, found.remedies[1].verified) == (
        f"docker tag {there} {wanted}",
        "model",
    )


@pytest.mark.parametrize(
    ("there", "wanted", "tag"),
    [
        pytest.param("localhost/bar:x", "localhost/bar", "docker.io/localhost/bar", id="tag"),
        # There is no name that this rule would ask for.
        pytest.param("bastion.io/upper:1", "Bastion.io/upper:1", None, id="case"),
    ],
)
def test_an_image_under_another_name_that_the_old_rule_rewrites_too(
    docker: Engine, there: str, wanted: str, tag: str | None
) -> None:
    with holding(docker, there):
        found = diagnosed(wanted, setting(docker, OLD))
        verify = diagnosed(wanted, setting(docker, OLD), verify=True)
    write = f"write {there} in the file, and use linuxkit v1.3.0 of 2024-07-11 or later: "
    assert found.remedies[0].what.startswith(write)
    assert found.remedies[0].verified == "live"
    tags = [] if tag is None else [f"docker tag {there} {tag}"]
    assert [each.command for each in found.remedies[1:]] == tags
    assert verified(verify) == [there, *tags]


def test_a_registry_may_have_what_the_engine_has_under_another_tag(docker: Engine) -> None:
    with _registry("none") as server, holding(docker, "public/app:0"):
        server.push_tiny("public/app", "1", "amd64")
        ask = _offline(functools.partial(registry.pull, host_map=server.host_map(), ca=server.ca))
        found = diagnosed("public/app:1", setting(docker, NEW, ask=ask))
    assert (found.path.ends, found.cause) == ("registry", None)


@pytest.mark.parametrize("text", ["UPPER", "a.io/foo:", "a b", ""])
def test_a_name_that_is_none(docker: Engine, text: str) -> None:
    found = diagnosed(text, setting(docker, OLD))
    assert code(found) == "invalid-name"
    with holding(docker, "upper:latest"):
        lower = diagnosed("UPPER", setting(docker, NEW))
    assert lower.remedies[0].command == "upper"
    assert lower.remedies[0].verified == "live"


def test_an_engine_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(errors.EngineUnavailable) as away:
        attach.connect(f"unix://{tmp_path}/none.sock")
    found = diagnosed("a.io/b:1", setting(away.value, NEW))
    assert code(found) == "engine-unreachable"
    assert found.cause
    assert found.cause.missing == "whether the engine has the image"


def test_an_engine_that_may_not_be_asked(docker: Engine) -> None:
    path = Path(docker.url.removeprefix("unix://"))
    if os.getuid():
        mode = path.stat().st_mode
        path.chmod(0)
        try:
            refused = _refused(docker.url, os.getuid())
        finally:
            path.chmod(mode)
    else:
        with multiprocessing.get_context("fork").Pool(1) as pool:
            refused = pool.apply(_refused, (docker.url, 65534))
    found = diagnosed("a.io/b:1", setting(errors.EngineUnavailable(refused), NEW))
    assert code(found) == "permission-denied"


@pytest.mark.parametrize(
    ("status", "cause", "why"),
    [
        pytest.param(403, "permission-denied", "does not let this user ask", id="authorization"),
        pytest.param(503, "engine-unreachable", "gave no answer about the name", id="overloaded"),
    ],
)
def test_an_engine_that_answers_and_not_about_the_name(
    docker: Engine, tmp_path: Path, status: int, cause: str, why: str
) -> None:
    with _before(docker, tmp_path, status) as url, contextlib.closing(attach.connect(url)) as live:
        found = diagnosed("a.io/b:1", setting(live, NEW))
    assert code(found) == cause
    assert found.cause
    assert why in found.cause.why
    assert f"{status}: said before it came to the engine" in found.cause.evidence[0]


@contextlib.contextmanager
def _before(engine: Engine, folder: Path, status: int) -> Iterator[str]:
    """Stand before an engine as an authorization plugin or a proxy does, and answer for images."""

    class Relay(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if "/images/" in self.path:
                code, content = status, b'{"message": "said before it came to the engine"}'
            else:
                with contextlib.closing(sdk.APIClient(base_url=engine.url)) as client:
                    reply = client.get(f"{client.base_url}{self.path}")
                code, content = reply.status_code, reply.content
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def address_string(self) -> str:
            return "unix"  # where a client has no address

        def log_message(self, *_: object) -> None:
            pass

    path = str(folder / "relay.sock")
    with socketserver.ThreadingUnixStreamServer(path, Relay) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"unix://{path}"
        server.shutdown()


def _refused(url: str, user: int) -> str:
    """Return what a user hears who may not speak to an engine."""
    if os.getuid() != user:
        os.setuid(user)
    try:
        attach.connect(url)
    except errors.EngineUnavailable as error:
        return error.what
    return "was let in"


def test_a_registry_that_needs_a_login(docker: Engine) -> None:
    with _registry("basic") as server:
        ask = functools.partial(registry.pull, host_map=server.host_map(), ca=server.ca)
        found = diagnosed("private/app:1", setting(docker, NEW, ask=_offline(ask)))
    assert code(found) == "registry-login"
    assert found.remedies[0].command == "docker login"


def test_a_registry_that_has_it_and_one_that_has_not(docker: Engine) -> None:
    with _registry("none") as server:
        server.push_tiny("public/app", "1", "amd64")
        ask = _offline(functools.partial(registry.pull, host_map=server.host_map(), ca=server.ca))
        there = diagnosed("public/app:1", setting(docker, NEW, ask=ask))
        absent = diagnosed("public/app:2", setting(docker, NEW, ask=ask))
    assert (there.path.ends, there.cause) == ("registry", None)
    assert code(absent) == "no-such-image"
    assert absent.cause
    assert not absent.cause.missing


def test_a_registry_that_cannot_be_reached(docker: Engine) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    ask = _offline(functools.partial(registry.pull, host_map={"a.io": f"127.0.0.1:{port}"}))
    assert code(diagnosed("a.io/far:1", setting(docker, NEW, ask=ask))) == "registry-unreachable"


def test_offline_nobody_knows_whether_a_registry_has_it(docker: Engine) -> None:
    found = diagnosed("a.io/nowhere:1", setting(docker, NEW))
    assert code(found) == "no-such-image"
    assert found.cause
    assert found.cause.missing == "whether a registry has it (offline: no registry is asked)"


@pytest.mark.parametrize(
    ("text", "release", "commands"),
    [
        pytest.param(
            "a.io/no:1", NEW, ["docker build -t a.io/no:1 ...", "docker pull a.io/no:1"], id="new"
        ),
        # Under the name that the user wrote the old rule would not find it.
        pytest.param("a.io/no:1", OLD, ["docker build -t docker.io/a.io/no:1 ..."], id="old"),
        pytest.param("A.io/no:1", OLD, [], id="none-that-the-old-rule-asks-for"),
    ],
)
def test_an_image_that_is_nowhere_is_to_be_made_under_a_name_that_is_found(
    docker: Engine, text: str, release: str, commands: list[str]
) -> None:
    found = diagnosed(text, setting(docker, release))
    assert code(found) == "no-such-image"
    assert [each.command for each in found.remedies] == commands
    assert [each.verified for each in found.remedies][:1] == ["model"][: len(commands)]


@pytest.mark.parametrize("kind", ["graph", "podman"])
def test_the_stores_differ(kind: str) -> None:
    """What a containerd store answers is above; a graph store forgives, Podman does not."""
    try:
        with (
            private.running(private.choose("private", kind)) as engine,
            holding(engine, "bastion.io/forgiven:1"),
        ):
            found = diagnosed("bastion.io/forgiven:1", setting(engine, OLD), verify=True)
    except errors.EngineUnavailable as error:
        pytest.skip(str(error))
    assert code(found) == (None if kind == "graph" else "domain-rewritten")
    if kind == "podman":
        assert "use linuxkit v1.3.0 of 2024-07-11 or later" in verified(found)
        assert len(verified(found)) == 2


# A whole build.


def test_a_name_is_asked_for_once_and_reported_at_each_place(
    docker: Engine, tmp_path: Path
) -> None:
    file = tmp_path / "build.yml"
    images = [f"a.io/many{number % 300}:1" for number in range(1000)]
    file.write_text(json.dumps({"init": images}, indent=1))
    asked: list[int] = []
    with holding(docker, "a.io/many7:1"):
        found = diagnose.diagnose(
            linuxkit.load([file]), setting(docker, NEW), report=lambda _, of: asked.append(of)
        )
    assert asked == [300] * 300
    assert [each.name.line for each in found] == list(range(3, 1003))
    ends = [each.path.ends for each in found]
    assert [n for n, end in enumerate(ends) if end == "engine"] == [7, 307, 607, 907]


def test_bisect_shows_where_it_flips(docker: Engine) -> None:
    with holding(docker, "bastion.io/bisected:1"):
        rows = diagnose.bisect(linuxkit.alone("bastion.io/bisected:1"), setting(docker, NEW))
    flips = [(row.release.version, row.found) for row in rows if row.flips]
    assert flips == [("v0.8", 0), ("v1.3.0", 1)]
    assert rows[0].found == 1


def test_bisect_tells_one_name_from_another(
    docker: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "build.yml"
    file.write_text("init: [bastion.io/here:1, bastion.io/there:1]\n")
    with holding(docker, "bastion.io/here:1", "docker.io/bastion.io/there:1"):
        rows = diagnose.bisect(linuxkit.load([file]), setting(docker, NEW))
    assert {row.found for row in rows} == {1}
    assert [(row.release.version, row.gained, row.lost) for row in rows if row.flips] == [
        ("v0.8", ("bastion.io/there:1",), ("bastion.io/here:1",)),
        ("v1.3.0", ("bastion.io/here:1",), ("bastion.io/there:1",)),
    ]
    said.show_rows(rows)
    line = next(each for each in capsys.readouterr().out.splitlines() if each.startswith("v0.8 "))
    assert line.endswith("1 of 2  <- 1 found from here on, 1 lost")


@pytest.mark.parametrize(
    ("example", "name", "minimum", "cause"),
    [
        pytest.param("nitro-629", "bastion.io/alpine:latest", "", "domain-rewritten", id="629"),
        pytest.param("nitro-746", "app:latest", "1.44", "api-version-refused", id="746"),
    ],
)
def test_the_two_public_reports(example: str, name: str, minimum: str, cause: str) -> None:
    folder = EXAMPLES / example
    variables = {"DOCKER_MIN_API_VERSION": minimum} if minimum else {}
    store = "graph" if minimum else "containerd"
    try:
        running = private.running(private.choose("docker-sid", store), variables=variables)
        with running as engine, holding(engine, name) as image_id:
            how = setting(engine, "nitro-cli@1.3.1")
            found = diagnose.diagnose(linuxkit.load([folder / "build.yml"]), how)
            page = said.as_json(found, how)
            version = engine.version
    except errors.KitrefError as error:
        pytest.skip(str(error))
    assert [code(each) for each in found] == [cause]
    kept = json.loads((folder / "diagnosis.json").read_text())
    text = page.replace(image_id, "sha256:...").replace(version, "VERSION")
    text = text.replace(str(folder), "FOLDER")
    assert _without_ids(json.loads(text)) == _without_ids(kept)


def _without_ids(record: dict[str, Any]) -> dict[str, Any]:
    for name in record["names"]:
        name["file"] = Path(name["file"]).name
    return record


# The command.


def _kitref(
    *arguments: str, folder: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("DOCKER_")}
    return subprocess.run(
        [sys.executable, "-m", "kitref", *arguments],
        check=False, capture_output=True, text=True, timeout=120, env=kept | variables, cwd=folder,
    )  # fmt: skip


def test_the_command_writes_as_a_compiler_does(docker: Engine, tmp_path: Path) -> None:
    file = tmp_path / "build.yml"
    file.write_text("init:\n  - bastion.io/written:latest\n  - bastion.io/x/y:1\n")
    arguments = ["diagnose", str(file), "--engine", docker.url, "--offline", "--linuxkit", OLD]
    with holding(docker, "bastion.io/written:latest", "bastion.io/x/y:1"):
        run = _kitref(*arguments, "--docker")
        as_json = json.loads(_kitref(*arguments, "--docker", "--json").stdout)
        sarif = json.loads(_kitref(*arguments, "--docker", "--sarif").stdout)
        good = _kitref(*arguments[:-1], NEW, "--docker")
    assert run.returncode == 1
    lines = run.stdout.splitlines()
    assert lines[0].startswith(f"{file}:2:5: bastion.io/written:latest: ")
    assert lines[1:3] == ["      - bastion.io/written:latest", " " * 8 + "^" * 25]
    assert "\x1b" not in run.stdout
    assert [each["ends"] for each in as_json["names"]] == ["nowhere", "engine"]
    (result,) = sarif["runs"][0]["results"]
    assert result["ruleId"] == "domain-rewritten"
    assert result["locations"][0]["physicalLocation"]["region"] == {
        "startLine": 2, "startColumn": 5, "endLine": 2, "endColumn": 30,
    }  # fmt: skip
    assert (good.returncode, good.stderr.count("Traceback")) == (0, 0)


def test_the_readme_shows_what_the_command_prints(docker: Engine, tmp_path: Path) -> None:
    readme = (EXAMPLES.parent / "README.md").read_text("utf-8")
    command, _, shown = (
        readme.partition("$ kitref diagnose ")[2].partition("```")[0].partition("\n")
    )
    (tmp_path / "build.yml").write_text("init:\n  - bastion.io/alpine:latest\n")
    with holding(docker, "bastion.io/alpine:latest"):
        run = _kitref("diagnose", *command.split(), folder=tmp_path, DOCKER_HOST=docker.url)
    # The engine's version and the image's ID are those of one day.
    kept = re.sub(r"28\.5\.2\.\.\.|70fc8d93\.\.\.", "...", shown)
    assert re.fullmatch(re.escape(kept).replace(re.escape("..."), r"[^ ),]*"), run.stdout)


def test_the_command_finds_the_engine_of_the_docker_context(docker: Engine, tmp_path: Path) -> None:
    config = tmp_path / "docker"
    meta = config / "contexts" / "meta" / hashlib.sha256(b"far").hexdigest()
    meta.mkdir(parents=True)
    endpoint = {"docker": {"Host": docker.url, "SkipTLSVerify": False}}
    (meta / "meta.json").write_text(
        json.dumps({"Name": "far", "Metadata": {}, "Endpoints": endpoint})
    )
    (config / "config.json").write_text(json.dumps({"currentContext": "far"}))
    if Path("/var/run/docker.sock").exists():
        pytest.skip("this machine has an engine at the default socket")
    with holding(docker, "a.io/context:1"):
        run = _kitref(
            "diagnose", "--image", "a.io/context:1", "--docker", "--offline", "--json",
            DOCKER_CONFIG=str(config), HOME=str(tmp_path),
        )  # fmt: skip
        named = _kitref(
            "diagnose", "--image", "a.io/context:1", "--offline", "--json",
            DOCKER_CONFIG=str(config), HOME=str(tmp_path), DOCKER_CONTEXT="none",
        )  # fmt: skip
    (name,) = json.loads(run.stdout)["names"]
    assert name["cause"]["code"] == "other-engine"
    (name,) = json.loads(named.stdout)["names"]
    assert "DOCKER_CONTEXT is 'none', and there is no such context" in name["cause"]["missing"]


@pytest.mark.parametrize(
    ("host", "said"),
    [
        pytest.param("fd://", "'fd://' is no engine's address", id="no-address"),
        pytest.param("unix:///nowhere.sock", "answers at unix:///nowhere.sock", id="nobody"),
    ],
)
def test_what_docker_host_is_gets_a_diagnosis(host: str, said: str) -> None:
    run = _kitref("diagnose", "--image", "a", "--docker", "--offline", "--json", DOCKER_HOST=host)
    (name,) = json.loads(run.stdout)["names"]
    assert (run.returncode, name["cause"]["code"]) == (1, "engine-unreachable")
    assert said in name["cause"]["evidence"][0]


def test_a_configuration_of_docker_that_is_none_is_told(docker: Engine, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[]")
    run = _kitref(
        "diagnose", "--image", "a", "--offline", "--engine", docker.url, DOCKER_CONFIG=str(tmp_path)
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert "Docker's configuration is none that its client can read" in run.stderr


def test_every_output_shows_the_host_map(docker: Engine) -> None:
    hosts = {"a.io": "127.0.0.1:1", "b.io": "127.0.0.1:2"}
    how = linuxkit.setting(clients.find(NEW), docker, host_map=hosts)
    found = [diagnosed("a b", how)]
    assert said.summary(found, how) == (
        "linuxkit@v1.8.2, 1 name: none found; 1 not as it should be"
        "; a.io mapped to 127.0.0.1:1; b.io mapped to 127.0.0.1:2"
    )
    assert json.loads(said.as_json(found, how))["host_map"] == hosts
    (run,) = json.loads(said.as_sarif(found, how))["runs"]
    assert run["properties"]["hostMap"] == hosts


def test_sarif_tells_what_linuxkit_passes_over_and_where_a_real_one_differs(
    docker: Engine, tmp_path: Path
) -> None:
    file = tmp_path / os.fsdecode(b"\xff.yml")
    file.write_text('init: [&x "a.io/quoted:1"]\n---\n')
    how = setting(docker, NEW)
    build = linuxkit.load([file])
    (name,) = (each.text for each in build.names)
    seen = binary.Seen(asked="docker.io/a.io/quoted:1", ends="registry", said=("docker pull",))
    check = binary.Check(version="v0", predicted=linuxkit.follow([name], how), seen={name: seen})
    found = diagnose.diagnose(build, how)
    (run,) = json.loads(said.as_sarif(found, how, build.notes, check))["runs"]
    told = run["invocations"][0]["toolExecutionNotifications"]
    assert [each["level"] for each in told] == ["note", "warning"]
    assert "LinuxKit reads the first document" in told[0]["message"]["text"]
    assert "seen docker.io/a.io/quoted:1, which ends at registry" in told[1]["message"]["text"]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"].endswith("/%FF.yml")
    assert place["region"] == {"startLine": 1, "startColumn": 8, "endLine": 1, "endColumn": 26}


def test_a_terminal_shows_everything_once_and_obeys_nothing(
    docker: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "\x1b[31m.yml"
    file.write_text('init: [&x "a\\nb"  ]\n')
    build, how = linuxkit.load([file]), setting(docker, NEW)
    said.show(diagnose.diagnose(build, how), how, build.notes)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(rf"{tmp_path}/\x1b[31m.yml:1:8: a\nb: ")
    # The anchor and the quotes are the name's, as the file has it.
    assert lines[1:3] == [r'    init: [&x "a\\nb"  ]', " " * 11 + "^" * 10]
    evidence = [line for line in lines if line.startswith("  evidence: ")]
    assert any(r"a\nb" in line for line in evidence)
    assert not any(r"a\\nb" in line for line in evidence)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "complaint"),
    [
        pytest.param([], 2, "name a file", id="nothing"),
        pytest.param(["a", "--image", "b"], 2, "name a file", id="both"),
        pytest.param(["/nowhere.yml"], 2, "/nowhere.yml: cannot be read", id="no-file"),
        pytest.param(["--image", "a", "--linuxkit", "v9"], 2, "no linuxkit release", id="release"),
        pytest.param(["--image", "a", "--host-map", "x"], 2, "HOST=ADDRESS", id="host-map"),
        pytest.param(["--image", "a", "--ca", "/nowhere.pem"], 2, "/nowhere.pem", id="no-ca"),
        pytest.param(["--image", "a", "--engine", "fd://"], 2, "no engine's address", id="engine"),
        pytest.param(["--image", "a", "--arch", "x86_64"], 2, "write amd64", id="architecture"),
        pytest.param(["--image", "a", "--rule", "fixed", "--linuxkit", "v1.0.1"], 2, "one of",
                     id="two-rules"),
    ],
)  # fmt: skip
def test_wrong_usage_is_told(arguments: list[str], exit_code: int, complaint: str) -> None:
    run = _kitref("diagnose", *arguments)
    assert run.returncode == exit_code
    assert complaint in run.stderr
    assert "Traceback" not in run.stderr


def test_it_changes_nothing_and_reads_only_what_it_is_to_read(
    docker: Engine, tmp_path: Path
) -> None:
    file, home = tmp_path / "build.yml", tmp_path / "home"
    file.write_text("init:\n  - bastion.io/kept:latest\n  - no/such:1\n  - UPPER\n")
    (home / ".docker").mkdir(parents=True)
    helper = home / "docker-credential-spy"
    helper.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\n")
    helper.chmod(0o755)
    (home / ".docker" / "config.json").write_text('{"credsStore": "spy"}')
    spy = (
        "import sys\n"
        "sys.addaudithook(lambda e, a: print(e, a[0], file=sys.__stderr__)"
        " if e in ('open', 'subprocess.Popen') and isinstance(a[0], str) else None)\n"
        "from kitref.cli import main\n"
        f"main(['diagnose', '--docker', '--offline', '--linuxkit', 'v1.0.1', '--engine',"
        f" {docker.url!r}, {str(file)!r}])"
    )
    with holding(docker, "bastion.io/kept:latest"):
        before = _state(docker)
        run = subprocess.run(
            [sys.executable, "-c", spy], check=False, capture_output=True, text=True, timeout=120,
            env=os.environ | {"HOME": str(home), "PATH": f"{home}:{os.environ['PATH']}"},
        )  # fmt: skip
        after = _state(docker)
    assert run.returncode == 1, run.stderr
    assert "domain-rewritten" in run.stdout
    assert before == after
    assert not (tmp_path / "asked").exists()
    opened = [line.partition(" ")[2] for line in run.stderr.splitlines() if line[:5] == "open "]
    own = {path for path in opened if path.startswith(str(tmp_path))}
    assert own <= {
        str(file), str(home / ".docker" / "config.json"), f"{home}/.docker/contexts",
    }  # fmt: skip
    assert not [line for line in run.stderr.splitlines() if line.startswith("subprocess.Popen")]


def _state(engine: Engine) -> str:
    with contextlib.closing(sdk.APIClient(base_url=engine.url, version="auto")) as client:
        parts = (
            client.images(all=True),
            client.containers(all=True),
            client.volumes()["Volumes"] or [],
            client.networks(),
        )
        return json.dumps([sorted(map(json.dumps, part)) for part in parts])


def _offline(pull: functools.partial[registry.Answer]) -> functools.partial[registry.Answer]:
    return functools.partial(pull, offline=True)


@contextlib.contextmanager
def _registry(auth: str) -> Iterator[Any]:
    try:
        with serving(auth) as server:  # type: ignore[arg-type]
            yield server
    except errors.EngineUnavailable as error:
        pytest.skip(str(error))


def _cached(folder: Path, name: str, arch: str) -> None:
    """Write a cache with one name."""

    def blob(content: object) -> str:
        text = json.dumps(content).encode()
        digest = hashlib.sha256(text).hexdigest()
        path = folder / "blobs" / "sha256" / digest
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
        return f"sha256:{digest}"

    config = blob({"architecture": arch, "os": "linux"})
    manifest = blob({"schemaVersion": 2, "config": {"digest": config}, "layers": []})
    described = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": manifest,
        "annotations": {"org.opencontainers.image.ref.name": name},
    }  # fmt: skip
    index = {"schemaVersion": 2, "manifests": [described]}
    (folder / "index.json").write_text(json.dumps(index))
