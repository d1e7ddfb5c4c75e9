"""What is not served here goes to its provider as it is: files, images, audio, batches, sockets."""
import hashlib
import json
import threading

import pytest

from client import Raw, wait_for
from conftest import provider
from faultd.by_hand import ByHand

MULTIPART = ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=\"file\"; "
             b"filename=\"a.bin\"\r\n\r\n\x00\xff\r\n--x--\r\n")
BIG = 20 * 1024 * 1024


def request(method, path, body=b"", headers=()):
    """Names the route of the tests, as the first one is there to probe the program."""
    headers = {"x-holdfast-route": "*"} | dict(headers)
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost",
             *(f"{k}: {v}" for k, v in headers.items() if v is not None)]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def ask(port, method, path, body=b"", headers=()):
    with Raw(port) as c:
        c.send(request(method, path, body, headers))
        return c.answer(method)


def told(p):
    """The line in the log of the one exchange."""
    wait_for(lambda: '"exchange"' in p.stderr)
    return [x for x in p.log_lines() if x["msg"] == "exchange"][-1]


@pytest.fixture
def by_hand():
    started = []

    def start(serve):
        started.append(ByHand(serve))
        return started[-1]
    yield start
    for server in started:
        server.stop()


# -- requests and answers ------------------------------------------------------------------------

@pytest.mark.tsan
@pytest.mark.parametrize("method, path, body", [
    ("GET", "/v1/files?limit=2&after=file_1", b""),
    ("GET", "/v1/files/file_1/content", b""),
    ("DELETE", "/v1/files/file_1", b""),
    ("POST", "/v1/images/generations", b'{"model": "gpt-image-1", "prompt": "x"}'),
    ("POST", "/v1/audio/speech", b'{"model":"tts"}'),
    ("POST", "/v1/responses/resp_1/cancel", b""),
    ("PATCH", "/v1/never/heard/of", b"\x00\x01"),
    ("PUT", "/v1/containers/c/files", b"z"),
])
def test_a_request_arrives_as_it_was_sent(upstream, holdfast, method, path, body):
    a = upstream("A", default="file?type=image/png&size=10&extra=openai-version:2020")
    answer = ask(holdfast(a).port, method, path, body,
                 [("Content-Type", "application/json"), ("OpenAI-Beta", "assistants=v2")])
    assert (answer.status, answer.body, answer.end) == (200, b"0000000000", "complete")
    assert answer.header("content-type") == "image/png"
    assert answer.header("openai-version") == "2020"
    assert answer.header("x-holdfast-provider") == "a"
    assert answer.trail[0][:2] == ("a/passthrough", "ok")
    seen = a.attempts[0]
    assert (seen.method, seen.path, seen.body) == (method, path, body)
    assert seen.header("openai-beta") == "assistants=v2"


def test_multipart_bodies_keep_every_byte(upstream, holdfast):
    a = upstream("A", default="file")
    kind, body = MULTIPART
    assert ask(holdfast(a).port, "POST", "/v1/audio/transcriptions", body,
               [("Content-Type", kind)]).status == 200
    assert a.attempts[0].body == body
    assert a.attempts[0].header("content-type") == kind


def test_keys_stay_where_they_belong(upstream, holdfast):
    a = upstream("A", default="file")
    p = holdfast(a)
    for headers in ([("Authorization", "Bearer sk-client")], [("api-key", "sk-client")],
                    [("x-api-key", "sk-client")], [("Cookie", "sk-client"), ("X-Other", "sk-client")]):
        ask(p.port, "GET", "/v1/files?key=sk-client&limit=1", headers=headers)
    for seen in a.attempts:
        assert seen.header("authorization") == "Bearer sk-canary-a-0123456789"
        assert seen.path == "/v1/files?limit=1"
        assert "sk-client" not in repr(seen.headers)
    assert "sk-c" not in p.stderr


@pytest.mark.parametrize("path, wanted", [("/files", "/v1/files"), ("//v1///files//a", "/v1/files/a"),
                                          ("/v1/realtime/sessions", "/v1/realtime/sessions")])
def test_paths_are_below_the_base_url(upstream, holdfast, path, wanted):
    a = upstream("A", default="file")
    assert ask(holdfast(a).port, "GET", path).status == 200
    assert a.attempts[0].path == wanted


