"""The commands, their exit codes, and errors that name the place."""
import json
import re
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from client import wait_for
from conftest import free_port

GOOD = """listen: ['127.0.0.1:{port}']
admin: 127.0.0.1:{admin}
drain: {{delay: 10ms}}
providers:
  one: {{type: openai, base_url: 'http://127.0.0.1:9/v1', api_key: sk-x}}
  notice: {{type: scripted, text: "All providers are down."}}
routes:
  - model: "gpt-*"
    targets: [one/gpt-4o, notice/x]
"""


def good():
    return GOOD.format(port=free_port(), admin=free_port())


@pytest.mark.parametrize("edit,line,words", [
    (("model: \"gpt-*\"", "model: \"gpt-*\"\n    modle: x"), 9, ["modle"]),
    (("drain: {delay: 10ms}", "drain: {delay: 10}"), 3, ["drain.delay", "10", "unit"]),
    (("drain: {delay: 10ms}", "drain: {delay: fast}"), 3, ["fast"]),
    (("drain: {delay: 10ms}", "drian: {delay: 10ms}"), 3, ["drian"]),
    (("drain: {delay: 10ms}", "failover: {max_attempts: -1}"), 3, ["max_attempts", "-1"]),
    (("drain: {delay: 10ms}", "timeouts: {idle: 10}"), 3, ["timeouts.idle", "10s"]),
    (("api_key: sk-x", "api_key: '${NO_SUCH_VARIABLE}'"), 5, ["NO_SUCH_VARIABLE"]),
    (("type: openai", "type: openia"), 5, ["openia", "openai"]),
    (("one/gpt-4o", "two/gpt-4o"), 9, ["two"]),
    (("http://127.0.0.1:9/v1", "http://api.example.com/v1"), 5, ["allow_http"]),
    (("http://127.0.0.1:9/v1", "ftp://127.0.0.1/v1"), 5, ["ftp"]),
    (("routes:", "routes: ["), None, []),
    (("  notice:", "  one: {type: scripted, text: x}\n  notice:"), 6, ["one"]),
    (("admin: 127", "\tadmin: 127"), 2, []),
])
def test_a_wrong_configuration_names_its_place(run, tmp_path, edit, line, words):
    file = tmp_path / "bad.yaml"
    text = good()
    assert edit[0] in text
    file.write_text(text.replace(*edit, 1))
    for command in (["check", "-c", str(file)], ["serve", "-c", str(file)]):
        p = run(*command)
        assert p.process.returncode == 78, (p.stdout, p.stderr)
        place = re.search(r"bad\.yaml:(\d+):(\d+): (.+)", p.stderr)
        assert place, p.stderr
        assert line is None or int(place[1]) == line, p.stderr
        assert all(w in p.stderr for w in words), p.stderr


def test_a_missing_file_is_named(run, tmp_path):
    p = run("check", "-c", str(tmp_path / "nowhere.yaml"))
    assert p.process.returncode == 78 and "nowhere.yaml" in p.stderr


def test_check_prints_the_effective_routes_and_no_key(run, tmp_path):
    file = tmp_path / "good.yaml"
    file.write_text(good().replace("sk-x", "sk-very-secret-key"))
    p = run("check", "-c", str(file))
    assert p.process.returncode == 0, p.stderr
    for word in ("gpt-*", "one/gpt-4o", "notice/x"):
        assert word in p.stdout
    assert "very-secret" not in p.stdout + p.stderr


def test_version(run):
    p = run("version")
    assert p.process.returncode == 0 and re.search(r"holdfast \d+\.\d+\.\d+", p.stdout)


@pytest.mark.parametrize("args", [["--help"], ["serve", "--help"], ["check", "--help"],
                                  ["status", "--help"], ["version", "--help"]])
def test_help(run, args):
    p = run(*args)
    assert p.process.returncode == 0 and "holdfast" in p.stdout and len(p.stdout) > 100


@pytest.mark.parametrize("args", [["dance"], ["serve", "--dance"], ["check", "--dance"], ["-c"],
                                  ["serve", "--listen"], ["serve", "surplus"]])
def test_usage(run, args):
    p = run(*args)
    assert p.process.returncode == 64 and p.stderr and "--help" in p.stderr


def test_a_listen_option_that_is_no_address(run):
    p = run("serve", "--listen", "somewhere:99999")
    assert p.process.returncode == 78 and "99999" in p.stderr
    assert "--listen" in p.stderr and "HOLDFAST_LISTEN" not in p.stderr


def test_a_port_that_is_taken(run, tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        file = tmp_path / "good.yaml"
        file.write_text(GOOD.format(port=port, admin=free_port()))
        p = run("serve", "-c", str(file))
        assert p.process.returncode == 69 and str(port) in p.stderr


def test_the_configuration_is_found_where_the_manual_says(run, tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    (here / "holdfast.yaml").write_text(good().replace("gpt-*", "from-here-*"))
    xdg = tmp_path / "xdg"
    (xdg / "holdfast").mkdir(parents=True)
    (xdg / "holdfast" / "holdfast.yaml").write_text(good().replace("gpt-*", "from-xdg-*"))
    other = tmp_path / "other.yaml"
    other.write_text(good().replace("gpt-*", "from-env-*"))
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "from-here-*" in run("check", cwd=here).stdout
    assert "from-xdg-*" in run("check", cwd=empty, env={"XDG_CONFIG_HOME": str(xdg)}).stdout
    assert "from-env-*" in run("check", cwd=here, env={"HOLDFAST_CONFIG": str(other)}).stdout


def test_variables_override_scalars(holdfast, tmp_path):
    port, admin = free_port(), free_port()
    p = holdfast(config=good(), env={"HOLDFAST_LISTEN": f"127.0.0.1:{port}",
                                     "HOLDFAST_ADMIN": f"127.0.0.1:{admin}"})
    assert f":{port}" in p.stderr


def test_the_listen_option_wins(holdfast):
    port = free_port()
    p = holdfast(config=good(), args=["--listen", f"127.0.0.1:{port}"])
    assert f"listening on http://127.0.0.1:{port}" in p.stderr


def test_sigterm_lets_a_stream_finish(upstream, holdfast):
    a = upstream("A", default="ok?gap=60&tokens=15")
    p = holdfast(a)
    p.probe = None
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(p.chat, stream=True)
        wait_for(lambda: a.attempts)
        p.process.send_signal(signal.SIGTERM)
        answer = future.result()
    assert answer.end == "complete" and answer.done == 1
    assert p.wait() == 0


def test_sigterm_ends_what_will_not_end_with_an_error(upstream, holdfast):
    a = upstream("A", default="ok?gap=60&tokens=1000")
    p = holdfast(a, drain={"delay": "10ms", "timeout": "500ms"})
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(p.chat, stream=True)
        wait_for(lambda: a.attempts)
        p.process.send_signal(signal.SIGTERM)
        answer = future.result()
    assert answer.end == "aborted" and answer.done == 0
    assert p.wait() == 0
