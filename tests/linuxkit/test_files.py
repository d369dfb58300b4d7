"""LinuxKit's files: every name with its place, and an error with its place for what is none."""

from __future__ import annotations

import importlib
import json
import os
import threading
import time
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from kitref import errors, linuxkit
from kitref.linuxkit import files, find

Validator = importlib.import_module("jsonschema").Draft202012Validator
SCHEMA = json.loads((resources.files("kitref") / "data" / "linuxkit.schema.json").read_bytes())


def write(folder: Path, text: str | bytes, name: str = "build.yml") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def load(
    folder: Path, *texts: str | bytes, client: linuxkit.Client | None = None
) -> linuxkit.Build:
    paths = [write(folder, text, f"{number}.yml") for number, text in enumerate(texts)]
    return linuxkit.load(paths, client)


def found(build: linuxkit.Build) -> list[tuple[str, str, str]]:
    return [
        (name.text, name.section, f"{Path(name.file).name}:{name.line}:{name.column}")
        for name in build.names
    ]


def said(folder: Path, *texts: str | bytes, client: linuxkit.Client | None = None) -> str:
    with pytest.raises(errors.BuildFileError) as caught:
        load(folder, *texts, client=client)
    return str(caught.value).replace(f"{folder}/", "")


WHOLE = """\
services:
  - name: web
    image: "nginx:1"
files:
  - path: a
kernel:
  image: linuxkit/kernel:6
  cmdline: "console=ttyS0"
onboot:
  - {name: x, image: 'foo/x'}
volumes:
  - name: vol
    image: vol/image
  - name: empty
init:
  - linuxkit/init:1
  - bastion.io/foo:local
onshutdown:
  - name: bye
    image: >-
      busybox
"""


def test_every_name_in_the_order_that_linuxkit_has(tmp_path: Path) -> None:
    build = load(tmp_path, WHOLE)
    assert found(build) == [
        ("linuxkit/kernel:6", "kernel", "0.yml:7:10"),
        ("linuxkit/init:1", "init", "0.yml:16:5"),
        ("bastion.io/foo:local", "init", "0.yml:17:5"),
        ("vol/image", "volumes", "0.yml:13:12"),
        ("foo/x", "onboot", "0.yml:10:22"),
        ("busybox", "onshutdown", "0.yml:20:12"),
        ("nginx:1", "services", "0.yml:3:12"),
    ]
    assert build.names[2].source == "  - bastion.io/foo:local"
    assert build.names[2].place == f"{tmp_path}/0.yml:17:5"


def test_files_are_merged_the_last_kernel_counts(tmp_path: Path) -> None:
    build = load(
        tmp_path,
        "kernel: {image: k1}\ninit: [a]\n",
        "kernel: {cmdline: quiet}\nservices: [{name: s, image: c}]\ninit: [b]\n",
        "kernel: {image: k2}\n",
    )
    assert found(build) == [
        ("k2", "kernel", "2.yml:1:17"),
        ("a", "init", "0.yml:2:8"),
        ("b", "init", "1.yml:3:8"),
        ("c", "services", "1.yml:2:29"),
    ]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param("", [], id="empty"),
        pytest.param("# nothing\n---\n", [], id="nothing-but-a-comment"),
        pytest.param("kernel: {image: ''}\n", [], id="kernel-without-an-image"),
        pytest.param("\ufeffinit: [a]\n", [("a", "init", "0.yml:1:8")], id="byte-order-mark"),
        pytest.param("init: [a]\r\n", [("a", "init", "0.yml:1:8")], id="crlf"),
        pytest.param(
            'services: [{name: "ü€😀", image: x}]\n',
            [("x", "services", "0.yml:1:33")],
            id="columns-are-characters",
        ),
        pytest.param(
            "init: [on, no, 10:30, 2001-01-01, !!str 12, 0x]\n",
            [
                ("on", "init", "0.yml:1:8"),
                ("no", "init", "0.yml:1:12"),
                ("10:30", "init", "0.yml:1:16"),
                ("2001-01-01", "init", "0.yml:1:23"),
                ("12", "init", "0.yml:1:35"),
                ("0x", "init", "0.yml:1:45"),
            ],
            id="what-is-text-to-go-yaml",
        ),
        pytest.param(
            "onboot: [&x {name: a, image: i}]\nservices: [{<<: *x, name: b}, {<<: [*x], name: c}]",
            [
                ("i", "onboot", "0.yml:1:30"),
                ("i", "services", "0.yml:1:30"),
                ("i", "services", "0.yml:1:30"),
            ],
            id="alias-and-merge",
        ),
        pytest.param(
            "init: [!!python/object/apply:os.system 'exit 3', !x b]\n",
            [("exit 3", "init", "0.yml:1:8"), ("b", "init", "0.yml:1:50")],
            id="no-tag-executes",
        ),
        pytest.param(
            "init: [&a x, &a y, *a]\n",
            [
                ("x", "init", "0.yml:1:8"),
                ("y", "init", "0.yml:1:14"),
                ("y", "init", "0.yml:1:20"),
            ],
            id="an-anchor-set-anew",
        ),
        pytest.param("init: [!!binary Zm9v]\n", [("foo", "init", "0.yml:1:8")], id="base-64"),
        pytest.param(
            "onboot: [{name: a, image: i, uid: 1e3, oomScoreAdj: 5.0}]\n",
            [("i", "onboot", "0.yml:1:27")],
            id="whole-numbers",
        ),
        pytest.param("%YAML 1.1\n---\ninit: [a]\n", [("a", "init", "0.yml:3:8")], id="yaml-1.1"),
        pytest.param("init: ['']\n", [("", "init", "0.yml:1:8")], id="empty-name"),
        pytest.param("prefix: rootfs/\ninit: [a]\n", [("a", "init", "0.yml:2:8")], id="prefix"),
    ],
)  # fmt: skip
def test_names(tmp_path: Path, text: str, names: list[tuple[str, str, str]]) -> None:
    assert found(load(tmp_path, text)) == names


