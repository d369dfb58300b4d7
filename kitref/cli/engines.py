"""The commands `kitref engines ...`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import click

from kitref import errors
from kitref.cli import ends

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.group()
def engines() -> None:
    """List, start, stop and clean up the engines that the kit starts itself.

    \b
    Example:
      export DOCKER_HOST=$(kitref engines start docker-trixie --store containerd)
      docker images
      kitref engines stop docker-trixie
    """  # noqa: D301 - click's mark


@engines.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def list_engines(as_json: bool) -> None:
    """List the private engines, those that run, and your own.

    \b
    Example:
      kitref engines list
    """  # noqa: D301 - click's mark
    import json

    from kitref.engines import sweep

    sweep()
    rows = [*_private_ones(), *_own_ones()]
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
        return
    widths = [max(map(len, cells)) for cells in zip(*(row.values() for row in rows), strict=True)]
    for row in rows:
        click.echo("  ".join(map(str.ljust, row.values(), widths)).rstrip())


def _private_ones() -> Iterator[dict[str, str]]:
    """Yield a row for each engine that the kit can start, and for each that it has started."""
    from kitref.engines import packages, places, private

    running: dict[str, list[str]] = {}
    for _, content in places.leases():
        if content.get("detached"):
            running.setdefault(content["title"], []).append(content.get("url", ""))
    try:
        for spec in private.specs():
            root = packages.fetched(spec.suite, spec.kind)
            urls = running.get(spec.title, [])
            state = "running" if urls else "fetched" if root else "to be fetched"
            for url in urls or [""]:
                yield _row(spec.name, spec.store, root.version if root else "", state, url)
    except errors.EngineUnavailable as error:
        click.echo(f"kitref: {error}", err=True)


def _own_ones() -> Iterator[dict[str, str]]:
    """Yield a row for each engine of the user's."""
    from kitref.engines import attach

    try:
        for address in attach.addresses():
            try:
                with contextlib.closing(attach.connect(address.url)) as own:
                    yield _row("own", own.store, own.version, address.origin, address.url)
            except errors.KitrefError as error:
                yield _row("own", "", "", error.what, address.url)
    except errors.KitrefError as error:
        yield _row("own", "", "", error.what, "")


def _row(engine: str, store: str, version: str, state: str, url: str) -> dict[str, str]:
    return {"engine": engine, "store": store, "version": version, "state": state, "url": url}


@engines.command("start")
@click.argument("engine", default="private")
@click.option(
    "--store",
    default="any",
    show_default=True,
    type=click.Choice(["any", "graph", "containerd", "podman"]),
    help="The image store.",
)
def start_engine(engine: str, store: str) -> None:
    """Start a private engine that stays, and print the DOCKER_HOST to export.

    ENGINE is a name (docker-trixie), a suite (trixie), or private: the newest with that store.

    \b
    Example:
      export DOCKER_HOST=$(kitref engines start docker-trixie --store graph)
    """  # noqa: D301 - click's mark
    from kitref.engines import private, sweep
    from kitref.report import terminal

    ends.end_on_sigterm()
    sweep()
    spec = private.choose(engine, store)
    with terminal.progress() as report:
        private.fetch(spec, lambda step, share: report(spec.title, f"{step} {share:.0%}"))
        report(spec.title, "starting")
        started = private.start(spec, detached=True)
        report(spec.title, f"ready: {started.engine.kind} {started.engine.version}")
    click.echo(started.engine.url)


@engines.command("stop")
@click.argument("engine", required=False)
@click.option("--all", "every", is_flag=True, help="Stop all of them.")
def stop_engine(engine: str | None, every: bool) -> None:
    """Stop engines that `kitref engines start` left running.

    ENGINE is a name, a title such as docker-trixie/graph, or the address that `start` printed.

    \b
    Example:
      kitref engines stop docker-trixie
    """  # noqa: D301 - click's mark
    from kitref.engines import private, sweep

    if (engine is None) == (not every):
        raise click.UsageError("name an engine, or give --all")
    sweep()
    stopped = private.stop_detached(engine)
    for title in stopped:
        click.echo(f"{title}: stopped")
    if engine and not stopped:
        raise errors.UsageError(
            f"no engine {engine!r} is running", remedy="`kitref engines list` shows those that are"
        )


@engines.command("clean")
def clean_engines() -> None:
    """Remove the fetched engines from the cache, and whatever a killed run left.

    \b
    Example:
      kitref engines clean
    """  # noqa: D301 - click's mark
    from kitref.engines import packages, sweep

    sweep()
    for name, what in packages.remove_all():
        click.echo(f"{name}: {what}")
