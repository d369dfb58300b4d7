"""LinuxKit's YAML files: which images a build names, and where.

Several files are merged into one build as LinuxKit merges them: the last kernel counts, everything
else is appended. The rules are those of `moby/config.go` and `moby/schema.go` there.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import stat
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import yaml

from kitref import errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

SIZE_LIMIT: Final = 16 << 20
"""Bytes of a file that are read; a build of a hundred thousand images has fewer."""

_DEPTH_LIMIT: Final = 64  # LinuxKit's schema has eight levels
_NODES_LIMIT: Final = 2_000_000  # nodes after every alias is followed
_LISTS: Final = ("volumes", "onboot", "onshutdown", "services")
_PACKAGE: Final = "@pkg:"
_IMPLICIT: Final = {"null": "null", "bool": "boolean", "int": "integer", "float": "number"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """An image name in a file.

    Attributes:
        text: The name as the user wrote it.
        file: The file as it was named; ``<image>`` where there is none.
        line: The line, from 1.
        column: The column in characters, from 1.
        section: ``kernel``, ``init``, ``volumes``, ``onboot``, ``onshutdown`` or ``services``.
        source: The line as it stands in the file, for a reader.
    """

    text: str
    file: str
    line: int
    column: int
    section: str
    source: str

    @property
    def place(self) -> str:
        """Where it stands, as a compiler writes it: ``build.yml:2:5``."""
        return f"{self.file}:{self.line}:{self.column}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What one or several files ask for.

    Attributes:
        names: The image names, in the order in which LinuxKit processes them.
        packages: What stands where a name could, and is a path to a local package (``@pkg:``).
        notes: What LinuxKit passes over in silence, with its place.
    """

    names: tuple[Name, ...]
    packages: tuple[Name, ...] = ()
    notes: tuple[str, ...] = ()


def load(paths: Iterable[str | os.PathLike[str]]) -> Build:
    """Read files and merge them into one build.

    Args:
        paths: The files, in the order of the command line.

    Returns:
        The build.

    Raises:
        BuildFileError: A file cannot be read, is no YAML, or is none that LinuxKit takes; names
            file, line and column, and what was expected.
    """
    found: dict[str, list[Name]] = {
        section: [] for section in ("kernel", "init", "volumes", "onboot", "onshutdown", "services")
    }
    notes: list[str] = []
    services: dict[str, str] = {}
    for named in paths:
        path = os.fspath(named)
        file = _File(path, _decoded(path, _content(path)))
        root = file.compose(notes)
        file.check(root, services)
        kernel = [name for name in file.names(root) if name.section == "kernel"]
        if kernel:
            found["kernel"] = kernel
        for name in file.names(root):
            if name.section != "kernel":
                found[name.section].append(name)
    everything = [name for section in found.values() for name in section]
    return Build(
        names=tuple(n for n in everything if not n.text.startswith(_PACKAGE)),
        packages=tuple(n for n in everything if n.text.startswith(_PACKAGE)),
        notes=tuple(notes),
    )


def alone(image: str) -> Build:
    """Return the build of one image that stands in no file."""
    name = Name(text=image, file="<image>", line=1, column=1, section="init", source=image)
    return Build(names=(name,))


def nitro(image: str) -> Build:
    """Return the build that the Nitro CLI makes of an image; see `nitro_yaml`."""
    file = _File("<nitro-cli>", nitro_yaml(image))
    return Build(names=tuple(file.names(file.compose([]))))


def nitro_yaml(image: str) -> str:
    """Return the YAML that ``nitro-cli build-enclave --docker-uri IMAGE`` hands to its LinuxKit.

    Args:
        image: The image as the user typed it.

    Returns:
        The file's text, as far as LinuxKit reads names in it. Source: `build_linuxkit` in
        aws-nitro-enclaves-image-format (`docker.rs`, `yaml_generator.rs`).
    """
    folders = [{"path": f"rootfs/{name}", "directory": True} for name in _NITRO_FOLDERS]
    files = [{"path": "rootfs/cmd", "source": "cmd"}, {"path": "rootfs/env", "source": "env"}]
    document = {"prefix": "rootfs/", "init": [image], "files": folders + files}
    return yaml.safe_dump(document, sort_keys=False, width=10_000, allow_unicode=True)


_NITRO_FOLDERS: Final = ("dev", "run", "sys", "var", "proc", "tmp")


