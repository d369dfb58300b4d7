"""LinuxKit's YAML files: which images a build names, and where.

Several files are merged into one build as LinuxKit merges them: the last kernel counts, everything
else is appended. The rules are those of `moby/config.go` and `moby/schema.go` there, and the YAML
is that of its library, go-yaml v3: the first document of a file, no key twice, `on` is a text.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import re
import stat
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import yaml

from kitref import errors
from kitref.linuxkit import scalars

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from kitref.linuxkit.client import Client

SIZE_LIMIT: Final = 4 << 20
"""Bytes of a file that are read; a build of fifty thousand images has fewer."""

_DEPTH_LIMIT: Final = 64  # LinuxKit's schema has eight levels
_NODES_LIMIT: Final = 1_000_000  # nodes after every alias is followed
# What YAML lets stand in a file (YAML 1.2, 5.1); go-yaml holds to it.
_UNPRINTABLE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
_VOLUME: Final = re.compile(r"[a-z0-9_-]*")
_SHOWN: Final = 80  # characters of a text in an error
_LISTS: Final = ("volumes", "onboot", "onshutdown", "services")
_PACKAGE: Final = "@pkg:"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """An image name in a file.

    Attributes:
        text: The name as the user wrote it.
        file: The file as it was named; ``<image>`` where there is none.
        line: The line, from 1.
        column: The column in characters, from 1.
        end_line: The line where it ends, with its quotes.
        end_column: The column after its last character there.
        section: ``kernel``, ``init``, ``volumes``, ``onboot``, ``onshutdown`` or ``services``.
        source: The line as it stands in the file, for a reader.
    """

    text: str
    file: str
    line: int
    column: int
    end_line: int
    end_column: int
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


def load(paths: Iterable[str | os.PathLike[str]], client: Client | None = None) -> Build:
    """Read files and merge them into one build.

    Args:
        paths: The files, in the order of the command line.
        client: The LinuxKit whose schema they are held against; by default whatever any release
            takes will do.

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
        file.check(root, services, client)
        for name in file.names(root):
            if name.section == "kernel":
                found["kernel"].clear()
            found[name.section].append(name)
    everything = [name for section in found.values() for name in section]
    return Build(
        names=tuple(n for n in everything if not n.text.startswith(_PACKAGE)),
        packages=tuple(n for n in everything if n.text.startswith(_PACKAGE)),
        notes=tuple(notes),
    )


