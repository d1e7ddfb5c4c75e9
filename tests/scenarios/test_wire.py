"""The edges between two connections: what must hold whatever the order in which bytes come."""
import os
import resource
import signal
import socket
import struct
import time
from contextlib import contextmanager

import pytest

from client import Raw, chat_body, request_bytes, wait_for
from faultd import bodies, scripts

PATIENT = {"first_token": "20s", "answer": "20s", "idle": "20s", "total": "30s"}
ASK = request_bytes("POST", "/v1/chat/completions", chat_body())
ASK_STREAM = request_bytes("POST", "/v1/chat/completions", chat_body(stream=True))


def word(text):
    return scripts.event(bodies.chunk("model-a", {"content": text}))


STOP = scripts.event(bodies.chunk("model-a", {}, "stop"))
DONE = scripts.event(scripts.DONE)


@contextmanager
def frozen(proxy):
    """What happens meanwhile is there all at once, in its order, when the proxy goes on."""
    proxy.process.send_signal(signal.SIGSTOP)
    time.sleep(0.05)
    yield
    time.sleep(0.05)
    proxy.process.send_signal(signal.SIGCONT)


def serve(up, function):
    """Lets `function(exchange)` answer the upstream's requests."""
    scripts.SCRIPTS[function.__name__] = function
    up.default = function.__name__


# -- towards the provider ----------------------------------------------------------------------
def test_an_interim_head_in_pieces_with_the_next_head_behind_it(upstream, holdfast):
    def interim_in_pieces(x):
        body = bodies.dump(bodies.completion(x.model, "A: fine", 2, 0))
        head = (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body))
        for piece in (b"HTTP/1.1 100 Con", b"tinue\r\n\r\n" + head[:-10], head[-10:] + body):
            x.send(piece)
            time.sleep(0.05)
    a = upstream("A")
    serve(a, interim_in_pieces)
    p = holdfast(a)
    assert p.chat().text == "A: fine"


@pytest.mark.parametrize("tls", [None, "good"])
def test_bytes_behind_an_answer_are_not_the_next_answer(upstream, holdfast, certs, tls):
    """They may come in a TLS record of their own, or lie behind what one read takes."""
    poison = bodies.dump(bodies.completion("model-a", "poison", 2, 0))

    go = []

    def two_answers(x):
        wait_for(lambda: len(go) > x.attempt.n)
        body = bodies.dump(bodies.completion(x.model, "A: fine", 2, 0))
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        size = 65536 - len(head % 65000)
        text = head % size + body + b" " * (size - len(body))
        x.send(text if not tls else head % len(body) + body)
        x.send(head % len(poison) + poison)
    a = upstream("A", tls=tls) if tls else upstream("A")
    serve(a, two_answers)
    p = holdfast(a, env={"SSL_CERT_FILE": certs.ca} if tls else None)
    for i in range(3):
        with Raw(p.port) as c:
            c.send(ASK)
            wait_for(lambda: len(a.attempts) > i)
            with frozen(p):
                go.append(i)
            answer = c.answer()
        assert answer.text == "A: fine", answer.body


def test_an_idle_connection_that_closes_as_it_is_taken(upstream, holdfast):
    a, b = upstream("A"), upstream("B")
    p = holdfast(a, b)
    assert p.chat().status == 200
    with Raw(p.port) as c:
        with frozen(p):
            c.send(ASK)
            time.sleep(0.05)
            for s in list(a.socks):
                s.shutdown(socket.SHUT_RDWR)
        answer = c.answer()
    assert answer.text.startswith("A:"), answer.trail
    assert len(answer.trail) == 1