class _Loader(yaml.CSafeLoader):
    """PyYAML's loader, with the booleans of YAML 1.2: to LinuxKit's library `on` is a text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if not tag.endswith(":bool")]
    for first, found in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool",
    importlib.import_module("re").compile("true|True|TRUE|false|False|FALSE"),
    list("tTfF"),
)


class _File:
    """One file: its text, its nodes, and what is wrong with them."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.lines = self.text.splitlines()

    def compose(self, notes: list[str]) -> yaml.Node | None:
        """Return the first document, the one that LinuxKit reads, as nodes with their places."""
        try:
            self._measure()
            loader = _Loader(self.text)
            try:
                if not loader.check_node():
                    return None
                root = loader.get_node()
                if loader.check_node():
                    at = loader.get_node().start_mark  # type: ignore[union-attr]
                    notes.append(
                        f"{self.path}:{at.line + 1}:{at.column + 1}: LinuxKit reads the first"
                        " document of a file, and passes over this one"
                    )
            finally:
                loader.dispose()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self.wrong(mark, f"no YAML: {error.problem or error.context}") from None
        except yaml.YAMLError as error:
            raise self.wrong(None, f"no YAML: {str(error).splitlines()[0]}") from None
        return root

    def _measure(self) -> None:
        """Refuse nesting that no build has, before anything recurses into it."""
        depth = 0
        for event in yaml.parse(self.text, Loader=_Loader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEPTH_LIMIT:
                raise self.wrong(
                    event.start_mark, f"nested more than {_DEPTH_LIMIT} deep", remedy="flatten it"
                )

    def check(self, root: yaml.Node | None, services: dict[str, str]) -> None:
        """Hold the file against LinuxKit's schema, and its services against those seen before."""
        if root is None:
            return
        _Sizes(self).of(root)
        value = self.value(root)
        for error in _schema().iter_errors(value):
            raise self._refusal(root, error)
        for item in _items(_entries(root).get("services")):
            name = _entries(item)["name"]
            where = self.place(name.start_mark)
            if name.value in services:
                raise self.wrong(
                    name.start_mark,
                    f"a second service is called {name.value!r}; the first is at"
                    f" {services[name.value]}",
                    remedy="give each service a name of its own",
                )
            services[name.value] = where

    def value(self, node: yaml.Node) -> Any:  # noqa: ANN401 - whatever YAML holds
        """Return what a node holds, for the schema; nothing of it is executed."""
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item) for item in node.value]
        if isinstance(node, yaml.MappingNode):
            return {key: self.value(value) for key, value in self.members(node).items()}
        # Which number it is makes no difference to the schema.
        values = {"null": None, "boolean": True, "integer": 1, "number": 0.5}
        return values.get(_kind(node), node.value)

    def members(self, node: yaml.MappingNode) -> dict[str, yaml.Node]:
        """Return a mapping's values by key, those merged by ``<<`` too, and no key twice."""
        found: dict[str, yaml.Node] = {}
        merged: dict[str, yaml.Node] = {}
        places: dict[str, yaml.Mark] = {}
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    if not isinstance(source, yaml.MappingNode):
                        raise self.wrong(source.start_mark, "'<<' merges mappings only")
                    merged = self.members(source) | merged
                continue
            if not isinstance(key, yaml.ScalarNode) or _kind(key) != "string":
                raise self.wrong(key.start_mark, "a key that is not a text", remedy="quote it")
            if key.value in places:
                raise self.wrong(
                    key.start_mark,
                    f"the key {key.value!r} again; it stands already at"
                    f" {self.place(places[key.value])}",
                    remedy="keep one of the two",
                )
            places[key.value] = key.start_mark
            found[key.value] = value
        return merged | found

    def names(self, root: yaml.Node | None) -> Iterator[Name]:
        """Yield the image names of a file that was checked, in the order of its sections."""
        members = self.members(root) if isinstance(root, yaml.MappingNode) else {}
        if kernel := members.get("kernel"):
            image = self.members(kernel).get("image")  # type: ignore[arg-type]
            if image is not None and image.value:
                yield self.name(image, "kernel")
        for item in _items(members.get("init")):
            yield self.name(item, "init")
        for section in _LISTS:
            for item in _items(members.get(section)):
                image = self.members(item).get("image")  # type: ignore[arg-type]
                # A volume may have none.
                if image is not None and (image.value or section != "volumes"):
                    yield self.name(image, section)

    def name(self, node: yaml.Node, section: str) -> Name:
        """Return the name that a scalar holds."""
        mark = node.start_mark
        return Name(
            text=node.value,
            file=self.path,
            line=mark.line + 1,
            column=mark.column + 1,
            section=section,
            source=self.lines[mark.line] if mark.line < len(self.lines) else "",
        )

    def place(self, mark: yaml.Mark) -> str:
        """Return a place as a compiler writes it."""
        return f"{self.path}:{mark.line + 1}:{mark.column + 1}"

    def wrong(
        self,
        mark: Any,  # noqa: ANN401 - the library has two kinds
        what: str,
        *,
        remedy: str = "",
    ) -> errors.BuildFileError:
        """Return the error for a place of the file."""
        where = self.place(mark) if mark else self.path
        return errors.BuildFileError(f"{where}: {what}", remedy=remedy)

    def _refusal(self, root: yaml.Node, error: Any) -> errors.BuildFileError:  # noqa: ANN401
        """Return why LinuxKit's schema refuses the file, and where."""
        node: yaml.Node = root
        for step in error.absolute_path:
            node = (
                node.value[step]
                if isinstance(node, yaml.SequenceNode)
                else self.members(node)[step]  # type: ignore[arg-type]
            )
        if error.validator == "additionalProperties":
            known = sorted(error.schema.get("properties", {}))
            for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
                if key.value not in known:
                    return self.wrong(
                        key.start_mark,
                        f"LinuxKit knows no key {key.value!r} here",
                        remedy=f"it knows {', '.join(known)}",
                    )
        if error.validator == "required":
            members = self.members(node)  # type: ignore[arg-type]
            missing = [key for key in error.validator_value if key not in members]
            what = f"no {' and no '.join(missing)} here"
            return self.wrong(node.start_mark, what, remedy="add it")
        expected = error.validator_value
        if error.validator == "anyOf":
            expected = [each["type"] for each in expected]
        said = " or ".join(expected) if isinstance(expected, list) else str(expected)
        given = _kind(node)
        quote = isinstance(node, yaml.ScalarNode) and "string" in said
        return self.wrong(
            node.start_mark,
            f"expected {said}, got {given}"
            + (f" {node.value!r}" if isinstance(node, yaml.ScalarNode) else ""),
            remedy="put it in quotes" if quote else "",
        )