def alone(image: str) -> Build:
    """Return the build of one image that stands in no file."""
    name = Name(
        text=image,
        file="<image>",
        line=1,
        column=1,
        end_line=1,
        end_column=len(image) + 1,
        section="init",
        source=image,
    )
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
        The file's text; in place of two temporary files it has `cmd` and `env`. Source:
        `get_customer_ramfs` in `enclave_build/src/yaml_generator.rs` of
        https://github.com/aws/aws-nitro-enclaves-cli.
    """
    folders = [
        {"path": f"rootfs/{name}", "directory": True, "mode": "0755"} for name in _NITRO_FOLDERS
    ]
    files = [{"path": name, "source": name, "mode": "0644"} for name in ("cmd", "env")]
    document = {"prefix": "rootfs/", "init": [image], "files": folders + files}
    return yaml.safe_dump(document, sort_keys=False, width=10_000, allow_unicode=True)


_NITRO_FOLDERS: Final = ("dev", "run", "sys", "var", "proc", "tmp")


_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C where it is there


class _File:
    """One file: its text, its nodes, and what is wrong with them."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.shown = errors.printable(path)
        self.text = text
        self.lines = self.text.splitlines()
        self.mappings: dict[int, dict[str, tuple[yaml.Node, yaml.Node]]] = {}
        self.held: set[tuple[int, int]] = set()

    def compose(self, notes: list[str]) -> yaml.Node | None:
        """Return the first document, the one that LinuxKit reads, as nodes with their places."""
        loader = _Loader(self.text)
        try:
            loader.get_event()  # of the stream
            root = self._document(loader)
            # What LinuxKit does not come to may be no YAML.
            with contextlib.suppress(yaml.YAMLError):
                if root is not None and loader.check_event(yaml.DocumentStartEvent):
                    loader.get_event()
                    notes.append(
                        f"{self.place(loader.peek_event().start_mark)}: LinuxKit reads the first"
                        " document of a file, and passes over this one"
                    )
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self.wrong(mark, f"no YAML: {error.problem or error.context}") from None
        except yaml.YAMLError as error:
            raise self.wrong(None, f"no YAML: {str(error).splitlines()[0]}") from None
        finally:
            loader.dispose()
        # An empty file, and one of comments, is a build of nothing.
        return None if root is not None and _kind(root) == "null" else root

    def _document(self, loader: Any) -> yaml.Node | None:  # noqa: ANN401 - the library has no types
        if not loader.check_event(yaml.DocumentStartEvent):
            return None
        begin = loader.get_event()
        if begin.version not in (None, (1, 1)):
            raise self.wrong(
                begin.start_mark, "LinuxKit reads no other YAML than 1.1", remedy="remove %YAML"
            )
        root = self._node(loader, {}, 1)
        loader.get_event()  # the document's end
        return root

    def _node(self, loader: Any, anchors: dict[str, yaml.Node], depth: int) -> yaml.Node:  # noqa: ANN401
        """Return the next node.

        PyYAML's own composer refuses an anchor that is set anew, which YAML allows, and gives an
        alias the place of its anchor. The tag of a scalar is what `scalars.resolve` says.
        """
        event = loader.get_event()
        start, end = event.start_mark, event.end_mark
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in anchors:
                raise self.wrong(start, f"no YAML: there is no anchor {_shown(str(event.anchor))}")
            node = anchors[event.anchor]
            if isinstance(node, yaml.ScalarNode):
                return yaml.ScalarNode(node.tag, node.value, start, end)
            return node
        if depth > _DEPTH_LIMIT:
            raise self.wrong(start, f"nested more than {_DEPTH_LIMIT} deep", remedy="flatten it")
        if isinstance(event, yaml.ScalarEvent):
            try:
                kind, value = scalars.resolve(event.value, event.tag, plain=not event.style)
            except ValueError as error:
                raise self.wrong(start, str(error), remedy="leave the tag out") from error
            node = yaml.ScalarNode(kind, value, start, end)
            if event.anchor:
                anchors[event.anchor] = node
            return node
        mapping = isinstance(event, yaml.MappingStartEvent)
        node = (yaml.MappingNode if mapping else yaml.SequenceNode)(event.tag, [], start, end)
        if event.anchor:
            anchors[event.anchor] = node
        below = []
        while not loader.check_event(yaml.SequenceEndEvent, yaml.MappingEndEvent):
            below.append(self._node(loader, anchors, depth + 1))
        loader.get_event()  # the end of it
        node.value = list(zip(below[::2], below[1::2], strict=True)) if mapping else below
        return node

    def check(
        self, root: yaml.Node | None, services: dict[str, str], client: Client | None = None
    ) -> None:
        """Hold the file against LinuxKit's schema, and its services against those seen before."""
        if root is None:
            return
        _Sizes(self).of(root)
        self._hold(root, _schema())
        for key, (at, _) in self.pairs(root).items():
            if client and key in client.unknown_keys:
                raise self.wrong(
                    at.start_mark,
                    f"{client.title} knows no key {key!r} here",
                    remedy=client.unknown_keys[key],
                )
        members = self.members(root)
        self._once("service", members.get("services"), services)
        self._once("volume", members.get("volumes"), {})

    def _hold(self, node: yaml.Node, schema: dict[str, Any]) -> None:
        """Hold a node against a schema, which has no other words than these."""
        if reference := schema.get("$ref"):
            schema = _schema()["$defs"][reference.rpartition("/")[2]]
        if (id(node), id(schema)) in self.held:  # by another alias
            return
        self.held.add((id(node), id(schema)))
        expected = [each["type"] for each in schema.get("anyOf", (schema,))]
        if (kind := _kind(node)) not in expected:
            scalar = isinstance(node, yaml.ScalarNode)
            raise self.wrong(
                node.start_mark,
                f"expected {' or '.join(expected)}, got {kind}"
                + (f" {_shown(node.value)}" if scalar else ""),
                remedy="put it in quotes" if scalar and "string" in expected else "",
            )
        for item in _items(node):
            self._hold(item, schema["items"])
        known, more = schema.get("properties", {}), schema.get("additionalProperties")
        pairs = self.pairs(node)
        for key, (at, value) in pairs.items():
            if (inner := known.get(key, more)) is False:
                raise self.wrong(
                    at.start_mark,
                    f"LinuxKit knows no key {_shown(key)} here",
                    remedy=f"it knows {', '.join(sorted(known))}",
                )
            self._hold(value, inner)
        if missing := [key for key in schema.get("required", ()) if key not in pairs]:
            raise self.wrong(
                node.start_mark, f"no {' and no '.join(missing)} here", remedy="add it"
            )

    def _once(self, what: str, items: yaml.Node | None, seen: dict[str, str]) -> None:
        """Refuse a second service or volume of one name, and a volume's name with other letters."""
        for item in _items(items):
            name = self.members(item)["name"]
            if what == "volume" and not _VOLUME.fullmatch(name.value):
                raise self.wrong(
                    name.start_mark,
                    f"no name of a volume: {_shown(name.value)}",
                    remedy="use a to z, 0 to 9, - and _",
                )
            if name.value in seen:
                raise self.wrong(
                    name.start_mark,
                    f"a second {what} is called {_shown(name.value)}; the first is at"
                    f" {seen[name.value]}",
                    remedy=f"give each {what} a name of its own",
                )
            seen[name.value] = self.place(name.start_mark)

    def members(self, node: yaml.Node | None) -> dict[str, yaml.Node]:
        """Return a mapping's values by key; none where it is no mapping."""
        return {key: value for key, (_, value) in self.pairs(node).items()}

    def pairs(self, node: yaml.Node | None) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Return a mapping's nodes by key, those merged by ``<<`` too, and no key twice."""
        if not isinstance(node, yaml.MappingNode):
            return {}
        if id(node) in self.mappings:
            return self.mappings[id(node)]
        found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        seen: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag not in ("string", "merge"):
                raise self.wrong(key.start_mark, "a key that is not a text", remedy="quote it")
            if key.value in seen:
                raise self.wrong(
                    key.start_mark,
                    f"the key {_shown(key.value)} again; it stands already at"
                    f" {self.place(seen[key.value].start_mark)}",
                    remedy="keep one of the two",
                )
            seen[key.value] = key
            if key.tag == "merge":
                for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    if not isinstance(source, yaml.MappingNode):
                        raise self.wrong(source.start_mark, "'<<' merges mappings only")
                    merged = self.pairs(source) | merged
            else:
                found[key.value] = key, value
        self.mappings[id(node)] = merged | found
        return self.mappings[id(node)]

    def names(self, root: yaml.Node | None) -> Iterator[Name]:
        """Yield the image names of a file that was checked, in the order of its sections."""
        members = self.members(root)
        image = self.members(members.get("kernel")).get("image")
        if image is not None and image.value:
            yield self.name(image, "kernel")
        for item in _items(members.get("init")):
            yield self.name(item, "init")
        for section in _LISTS:
            for item in _items(members.get(section)):
                image = self.members(item).get("image")
                # A volume may have none.
                if image is not None and (image.value or section != "volumes"):
                    yield self.name(image, section)

    def name(self, node: yaml.Node, section: str) -> Name:
        """Return the name that a scalar holds."""
        mark, end = node.start_mark, node.end_mark
        return Name(
            text=node.value,
            file=self.path,
            line=mark.line + 1,
            column=mark.column + 1,
            end_line=end.line + 1,
            end_column=end.column + 1,
            section=section,
            source=self.lines[mark.line] if mark.line < len(self.lines) else "",
        )

    def place(self, mark: yaml.Mark) -> str:
        """Return a place as a compiler writes it."""
        return f"{self.shown}:{mark.line + 1}:{mark.column + 1}"

    def wrong(
        self,
        mark: Any,  # noqa: ANN401 - the library has two kinds
        what: str,
        *,
        remedy: str = "",
    ) -> errors.BuildFileError:
        """Return the error for a place of the file."""
        where = self.place(mark) if mark else self.shown
        return errors.BuildFileError(f"{where}: {what}", remedy=remedy)


