"""Requests too big, too slow, announced, chunked, pipelined: each has one right answer."""
import threading
import time

import pytest

from client import Raw, chat, chat_body, in_time, request_bytes

MIB = 1 << 20


def head(*lines):
    return ("\r\n".join(["POST /v1/chat/completions HTTP/1.1", "Host: localhost",
                         "Content-Type: application/json", *lines]) + "\r\n\r\n").encode()


def test_too_long_by_its_head_is_refused_before_the_body(upstream, holdfast):
    a = upstream("A")
    with Raw(holdfast(a).port) as c:
        c.send(head(f"Content-Length: {32 * MIB + 1}"))
        answer = c.answer()
        assert answer.status == 413 and answer.error["code"] == "body_too_large"
        assert c.closed()
    assert a.attempts == []


def test_thirty_three_mebibytes_in_chunks(upstream, holdfast):
    a = upstream("A")
    with Raw(holdfast(a).port) as c:
        c.send(head("Transfer-Encoding: chunked"))
        piece = b"100000\r\n" + b" " * MIB + b"\r\n"
        sender = threading.Thread(target=lambda: [c.send(piece) for _ in range(33)])
        sender.start()
        answer = c.answer()
        sender.join()
    assert answer.status == 413
    assert a.attempts == []


def test_a_large_body_below_the_limit_passes(upstream, holdfast):
    a = upstream("A")
    answer = holdfast(a).chat(messages=[{"role": "user", "content": "x" * (8 * MIB)}])
    assert answer.status == 200 and len(a.attempts[0].body) > 8 * MIB


def test_the_limit_is_a_setting(upstream, holdfast):
    p = holdfast(upstream("A"), limits={"request_body": "64KiB"})
    assert p.chat(messages=[{"role": "user", "content": "x" * 60000}]).status == 200
    assert p.chat(messages=[{"role": "user", "content": "x" * 70000}]).status == 413


def test_expect_100_continue(upstream, holdfast):
    body, interim = chat_body(), []
    with Raw(holdfast(upstream("A")).port) as c:
        c.send(head("Expect: 100-continue", f"Content-Length: {len(body)}"))
        assert c.head(time.monotonic() + 20).status == 100
        c.send(body)
        assert c.answer(interim=interim).status == 200 and interim == []


@pytest.mark.parametrize("lines,status", [
    ([f"Content-Length: {64 * MIB}"], 413), (["Content-Length: 10", "Origin: http://x.example"], 403),
    (["Content-Length: 10", "Content-Encoding: gzip"], 415)])
def test_expect_100_continue_for_nothing(upstream, holdfast, lines, status):
    """Refused by the head alone: no 100, no body needed."""
    interim = []
    with Raw(holdfast(upstream("A")).port) as c:
        c.send(head("Expect: 100-continue", *lines))
        assert c.answer(interim=interim).status == status and interim == []


def test_another_expectation(upstream, holdfast):
    with Raw(holdfast(upstream("A")).port) as c:
        c.send(head("Expect: miracles", "Content-Length: 0"))
        assert c.answer().status == 417


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_client_that_dawdles(upstream, holdfast, part):
    """A byte now and then does not help: the limit is on the whole."""
    a = upstream("A")
    p = holdfast(a, limits={"head_timeout": "500ms", "body_timeout": "500ms"})
    data = head("Content-Length: 100") if part == "body" else head()[:40]

    def ask():
        with Raw(p.port) as c:
            c.send(data)
            started, stop = time.monotonic(), threading.Event()

            def drip():
                while not stop.wait(0.1):
                    c.send(b"x")
            t = threading.Thread(target=drip)
            t.start()
            answer = c.answer()
            seconds = time.monotonic() - started
            stop.set()
            t.join()
        return answer, seconds
    answer, _ = in_time(ask, 0.3, 1.2, lambda x: x[1])
    assert answer.status == 408 and a.attempts == []


