"""TLS towards clients, on every listener that is not loopback."""
import hashlib
import json
import shutil
import socket
import ssl
import threading

import pytest

from client import Raw, chat_body, request_bytes, wait_for
from conftest import free_port, provider

KEY = "hf_client_key_0123456789"
AUTH = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture
def secure(upstream, holdfast, certs, tmp_path):
    """secure(a) starts the program on all addresses with a certificate, and gives a way to dial it."""
    for name in ("cert", "key"):
        shutil.copy(certs.path("good"), tmp_path / f"{name}.pem")

    def start(*upstreams, **more):
        port = free_port()
        p = holdfast(*upstreams, listen=[f"0.0.0.0:{port}"],
                     tls={"cert": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")},
                     clients=[{"name": "c", "key_sha256": hashlib.sha256(KEY.encode()).hexdigest()}],
                     **more)
        p.probe, p.port = None, port

        def dial(**options):
            c = Raw(port)
            context = ssl.create_default_context(cafile=certs.path("ca"))
            for name, value in options.items():
                setattr(context, name, value)
            c.sock = context.wrap_socket(c.sock, server_hostname="localhost")
            return c
        p.dial = dial
        return p
    return start


def ask(c, **fields):
    c.send(request_bytes("POST", "/v1/chat/completions", chat_body(**fields), AUTH))
    return c.answer()


@pytest.mark.tsan
@pytest.mark.parametrize("workers", [1, 2])
def test_whole_answers_and_streams_on_one_connection(upstream, secure, workers):
    a = upstream("A")
    p = secure(a, workers=workers)
    assert "listening on https://0.0.0.0:" in p.stderr
    with p.dial() as c:
        for stream in (False, True, False, True):
            answer = ask(c, stream=stream)
            assert answer.text.startswith("A:") and answer.end == "complete"
        assert c.sock.version() == "TLSv1.3"


def test_large_bodies_both_ways_and_a_reader_that_waits(upstream, secure):
    a = upstream("A", default="file?size=4000000")
    p = secure(a)
    body = bytes(range(256)) * 8000
    with p.dial() as c:
        c.send(f"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nx-holdfast-route: *\r\nAuthorization: Bearer {KEY}"
               f"\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        wait_for(lambda: a.attempts and a.attempts[0].sent > 0)
        answer = c.answer()
    assert a.attempts[0].body == body
    assert len(answer.body) == 4000000 and answer.end == "complete"


def test_a_stream_that_breaks_off_does_not_look_whole(upstream, secure):
    p = secure(upstream("A", default="cut?after=3"), stream={"midstream": "error"})
    with p.dial() as c:
        answer = ask(c, stream=True)
    assert answer.end == "aborted" and answer.done == 0


def test_one_event_is_one_record(upstream, secure):
    p = secure(upstream("A", default="ok?tokens=30&gap=5"))
    with p.dial() as c:
        answer = ask(c, stream=True)
    assert len(answer.pieces) >= 20


@pytest.mark.tsan
def test_a_new_certificate_is_taken_while_old_connections_go_on(upstream, secure, certs, tmp_path):
    p = secure(upstream("A"))
    with p.dial() as old:
        assert ask(old).status == 200
        first = old.sock.getpeercert(True)
        # The same key twice in a file of another name would do; this one has another host as well.
        shutil.copy(certs.path("expired"), tmp_path / "key.pem")
        shutil.copy(certs.path("expired"), tmp_path / "cert.pem")
        wait_for(lambda: "the configuration is in force" in p.stderr)
        with pytest.raises(ssl.SSLCertVerificationError):
            p.dial()
        assert ask(old).status == 200
        assert old.sock.getpeercert(True) == first


def test_a_certificate_that_does_not_fit_its_key_is_not_taken(upstream, secure, certs, tmp_path):
    p = secure(upstream("A"))
    shutil.copy(certs.path("expired"), tmp_path / "key.pem")
    wait_for(lambda: "was not taken over" in p.stderr)
    assert "tls.key: " in p.stderr and "is no key of this certificate" in p.stderr
    with p.dial() as c:
        assert ask(c).status == 200


def test_plain_http_is_told_what_to_do(upstream, secure):
    p = secure(upstream("A"))
    with Raw(p.port) as c:
        c.send(request_bytes("GET", "/livez"))
        answer = c.answer()
    assert answer.status == 400 and b"https://" in answer.body


def test_old_versions_are_refused(upstream, secure):
    p = secure(upstream("A"))
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        p.dial(maximum_version=ssl.TLSVersion.TLSv1_1)
    with p.dial(maximum_version=ssl.TLSVersion.TLSv1_2) as c:
        assert ask(c).status == 200


def test_a_handshake_that_never_comes_ends(upstream, secure):
    p = secure(upstream("A"), limits={"head_timeout": "300ms"})
    with Raw(p.port) as c:
        wait_for(lambda: c.fill_some() and c.eof)


@pytest.mark.parametrize("tls, why", [
    ({"cert": "/nowhere/cert.pem", "key": "/nowhere/key.pem"}, "tls.cert: no certificate in /nowhere/cert.pem"),
    ({"cert": "/nowhere/cert.pem"}, "tls: has only one of cert and key"),
])
def test_what_is_wrong_is_named_at_the_start(run, tmp_path, tls, why):
    config = {"listen": [f"127.0.0.1:{free_port()}"], "admin": "off", "tls": tls,
              "providers": {"a": provider("http://127.0.0.1:9/v1")},
              "routes": [{"model": "*", "targets": ["a/m"]}]}
    (tmp_path / "c.yaml").write_text(json.dumps(config))
    p = run("serve", "-c", str(tmp_path / "c.yaml"))
    assert p.process.returncode == 78 and why in p.stderr