class _Sizes:
    """How many nodes there are behind a node when every alias is followed, and how deep."""

    def __init__(self, file: _File) -> None:
        self.file = file
        self.known: dict[int, tuple[int, int]] = {}
        self.open: set[int] = set()

    def of(self, node: yaml.Node) -> tuple[int, int]:
        """Return both; refuse what contains itself, and what grows without bound."""
        key = id(node)
        if key in self.known:
            return self.known[key]
        if key in self.open:
            raise self.file.wrong(node.start_mark, "an anchor that contains itself")
        self.open.add(key)
        below: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            below = node.value
        elif isinstance(node, yaml.MappingNode):
            below = [each for pair in node.value for each in pair]
        size, depth = 1, 1
        for each in below:
            more, deeper = self.of(each)
            size, depth = size + more, max(depth, deeper + 1)
        if size > _NODES_LIMIT or depth > _DEPTH_LIMIT:
            bound = f"{_NODES_LIMIT:,} nodes" if size > _NODES_LIMIT else f"{_DEPTH_LIMIT} levels"
            raise self.file.wrong(
                node.start_mark,
                f"more than {bound} of this, when every alias is followed",
                remedy="write out what the build needs",
            )
        self.open.discard(key)
        self.known[key] = size, depth
        return size, depth


def _content(path: str) -> bytes:
    """Read a regular file up to the limit; nothing else is opened for long, and nothing waits."""
    shown = errors.printable(path)
    try:
        # Without O_NONBLOCK a FIFO waits for somebody who writes.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            os.close(descriptor)
            kind = "a directory" if stat.S_ISDIR(mode) else "no regular file"
            raise errors.BuildFileError(f"{shown}: {kind}", remedy="name a LinuxKit YAML file")
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise errors.BuildFileError(
            f"{shown}: cannot be read ({error.strerror})", remedy="check the name and its rights"
        ) from error
    except ValueError as error:
        raise errors.BuildFileError(f"{shown}: no name of a file") from error
    if len(content) > SIZE_LIMIT:
        raise errors.BuildFileError(
            f"{shown}: larger than {SIZE_LIMIT >> 20} MiB", remedy="name a LinuxKit YAML file"
        )
    return content


