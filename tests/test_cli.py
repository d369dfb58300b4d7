"""The command line: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import IO, Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from kitref import InvalidReference, KitrefError, __version__, cli, parse

KITREF = [sys.executable, "-m", "kitref"]


def kitref(*arguments: str, given: str | bytes | None = None) -> Result:
    return CliRunner().invoke(cli.main, arguments, input=given)


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        pytest.param(
            ["expand", "alpine", "a.b/c"], "docker.io/library/alpine\na.b/c\n", id="expand"
        ),
        pytest.param(["expand", "--with-tag", "a.b/c"], "a.b/c:latest\n", id="with-tag"),
        pytest.param(["expand", "--rule", "v1.0.1", "a.b/c"], "docker.io/a.b/c\n", id="release"),
        pytest.param(["expand", "--rule", "none", "A B"], "A B\n", id="blindly"),
        pytest.param(
            ["expand", "--explain", "a"],
            "docker.io/library/a\tno '/': an official image of Docker Hub\n",
            id="explain",
        ),
        pytest.param(
            ["expand", "--json", "--rule", "nitro-cli@1.3.1", "a.b/c"],
            '{"text": "a.b/c", "rule": "9bb26e4c3", "asked": "docker.io/a.b/c", "reason":'
            " \"one '/': taken for an image of a Docker Hub user\"}\n",
            id="expand-json",
        ),
        pytest.param(
            ["parse", "alpine:3"],
            "domain=docker.io path=library/alpine tag=3 familiar=alpine:3"
            " canonical=docker.io/library/alpine:3\n",
            id="parse",
        ),
        pytest.param(
            ["parse", "--json", "a.b/c"],
            '{"text": "a.b/c", "domain": "a.b", "path": "c", "tag": null, "digest": null,'
            ' "familiar": "a.b/c", "canonical": "a.b/c"}\n',
            id="parse-json",
        ),
        pytest.param(["--version"], f"kitref {__version__}\n", id="version"),
    ],
)
def test_a_command_prints(arguments: list[str], printed: str) -> None:
    result = kitref(*arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (0, printed, "")


@pytest.mark.parametrize("command", ["expand", "parse"])
def test_an_invalid_argument_is_shown_on_standard_error_and_the_rest_goes_on(command: str) -> None:
    result = kitref(command, "a", "B\x1b", "c")
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 2
    assert result.stderr == (
        "kitref: invalid reference: control character\n  B\\x1b\n   ^^^^\ntake it out\n"
    )


@pytest.mark.parametrize("command", ["expand", "parse"])
def test_an_invalid_argument_is_json_in_json(command: str) -> None:
    result = kitref(command, "--json", "foo:")
    assert (result.exit_code, result.stderr) == (1, "")
    assert json.loads(result.stdout) == {
        "text": "foo:",
        "error": {"reason": "empty tag after ':'", "start": 4, "end": 4},
    }


@pytest.mark.parametrize(
    ("given", "printed", "code"),
    [
        pytest.param(b"", "", 0, id="nothing"),
        pytest.param(b"a\nb/c\n", "docker.io/library/a\ndocker.io/b/c\n", 0, id="lines"),
        pytest.param(b"a", "docker.io/library/a\n", 0, id="no-line-end"),
        pytest.param(
            b"a\nB\nc", "docker.io/library/a\nerror: upper case in the path: B\n"
            "docker.io/library/c\n", 1, id="in-place",
        ),
        pytest.param(b"\n", "error: empty name: \n", 1, id="empty-line"),
        pytest.param(b"a\r\n", "error: a carriage return at the end: a\\r\n", 1, id="crlf"),
        pytest.param(b"a\x0b\xc2\x85\n", "error: white space: a\\x0b\\x85\n", 1, id="breaks"),
        pytest.param(b"\xff\n", "error: bytes that are no UTF-8: \\udcff\n", 1, id="no-utf-8"),
        pytest.param(b"a\x00\n", "error: control character: a\\x00\n", 1, id="nul"),
        pytest.param(
            b"A" * 300, "error: upper case in the path: " + "A" * 200 + "...\n", 1, id="long"
        ),
    ],
)  # fmt: skip
def test_each_line_in_is_a_line_out(given: bytes, printed: str, code: int) -> None:
    result = kitref("expand", given=given)
    assert (result.stdout, result.stderr, result.exit_code) == (printed, "", code)


def test_an_old_rule_gives_back_the_bytes_it_was_given() -> None:
    run = subprocess.run(
        [*KITREF, "expand", "--rule", "none"],
        input=b"\xff\xed\xa0\x80 \r\n",
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert run.stdout == b"\xff\xed\xa0\x80 \r\n"


@given(st.lists(st.binary(max_size=8).filter(lambda line: b"\n" not in line), min_size=1))
@settings(max_examples=50, deadline=None)
def test_any_bytes_give_one_json_object_a_line(lines: list[bytes]) -> None:
    result = kitref("parse", "--json", given=b"".join(line + b"\n" for line in lines))
    answers = result.stdout.splitlines()
    assert result.stdout.isascii()
    assert len(answers) == len(lines)
    for line, answer in zip(lines, map(json.loads, answers), strict=True):
        text = answer.pop("text")
        assert text.encode(errors="surrogateescape") == line
        assert answer == expected(text)


def expected(text: str) -> dict[str, Any]:
    try:
        parsed = parse(text)
    except InvalidReference as error:
        fault = {"reason": error.reason, "start": error.start, "end": error.end}
        return {"error": fault}
    return parsed._asdict() | {"familiar": parsed.familiar, "canonical": parsed.canonical}


def test_many_lines_keep_their_order_across_chunks() -> None:
    names = [f"user{number}/{'x' * (number % 50)}y" for number in range(20_000)]
    result = kitref("expand", given="\n".join(names))
    assert result.stdout.splitlines() == [f"docker.io/{name}" for name in names]


def test_a_line_longer_than_any_chunk_is_one_line() -> None:
    domain = "a." * 500_000 + "b"
    assert kitref("expand", given=f"{domain}/c\nd\n").stdout == (
        f"{domain}/c\ndocker.io/library/d\n"
    )


def test_a_line_is_answered_before_the_next_is_sent() -> None:
    with subprocess.Popen(
        [*KITREF, "expand"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        for name in (b"a", b"b"):
            ask(running.stdin, name + b"\n")
            assert running.stdout
            assert running.stdout.readline() == b"docker.io/library/" + name + b"\n"
        assert running.stdin
        running.stdin.close()
        assert running.wait(60) == 0


def ask(pipe: IO[bytes] | None, line: bytes) -> None:
    assert pipe
    pipe.write(line)
    pipe.flush()


def test_ctrl_c_ends_it_quietly() -> None:
    with subprocess.Popen(
        [*KITREF, "expand"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        ask(running.stdin, b"a\n")
        assert running.stdout
        running.stdout.readline()  # it is past its imports
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 130
        assert running.stderr
        assert running.stderr.read() == b""


def test_it_ends_quietly_when_nobody_reads() -> None:
    with subprocess.Popen(
        [*KITREF, "expand"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout
        running.stdout.close()
        ask(running.stdin, b"a\n")
        assert running.wait(60) == 141
        assert running.stderr
        assert running.stderr.read() == b""


@pytest.mark.parametrize(
    ("closed", "arguments", "code"),
    [
        pytest.param("<&-", ["expand"], 0, id="input"),
        pytest.param(">&-", ["expand", "a"], 0, id="output"),
        pytest.param("2>&-", ["expand", "A"], 1, id="errors"),
    ],
)
def test_a_stream_that_is_closed_is_an_empty_one(
    closed: str, arguments: list[str], code: int
) -> None:
    run = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *KITREF, *arguments],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (run.returncode, run.stdout, run.stderr) == (code, b"", b"")


def test_a_full_disk_is_said_plainly() -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        run = subprocess.run(
            [*KITREF, "expand", "a"], stdout=full, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert run.returncode == 4
    assert run.stderr == b"kitref: [Errno 28] No space left on device\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["expand", "--rule", "fixd", "a"], "did you mean fixed?", id="rule"),
        pytest.param(["expand", "--rule", "v99", "a"], "the newest known is", id="release"),
        pytest.param(["expand", "--rule", "v1.0.1", "--with-tag", "a"], "leave out", id="with-tag"),
        pytest.param(["expand", "--colour"], "No such option", id="option"),
        pytest.param(["explode"], "No such command", id="command"),
    ],
)
def test_wrong_usage(arguments: list[str], says: str) -> None:
    result = kitref(*arguments, given="a\n")
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["expand", "--help"], ["parse", "-h"]])
def test_there_is_help(arguments: list[str]) -> None:
    result = kitref(*arguments)
    assert result.exit_code == 0
    assert "Usage: " in result.stdout


@pytest.mark.parametrize("command", ["expand", "parse"])
def test_the_example_in_the_help_is_true(command: str) -> None:
    _, _, example = kitref(command, "--help").stdout.partition("Example:\n")
    example, _, _ = example.partition("\n\n")
    for asked in example.split("$ kitref ")[1:]:
        arguments, *printed = (line.strip() for line in asked.strip().splitlines())
        assert kitref(*arguments.split()).stdout.splitlines() == printed


def test_a_crash_shows_a_traceback_and_has_its_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*arguments: object) -> str:
        raise ZeroDivisionError(arguments)

    monkeypatch.setattr("kitref.normalize.expand", crash)
    result = kitref("expand", "a")
    assert result.exit_code == 4
    assert "ZeroDivisionError" in result.stderr
    assert "please report" in result.stderr


@pytest.mark.parametrize(
    ("package", "code", "says"),
    [
        pytest.param("docker.errors", 2, "pip install 'kitref[kit]'", id="the-extra's"),
        pytest.param("kitref.nosuch", 4, "please report", id="our-own"),
    ],
)
def test_a_package_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, package: str, code: int, says: str
) -> None:
    def lack(*_arguments: object) -> str:
        raise ModuleNotFoundError(name=package)

    monkeypatch.setattr("kitref.normalize.expand", lack)
    result = kitref("expand", "a")
    assert result.exit_code == code
    assert says in result.stderr
    assert ("Traceback" in result.stderr) is (code == 4)


def test_an_error_without_a_remedy_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise KitrefError(f"no {name}")

    monkeypatch.setattr("kitref.rules.rule", fail)
    result = kitref("expand", "a")
    assert (result.exit_code, result.stderr) == (1, "kitref: no fixed\n")


@pytest.mark.parametrize(
    ("no_color", "coloured"),
    [pytest.param(None, True, id="terminal"), pytest.param("1", False, id="no-color")],
)
def test_colours_are_for_terminals_that_want_them(no_color: str | None, coloured: bool) -> None:
    result = CliRunner().invoke(cli.main, ["expand", "A"], env={"NO_COLOR": no_color}, color=True)
    assert ("\x1b[" in result.stderr) is coloured


def test_a_terminal_is_told_what_is_awaited() -> None:
    ours, theirs = os.openpty()
    with subprocess.Popen(
        [*KITREF, "expand"], stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        os.close(theirs)
        assert running.stderr
        assert b"Ctrl-D" in running.stderr.readline()
        os.write(ours, b"a\n")
        assert running.stdout
        assert running.stdout.readline() == b"docker.io/library/a\n"
        os.write(ours, b"\x04")
        assert running.wait(60) == 0
    os.close(ours)
