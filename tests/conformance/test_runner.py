"""The runner: whatever an adapter does, every question gets a reply, and nothing is left."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from kitref import errors
from kitref.conformance import contract, runner

QUESTIONS = [contract.Question(id=f"q{n}", text=text) for n, text in enumerate("abcde")]
ANSWER = "print(json.dumps({'asked': q['text']}), flush=True)"
LOOP = (
    "import json, os, sys, time\nfor n, line in enumerate(sys.stdin):\n    q = json.loads(line)\n"
)


def python(body: str, *, loop: bool = True) -> list[str]:
    indented = "".join(f"    {line}\n" for line in body.splitlines())
    return [sys.executable, "-c", LOOP + indented if loop else body]


def troubles(command: list[str], *, seconds: float = 5) -> list[str]:
    replies = runner.run(command, QUESTIONS, seconds=seconds)
    assert len(replies) == len(QUESTIONS)
    return [reply.trouble or str(reply.claims.get("asked", "-")) for reply in replies]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(ANSWER, "a b c d e", id="good"),
        pytest.param(f"os._exit(3) if q['text'] == 'c' else {ANSWER}", "a b crash d e", id="crash"),
        pytest.param(
            f"os.kill(os.getpid(), 9) if q['text'] == 'c' else {ANSWER}", "a b crash d e", id="kill"
        ),
        pytest.param(f"print('no') if q['text'] == 'b' else {ANSWER}",
                     "a malformed c d e", id="no-json"),
        pytest.param(f"print('[]') if q['text'] == 'b' else {ANSWER}",
                     "a malformed c d e", id="no-object"),
        pytest.param("print('{\"asked\": 1}')", " ".join(["malformed"] * 5), id="no-text"),
        pytest.param("print('{\"asks\": \"a\"}')", " ".join(["malformed"] * 5), id="no-such-part"),
        pytest.param("print('{}')", "- - - - -", id="claims-nothing"),
        pytest.param(f"print('x' * (2 << 20)) if q['text'] == 'b' else {ANSWER}",
                     "a torrent c d e", id="long-line"),
        pytest.param(f"{ANSWER}\nif q['text'] == 'e': print('{{}}', flush=True)",
                     "a b c d torrent", id="one-line-more"),
    ],
)  # fmt: skip
def test_what_an_adapter_does_is_told(body: str, expected: str) -> None:
    assert troubles(python(body)) == expected.split()


def test_an_adapter_that_hangs_is_started_again_with_the_next() -> None:
    body = f"time.sleep(60) if q['text'] == 'c' else {ANSWER}"
    assert troubles(python(body), seconds=1) == ["a", "b", "time-out", "d", "e"]


def test_an_adapter_that_ends_early_loses_a_line_each_time() -> None:
    first = f"if n == 0: {ANSWER}\nelse: sys.exit(0)"
    assert troubles(python(first)) == ["a", "missing", "c", "missing", "e"]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("import time; time.sleep(60)", id="never-reads"),
        pytest.param("import sys; sys.stdin.read(); import time; time.sleep(60)", id="only-reads"),
    ],
)
def test_an_adapter_that_answers_nothing(body: str) -> None:
    assert set(troubles(python(body, loop=False), seconds=0.3)) == {"time-out"}


def test_a_torrent_without_an_end_needs_no_memory() -> None:
    flood = "import sys\nwhile True: sys.stdout.write('x' * 65536)"
    assert set(troubles(python(flood, loop=False))) == {"torrent"}


def test_one_that_always_dies_is_given_up() -> None:
    questions = [contract.Question(id=str(n), text="a") for n in range(100)]
    replies = runner.run([sys.executable, "-c", "raise SystemExit(1)"], questions)
    assert [reply.trouble for reply in replies] == ["crash"] * 26 + ["missing"] * 74


def test_its_last_words_are_kept() -> None:
    dies = "import sys; sys.exit('no such thing')"
    reply = runner.run(python(dies, loop=False), QUESTIONS[:1])[0]
    assert (reply.trouble, reply.detail) == ("crash", "exit code 1. no such thing")


def test_what_it_started_ends_with_it(tmp_path: Path) -> None:
    child = (
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(p.pid))\n"
        "time.sleep(60)\n"
    )
    runner.run(python(child, loop=False), QUESTIONS[:1], seconds=3)
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text():
            return
        time.sleep(0.05)
    os.kill(pid, 9)
    pytest.fail("a child of the adapter lives on")


def test_texts_of_every_kind_arrive_as_they_are() -> None:
    texts = ["", "\n", "\0", "é", "\ud800", "a\u2028b", "\U0001f433", '"\\', "x" * 5000]
    questions = [contract.Question(id=str(n), text=text) for n, text in enumerate(texts)]
    replies = runner.run(python(ANSWER), questions)
    assert [reply.claims["asked"] for reply in replies] == texts


def test_a_command_that_is_none() -> None:
    with pytest.raises(errors.UsageError, match="cannot be started"):
        runner.run(["/nowhere/adapter"], QUESTIONS)


def test_an_adapter_that_answers_at_its_end_is_as_good() -> None:
    body = (
        "import json, sys\n"
        "for line in sys.stdin.read().splitlines(): print(json.dumps({'asked': 'x'}))"
    )
    assert troubles(python(body, loop=False)) == ["x"] * 5