@pytest.mark.parametrize(
    "text",
    ["0b_", "-0x_", "0b2", "0x1p3", "0xffffffffffffffffff", "1e999", ".1__1", "._", "2001-13-01"],
)  # fmt: skip
def test_text_to_go_yaml(tmp_path: Path, text: str) -> None:
    assert [name.text for name in load(tmp_path, f"init: [{text}]\n").names] == [text]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        *((text, "integer") for text in ("0X1F", "0B1", "0O7", "-0b1", "1_e5", "+_1", "08")),
        *((text, "integer") for text in ("1__2", "1.0", "2e3", "9223372036854775807")),
        *((text, "number") for text in ("1_2.3", ".1_1", "+.5", "-.Inf", ".nan", "1e-3")),
        *((text, "number") for text in ("9223372036854775808", "99999999999999999999")),
    ],
)  # fmt: skip
def test_a_number_to_go_yaml(tmp_path: Path, text: str, kind: str) -> None:
    assert f"0.yml:1:8: expected string, got {kind} '{text}'" in said(tmp_path, f"init: [{text}]\n")


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        pytest.param("init: [a/b]\n", (1, 11), id="plain"),
        pytest.param("init: ['a/b' , c]\n", (1, 13), id="quoted"),
        pytest.param("init: [&x a/b, c]\n", (1, 14), id="anchored"),
        pytest.param("init:\n  - >-\n    a/b\n", (4, 1), id="a-block-ends-where-the-next-begins"),
        pytest.param("init: [a, &x b/c, *x]\n", (1, 9), id="the-first-of-three"),
    ],
)
def test_where_a_name_ends(tmp_path: Path, text: str, ends: tuple[int, int]) -> None:
    name = load(tmp_path, text).names[0]
    assert (name.end_line, name.end_column) == ends


def test_a_package_is_no_name(tmp_path: Path) -> None:
    build = load(tmp_path, 'init: ["@pkg:./pkg/init", a]\n')
    assert [name.text for name in build.names] == ["a"]
    assert [name.text for name in build.packages] == ["@pkg:./pkg/init"]


@pytest.mark.parametrize(
    ("more", "places"),
    [
        pytest.param("---\ninit: [b]\n", ["3:1"], id="whole"),
        pytest.param("---\n{{{\n", ["3:1"], id="broken"),
        pytest.param("...\ngarbage: [\n", [], id="no-document"),
    ],
)
def test_what_follows_the_first_document_is_passed_over(
    tmp_path: Path, more: str, places: list[str]
) -> None:
    build = load(tmp_path, f"init: [a]\n{more}")
    assert [name.text for name in build.names] == ["a"]
    assert [note.partition(": ")[0] for note in build.notes] == [
        f"{tmp_path}/0.yml:{place}" for place in places
    ]