def _decoded(path: str, content: bytes) -> str:
    """Return the text of a file; LinuxKit's files are UTF-8."""
    shown = errors.printable(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8", "replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise errors.BuildFileError(
            f"{shown}:{line}:{column}: not UTF-8", remedy="save the file as UTF-8"
        ) from error
    if found := _UNPRINTABLE.search(text):
        at = found.start()
        line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
        raise errors.BuildFileError(
            f"{shown}:{line}:{column}: a character that no YAML file has,"
            f" {errors.printable(found[0])}",
            remedy="remove it; is this a text file?",
        )
    return text


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def _items(node: yaml.Node | None) -> Sequence[yaml.Node]:
    return node.value if isinstance(node, yaml.SequenceNode) else ()


def _kind(node: yaml.Node) -> str:
    """Return what a node is, in JSON Schema's words."""
    if isinstance(node, yaml.SequenceNode):
        return "array"
    if isinstance(node, yaml.MappingNode):
        return "object"
    return "string" if node.tag in ("merge", "other") else str(node.tag)


@functools.cache
def _schema() -> dict[str, Any]:
    """Return what LinuxKit takes, as JSON Schema; the words that it uses are those of `_hold`."""
    file = resources.files("kitref") / "data" / "linuxkit.schema.json"
    schema: dict[str, Any] = json.loads(file.read_bytes())
    return schema
