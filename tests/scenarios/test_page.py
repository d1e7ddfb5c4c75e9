"""The status page in a real browser: what a person sees of an outage while it happens."""
import json
import re
import signal

import pytest

import browser
from client import http_get, wait_for
from conftest import ROOT

PICTURES = ROOT / "build/pages"

needs_browser = pytest.mark.skipif(not browser.find(), reason="no Chromium is installed")


@pytest.fixture
def page(tmp_path):
    with browser.Browser(tmp_path / "profile") as b:
        yield b


def picture(page, name):
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(PICTURES / f"{name}.png")


def test_the_page_needs_nothing_from_elsewhere_and_may_do_nothing_else(upstream, holdfast):
    p = holdfast(upstream("A"))
    code, headers, body = http_get(p.admin, "/")
    policy = headers["content-security-policy"]
    assert code == 200 and "default-src 'none'" in policy and "unsafe" not in policy
    text = body.decode()
    assert not re.search(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//""", text)
    assert not re.search(r"""\son\w+\s*=\s*["']|style\s*=\s*["']|innerHTML""", text)


@needs_browser
def test_an_outage_is_seen_while_it_happens(upstream, holdfast, page):
    a = upstream("A")
    p = holdfast(a, upstream("B"), routes=[{"model": "gpt-*", "targets": ["a/model-a", "b/model-b"]},
                                           {"model": "<b>alone", "targets": ["a/model-a"]}])
    page.open(f"http://127.0.0.1:{p.admin}/")
    page.wait("document.getElementById('banner').className === 'good'")
    assert "Nothing yet" in page.run("document.getElementById('events').innerText")

    def row(target):
        return f"document.querySelector('[data-target=\"{target}\"]').innerText"
    for _ in range(3):
        assert p.chat("gpt-4", stream=True).status == 200
    page.wait("document.querySelector('#answered [data-series=\"a/model-a\"]') !== null")
    page.wait("document.querySelector('#pace [data-series=\"a/model-a\"]') !== null")

    a.default = "status?code=500"
    for _ in range(6):
        assert p.chat("gpt-4").status == 200
    page.wait("document.getElementById('banner').className === 'bad'")
    assert "Route <b>alone cannot be served" in page.run("document.getElementById('banner').innerText")
    assert "1 of 2 targets are out" in page.run("document.getElementById('banner').innerText")
    assert "down, again in" in page.run(row("a/model-a"))
    assert "server_error, 5 failures in a row" in page.run(row("a/model-a"))
    assert "The server had an error while" in page.run(row("a/model-a"))
    assert "ok" in page.run(row("b/model-b"))
    events = page.run("document.getElementById('events').innerText")
    assert re.search(r"failover\s+a/model-a → b/model-b\s+server_error\s+5 times", events), events
    assert re.search(r"breaker open\s+a/model-a\s+server_error", events), events
    page.wait("document.querySelector('#answered [data-series=\"b/model-b\"]') !== null")
    picture(page, "outage")
    assert not page.complaints, page.complaints
    assert all(url.startswith(f"http://127.0.0.1:{p.admin}/") or url == "data:,"
               for url in page.requests), page.requests

    a.default = "ok"
    p.stop()
    page.wait("document.body.classList.contains('stale')")
    assert "does not answer since" in page.run("document.getElementById('banner').innerText")
    picture(page, "gone")


@pytest.mark.tsan
def test_events_tell_who_answered_and_what_moved(upstream, holdfast):
    p = holdfast(upstream("A", default="status?code=503"), upstream("B"), routes=[
        {"model": "both", "targets": ["a/model-a", "b/model-b"]},
        {"model": "one", "targets": ["a/model-a"]}])
    assert p.chat("both").status == 200
    assert p.chat("both", stream=True).status == 200
    assert p.chat("one").status == 503
    assert p.chat("nobody-has-this").status == 404, "the caller's own error is no failure"
    doc = json.loads(http_get(p.admin, "/events")[2])
    moved = {(e["what"], e["target"], e.get("to")): e for e in doc["events"]}
    assert moved["failover", "a/model-a", "b/model-b"]["count"] == 2
    assert [sum(s["n"]) for s in doc["answered"]] == [2] and doc["answered"][0]["target"] == "b/model-b"
    config = json.loads(p.config_path.read_text()) | {"failover": {"max_attempts": 3}}
    p.config_path.write_text(json.dumps(config))
    p.process.send_signal(signal.SIGHUP)
    wait_for(lambda: p.status().get("last_reload") == "ok")
    assert p.chat("both").status == 200
    later = json.loads(http_get(p.admin, "/events")[2])
    assert sum(sum(s["n"]) for s in later["answered"]) == 3, "a changed configuration forgets nothing"
    assert later["events"][0]["count"] == 3
    assert sum(doc["failed"]) == 1 and len(doc["failed"]) * doc["slot_ms"] == 600_000
