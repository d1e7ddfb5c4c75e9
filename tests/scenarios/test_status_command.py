"""`holdfast status`: what somebody at a terminal sees, and what a script gets of it."""
import json
import os
import pty
import re
import select
import signal
import subprocess
import time

import pytest

from client import wait_for
from conftest import BINARY, clean_env, free_port


def rows(text):
    """{target: its row, as words}; the details below a row are indented."""
    table = text.split("TARGET", 1)[1].splitlines()[1:]
    return {line.split()[0]: line for line in table if line and not line.startswith(" ")}


def ask(run, p, *args, **more):
    return run("status", "-c", str(p.config_path), *args, **more)


def open_breaker(p):
    for _ in range(6):
        p.chat()
    wait_for(lambda: p.breakers())


def test_all_is_well(upstream, holdfast, run):
    """Asked as the configuration says, and never through an outgoing proxy of the environment."""
    p = holdfast(upstream("A"), upstream("B"))
    p.chat(stream=True)
    p.chat()
    s = ask(run, p, env={"http_proxy": "http://127.0.0.1:9", "all_proxy": "http://127.0.0.1:9"})
    assert s.process.returncode == 0, s.stderr
    assert "2 requests, 2 of them answered (100.0 %)" in s.stdout
    assert "all 2 routes can be served" in s.stdout
    row = rows(s.stdout)["a/model-a"]
    #                state busy  p50 and p95      calls failed in, out
    assert re.search(r"  ok +0 +\d+ ms +\d+ ms +2 +0 +\d+ +\d+$", row), row
    assert re.search(r"  ok +0 +- +- +0 +0 +0 +0$", rows(s.stdout)["b/model-b"])
    assert "\033" not in s.stdout, "colours are for terminals"
    document = json.loads(ask(run, p, "--json").stdout)
    assert document.keys() == p.status().keys()
    a, b = [t for t in document["targets"] if t["target"] != "probe/p"]
    assert a["may_be_asked"] and 0 < a["first_token_p50_ms"] <= a["first_token_p95_ms"]
    assert "answer_p50_ms" in a and "first_token_p50_ms" not in b
    assert document["routes"][1] == {"route": "*", "targets": ["a/model-a", "b/model-b"],
                                     "may_be_asked": 2}


def test_a_target_that_is_down_tells_why_and_until_when(upstream, holdfast, run):
    p = holdfast(upstream("A", default="status?code=500"), upstream("B"))
    open_breaker(p)
    s = ask(run, p)
    assert s.process.returncode == 0, "B serves the route"
    assert "route *: 1 of 2 targets are out" in s.stdout
    assert re.search(r"a/model-a +DOWN, again in \d+(\.\d s| ms)", s.stdout), s.stdout
    assert re.search(r"\n    its model: server_error, 5 failures in a row\n"
                     r"    \d+(\.\d)? m?s ago: the provider answered with a server error: "
                     r"The server had an error while processing", s.stdout), s.stdout


def test_a_route_without_a_target_is_exit_code_1(upstream, holdfast, run, tmp_path):
    p = holdfast(upstream("A", default="status?code=500"), admin=f"unix:{tmp_path / 'admin'}")
    p.probe = None
    for _ in range(6):
        p.chat()
    s = ask(run, p)
    assert s.process.returncode == 1, s.stderr
    assert "route * CANNOT BE SERVED: its only target is out" in s.stdout
    assert ask(run, p, "--json").process.returncode == 1


def test_metrics_tell_the_same(upstream, holdfast):
    p = holdfast(upstream("A", default="status?code=500"), upstream("B"))
    open_breaker(p)
    assert p.metric("holdfast_route_available_targets", route="*") == 1
    assert p.metric("holdfast_target_available", target="a/model-a") == 0
    assert p.metric("holdfast_target_available", target="b/model-b") == 1
    assert p.metric("holdfast_config_last_reload_successful") == 1
    p.config_path.write_text("nonsense")
    p.process.send_signal(signal.SIGHUP)
    wait_for(lambda: p.metric("holdfast_config_last_reload_successful") == 0)


