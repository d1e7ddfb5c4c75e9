"""Same dialect on both sides: bytes pass untouched, apart from the model."""
import pytest

from client import Raw, request_bytes
from conftest import provider

ODD_REQUEST = ('{ "messages" :[ {"role":"user","content":"caf\\u00e9 \u00fc \\ud83d\\ude00 /\\/",'
               '"x_part":null} ],\t"big":12345678901234567890123,"e":1e999,"zero":-0.0,\r\n'
               '  "model" : "m" ,"stream":%s, "nested":{"model":"m","a":[1,[2,[3]]]},"empty":{},'
               '"temperature":0.10 }').encode()
ODD_ANSWER = ('{"id":"x" ,"choices":[ {"index":0,"message":{"role":"assistant","content":"\u00fc '
              '\\u00fc","x":1.50},"finish_reason":"stop"} ],"big":98765432109876543210,"usage":'
              '{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"x":[]},"model":"real"}\n'
              ).encode()
ODD_STREAM = (b': hello\r\n\r\nid: 7\r\nevent: message\r\ndata:{"choices":[{"index":0,"delta":'
              b'{"role":"assistant"}}],"x":1e400}\r\n\r\nretry: 99\ndata: {"choices": [{"index":0,'
              b'"delta": {"content":"a\\u00fc"}}] }  \n\ndata: {"choices":[{"index":0,\ndata: '
              b'"delta":{"content":"b"}}]}\n\n:\n\ndata: {"choices":[{"index":0,"delta":{},'
              b'"finish_reason":"stop"}],"usage":null}\n\ndata: [DONE]\n\n')


def send(port, body, headers=()):
    with Raw(port) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", body, headers))
        return c.answer()


@pytest.mark.parametrize("stream", [b"false", b"true"])
def test_the_request_s_bytes(upstream, holdfast, stream):
    a = upstream("A")
    body = ODD_REQUEST % stream
    assert send(holdfast(a).port, body).status == 200
    assert a.attempts[0].body == body.replace(b'"model" : "m"', b'"model" : "model-a"')
    assert a.attempts[0].header("content-length") == str(len(a.attempts[0].body))


def test_a_target_without_a_model_keeps_every_byte(upstream, holdfast):
    a = upstream("A")
    p = holdfast(a, routes=[{"model": "*", "targets": ["a"]}])
    assert send(p.port, ODD_REQUEST % b"false").status == 200
    assert a.attempts[0].body == ODD_REQUEST % b"false"


def test_the_answer_s_bytes(upstream, holdfast):
    a = upstream("A", default="replay?content_type=application/json")
    a.recording = [ODD_ANSWER]
    answer = send(holdfast(a).port, ODD_REQUEST % b"false")
    assert answer.body == ODD_ANSWER
    assert answer.header("content-type").startswith("application/json")


@pytest.mark.parametrize("size", [1, 2, 7, 10000])
def test_the_stream_s_bytes_however_they_are_cut(upstream, holdfast, size):
    a = upstream("A", default="replay")
    a.recording = [ODD_STREAM[i:i + size] for i in range(0, len(ODD_STREAM), size)]
    answer = send(holdfast(a).port, ODD_REQUEST % b"true")
    assert answer.body == ODD_STREAM and answer.end == "complete"


def test_the_headers_of_a_request_upstream(upstream, holdfast):
    a = upstream("A")
    p = holdfast(provider(a, "sk-the-key"))
    send(p.port, ODD_REQUEST % b"false", {"X-Odd": "1", "User-Agent": "me/1", "Accept": "*/*"})
    sent = a.attempts[0]
    assert (sent.method, sent.path) == ("POST", "/v1/chat/completions")
    assert sent.header("host") == f"127.0.0.1:{a.port}"
    assert sent.header("content-type") == "application/json"
    assert sent.header("x-odd") is None
    names = [k.lower() for k, _ in sent.headers]
    assert len(names) == len(set(names))


def test_headers_of_the_answer(upstream, holdfast):
    answer = holdfast(upstream("A")).chat(stream=True)
    assert answer.header("content-type").startswith("text/event-stream")
    assert answer.header("x-accel-buffering") == "no"
    assert answer.trail[0][:2] == ("a/model-a", "ok")
    assert answer.header("x-holdfast-dropped") is None


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "http://127.0.0.1:{port}/",
                                 "http://127.0.0.1:{port}/v1", "http://127.0.0.1:{port}/v1/",
                                 "http://localhost:{port}/v1"])
def test_base_urls_in_every_form(upstream, holdfast, url):
    a = upstream("A")
    assert holdfast(url.format(port=a.port)).chat().status == 200
    assert a.attempts[0].path == "/v1/chat/completions"


def test_a_base_url_below_a_path(upstream, holdfast):
    a = upstream("A")
    holdfast(f"http://127.0.0.1:{a.port}/team/openai/v1").chat()
    assert a.attempts[0].path == "/team/openai/v1/chat/completions"


def test_a_provider_without_a_key_gets_none(upstream, holdfast):
    a = upstream("A")
    p = holdfast({"type": "openai", "base_url": a.base_url})
    assert p.chat().status == 200
    assert a.attempts[0].header("authorization") is None
