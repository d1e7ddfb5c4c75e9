"""The log as its readers meet it: what is in it, and that nobody waits for it."""
import fcntl
import json
import os
import re
import signal
import subprocess
import time

import pytest

from client import chat_body, http_get, request_bytes, wait_for, Raw
from conftest import BINARY, clean_env, free_port, provider

PIPE = 4096  # F_SETPIPE_SZ: the least


def payloads(p):
    """{(request id, whose): text} of what the log shows, its parts put together."""
    found = {}
    for line in p.log_lines():
        if line["msg"] == "payload":
            key = line["id"], line["of"]
            assert line["part"] == 1 or key in found
            found[key] = found.get(key, "") + line["text"]
    return found


def whose(p):
    return sorted(of for _, of in payloads(p))


def test_bodies_are_in_the_log_where_that_is_asked_for(upstream, holdfast):
    a, b = upstream("A", default="status?code=500"), upstream("B")
    p = holdfast(a, b, log={"payloads": "64KiB"}, failover={"per_target": 1})
    words = "tell me " + "everything " * 2000
    answer = p.chat(messages=[{"role": "user", "content": words}])
    stream = p.chat(stream=True)
    wait_for(lambda: whose(p).count("answer") == 2)
    shown = payloads(p)
    first, second = answer.header("x-request-id"), stream.header("x-request-id")
    assert json.loads(shown[first, "request"])["messages"][0]["content"] == words
    assert json.loads(shown[first, "answer"]) == answer.json
    assert "error" in json.loads(shown[first, "a/model-a"])
    assert shown[second, "answer"].startswith("data: {") and "[DONE]" in shown[second, "answer"]
    assert "log.payloads: whoever reads the log reads what people write" in p.stderr


def test_no_body_is_in_the_log_unless_asked_for(upstream, holdfast):
    p = holdfast(upstream("A"))
    p.chat(messages=[{"role": "user", "content": "a secret of mine"}])
    p.stop()
    assert "a secret of mine" not in p.stderr and payloads(p) == {}


def test_payloads_are_cut_and_hold_no_keys(upstream, holdfast):
    p = holdfast(upstream("A"), log={"payloads": "1000B"})
    p.chat(messages=[{"role": "user", "content": "my key is sk-canary-a-0123456789, " + "x " * 5000}],
           tools=[], metadata={})
    wait_for(lambda: "answer" in whose(p))
    lines = [x for x in p.log_lines() if x["msg"] == "payload" and x["of"] == "request"]
    assert lines[0]["cut"] and lines[0]["bytes"] > 10000 and len(lines[0]["text"]) <= 1000
    assert "canary" not in p.stderr and "my key is ***" in lines[0]["text"]


def test_payloads_come_and_go_with_a_reload(upstream, holdfast):
    p = holdfast(upstream("A"))
    config = json.loads(p.config_path.read_text())
    for i, size in enumerate(("1KiB", "off"), 1):
        p.config_path.write_text(json.dumps(config | {"log": {"payloads": size}}))
        p.process.send_signal(signal.SIGHUP)
        wait_for(lambda: p.stderr.count("the configuration is in force") >= i)
        p.chat()
    p.stop()
    assert whose(p) == ["answer", "request"]


@pytest.fixture
def logging_to(upstream, tmp_path):
    """logging_to(fd, ...) -> port of a process whose log goes to the descriptor."""
    started = []

    def start(fd, level="info", **log):
        port, admin = free_port(), free_port()
        config = tmp_path / "c.yaml"
        config.write_text(json.dumps({
            "listen": [f"127.0.0.1:{port}"], "admin": f"127.0.0.1:{admin}",
            "log": {"level": level, **log},
            "providers": {"a": provider(upstream("A"))}, "routes": [{"model": "*", "targets": ["a"]}]}))
        started.append(subprocess.Popen([str(BINARY), "serve", "-c", str(config)], stderr=fd,
                                        stdout=subprocess.DEVNULL, env=clean_env(tmp_path)))

        def serves():
            assert started[-1].poll() is None
            try:
                return http_get(admin, "/readyz")[0] == 200
            except OSError:
                return False
        wait_for(serves, timeout=30)
        return port, admin, started[-1]
    yield start
    for p in started:
        p.kill()
        p.wait()


def ask(port, n):
    """n requests on one connection; how long the slowest took."""
    slowest = 0
    with Raw(port) as c:
        for _ in range(n):
            began = time.monotonic()
            c.send(request_bytes("POST", "/v1/chat/completions", chat_body()))
            assert c.answer().text.startswith("A:")
            slowest = max(slowest, time.monotonic() - began)
    return slowest


def dropped(admin):
    return int(re.search(r"^holdfast_log_lines_dropped_total (\d+)", http_get(admin, "/metrics")[2].decode(),
                         re.M)[1])


def test_a_reader_that_never_reads_stops_nobody(logging_to):
    """The pipe is full before the first line: the greeting too has to wait for nobody."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE)
    os.write(writer, b"x" * PIPE)
    try:
        port, admin, process = logging_to(writer, payloads="128KiB")
        # More than the buffer holds: 512 KB, some of it at most gone by the time that it is tried.
        assert ask(port, 3000) < 5
        assert dropped(admin) > 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        os.close(reader)
        os.close(writer)


def test_a_reader_that_goes_away_stops_nobody(logging_to):
    reader, writer = os.pipe()
    port, admin, process = logging_to(writer)
    os.close(reader)
    os.close(writer)
    ask(port, 50)
    wait_for(lambda: dropped(admin) > 0)
    ask(port, 50)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_a_full_disk_stops_nobody(logging_to):
    with open("/dev/full", "w") as full:
        port, admin, process = logging_to(full)
        ask(port, 50)
        wait_for(lambda: dropped(admin) > 0)
        ask(port, 50)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