def test_a_key_that_rests_is_named_by_its_place(upstream, holdfast, run):
    p = holdfast(upstream("A", default="status?code=401"), upstream("B"))
    p.chat()
    s = ask(run, p)
    assert re.search(r"a/model-a +RESTS for \d+ s", s.stdout), s.stdout
    assert "all its keys rest: auth" in s.stdout and "key 1 of a rests for" in s.stdout
    assert "canary" not in s.stdout


def test_nobody_answers_is_exit_code_2_and_says_where(run, tmp_path):
    port = free_port()
    s = run("status", "--admin", f"127.0.0.1:{port}")
    assert s.process.returncode == 2 and not s.stdout
    assert f"127.0.0.1:{port}" in s.stderr


def test_somebody_else_who_answers_is_no_status(upstream, run):
    a = upstream("A")
    s = run("status", "--admin", f"127.0.0.1:{a.port}")
    assert s.process.returncode == 2 and f"127.0.0.1:{a.port}" in s.stderr


def test_an_admin_port_that_is_off_is_said(upstream, holdfast, run):
    p = holdfast(upstream("A"), admin="off")
    s = ask(run, p)
    assert s.process.returncode == 2 and "off" in s.stderr and "--admin" in s.stderr


def test_it_works_where_the_services_keys_are_not_in_the_environment(upstream, holdfast, run,
                                                                     tmp_path):
    p = holdfast(upstream("A"))
    file = tmp_path / "keys.yaml"
    file.write_text("providers: {a: {type: openai, api_key: '${NOT_IN_THIS_SHELL}'}}\n")
    s = run("status", "-c", str(file), "--admin", f"127.0.0.1:{p.admin}")
    assert s.process.returncode == 0, s.stderr
    s = run("status", "-c", str(file), env={"HOLDFAST_ADMIN": f"127.0.0.1:{p.admin}"})
    assert s.process.returncode == 0 and "NOT_IN_THIS_SHELL" in s.stderr, s.stderr


@pytest.mark.parametrize("args", [["check", "--json"], ["serve", "--watch"], ["status", "--watch=x"],
                                  ["status", "--watch=0"]])
def test_wrong_usage(run, args):
    assert run(*args).process.returncode == 64


def at_a_terminal(tmp_path, args, enough, env=None):
    """What the command writes to a terminal of 60 columns, until `enough(text)`."""
    main, sub = pty.openpty()
    import fcntl
    import struct
    import termios
    fcntl.ioctl(sub, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 60, 0, 0))
    process = subprocess.Popen([str(BINARY), *args], stdout=sub, stderr=sub,
                               stdin=subprocess.DEVNULL, env=clean_env(tmp_path) | (env or {}))
    os.close(sub)
    text, end = "", time.monotonic() + 20
    while not enough(text) and time.monotonic() < end:
        if select.select([main], [], [], 1)[0]:
            try:
                text += os.read(main, 65536).decode()
            except OSError:  # the other end is closed
                break
    process.terminate()
    process.wait()
    os.close(main)
    return text


def test_colours_and_watching_at_a_terminal(upstream, holdfast, tmp_path):
    p = holdfast(upstream("A", default="status?code=500"), upstream("B"))
    open_breaker(p)
    command = ["status", "-c", str(p.config_path), "--watch=0.1"]
    text = at_a_terminal(tmp_path, command, lambda t: t.count("TOKENS IN") >= 3)
    assert text.count("\033[H\033[J") >= 3, "each look begins at the top of an empty screen"
    assert "\033[1;31mDOWN" in text and "\033[32mok" in text
    errors = [line for line in text.splitlines() if "ago: " in line]
    assert errors and all(len(re.sub(r"\033\[[\d;]*m", "", line)) <= 60 for line in errors)
    plain = at_a_terminal(tmp_path, command[:-1], lambda t: "BUSY:" in t, {"NO_COLOR": "1"})
    assert "TARGET" in plain and "\033" not in plain


def test_watching_goes_on_while_nobody_answers(tmp_path):
    command = ["status", "--admin", f"127.0.0.1:{free_port()}", "--watch=0.1"]
    text = at_a_terminal(tmp_path, command, lambda t: t.count("no status from") >= 2)
    assert text.count("no status from") >= 2