BOMB = "".join(
    f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10 if n else ['a'] * 10)}]\n" for n in range(12)
)
CHAIN = "x0: &x0 {a: b}\n" + "".join(f"x{n}: &x{n} {{<<: *x{n - 1}}}\n" for n in range(1, 5000))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("- a\n", "0.yml:1:1: expected object, got array", id="array"),
        pytest.param("foo\n", "0.yml:1:1: expected object, got string 'foo'", id="scalar"),
        pytest.param("a: 1\n", "0.yml:1:1: LinuxKit knows no key 'a' here: it knows", id="key"),
        pytest.param(
            "kernel:\n  image: k\n  img: x\n",
            "0.yml:3:3: LinuxKit knows no key 'img' here: it knows binary, cmdline, image, tar",
            id="inner-key",
        ),
        pytest.param("a" * 1_000_000, f"got string '{'a' * 80}...'", id="a-long-text-is-cut"),
        pytest.param("services:\n", "0.yml:1:10: expected array, got null", id="null"),
        pytest.param("services:\n  - image: a\n", "0.yml:2:5: no name here", id="no-name"),
        pytest.param("services: [{}]\n", "0.yml:1:12: no name and no image here", id="no-two"),
        pytest.param(
            "init:\n  - a\n  - 12\n",
            "0.yml:3:5: expected string, got integer '12': put it in quotes",
            id="number",
        ),
        pytest.param("init: [1.5]\n", "0.yml:1:8: expected string, got number", id="float"),
        pytest.param("init: [true]\n", "0.yml:1:8: expected string, got boolean", id="bool"),
        pytest.param("init: [~]\n", "0.yml:1:8: expected string, got null", id="null-name"),
        pytest.param("init: [[a]]\n", "0.yml:1:8: expected string, got array", id="list-name"),
        pytest.param(
            "services: [{name: a, image: i, uid: []}]\n",
            "0.yml:1:37: expected string or integer, got array",
            id="one-of-two",
        ),
        pytest.param(
            "init: [a]\ninit: [b]\n",
            "0.yml:2:1: the key 'init' again; it stands already at 0.yml:1:1",
            id="repeated-key",
        ),
        pytest.param(
            "onboot: [&a {name: x, image: i}, {<<: *a, <<: *a}]\n",
            "0.yml:1:43: the key '<<' again; it stands already at 0.yml:1:35",
            id="merged-twice",
        ),
        pytest.param(
            "onboot: [{name: x, image: i, annotations: {2001-01-01: y}}]\n",
            "0.yml:1:44: a key that is not a text",
            id="date-key",
        ),
        pytest.param(
            "onboot: [{name: x, image: i, oomScoreAdj: 99999999999999999999}]\n",
            "0.yml:1:43: expected integer, got number",
            id="no-int-of-64-bits",
        ),
        pytest.param("init: [!!int a]\n", "0.yml:1:8: a string that is tagged as !!int", id="tag"),
        pytest.param("init: [!!binary é]\n", "0.yml:1:8: !!binary that is no base64", id="base64"),
        pytest.param("%YAML 1.2\n---\ninit: [a]\n", "0.yml:1:1: LinuxKit reads no", id="yaml-1.2"),
        pytest.param("1: a\n", "0.yml:1:1: a key that is not a text: quote it", id="number-key"),
        pytest.param("? [a]\n: b\n", "0.yml:1:3: a key that is not a text", id="list-key"),
        pytest.param("<<: [a]\n", "0.yml:1:6: '<<' merges mappings only", id="merge-of-a-text"),
        pytest.param(
            "services:\n- {name: a, image: i}\n- {name: a, image: j}\n",
            "0.yml:3:10: a second service is called 'a'; the first is at 0.yml:2:10",
            id="service-twice",
        ),
        pytest.param(
            "volumes:\n- {name: a}\n- {name: a}\n",
            "0.yml:3:10: a second volume is called 'a'",
            id="volume-twice",
        ),
        pytest.param("volumes: [{name: A}]\n", "0.yml:1:18: no name of a volume: 'A'", id="volume"),
        pytest.param("init: [a\n", "0.yml:2:1: no YAML: ", id="no-yaml"),
        pytest.param("init:\n\t- a\n", "0.yml:2:1: no YAML: ", id="tab"),
        pytest.param("init: [*x]\n", "0.yml:1:8: no YAML: ", id="no-such-anchor"),
        pytest.param("init: &x [*x]\n", "0.yml:1:7: an anchor that contains itself", id="circle"),
        pytest.param(BOMB, "of this, when every alias is followed", id="bomb"),
        pytest.param(CHAIN, "levels of this, when every alias is followed", id="chain-of-merges"),
        pytest.param("init: " + "[" * 100_000, "0.yml:1:70: nested more than 64", id="nesting"),
        pytest.param("{" * 100_000, "0.yml:1:65: nested more than 64", id="nested-mappings"),
        pytest.param(b"init: [\xff]\n", "0.yml:1:8: not UTF-8", id="latin-1"),
        pytest.param("init: [a]\n".encode("utf-16"), "0.yml:1:1: not UTF-8", id="utf-16"),
        pytest.param("init: [a]\n".encode("utf-32-be"), "a character that no YAML", id="utf-32"),
        pytest.param("init:\n- a\0\n", r"0.yml:2:4: a character that no YAML", id="nul"),
        pytest.param("init: [\x1b[31m]\n", r"0.yml:1:8: a character", id="escape"),
        pytest.param("init: [\x7f]\n", r"0.yml:1:8: a character", id="delete"),
        pytest.param(b"a" * (files.SIZE_LIMIT + 1), "0.yml: larger than 4 MiB", id="large"),
    ],
)  # fmt: skip
def test_refused(tmp_path: Path, text: str | bytes, expected: str) -> None:
    begun = time.monotonic()
    assert expected in said(tmp_path, text)
    assert time.monotonic() - begun < 10


