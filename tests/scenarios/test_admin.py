"""What an operator sees: health, metrics, status, one log line an exchange; and the listeners."""
import json
import os
import re
import socket
import tempfile
import time

import pytest

from client import Raw, chat_body, http_get, in_time, request_bytes, wait_for
from conftest import free_port


@pytest.mark.tsan
def test_health(upstream, holdfast):
    p = holdfast(upstream("A"))
    for port in (p.port, p.admin):
        for path in ("/livez", "/readyz"):
            assert http_get(port, path)[0] == 200, (port, path)


def test_ready_stays_true_while_providers_are_down(upstream, holdfast):
    p = holdfast(upstream("A", default="status?code=500"))
    for _ in range(6):
        p.chat()
    assert http_get(p.admin, "/readyz")[0] == 200


def test_not_ready_while_draining(upstream, holdfast):
    import signal
    a = upstream("A", default="ok?gap=100&tokens=12")
    p = holdfast(a, drain={"delay": "3s", "timeout": "10s"})
    with Raw(p.port) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body(stream=True)))
        wait_for(lambda: a.attempts)
        p.process.send_signal(signal.SIGTERM)
        wait_for(lambda: http_get(p.admin, "/readyz")[0] == 503)
        assert http_get(p.admin, "/livez")[0] == 200
        assert c.answer().end == "complete"
    assert p.wait() == 0


def test_metrics_count_what_happened(upstream, holdfast):
    a = upstream("A", queue=["status?code=503"] * 2)
    b = upstream("B")
    p = holdfast(a, b)
    for stream in (False, True, False):
        assert p.chat(stream=stream).status == 200
    assert p.metric("holdfast_requests_total") == 3
    assert p.metric("holdfast_requests_total", outcome="ok") == 3
    assert p.metric("holdfast_attempts_total", provider="a", model="model-a") == 3
    assert p.metric("holdfast_attempts_total", provider="a", outcome="ok") == 1
    assert p.metric("holdfast_attempts_total", provider="b", outcome="ok") == 2
    assert p.metric("holdfast_failovers_total") == 2
    assert p.metric("holdfast_request_duration_seconds_count") == 3
    assert p.metric("holdfast_time_to_first_token_seconds_count") >= 1
    assert p.metric("holdfast_overhead_seconds_count") == 3
    assert p.metric("holdfast_in_flight") == 0
    assert p.metric("holdfast_tokens_total", provider="b") == 2 * 16


def test_metrics_are_well_formed(upstream, holdfast):
    p = holdfast(upstream("A"))
    p.chat("odd\u00fc\"name\\")
    p.chat()
    typed = set()
    for line in p.metrics().splitlines():
        if line.startswith("# TYPE"):
            typed.add(line.split()[2])
        elif line and not line.startswith("#"):
            m = re.fullmatch(r'([a-z_]+)(\{([a-z_]+="([^"\\\n]|\\["\\n])*",?)*\})? '
                             r'(-?[0-9.]+(e[+-]?\d+)?|\+Inf|NaN)', line)
            assert m, line
            assert re.sub(r"_(bucket|sum|count)$", "", m[1]) in typed or m[1] in typed, line


def test_labels_come_from_the_configuration_only(upstream, holdfast):
    """A client cannot grow the metrics by inventing model names."""
    p = holdfast(upstream("A"))
    p.chat()
    before = len(p.metrics().splitlines())
    for n in range(20):
        p.chat(f"invented-{n}")
    assert "invented" not in p.metrics() and len(p.metrics().splitlines()) == before


def test_status(upstream, holdfast):
    a, b = upstream("A", default="status?code=500"), upstream("B")
    p = holdfast(a, b)
    for _ in range(6):
        p.chat()
    text = json.dumps(p.status())
    assert "a/model-a" in text and "b/model-b" in text and "open" in text


def numbers(row, pattern):
    return [v for k, v in row.items() if re.search(pattern, k) and isinstance(v, (int, float))]


@pytest.mark.parametrize("stream", [False, True])
def test_one_log_line_an_exchange(upstream, holdfast, stream):
    a, b = upstream("A", default="status?code=503"), upstream("B")
    p = holdfast(a, b)
    answer = p.chat(stream=stream)
    rid = answer.header("x-request-id")

    def mine():
        return [r for r in p.log_lines() if rid in r.values()]
    wait_for(mine)
    assert len(mine()) == 1
    row = mine()[0]
    text = json.dumps(row)
    assert {"route", "outcome", "attempts"} <= set(row), row
    assert row["outcome"] == "ok" and "a/model-a" in text and "b/model-b" in text
    assert any(n >= 0 for n in numbers(row, "ms|seconds|duration"))
    assert any(n > 0 for n in numbers(row, "bytes|size"))
    assert {11, 5} <= set(numbers(row, "token")), row


def test_a_unix_socket_and_several_listeners(upstream, holdfast):
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "s")
        one, two = free_port(), free_port()
        p = holdfast(upstream("A"), listen=[f"127.0.0.1:{one}", f"unix:{path}", f"127.0.0.1:{two}"])
        p.port = one
        for where in ({"port": one}, {"port": two}, {"path": path}):
            with Raw(**where) as c:
                c.send(request_bytes("POST", "/v1/chat/completions", chat_body(), host="localhost"))
                assert c.answer().status == 200
        assert os.stat(path).st_mode & 0o077 == 0, "only its owner may connect"


def test_admin_off(upstream, holdfast):
    p = holdfast(upstream("A"), admin="off")
    assert p.chat().status == 200
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", p.admin), 1)


def test_admin_is_not_for_web_pages_either(upstream, holdfast):
    p = holdfast(upstream("A"))
    assert http_get(p.admin, "/metrics", {"Host": "evil.example"})[0] >= 400
    assert http_get(p.admin, "/status", {"Origin": "https://evil.example"})[0] >= 400


def test_it_starts_fast(upstream, holdfast):
    a = upstream("A")

    def start():
        started = time.monotonic()
        holdfast(a)
        return time.monotonic() - started
    in_time(start, 0, 3, lambda seconds: seconds)
