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
NAMED = "print(json.dumps({'asked': q['text'], 'id': q['id']}), flush=True)"
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
        pytest.param("print('{\"asked\": \"x\", \"asked\": \"y\"}')",
                     " ".join(["malformed"] * 5), id="a-part-twice"),
        pytest.param(NAMED, "a b c d e", id="named"),
        pytest.param(f"if q['text'] != 'c': {NAMED}", "a b missing d e", id="named-one-missing"),
        pytest.param(f"if q['text'] != 'e': {NAMED}", "a b c d missing", id="named-last-missing"),
        pytest.param(f"if q['text'] == 'c': print('debug')\n{NAMED}",
                     "a b malformed d e", id="named-one-more"),
        pytest.param(f"{NAMED}\nif q['text'] == 'c':\n    {NAMED}",
                     "a b malformed d e", id="named-one-twice"),
        pytest.param(f"{NAMED}\nif q['text'] == 'e': print('{{\"id\": \"q1\"}}', flush=True)",
                     "a malformed c d e", id="named-one-again-at-the-end"),
        pytest.param(f"if n != 1: {NAMED}\nif n == 2: q = dict(text='b', id='q1'); {NAMED}",
                     "a malformed c d e", id="named-two-swapped"),
        pytest.param("print('{\"id\": 1}')", " ".join(["malformed"] * 5), id="named-otherwise"),
        pytest.param(f"{NAMED}\nwhile q['text'] == 'b': print('{{\"id\": \"q0\"}}')",
                     "malformed b torrent d e", id="named-without-an-end"),
    ],
)  # fmt: skip
def test_what_an_adapter_does_is_told(body: str, expected: str) -> None:
    assert troubles(python(body)) == expected.split()


def test_a_line_that_is_none_is_shown_though_its_answer_comes_after_it() -> None:
    replies = runner.run(python(f"if n == 1: print('debug')\n{NAMED}"), QUESTIONS)
    assert [n for n, reply in enumerate(replies) if reply.trouble] == [1]
    assert "debug" in replies[1].detail


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


def test_one_that_answers_may_die_at_any_number_of_texts() -> None:
    questions = [contract.Question(id=str(n), text="ab"[n % 2]) for n in range(100)]
    replies = runner.run(python(f"sys.exit(2) if q['text'] == 'b' else {ANSWER}"), questions)
    assert [reply.trouble for reply in replies] == [None, "crash"] * 50


def test_one_that_hangs_time_and_again_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_STARTS", 2)
    questions = [contract.Question(id=str(n), text="ab"[n % 2]) for n in range(10)]
    body = f"time.sleep(60) if q['text'] == 'b' else {ANSWER}"
    replies = runner.run(python(body), questions, seconds=2)
    assert [reply.trouble for reply in replies] == [None, "time-out"] * 2 + ["missing"] * 6


def test_a_run_ends() -> None:
    questions = [contract.Question(id=str(n), text="a") for n in range(1000)]
    replies = runner.run(python(f"time.sleep(0.2)\n{ANSWER}"), questions, at_most=2)
    assert replies[0].claims == {"asked": "a"}
    assert replies[-1].detail.startswith("not asked: the run took longer than 2 s")


def test_a_child_in_another_session_holds_nobody_up(tmp_path: Path) -> None:
    child = (
        "import subprocess, sys\n"
        "p = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(p.pid))\n"
        "for line in sys.stdin: print('{}', flush=True)\n"
    )
    start = time.monotonic()
    try:
        assert troubles(python(child, loop=False)) == ["-"] * 5
        assert time.monotonic() - start < 30
    finally:
        os.kill(int((tmp_path / "pid").read_text()), 9)


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