def test_a_service_of_another_file_may_not_have_the_name(tmp_path: Path) -> None:
    text = "services: [{name: a, image: i}]\n"
    assert "1.yml:1:19: a second service is called 'a'; the first is at 0.yml:1:19" in said(
        tmp_path, text, text
    )


@pytest.mark.parametrize(
    ("text", "release", "expected"),
    [
        pytest.param("volumes: []\n", "v1.4.0", "linuxkit@v1.4.0 knows no key 'volumes'", id="old"),
        pytest.param("volumes: []\n", "nitro-cli@1.3.2", "knows no key 'volumes'", id="old-nitro"),
        pytest.param("volumes: []\n", "v1.5.0", None, id="new"),
        pytest.param("volumes: []\n", "nitro-cli@1.3.3", None, id="new-nitro"),
        pytest.param("prefix: r/\n", "v1.8.2", "0.yml:1:1: linuxkit@v1.8.2 knows no", id="prefix"),
        pytest.param("prefix: r/\n", "nitro-cli@1.3.1", None, id="prefix-nitro"),
        pytest.param("prefix: r/\nvolumes: []\n", "fixed", None, id="a-rule-refuses-nothing"),
    ],
)  # fmt: skip
def test_what_a_release_knows(
    tmp_path: Path, text: str, release: str, expected: str | None
) -> None:
    client = find(release)
    if expected is None:
        assert load(tmp_path, text, client=client).names == ()
    else:
        assert expected in said(tmp_path, text, client=client)


# What is no file to read.


def test_a_file_of_100_mb_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.yml"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    begun = time.monotonic()
    with pytest.raises(errors.BuildFileError, match="larger than 4 MiB"):
        linuxkit.load([path])
    assert time.monotonic() - begun < 1