@pytest.mark.parametrize("path", ["/v1/../admin", "/v1/files/%2e%2e/x", "/v1/files/..%2fx",
                                  "/v1/\\evil", "http://evil.example/v1/files"])
def test_no_path_leaves_the_base_url(upstream, holdfast, path):
    a = upstream("A", default="file")
    assert ask(holdfast(a).port, "GET", path).status == 400
    assert a.attempts == []


def test_other_roots_are_not_found(upstream, holdfast):
    a = upstream("A", default="file")
    assert ask(holdfast(a).port, "GET", "/favicon.ico").status == 404
    assert ask(holdfast(a).port, "TRACE", "/v1/files").status == 405
    assert a.attempts == []


@pytest.mark.parametrize("status", [400, 404, 409, 422, 501])
def test_the_provider_s_refusal_is_its_own(upstream, holdfast, status):
    a = upstream("A", default=f"file?status={status}&type=application/json&size=8")
    p = holdfast(a)
    for _ in range(6):
        answer = ask(p.port, "GET", "/v1/files/none")
        assert (answer.status, answer.body) == (status, b"00000000")
    assert len(a.attempts) == 6 and p.breakers() == set()


@pytest.mark.parametrize("method, status", [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_answers_without_a_body(upstream, holdfast, method, status):
    a = upstream("A", default=f"file?status={status}&extra=etag:x")
    p = holdfast(a)
    with Raw(p.port) as c:
        for _ in range(2):  # the connection goes on
            c.send(request(method, "/v1/files/f"))
            answer = c.answer(method)
            assert (answer.status, answer.body) == (status, b"")
            assert answer.header("etag") == "x"


def test_two_answers_on_one_connection(upstream, holdfast):
    a = upstream("A", default="file?length=0&size=100000")
    p = holdfast(a)
    with Raw(p.port) as c:
        for _ in range(2):
            c.send(request("POST", "/v1/audio/speech", b"{}"))
            assert len(c.answer().body) == 100000


# -- whose it is ---------------------------------------------------------------------------------

def test_the_dialect_says_whose_path_it_is(upstream, holdfast):
    a, b = upstream("A", default="file"), upstream("B", default="file")
    p = holdfast(a, {"type": "anthropic", "base_url": b.base_url, "api_key": "sk-b"})
    assert ask(p.port, "GET", "/v1/messages/batches").status == 200
    assert ask(p.port, "GET", "/v1/files", headers=[("anthropic-version", "2023-06-01")]).status == 200
    assert a.attempts == []
    assert [x.path for x in b.attempts] == ["/v1/messages/batches", "/v1/files"]
    assert b.attempts[1].header("x-api-key") == "sk-b"
    assert b.attempts[1].header("anthropic-version") == "2023-06-01"


def test_the_first_of_its_kind_in_the_order_of_the_routes(upstream, holdfast):
    a, b, c = (upstream(n, default="file") for n in "ABC")
    p = holdfast(config={"providers": {"c": provider(c), "b": provider(b),
                                       "a": {"type": "anthropic", "base_url": a.base_url, "api_key": "k"}},
                         "routes": [{"model": "x", "targets": ["a/m"]},
                                    {"model": "*", "targets": ["a/m", "b/m", "c/m"]}]})
    assert ask(p.port, "GET", "/v1/files", headers=[("x-holdfast-route", None)]).status == 200
    assert [len(u.attempts) for u in (a, b, c)] == [0, 1, 0]


def test_nobody_of_that_kind(upstream, holdfast):
    b = upstream("B", default="file")
    p = holdfast({"type": "anthropic", "base_url": b.base_url, "api_key": "sk-b"})
    answer = ask(p.port, "GET", "/v1beta/files")
    assert answer.status == 404 and "no provider of its kind" in answer.json["error"]["message"]
    assert b.attempts == []


def test_a_route_names_another_provider(upstream, holdfast):
    a, b = upstream("A", default="file"), upstream("B", default="file")
    p = holdfast(a, b, routes=[{"model": "first", "targets": ["a/x"]},
                               {"model": "second", "targets": ["b/x"]}])
    assert ask(p.port, "GET", "/v1/files", headers=[("x-holdfast-route", "second")]).status == 200
    assert ask(p.port, "GET", "/v1/files", headers=[("x-holdfast-route", "third")]).status == 404
    assert len(a.attempts) == 0 and len(b.attempts) == 1


def test_it_can_be_switched_off(upstream, holdfast):
    a = upstream("A", default="file")
    assert ask(holdfast(a, passthrough=False).port, "GET", "/v1/files").status == 404
    assert a.attempts == []


# -- failures ------------------------------------------------------------------------------------

def test_it_never_goes_to_another_provider(upstream, holdfast):
    a, b = upstream("A", default="status?code=503"), upstream("B", default="file")
    answer = ask(holdfast(a, b).port, "POST", "/v1/files", b"x")
    assert answer.status == 503 and "a/passthrough" in answer.json["error"]["message"]
    assert answer.header("x-should-retry") == "true"
    assert b.attempts == []


@pytest.mark.parametrize("method, times", [("GET", 2), ("DELETE", 2), ("POST", 1), ("PATCH", 1)])
@pytest.mark.parametrize("fault", ["status?code=500", "rst_before"])
def test_only_what_does_no_harm_is_repeated(upstream, holdfast, method, times, fault):
    a = upstream("A", queue=[fault], default="file")
    p = holdfast(a, failover={"max_attempts": 4, "per_target": 2})
    answer = ask(p.port, method, "/v1/batches", b"x" if method == "POST" else b"")
    assert answer.status == (200 if times == 2 else 502)
    assert len(a.attempts) == times


def test_what_must_not_go_out_twice_has_a_connection_of_its_own(upstream, holdfast):
    """A kept one may be closed already, and nobody knows then whether the request was heard."""
    a = upstream("A", default="file")
    p = holdfast(a)
    for method in ("GET", "GET", "POST", "PATCH", "DELETE"):
        assert ask(p.port, method, "/v1/batches").status == 200
    assert [x.reused for x in a.attempts] == [False, True, False, False, True]


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_may_not_do_this_is_no_fault_of_the_caller_s_nor_of_other_requests(
        upstream, holdfast, status):
    a = upstream("A", queue=[f"status?code={status}"])
    p = holdfast(a)
    answer = ask(p.port, "GET", "/v1/organization/users")
    assert answer.status == 502 and answer.json["error"]["code"] == "key_scope"
    assert p.chat().status == 200  # the key does not rest


def test_a_rate_limit_says_when_to_come_again(upstream, holdfast):
    a = upstream("A", queue=["status?code=429&retry_after=7"])
    p = holdfast(a)
    answer = ask(p.port, "POST", "/v1/images/generations", b"{}")
    assert answer.status == 429 and answer.header("retry-after") == "7"
    assert p.chat().status == 200


def test_a_redirect_is_not_followed(upstream, holdfast):
    b = upstream("B", default="file")
    a = upstream("A", default=f"file?status=302&extra=location:{b.base_url}")
    answer = ask(holdfast(a).port, "GET", "/v1/files/f/content")
    assert answer.status == 502 and b.attempts == []
    assert answer.header("location") is None


@pytest.mark.parametrize("status, place, seen", [
    (201, "/v1/realtime/calls/rtc_1", True), (201, "https://elsewhere.example/v1/realtime/calls/rtc_1", False),
    (201, "//elsewhere.example/x", False), (200, "/v1/realtime/calls/rtc_1", False)])
def test_the_place_of_what_was_made(upstream, holdfast, status, place, seen):
    """A realtime call's id stands there alone; a whole URL would take the caller's key past us."""
    a = upstream("A", default=f"file?status={status}&extra=location:{place}")
    answer = ask(holdfast(a).port, "POST", "/v1/realtime/calls", b"v=0", [("Content-Type", "application/sdp")])
    assert answer.status == status and answer.header("location") == (place if seen else None)


def test_a_short_answer_that_was_cut_is_an_error(upstream, holdfast):
    a = upstream("A", default="file?type=application/json&size=1000&cut=500")
    answer = ask(holdfast(a).port, "GET", "/v1/files")
    assert answer.status == 502 and answer.json["error"]["code"] == "truncated"


@pytest.mark.parametrize("length", [0, 1])
def test_a_long_answer_that_was_cut_is_not_whole(upstream, holdfast, length):
    a = upstream("A", default=f"file?size=300000&cut=200000&length={length}")
    p = holdfast(a)
    answer = ask(p.port, "GET", "/v1/files/f/content")
    assert answer.status == 200 and answer.end == "aborted" and len(answer.body) == 200000
    assert told(p)["outcome"] == "truncated"


def test_a_dead_provider(holdfast):
    p = holdfast("http://127.0.0.1:9/v1")
    answer = ask(p.port, "POST", "/v1/files", b"x" * 1000000)
    assert answer.status == 502 and answer.json["error"]["code"] == "refused"


def test_a_silent_provider_is_given_up(upstream, holdfast):
    a = upstream("A", default="hang")
    p = holdfast(a, timeouts={"answer": "300ms"})
    assert ask(p.port, "POST", "/v1/files", b"x").status == 504
    assert ask(p.port, "POST", "/v1/files", b"x" * 1000000).status == 504


# -- bodies that are not held --------------------------------------------------------------------

def upload_head(size, chunked):
    how = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    return (f"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nx-holdfast-route: *\r\nContent-Type: application/octet-stream\r\n"
            f"{how}\r\n\r\n").encode()


def framed(piece, chunked):
    return b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece


@pytest.mark.tsan
@pytest.mark.parametrize("chunked", [False, True])
def test_a_large_upload_flows_through(by_hand, holdfast, chunked):
    """The provider reads a little, then waits: the caller has to wait as well, and nothing is lost."""
    gate, got = threading.Event(), {}

    def serve(peer):
        peer.read_head()
        got["framing"] = peer.header("content-length") or peer.header("transfer-encoding")
        digest, left = hashlib.sha256(), BIG
        gate.wait(30)
        while left:
            if chunked:
                while b"\r\n" not in peer.buffer:
                    peer.fill()
                line, _, peer.buffer = peer.buffer.partition(b"\r\n")
                piece = peer.read(int(line, 16))
                peer.read(2)
            else:
                piece = peer.read(min(left, 65536))
            digest.update(piece)
            left -= len(piece)
        if chunked:
            assert peer.read(5) == b"0\r\n\r\n"
        got["digest"] = digest.hexdigest()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")

    a = by_hand(serve)
    p = holdfast(a.base_url)
    piece = bytes(range(256)) * 256
    sent = 0
    with Raw(p.port) as c:
        c.send(upload_head(BIG, chunked))
        c.sock.settimeout(1)
        stuck = None
        while sent < BIG:
            part = memoryview(framed(piece, chunked))
            while part:
                try:
                    part = part[c.sock.send(part):]
                except TimeoutError:
                    stuck = stuck or sent
                    gate.set()
            sent += len(piece)
        if chunked:
            c.send(b"0\r\n\r\n")
        answer = c.answer()
    assert answer.status == 200, answer.body
    assert stuck is not None and stuck < 16 * 1024 * 1024, "it was taken in whole"
    assert got["digest"] == hashlib.sha256(piece * (BIG // len(piece))).hexdigest()
    assert got["framing"] == ("chunked" if chunked else str(BIG))
    assert told(p)["request_bytes"] == BIG


def test_an_upload_that_ends_while_it_waits_for_its_turn_arrives_whole(upstream, holdfast):
    """Its length is not told before its end, and that comes with what makes it too long to hold."""
    a = upstream("A", queue=["status?code=429&retry_after=1"], default="file?type=application/json&size=8")
    p = holdfast(a, overload={"queue_max_wait": "10s"})
    assert ask(p.port, "POST", "/v1/files", b"{}").status == 429
    body = b"x" * 140000
    with Raw(p.port) as c:
        c.send(upload_head(0, True) + framed(body, True) + b"0\r\n\r\n")
        assert c.answer().status == 200
    assert a.attempts[-1].body == body


def test_a_refusal_before_the_end_of_an_upload_arrives(by_hand, holdfast):
    def serve(peer):
        peer.read_head()
        peer.read(100000)
        peer.send(b"HTTP/1.1 413 Payload Too Large\r\nContent-Type: text/plain\r\nContent-Length: 7\r\n"
                  b"Connection: close\r\n\r\ntoo big")

    p = holdfast(by_hand(serve).base_url)
    with Raw(p.port) as c:
        c.send(upload_head(BIG, False) + b"x" * 1000000)
        answer = c.answer()
    assert (answer.status, answer.body) == (413, b"too big")


def test_a_caller_that_leaves_in_the_middle_of_an_upload(by_hand, holdfast):
    over = threading.Event()

    def serve(peer):
        peer.read_head()
        try:
            peer.read(BIG)
        finally:
            over.set()

    p = holdfast(by_hand(serve).base_url)
    with Raw(p.port) as c:
        c.send(upload_head(BIG, False) + b"x" * 1000000)
    assert over.wait(20), "the provider was left waiting"
    assert told(p)["outcome"] == "client_gone"


def test_a_large_download_waits_for_its_reader(upstream, holdfast):
    a = upstream("A", default=f"file?size={BIG}&type=audio/mpeg")
    p = holdfast(a)
    with Raw(p.port) as c:
        c.send(request("GET", "/v1/files/f/content"))
        wait_for(lambda: a.attempts and a.attempts[0].status == 200)
        before = -1
        while a.attempts[0].sent != before:  # until nobody takes any more
            before = a.attempts[0].sent
            threading.Event().wait(0.3)
        answer = c.answer()
    assert before == a.attempts[0].sent or a.attempts[0].ended == "done"
    assert answer.end == "complete" and len(answer.body) == BIG
    assert answer.body[-8:] == b"%08x" % (BIG // 8 - 1)


def test_audio_is_not_held_until_its_end(by_hand, holdfast):
    gate = threading.Event()

    def serve(peer):
        peer.read_head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nTransfer-Encoding: chunked\r\n\r\n"
                  b"3\r\nabc\r\n")
        assert gate.wait(30)
        peer.send(b"3\r\ndef\r\n0\r\n\r\n")

    p = holdfast(by_hand(serve).base_url)
    with Raw(p.port) as c:
        c.send(request("POST", "/v1/audio/speech", b"{}"))
        wait_for(lambda: c.fill_some() and b"abc" in c.buffer)
        gate.set()
        answer = c.answer()
    assert answer.body == b"abcdef" and answer.end == "complete"


# -- sockets -------------------------------------------------------------------------------------

UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
           ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
           ("Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key.sk-client, openai-beta.v1")]
SWITCH = (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: realtime\r\n\r\n")


def upgraded(c, path="/v1/realtime?model=gpt-realtime"):
    c.send(request("GET", path, headers=UPGRADE))
    wait_for(lambda: c.fill_some() and b"\r\n\r\n" in c.buffer)
    head, _, c.buffer = c.buffer.partition(b"\r\n\r\n")
    return head.decode()


@pytest.mark.tsan
def test_a_socket_is_tunnelled(by_hand, holdfast):
    def serve(peer):
        peer.read_head()
        peer.send(SWITCH + b"hello")
        while True:
            peer.fill()
            peer.send(peer.buffer.upper())
            peer.buffer = b""

    a = by_hand(serve)
    p = holdfast(a.base_url)
    with Raw(p.port) as c:
        head = upgraded(c)
        assert head.startswith("HTTP/1.1 101 ") and "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        assert "x-holdfast-provider: a" in head
        wait_for(lambda: c.fill_some() and c.buffer == b"hello")
        c.buffer = b""
        for word in (b"one", b"\x00\xfftwo", b"x" * 300000):
            c.send(word)
            wait_for(lambda: c.fill_some() and c.buffer == word.upper())
            c.buffer = b""
    wait_for(lambda: a.problems)  # its side was closed as well
    seen = a.peers[0]
    assert seen.head.startswith("GET /v1/realtime?model=gpt-realtime HTTP/1.1")
    assert seen.header("authorization") == "Bearer sk-canary-a-0123456789"
    assert seen.header("sec-websocket-protocol") == "realtime, openai-beta.v1"
    assert seen.header("upgrade") == "websocket" and seen.header("connection") == "Upgrade"
    assert "sk-client" not in seen.head
    line = told(p)
    assert (line["status"], line["outcome"]) == (101, "ok")


def test_a_socket_that_the_provider_closes(by_hand, holdfast):
    def serve(peer):
        peer.read_head()
        peer.send(SWITCH + b"bye")

    p = holdfast(by_hand(serve).base_url)
    with Raw(p.port) as c:
        upgraded(c)
        wait_for(lambda: c.fill_some() and c.eof)
        assert c.buffer == b"bye"


@pytest.mark.parametrize("head, body", [("Content-Length: 5", b"hello"),
                                        ("Transfer-Encoding: chunked", framed(b"y" * 200000, True) + b"0\r\n\r\n")])
def test_a_request_for_a_socket_has_no_body(upstream, holdfast, head, body):
    """Its framing would run on into the tunnel."""
    a = upstream("A")
    p = holdfast(a)
    with Raw(p.port) as c:
        c.send(request("GET", "/v1/realtime?model=x", headers=UPGRADE + [tuple(head.split(": "))]) + body)
        assert c.answer("GET").status == 400
    assert a.attempts == []


def test_a_socket_that_is_refused(upstream, holdfast):
    a = upstream("A", queue=["status?code=401", "file?status=404&type=application/json"])
    p = holdfast(a)
    assert ask(p.port, "GET", "/v1/realtime?model=x", headers=UPGRADE).status == 502
    assert ask(p.port, "GET", "/v1/realtime?model=x", headers=UPGRADE).status == 404


@pytest.mark.parametrize("protocols", [["realtime, " + "a" * 17000], ["realtime"] + ["b" * 6000] * 3,
                                       ["realtime", "c," * 8000]])
def test_long_lists_of_protocols_leave_the_head_whole(by_hand, holdfast, protocols):
    def serve(peer):
        peer.read_head()
        peer.send(SWITCH)
        peer.read(1)

    a = by_hand(serve)
    lines = [f"{k}: {v}" for k, v in UPGRADE if k != "Sec-WebSocket-Protocol"]
    lines += [f"Sec-WebSocket-Protocol: {x}" for x in protocols]
    with Raw(holdfast(a.base_url, timeouts={"answer": "3s"}).port) as c:
        c.send(("GET /v1/realtime HTTP/1.1\r\nHost: localhost\r\nx-holdfast-route: *\r\n"
                + "\r\n".join(lines) + "\r\n\r\n").encode())
        wait_for(lambda: c.fill_some() and b"\r\n\r\n" in c.buffer)
        assert c.buffer.startswith(b"HTTP/1.1 101 ")
    for line in a.peers[0].head.split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "sec-websocket-protocol":
            assert value.replace(" ", "").rstrip(",") in [x.replace(" ", "").rstrip(",") for x in protocols]


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/files", "/v1/responses/resp_1"])
def test_no_socket_elsewhere(upstream, holdfast, path):
    a = upstream("A")
    assert ask(holdfast(a).port, "GET", path, headers=UPGRADE).status == 426
    assert a.attempts == []


def test_the_last_words_before_a_socket_closes_arrive(by_hand, holdfast):
    got = []

    def serve(peer):
        peer.read_head()
        peer.send(SWITCH)
        try:
            while True:
                peer.fill()
        finally:
            got.append(len(peer.buffer))

    p = holdfast(by_hand(serve).base_url)
    for n in range(1, 9):
        with Raw(p.port) as c:
            upgraded(c)
            c.send(b"x" * 20000)
        wait_for(lambda: len(got) == n)
    assert got == [20000] * 8


def test_sockets_end_when_the_program_does(by_hand, holdfast):
    def serve(peer):
        peer.read_head()
        peer.send(SWITCH)
        peer.read(1)

    p = holdfast(by_hand(serve).base_url, drain={"delay": "10ms", "timeout": "100ms"})
    with Raw(p.port) as c:
        upgraded(c)
        p.stop()
        wait_for(lambda: c.fill_some() and c.eof)


# -- what is told of it --------------------------------------------------------------------------

def test_the_log_and_the_metrics(upstream, holdfast):
    a = upstream("A", default="file?size=8")
    p = holdfast(a)
    assert "passthrough" not in json.dumps(p.status())
    ask(p.port, "POST", "/v1/files", b"12345")
    line = told(p)
    assert (line["outcome"], line["status"], line["request_bytes"], line["answer_bytes"]) == ("ok", 200, 5, 8)
    assert line["dialect"] == "openai_chat" and line["provider"] == "a"
    assert p.metric("holdfast_attempts_total", provider="a", model="passthrough", outcome="ok") == 1
    assert "a/passthrough" in json.dumps(p.status())