# -- towards the client ------------------------------------------------------------------------
def test_the_last_event_without_its_empty_line(upstream, holdfast):
    """It is whole, so it counts; and what follows it is an event of its own."""
    for tail in (STOP[:-1], STOP[:-2]):
        a = upstream("A", default="replay")
        a.recording = [word("A:"), word(" fine"), tail]
        answer = holdfast(a).chat(stream=True)
        assert answer.end == "complete" and answer.text == "A: fine" and answer.done == 1, tail
        assert answer.chunks[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("size, n", [(4090, 1), (1500, 2), (1500, 8), (90, 120)])
def test_large_fields_of_a_provider_leave_the_others_whole(upstream, holdfast, stream, size, n):
    def large_fields(x):
        extra = [(f"x-ratelimit-{i}", "v" * size) for i in range(n)]
        if x.stream:
            x.stream_head(headers=extra)
            x.part(word("A: fine") + STOP + DONE)
            x.end()
        else:
            x.answer(200, bodies.dump(bodies.completion(x.model, "A: fine", 2, 0)), headers=extra)
    a = upstream("A")
    serve(a, large_fields)
    answer = holdfast(a).chat(stream=stream)
    assert answer.status == 200 and answer.end == "complete" and answer.text == "A: fine"
    assert answer.header("content-type") == \
        ("text/event-stream" if stream else "application/json")
    assert answer.header("x-holdfast-provider") == "a"
    passed = [v for k, v in answer.headers if k.startswith("x-ratelimit")]
    assert all(v == "v" * size for v in passed)
    assert passed or size > 1000


def test_a_reader_that_is_always_behind_gets_all_of_it(upstream, holdfast):
    """The output never runs empty, so what is sent must be forgotten on the way."""
    a = upstream("A", default="replay")
    a.recording = [word(f"{i:06}" + "x" * 8000) for i in range(3000)] + [STOP, DONE]
    p = holdfast(a, timeouts=PATIENT, limits={"answer_body": "1MiB"})
    with Raw(p.port, timeout=30) as c:
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        c.send(ASK_STREAM)
        time.sleep(0.5)
        c.fill(time.monotonic() + 30)
        answer = None
        chunk, got = 30000, bytearray(c.buffer)
        deadline = time.monotonic() + 25
        while len(got) < 20 << 20 and time.monotonic() < deadline:
            data = c.sock.recv(chunk)
            if not data:
                break
            got += data
            time.sleep(0.0005)
        c.buffer = bytes(got)
        answer = c.answer()
    assert answer.end == "complete" and answer.body == b"".join(a.recording)


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
def test_an_answer_that_does_not_fit_is_broken_off(upstream, holdfast, version):
    """One event larger than all that may wait for a reader: an end that shows, never a gap."""
    a = upstream("A", default="replay")
    a.recording = [word("A:"), word("x" * (15 << 20)), word(" end"), STOP, DONE]
    p = holdfast(a, timeouts=PATIENT, limits={"answer_body": "64KiB"})
    with Raw(p.port) as c:
        c.send(ASK_STREAM.replace(b"HTTP/1.1", version, 1))
        time.sleep(1)
        answer = c.answer()
    assert answer.end == "aborted", len(answer.body)


@pytest.mark.tsan
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_client_that_resets_just_before_a_write(upstream, holdfast, version):
    """The write fails before the event tells: nobody may be called back from inside it."""
    go = []

    def on_command(x):
        x.stream_head()
        x.part(word("A:"))
        wait_for(lambda: go)
        x.part(word(" more"))
        x.part(word(" and more") + STOP + DONE)
        x.end()
    a, b = upstream("A"), upstream("B")
    serve(a, on_command)
    p = holdfast(a, b, timeouts=PATIENT)
    c = Raw(p.port)
    c.send(ASK_STREAM.replace(b"HTTP/1.1", b"HTTP/" + version.encode(), 1))
    wait_for(lambda: c.fill(time.monotonic() + 30) and b"A:" in c.buffer)
    with frozen(p):
        go.append(1)
        time.sleep(0.1)
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.sock.close()
    wait_for(lambda: p.in_flight() == 0)
    assert b.attempts == []


def test_a_refusal_reaches_a_client_that_is_still_sending(holdfast, upstream):
    """The proxy listens on for two seconds; only a busy machine does not get it all sent by then."""
    p = holdfast(upstream("A"), limits={"request_body": "1MiB"})
    ask = request_bytes("POST", "/v1/chat/completions", b"x" * (40 << 20))
    answer = None
    for _ in range(6):
        with Raw(p.port) as c:
            c.send(ask)
            answer = answer or c.answer()
    assert answer is not None and answer.status == 413


def test_two_choices_one_after_the_other_and_no_end(upstream, holdfast):
    """The connection stays open after the last finish reason: the answer is whole all the same."""
    def choices(x):
        def of(i, delta, finish=None):
            c = bodies.chunk("model-a", delta, finish)
            c["choices"][0]["index"] = i
            return scripts.event(c)
        x.stream_head()
        x.part(of(0, {"content": "A: one"}) + of(0, {}, "stop"))
        x.pause(0.1)
        x.part(of(1, {"content": " two"}) + of(1, {}, "stop"))
        x.stall(20)
    a = upstream("A")
    serve(a, choices)
    answer = holdfast(a, timeouts=PATIENT).chat(stream=True, n=2)
    assert answer.end == "complete" and answer.done == 1
    assert answer.seconds < 10


def test_a_client_that_leaves_right_behind_its_request(upstream, holdfast):
    """Request and end come in one event."""
    a, b = upstream("A", default="hang"), upstream("B")
    p = holdfast(a, b, timeouts=PATIENT)
    c = Raw(p.port)
    with frozen(p):
        c.send(ASK)
        c.sock.close()
    wait_for(lambda: p.metric("holdfast_requests_total", outcome="client_gone") == 1)
    wait_for(lambda: p.in_flight() == 0)


# -- running out of descriptors ------------------------------------------------------------------
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", None])
def test_no_descriptor_for_a_provider_is_not_its_fault(upstream, holdfast, host):
    """Neither for the socket nor, with a name that only the system's resolver knows, before it."""
    a = upstream("A", host="0.0.0.0" if host is None else "127.0.0.1")
    p = holdfast({"type": "openai", "api_key": "sk-x", "allow_http": True,
                  "base_url": f"http://{host or socket.gethostname()}:{a.port}/v1"})
    with Raw(p.port) as c:
        c.send(request_bytes("GET", "/livez"))
        c.answer("GET")
        old_limit = resource.prlimit(p.process.pid, resource.RLIMIT_NOFILE)
        fds = os.listdir(f"/proc/{p.process.pid}/fd")
        top = max(int(x) for x in fds) + 1
        resource.prlimit(p.process.pid, resource.RLIMIT_NOFILE, (top, old_limit[1]))
        c.send(ASK)
        answer = c.answer()
        resource.prlimit(p.process.pid, resource.RLIMIT_NOFILE, old_limit)
        assert answer.status >= 500 and [o for _, o, _ in answer.trail] == ["local"], answer.trail
        c.send(ASK)
        assert c.answer().status == 200

# -- the end of the process ----------------------------------------------------------------------
def test_while_it_drains_a_new_connection_is_refused(upstream, holdfast):
    """Not taken into a queue that nobody serves any more."""
    a = upstream("A", default="ok?gap=100&tokens=30")
    p = holdfast(a, timeouts=PATIENT)

    def refused():
        try:
            Raw(p.port).sock.close()
        except ConnectionRefusedError:
            return a.attempts[0].ended is None
        except ConnectionResetError:  # it was in the queue as that was closed
            return False
    with Raw(p.port) as c:
        c.send(ASK_STREAM)
        wait_for(lambda: a.attempts)
        p.process.send_signal(signal.SIGTERM)
        wait_for(refused)
        answer = c.answer()
    assert answer.end == "complete" and answer.done == 1
    assert p.wait() == 0


@pytest.mark.parametrize("sent", [len(ASK) - 10, len(ASK)])
def test_what_is_cut_short_at_the_end_gets_its_error(upstream, holdfast, sent):
    a = upstream("A", default="hang")
    p = holdfast(a, timeouts=PATIENT, drain={"delay": "10ms", "timeout": "300ms"})
    with Raw(p.port) as c:
        c.send(ASK[:sent])
        time.sleep(0.5)  # it reads what there is
        p.process.send_signal(signal.SIGTERM)
        answer = c.answer()
    assert answer is not None and answer.status == 503, c.eof
    assert p.wait() == 0


def test_a_reader_that_is_behind_at_the_end_sees_that_bytes_are_missing(upstream, holdfast):
    a = upstream("A", default="ok?big=12000000")
    p = holdfast(a, timeouts=PATIENT, drain={"delay": "10ms", "timeout": "300ms"})
    with Raw(p.port) as c:
        c.send(ASK_STREAM.replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        wait_for(lambda: a.attempts and a.attempts[0].ended)
        time.sleep(0.5)
        p.process.send_signal(signal.SIGTERM)
        assert p.wait() == 0
        answer = c.answer()
    assert answer.end == "aborted", len(answer.body)