class _Sizes:
    """How many nodes there are behind a node when every alias is followed."""

    def __init__(self, file: _File) -> None:
        self.file = file
        self.known: dict[int, int] = {}
        self.open: set[int] = set()

    def of(self, node: yaml.Node) -> int:
        """Return the count; refuse what contains itself, and what grows without bound."""
        key = id(node)
        if key in self.known:
            return self.known[key]
        if key in self.open:
            raise self.file.wrong(node.start_mark, "an anchor that contains itself")
        self.open.add(key)
        size = 1
        if isinstance(node, yaml.SequenceNode):
            size += sum(map(self.of, node.value))
        elif isinstance(node, yaml.MappingNode):
            size += sum(self.of(each) for pair in node.value for each in pair)
        if size > _NODES_LIMIT:
            raise self.file.wrong(
                node.start_mark,
                f"aliases make more than {_NODES_LIMIT:,} nodes of this",
                remedy="write out what the build needs",
            )
        self.open.discard(key)
        self.known[key] = size
        return size


def _content(path: str) -> bytes:
    """Read a regular file up to the limit; nothing else is opened for long, and nothing waits."""
    try:
        # Without O_NONBLOCK a FIFO waits for somebody who writes.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise errors.BuildFileError(
            f"{path}: cannot be read ({error.strerror})", remedy="check the name and its rights"
        ) from error
    except ValueError as error:
        raise errors.BuildFileError(f"{errors.printable(path)}: no name of a file") from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        kind = "a directory" if stat.S_ISDIR(mode) else "no regular file"
        raise errors.BuildFileError(f"{path}: {kind}", remedy="name a LinuxKit YAML file")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(SIZE_LIMIT + 1)
    if len(content) > SIZE_LIMIT:
        raise errors.BuildFileError(
            f"{path}: larger than {SIZE_LIMIT >> 20} MiB", remedy="name a LinuxKit YAML file"
        )
    return content


def _decoded(path: str, content: bytes) -> str:
    """Return the text of a file; LinuxKit's files are UTF-8."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", "replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise errors.BuildFileError(
            f"{path}:{line}:{column}: not UTF-8", remedy="save the file as UTF-8"
        ) from error
    for index, character in enumerate(text):
        if character < " " and character not in "\t\n\r":
            line, column = text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)
            raise errors.BuildFileError(
                f"{path}:{line}:{column}: a control character {errors.printable(character)}",
                remedy="remove it; is this a text file?",
            )
    return text


def _entries(node: yaml.Node | None) -> Mapping[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {key.value: value for key, value in node.value}


def _items(node: yaml.Node | None) -> Sequence[yaml.Node]:
    return node.value if isinstance(node, yaml.SequenceNode) else ()


def _kind(node: yaml.Node) -> str:
    """Return what a node is, in JSON Schema's words."""
    if isinstance(node, yaml.SequenceNode):
        return "array"
    if isinstance(node, yaml.MappingNode):
        return "object"
    prefix, _, kind = node.tag.rpartition(":")
    return _IMPLICIT.get(kind, "string") if prefix == "tag:yaml.org,2002" else "string"


def _schema() -> Any:  # noqa: ANN401 - the library brings no types
    """Return what holds a file against LinuxKit's schema."""
    file = resources.files("kitref") / "data" / "linuxkit.schema.json"
    validators = importlib.import_module("jsonschema")
    return validators.Draft202012Validator(json.loads(file.read_bytes()))