def test_an_idle_connection_is_closed_without_an_error_page(upstream, holdfast):
    p = holdfast(upstream("A"), limits={"head_timeout": "3s"})
    with Raw(p.port) as c:
        time.sleep(0.1)
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body()))
        assert c.answer().status == 200


@pytest.mark.tsan
def test_keep_alive_and_pipelining(upstream, holdfast):
    p = holdfast(upstream("A"))
    one = request_bytes("POST", "/v1/chat/completions", chat_body())
    two = request_bytes("POST", "/v1/chat/completions", chat_body(stream=True))
    with Raw(p.port) as c:
        for _ in range(3):
            c.send(one)
            assert c.answer().status == 200
        c.send(one + two + one)
        answers = [c.answer() for _ in range(3)]
    assert [x.status for x in answers] == [200] * 3
    assert answers[1].done == 1 and answers[0].json and answers[2].json


def test_a_bad_request_after_a_good_one(upstream, holdfast):
    with Raw(holdfast(upstream("A")).port) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body()) + b"GARBAGE\r\n\r\n")
        assert c.answer().status == 200
        assert c.answer().status == 400 and c.closed()


def test_a_chunked_body_byte_by_byte(upstream, holdfast):
    a = upstream("A")
    body = chat_body()
    text = b"".join(b"1\r\n%c\r\n" % b for b in body) + b"0\r\nX-Trailer: 1\r\n\r\n"
    with Raw(holdfast(a).port) as c:
        for b in head("Transfer-Encoding: chunked") + text:
            c.sock.sendall(bytes([b]))
        assert c.answer().status == 200
    assert a.attempts[0].json["messages"] == [{"role": "user", "content": "hello"}]


@pytest.mark.parametrize("stream", [False, True])
def test_http_1_0(upstream, holdfast, stream):
    """No chunks for a client that does not know them: the connection's end is the body's end."""
    body = chat_body(stream=stream)
    with Raw(holdfast(upstream("A")).port) as c:
        c.send(b"POST /v1/chat/completions HTTP/1.0\r\nHost: localhost\r\nContent-Type: "
               b"application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        answer = c.answer()
        assert answer.status == 200 and answer.framing in ("close", "length")
        assert c.closed()
    assert answer.text == "A: word1 word2 word3 word4"


def test_connection_close_is_obeyed(upstream, holdfast):
    with Raw(holdfast(upstream("A")).port) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body(), {"Connection": "close"}))
        assert c.answer().status == 200 and c.closed()


def test_paths_are_forgiven_their_slashes(upstream, holdfast):
    p = holdfast(upstream("A"))
    for path in ("//v1/chat/completions", "/v1//chat/completions", "/chat/completions",
                 "/v1/chat/completions?x=1"):
        with Raw(p.port) as c:
            c.send(request_bytes("POST", path, chat_body()))
            assert c.answer().status == 200, path


def test_models(upstream, holdfast):
    p = holdfast(upstream("A"), routes=[{"model": "gpt-4o", "targets": ["a/x"]},
                                        {"model": "fast-*", "targets": ["a/y"]}])
    with Raw(p.port) as c:
        c.send(request_bytes("GET", "/v1/models"))
        listed = c.answer("GET").json
        assert listed["object"] == "list" and "gpt-4o" in [m["id"] for m in listed["data"]]
        assert all(m["object"] == "model" for m in listed["data"])
        c.send(request_bytes("GET", "/v1/models/gpt-4o"))
        assert c.answer("GET").json["id"] == "gpt-4o"
        c.send(request_bytes("HEAD", "/livez"))
        head_answer = c.answer("HEAD")
        assert head_answer is not None and head_answer.status in (200, 405)


def test_many_requests_side_by_side(upstream, holdfast):
    from concurrent.futures import ThreadPoolExecutor
    p = holdfast(upstream("A", default="ok?first=100"))
    with ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(lambda n: chat(p.port, stream=n % 2 == 0), range(120)))
    assert all(x.status == 200 and x.end == "complete" for x in answers)