def test_a_fifo_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    caught: list[Exception] = []

    def go() -> None:
        try:
            linuxkit.load([tmp_path / "fifo"])
        except errors.BuildFileError as error:
            caught.append(error)

    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    assert "no regular file" in str(caught)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("missing.yml", "cannot be read (No such file or directory)", id="missing"),
        pytest.param(".", "a directory", id="directory"),
        pytest.param("/dev/null", "no regular file", id="device"),
        pytest.param("a\0b", "no name of a file", id="nul"),
        pytest.param("loop", "cannot be read (Too many levels of symbolic links)", id="loop"),
        pytest.param("/proc/self/mem", "/proc/self/mem: cannot be read (Inp", id="read-error"),
        pytest.param("a\x1b[31m", r"/a\x1b[31m: cannot be read (No such", id="escape-in-its-name"),
    ],
)
def test_no_file(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(errors.BuildFileError) as caught:
        linuxkit.load([tmp_path / name])
    assert expected in str(caught.value)
    assert isinstance(caught.value, errors.UsageError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = write(tmp_path, "init: [a]\n")
    path.chmod(0)
    with pytest.raises(errors.BuildFileError, match="Permission denied"):
        linuxkit.load([path])


# Against a validator of others, and in size.

_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(0, 9), st.sampled_from(["a", "b:1", ""]))


def _parts(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return values that are near to what a part of the schema takes."""
    if reference := schema.get("$ref"):
        schema = SCHEMA["$defs"][reference.rpartition("/")[2]]
    kind = schema.get("type")
    if kind == "object":
        known = {key: _parts(value) for key, value in schema.get("properties", {}).items()}
        odd = {"odd": _SCALARS}
        return st.fixed_dictionaries({}, optional=known | odd)
    if kind == "array":
        return st.lists(st.deferred(lambda: _parts(schema["items"])), max_size=2)
    fitting = {"string": st.sampled_from(["a", "b"]), "boolean": st.booleans()}
    return fitting.get(str(kind), st.integers(0, 9))


_DOCUMENTS = st.one_of(
    st.fixed_dictionaries(
        {}, optional={key: _parts(value) | _SCALARS for key, value in SCHEMA["properties"].items()}
    ),
    _SCALARS,
    st.lists(_SCALARS, max_size=1),
)  # fmt: skip


def fault(path: Path) -> str:
    """Return why a file is refused; empty where it is not."""
    try:
        linuxkit.load([path])
    except errors.BuildFileError as error:
        return str(error)
    return ""


@settings(max_examples=300, deadline=None)
@given(document=_DOCUMENTS)
def test_refuses_what_the_schema_refuses(
    tmp_path_factory: pytest.TempPathFactory,
    document: Any,  # noqa: ANN401
) -> None:
    path = write(tmp_path_factory.getbasetemp(), yaml.safe_dump(document))
    fits = document is None or Validator(SCHEMA).is_valid(document)
    wrong = fault(path)
    # Names have to be unique, and those of volumes simple, which no schema says.
    assert fits is (wrong == "" or "a second" in wrong or "no name of a volume" in wrong)


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(codec="utf-8"), max_size=60))
def test_any_text_is_a_build_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = write(tmp_path_factory.getbasetemp(), text)
    wrong = fault(path)
    assert not wrong or wrong.startswith(f"{path}:")


def test_a_thousand_images_take_no_time(tmp_path: Path) -> None:
    text = "services:\n" + "".join(
        f"  - name: s{n}\n    image: bastion.io/foo/bar{n}:local\n    env: [A=b]\n"
        for n in range(1000)
    )
    path = write(tmp_path, text)
    begun = time.process_time()
    assert len(linuxkit.load([path]).names) == 1000
    assert time.process_time() - begun < 1


# What has no file.


def test_an_image_alone() -> None:
    (name,) = linuxkit.alone("bastion.io/foo").names
    assert (name.text, name.place) == ("bastion.io/foo", "<image>:1:1")


NITRO = """\
---
prefix: rootfs/
init:
  - docker_image
files:
  - {path: rootfs/dev, directory: true, mode: "0755"}
  - {path: rootfs/run, directory: true, mode: "0755"}
  - {path: rootfs/sys, directory: true, mode: "0755"}
  - {path: rootfs/var, directory: true, mode: "0755"}
  - {path: rootfs/proc, directory: true, mode: "0755"}
  - {path: rootfs/tmp, directory: true, mode: "0755"}
  - {path: cmd, source: cmd, mode: "0644"}
  - {path: env, source: env, mode: "0644"}
"""
"""What the Nitro CLI writes, by the test of its yaml_generator.rs."""


def test_the_yaml_of_the_nitro_cli() -> None:
    assert yaml.safe_load(linuxkit.nitro_yaml("docker_image")) == yaml.safe_load(NITRO)


@pytest.mark.parametrize("image", ["app:latest", "12", "a: b", "'", "*x", "é", "", "a\nb"])
def test_the_nitro_cli_takes_any_text(image: str) -> None:
    (name,) = linuxkit.nitro(image).names
    assert (name.text, name.file, name.line) == (image, "<nitro-cli>", 3)
