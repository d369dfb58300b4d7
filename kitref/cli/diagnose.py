"""Commands on a LinuxKit build: `kitref diagnose`, `kitref bisect`."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import click

from kitref import errors
from kitref.cli import ends

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kitref.diagnose import Elsewhere
    from kitref.engines import Engine
    from kitref.linuxkit import Build, Client

_files = click.argument("files", metavar="[FILE]...", nargs=-1)
_image = click.option("--image", metavar="NAME", help="An image, where there is no file.")
_engine = click.option(
    "--engine",
    metavar="URL|NAME",
    help="The engine that LinuxKit would ask: a URL as in DOCKER_HOST, or a private engine of the"
    " kit's.  [default: DOCKER_HOST, or Docker's default socket]",
)
_arch = click.option(
    "--arch", metavar="A", help="The architecture that is built for.  [default: this machine's]"
)


@click.command()
@_files
@_image
@_engine
@click.option("--linuxkit", metavar="RELEASE", help="The LinuxKit.  [default: the newest]")
@click.option("--nitro-cli", metavar="RELEASE", help="The Nitro CLI whose LinuxKit it is.")
@click.option("--rule", metavar="R", help="A rule instead, in the newest LinuxKit's client.")
@click.option("--docker", is_flag=True, help="The build is given --docker, as the Nitro CLI's is.")
@click.option("--pull", is_flag=True, help="The build is given --pull.")
@_arch
@click.option("--cache", metavar="DIR", help="LinuxKit's cache.  [default: ~/.linuxkit/cache]")
@click.option("--offline", is_flag=True, help="Ask no registry, and read no login.")
@click.option(
    "--host-map",
    metavar="HOST=ADDRESS",
    multiple=True,
    help="Ask ADDRESS for what is on HOST; with --offline on this machine only.",
)
@click.option(
    "--ca",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="The certificates to trust for mapped hosts, in PEM.",
)
@click.option("--verify", is_flag=True, help="Try a docker tag, on an image of the kit's own.")
@click.option(
    "--linuxkit-binary",
    "binary",
    metavar="PATH",
    help="Run this linuxkit on the same engine, and compare what it asks for with the prediction.",
)
@click.option("--json", "form", flag_value="json", help="Print one JSON object.")
@click.option("--sarif", "form", flag_value="sarif", help="Print SARIF 2.1.0, for code review.")
def diagnose(  # noqa: PLR0913, PLR0917 - as click passes them
    files: tuple[str, ...],
    image: str | None,
    engine: str | None,
    linuxkit: str | None,
    nitro_cli: str | None,
    rule: str | None,
    docker: bool,
    pull: bool,
    arch: str | None,
    cache: str | None,
    offline: bool,
    host_map: tuple[str, ...],
    ca: str | None,
    verify: bool,
    binary: str | None,
    form: str | None,
) -> None:
    """Say of each image of a LinuxKit build where its look-up ends, why, and what mends it.

    LinuxKit ignores every error of its look-up in Docker, so one line, a failed pull, has many
    causes. The kit follows the same path, asks the same engine in the same way, and names a cause
    with the look-ups that show it. Nothing is changed in the engine, the cache or the files.

    \b
    Examples:
      kitref diagnose --docker --linuxkit v1.0.1 build.yml
      kitref diagnose --nitro-cli 1.3.1 --image bastion.io/app:dev

    \b
    Exit codes:
      0 every name is found   1 a cause was found   2 wrong usage, or a file that is no build
      3 a private engine that cannot be had         4 a crash
    """  # noqa: D301 - click's mark
    from pathlib import Path

    from kitref import diagnose as diagnosing
    from kitref import linuxkit as kit
    from kitref.report import diagnoses as said
    from kitref.report import terminal

    ends.end_on_sigterm()
    client = _client(linuxkit, nitro_cli, rule)
    build = _build(files, image, nitro=bool(nitro_cli))
    hosts = _host_map(host_map)
    with _asked(engine) as live, _elsewhere(live) as elsewhere, terminal.progress() as report:
        setting = kit.setting(
            client,
            live,
            docker=docker or bool(nitro_cli),
            pull=pull,
            arch=arch or "",
            folder=cache or "",
            offline=offline,
            host_map=hosts,
            ca=Path(ca) if ca else None,
        )
        found = diagnosing.diagnose(
            build,
            setting,
            elsewhere=elsewhere,
            verify=verify,
            report=lambda done, of: report("names", f"asked {done} of {of}"),
        )
        check = None
        if binary:
            from kitref.linuxkit import binary as real

            texts = [name.text for name in build.names]
            check = real.check(Path(binary), texts, setting, offline=offline)
    if form == "json":
        sys.stdout.write(said.as_json(found, setting, build.notes, check))
    elif form == "sarif":
        sys.stdout.write(said.as_sarif(found, setting, build.notes, check))
    else:
        said.show(found, setting, build.notes, check)
    if (check and check.differences) or any(each.cause for each in found):
        click.get_current_context().exit(ends.FINDING)


@click.command()
@_files
@_image
@_engine
@click.option(
    "--tool",
    type=click.Choice(["linuxkit", "nitro-cli"]),
    default="linuxkit",
    show_default=True,
    help="Whose releases.",
)
@_arch
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option("--check", is_flag=True, help="End with 1 unless the newest release finds all.")
def bisect(
    files: tuple[str, ...],
    image: str | None,
    engine: str | None,
    tool: str,
    arch: str | None,
    as_json: bool,
    check: bool,
) -> None:
    """Ask an engine for the images of a build as every release would, and show where it flips.

    \b
    Examples:
      kitref bisect build.yml
      kitref bisect --tool nitro-cli --image bastion.io/app:dev --engine docker-trixie
    """  # noqa: D301 - click's mark
    from kitref import diagnose as diagnosing
    from kitref import linuxkit
    from kitref.report import diagnoses as said

    ends.end_on_sigterm()
    build = _build(files, image)
    client = _client(None, None, None)
    with _asked(engine) as live:
        if isinstance(live, errors.KitrefError):
            raise live
        setting = linuxkit.setting(client, live, arch=arch or "")
        rows = diagnosing.bisect(build, setting, tool)
    if as_json:
        sys.stdout.write(said.rows_as_json(rows))
    else:
        said.show_rows(rows)
    if check and rows[-1].found < len(rows[-1].steps):
        click.get_current_context().exit(ends.FINDING)


def _client(linuxkit: str | None, nitro_cli: str | None, rule: str | None) -> Client:
    """Return the LinuxKit that is meant; the newest where none is named."""
    from kitref import rules
    from kitref.linuxkit import client

    if sum(map(bool, (linuxkit, nitro_cli, rule))) > 1:
        raise click.UsageError("give one of --linuxkit, --nitro-cli and --rule")
    if rule:
        return client.of_rule(rule)
    if nitro_cli:
        return client.find(f"nitro-cli@{nitro_cli.removeprefix('nitro-cli@')}")
    newest = [each for each in rules.releases() if each.tool == "linuxkit"][-1]
    return client.find(linuxkit or newest.version)


def _build(files: tuple[str, ...], image: str | None, *, nitro: bool = False) -> Build:
    from kitref import linuxkit

    if bool(files) == bool(image):
        raise click.UsageError("name a file, or an image with --image")
    if not image:
        return linuxkit.load(files)
    return linuxkit.nitro(image) if nitro else linuxkit.alone(image)


def _host_map(pairs: tuple[str, ...]) -> dict[str, str]:
    hosts = {}
    for pair in pairs:
        host, _, address = pair.partition("=")
        if not (host and address):
            raise click.UsageError(f"--host-map takes HOST=ADDRESS, not {pair!r}")
        hosts[host] = address
    return hosts


@contextlib.contextmanager
def _asked(engine: str | None) -> Iterator[Engine | errors.KitrefError]:
    """Have the engine that LinuxKit would ask, or why a user's own cannot be had."""
    from kitref import engines
    from kitref.engines import attach
    from kitref.linuxkit import client

    with contextlib.ExitStack() as stack:
        live: Engine | errors.KitrefError
        try:
            live = stack.enter_context(
                engines.opened(engine)
                if engine
                else contextlib.closing(attach.connect(client.host()))
            )
        except (errors.EngineUnavailable, errors.EngineAddressError) as error:
            # LinuxKit passes over what DOCKER_HOST is; what the kit is given has to be an engine.
            if engine and ("://" not in engine or isinstance(error, errors.UsageError)):
                raise
            live = error
        yield live


@contextlib.contextmanager
def _elsewhere(live: Engine | errors.KitrefError) -> Iterator[list[Elsewhere]]:
    """Have the engine of the docker CLI's context, where it is another than LinuxKit's."""
    from kitref.diagnose import Elsewhere
    from kitref.engines import attach

    asked = "" if isinstance(live, errors.KitrefError) else live.url
    origin = "docker context"
    with contextlib.ExitStack() as stack:
        found = []
        try:
            for address in attach.addresses():
                if address.url == asked or not address.origin.startswith(origin):
                    continue
                origin = address.origin
                other = attach.connect(address.url, address.tls)
                stack.enter_context(contextlib.closing(other))
                found.append(Elsewhere(engine=other, origin=origin))
        except errors.KitrefError as error:
            found.append(Elsewhere(engine=error, origin=origin))
        yield found
