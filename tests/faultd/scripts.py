"""The scripts: each is one way in which an upstream answers, or does not.

A spec is NAME or NAME?key=value&key=value. Parameters are strings or numbers; times are in
milliseconds. Every script is deterministic: `flaky` draws from its seed and the number of the request.
"""
import functools
import gzip
import inspect
import json
import random
import time
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import parse_qsl

from . import bodies, story, voices

REASONS = {s.value: s.phrase for s in HTTPStatus} | {520: "Web server error", 522: "Timed out",
                                                     524: "A timeout occurred", 529: "Overloaded"}
SCRIPTS = {}


def script(f):
    SCRIPTS[f.__name__] = f
    return f


def run(spec, x):
    """Runs a spec; an unknown name or parameter is the test's mistake and fails loudly."""
    name, _, text = spec.partition("?")
    known = inspect.signature(SCRIPTS[name]).parameters
    params = {}
    for k, v in parse_qsl(text, keep_blank_values=True):
        default = known[k].default
        params[k] = int(v) if isinstance(default, int) else v
    SCRIPTS[name](x, **params)


def words(x, n):
    """n tokens that tell who speaks; together they are the server's text."""
    return [f"{x.server.name}:" if i == 0 else f" word{i}" for i in range(n)]


def event(value, crlf=0, space=1):
    nl = b"\r\n" if crlf else b"\n"
    data = value if isinstance(value, bytes) else bodies.dump(value)
    return b"data:" + (b" " if space else b"") + data + nl + nl


DONE = b"[DONE]"


# -- whatever the path ---------------------------------------------------------------------------
@script
def file(x, status=200, type="application/octet-stream", size=5, cut=0, length=1, extra=""):
    """`size` bytes that can be told apart, or no body at all where the status has none. cut: bytes
    after which the connection closes. extra: "name:value" of one header."""
    body = (b"%08x" * (size // 8 + 1) % tuple(range(size // 8 + 1)))[:size]
    headers = [tuple(extra.split(":", 1))] if extra else []
    if status in (204, 304) or x.attempt.method == "HEAD":
        x.head(status, [("Content-Type", type), ("Content-Length", size), *headers][status == 204:])
        return
    how = ("Content-Length", size) if length else ("Transfer-Encoding", "chunked")
    x.chunked = not length
    x.head(status, [("Content-Type", type), how, *headers])
    if cut:
        x.body_left = cut
    x.part(body)
    x.end()


# -- good answers, tidy and untidy -------------------------------------------------------------
@script
def ok(x, tokens=5, first=0, gap=0, usage="last", crlf=0, space=1, comments=0, bytewise=0, done=1,
       finish=1, after_done="", hold=0, tools=0, split_args=0, together=0, big=0, framing="chunked",
       trailing=0, set_cookie=0, body="", thinks="", head=""):
    """A complete answer, unary or streamed as asked.

    first: ms before the answer starts (a stream's head comes at once). gap: ms between tokens.
    usage: last | finish | absent. comments: a comment line between data lines. bytewise: a write a
    byte. after_done: more data after [DONE]. hold: ms the connection stays open and silent after
    the last event, without the body's end. tools: parallel calls; split_args: an event a byte of
    the arguments; together: all calls in one event. big: bytes of one more token. framing: chunked
    | close. set_cookie: headers that are none of the client's business. head: more headers, "name:
    value" with | between them. thinks: reasoning before
    it, signed so, where the account is one of Anthropic's or Google's; there all of this but first,
    gap and tools is the accounts' own.
    """
    extra = [("Set-Cookie", "session=upstream-canary; Path=/"), ("x-goog-api-key", "canary"),
             ("Access-Control-Allow-Origin", "*"), ("Strict-Transport-Security", "max-age=9"),
             ("Server", "secret-box/1.0"), ("x-ratelimit-remaining-requests", "41"),
             ] if set_cookie else []
    extra += [tuple(h.split(": ", 1)) for h in head.split("|") if h]
    if x.voice != "openai":
        return voices.speak(x, words(x, tokens), body, tools, thinks, first / 1000, gap / 1000)
    if not x.stream:
        x.pause(first / 1000)
        text = body.encode() if body else bodies.dump(bodies.completion(
            x.model, "".join(words(x, tokens)), tokens, tools))
        return x.answer(200, text, headers=[("x-request-id", "req_faultd"), *extra])
    x.stream_head(framing=framing, headers=extra)
    x.pause(first / 1000)

    def put(data):
        if comments:
            data = b": keep-alive\n\n" + data[:-1] + b": between\n\n" if not crlf else data
        for piece in ([data[i:i + 1] for i in range(len(data))] if bytewise else [data]):
            x.part(piece)

    def send(value):
        put(event(value, crlf, space))

    send(bodies.chunk(x.model, {"role": "assistant", "content": None if tools else ""}))
    for word in [] if tools else words(x, tokens):
        send(bodies.chunk(x.model, {"content": word}))
        x.pause(gap / 1000)
    if big:
        send(bodies.chunk(x.model, {"content": "x" * big}))
    for delta in tool_deltas(tools, split_args, together):
        send(bodies.chunk(x.model, {"tool_calls": delta}))
        x.pause(gap / 1000)
    if finish:
        last = {"usage": bodies.usage(tokens)} if usage == "finish" else {}
        send(bodies.chunk(x.model, {}, "tool_calls" if tools else "stop", **last))
        if usage == "last":
            send({**bodies.chunk(x.model, {}), "choices": [], "usage": bodies.usage(tokens)})
    if done:
        put(event(DONE + b" " * trailing, crlf, space))
    if after_done:
        put(event(bodies.chunk(x.model, {"content": after_done}), crlf, space))
    if hold:
        x.stall(hold / 1000)
    return x.end()


def tool_deltas(n, split, together):
    calls = bodies.tool_calls(n)
    if together and n:
        yield [{"index": i, **c} for i, c in enumerate(calls)]
        return
    for i, c in enumerate(calls):
        arguments = c["function"]["arguments"]
        pieces = list(arguments) if split else [arguments]
        yield [{"index": i, "id": c["id"], "type": "function",
                "function": {"name": c["function"]["name"], "arguments": ""}}]
        for p in pieces:
            yield [{"index": i, "function": {"arguments": p}}]


@script
def canonical(x, text="story", size=0, first=0, gap=15, cut=0, how="eof", bytes=0, stall=0,
              silent=30000, garbled=0, done=1, prefill="taken", turn="restarts", echo=0, thinks="",
              tools=0):
    """A text that everybody knows (`text`: story.text_of), in words or `size` characters, `gap` ms apart;
    usage where it is asked for. first: ms before the first one, behind a stream's head. thinks:
    reasoning before it; with Anthropic and Google this is its signature. tools: calls behind it.

    The faults of a stream: cut: it ends as `how` says (see the script cut) before that piece of output,
    of whatever kind; bytes: or after so many bytes of its body; stall: it falls silent there for
    `silent` ms, then ends without a last chunk; garbled: half an event before that word, which is not
    lost; done=0: no [DONE]. prefill: taken | ignored | refused (the 400 of a model that begins its
    answers itself). turn: restarts | repeats | quotes; echo: characters that are said twice; see
    story.answer_to.
    """
    if prefill == "refused" and story.is_prefilled(x.request):
        code, kind, word, message = bodies.PRESETS["no_prefill"]
        return x.answer(code, bodies.error(message, kind, word) if x.voice == "openai" else
                        voices.error(x.voice, code, message))
    request = {} if prefill == "ignored" and story.is_prefilled(x.request) else x.request
    words = story.pieces(story.answer_to(request, turn, story.text_of(text), echo), size)
    if not x.stream and x.voice != "openai":
        return voices.speak(x, words, "", tools, thinks, first / 1000, gap / 1000)
    if not x.stream:
        x.pause(first / 1000)
        return x.answer(200, bodies.dump(bodies.completion(x.model, "".join(words), len(words))))
    x.stream_head()
    x.body_left = bytes or None
    x.pause(first / 1000)
    outputs = 0
    for piece, is_output in known_pieces(x, words, thinks, tools, done):
        if is_output:
            if cut and outputs == cut:
                return break_off(x, how, piece)
            if stall and outputs == stall:
                x.stall(silent / 1000)
            if garbled and outputs == garbled:
                x.part(b'data: {"id":"chatcmpl-faultd","choices":[{"index":0,"delta":{"content":\n\n')
            outputs += 1
        x.part(piece)
        if is_output:
            x.pause(gap / 1000)
    return x.end()


def known_pieces(x, words, thinks, tools, done):
    """(event, is it output) of a whole stream, in the account's words."""
    if x.voice != "openai":
        for piece in voices.pieces(x, words, tools, thinks):
            yield piece, voices.is_output(piece)
        return
    yield event(bodies.chunk(x.model, {"role": "assistant", "content": ""})), False
    for word in story.pieces(voices.THOUGHT) if thinks else []:
        yield event(bodies.chunk(x.model, {"reasoning_content": word})), True
    for word in words:
        yield event(bodies.chunk(x.model, {"content": word})), True
    for delta in tool_deltas(tools, 1, 0):
        yield event(bodies.chunk(x.model, {"tool_calls": delta})), True
    yield event(bodies.chunk(x.model, {}, "tool_calls" if tools else "stop")), False
    if (x.request.get("stream_options") or {}).get("include_usage"):
        yield event({**bodies.chunk(x.model, {}), "choices": [], "usage": bodies.usage(len(words))}), False
    if done:
        yield event(DONE), False


@script
def flap(x, down=60000, gap=15):
    """503 until `down` ms after the server's start, or after its log was cleared; then the canonical
    answer."""
    if x.attempt.at - x.server.since < down / 1000:
        return status(x, 503)
    return canonical(x, gap=gap)


@script
def models(x):
    x.answer(200, bodies.dump({"object": "list", "data": [
        {"id": f"{x.server.name}-model", "object": "model", "created": 1, "owned_by": "faultd"}]}))


@script
def raw(x, data="", then="close"):
    """Exactly these bytes (latin-1), then close | keep | rst | stall."""
    x.send(data.encode("latin-1"))
    finish_by(x, then)


@script
def replay(x, status=200, content_type="text/event-stream"):
    """The server's `recording` (set by the test): a list of pieces, each its own small write."""
    if x.stream and status == 200:
        x.stream_head(content_type)
        for piece in x.server.recording:
            x.part(piece)
        x.end()
    else:
        x.answer(status, b"".join(x.server.recording), content_type)


# -- the connection ----------------------------------------------------------------------------
def finish_by(x, how):
    if how == "rst":
        x.pause(0.02)  # so that what was written is not lost with the reset
        x.reset()
    elif how == "close":
        x.close()
    elif how == "stall":
        x.stall()


@script
def hang(x, ms=60000):
    """Reads the request and never writes a byte."""
    x.stall(ms / 1000)


@script
def rst_before(x):
    x.reset()


@script
def fin_before(x):
    x.close()


@script
def fin_in_head(x):
    x.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-str")
    x.close()


@script
def head_then_stall(x):
    if x.stream:
        x.stream_head()
    else:
        x.head(200, [("Content-Type", "application/json"), ("Content-Length", "500")])
    x.stall()


@script
def rst_reused(x):
    """A keep-alive connection that went stale: any second request on it is reset unanswered."""
    if x.attempt.reused:
        x.reset()
    ok(x)


@script
def ok_then_close(x):
    """A good answer without Connection: close, then the connection is closed all the same."""
    ok(x)
    x.keep_alive = False


@script
def vectors(x, fault="none", form=""):
    """Vectors with a flaw. fault: none | missing (the last one) | more | null (in place of a number) |
    nan | uneven (one is longer) | short (all are) | empty | numbered (two have the same index) | huge
    (a number that is no float32). form: base64 | float, whatever was asked for."""
    answer = voices.VOICES[x.voice]
    of = [list(v) for v in voices.vectors_of(x.voice, next(answer(x, form="float")))]
    if fault == "missing":
        of.pop()
    elif fault == "more":
        of.append(of[0])
    elif fault in ("null", "nan", "huge"):
        of[-1][1] = {"null": None, "nan": float("nan"), "huge": 1e39}[fault]
    elif fault == "uneven":
        of[-1].append(0.5)
    elif fault == "short":
        of = [v[:-1] for v in of]
    whole = next(answer(x, of=of, form=form))
    if fault == "empty":
        whole = {k: [] if isinstance(v, list) else v for k, v in whole.items()}
    if fault == "numbered":
        whole["data"][-1]["index"] = 0
    return x.answer(200, bodies.dump(whole))


# -- a stream with a flaw ----------------------------------------------------------------------
@script
def garbled(x, n=1, first=0, delta=0):
    """A complete stream of words with n events between them that cannot be read. first: as many
    before them. delta: they are halves of pieces of the answer."""
    bad = b'data: {"choices":[{"delta":{"content":" wo\n\n' if delta else b'data: {"cut in the mid\n\n'
    if x.voice == "openai":
        pieces = [event(bodies.chunk(x.model, {"content": word})) for word in words(x, 5)]
        pieces += [event(bodies.chunk(x.model, {}, "stop")), event(DONE)]
    else:
        pieces = list(voices.pieces(x, words(x, 5)))
    x.stream_head()
    x.part(bad * first)
    for piece in pieces:
        x.part(piece)
        if n > 0 and b"word" in piece:
            x.part(bad)
            n -= 1
    x.end()


@script
def limited_inside(x):
    """A rate limit under a 200: an event of the stream, or the whole answer."""
    error = bodies.error("Rate limit reached. Please try again in 21.5s.", "rate_limit_error")
    if not x.stream:
        return x.answer(200, error)
    x.stream_head()
    x.part(event(json.loads(error)))
    return x.end()


# -- bytes that are no answer ------------------------------------------------------------------
@script
def junk(x, kind="text"):
    x.send({"text": b"220 mail.example ESMTP ready\r\n", "binary": bytes(range(256)),
            "http09": b"<html>hello</html>", "status": b"HTTP/1.1 099 Odd\r\n\r\n",
            "version": b"HTTP/3.7 200 OK\r\nContent-Length: 0\r\n\r\n"}[kind])
    x.close()


@script
def continue_flood(x, n=200):
    for _ in range(n):
        x.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    x.stall()


@script
def huge_head(x, n=600, size=1024):
    x.send(b"HTTP/1.1 200 OK\r\n")
    for i in range(n):
        x.send(b"X-Pad-%d: %s\r\n" % (i, b"p" * size))
    x.send(b"Content-Length: 2\r\n\r\n{}")
    x.close()


@script
def cl_and_te(x):
    text = bodies.dump(bodies.completion(x.model, f"{x.server.name}: smuggled", 3))
    x.head(200, [("Content-Type", "application/json"), ("Content-Length", len(text)),
                 ("Transfer-Encoding", "chunked")])
    x.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(text), text))
    x.close()


@script
def two_lengths(x):
    text = bodies.dump(bodies.completion(x.model, f"{x.server.name}: twice", 3))
    x.head(200, [("Content-Type", "application/json"), ("Content-Length", len(text)),
                 ("Content-Length", 7)])
    x.send(text)
    x.close()


@script
def wrong_length(x, by=50):
    """Announces `by` bytes more (or, negative, less) than it sends."""
    text = bodies.dump(bodies.completion(x.model, "".join(words(x, 5)), 5))
    x.head(200, [("Content-Type", "application/json"), ("Content-Length", len(text) + by)])
    x.send(text)
    if by > 0:
        x.close()


@script
def http10(x, cut=0):
    """HTTP/1.0, the end of the connection is the end of the body. cut: bytes kept back."""
    text = bodies.dump(bodies.completion(x.model, "".join(words(x, 5)), 5))
    x.head(200, [("Content-Type", "application/json")], version="1.0")
    x.send(text[:len(text) - cut])
    x.close()


@script
def redirect(x, code=302, to="http://169.254.169.254/latest/meta-data/"):
    x.answer(code, b"", None, [("Location", to)])


# -- statuses ----------------------------------------------------------------------------------
def wait_headers(retry_after, retry_after_ms, should_retry):
    found = []
    if retry_after == "date":
        found.append(("Retry-After", formatdate(time.time() + 30, usegmt=True)))
    elif retry_after:
        found.append(("Retry-After", retry_after))
    if retry_after_ms:
        found.append(("retry-after-ms", retry_after_ms))
    if should_retry:
        found.append(("x-should-retry", should_retry))
    return found


@script
def refused_inside(x, code="insufficient_quota", message="You exceeded your current quota."):
    """OpenAI's responses: a stream that begins and then fails under its status of success."""
    begun = {"id": "resp_faultd", "object": "response", "created_at": 1, "model": x.model,
             "status": "in_progress", "output": []}
    error = {"type": code, "code": code, "message": message, "param": None}
    x.stream_head()
    for e in ({"type": "response.created", "sequence_number": 0, "response": begun},
              {"type": "error", "sequence_number": 1, "error": error},
              {"type": "response.failed", "sequence_number": 2,
               "response": {**begun, "status": "failed", "error": error}}):
        x.part(voices.named(e))
    x.end()


@script
def status(x, code=500, body="json", retry_after="", retry_after_ms="", should_retry=""):
    """An error status. body: json | array | nginx | cloudflare | portal | text | empty.
    retry_after: anything, or `date` for a date 30 s ahead."""
    key = (x.attempt.header("authorization") or "").removeprefix("Bearer ")
    kind, data = bodies.status_body(code, body, REASONS.get(code, "Error"), x.model, key)
    if x.voice != "openai" and body == "json":
        data = voices.error(x.voice, code, bodies.ERRORS.get(code, ("", "", "Error"))[2].format(
            model=x.model, key=key))
    x.answer(code, data, kind, wait_headers(retry_after, retry_after_ms, should_retry))


@script
def held(x):
    """A good answer, once the test calls the server's release()."""
    x.hold()
    ok(x)


@script
def held_inside(x, tokens=5):
    """A good stream that goes on behind its first word once the test calls the server's release()."""
    first, *others = words(x, tokens)
    x.stream_head()
    x.part(event(bodies.chunk(x.model, {"role": "assistant", "content": first})))
    x.hold()
    for word in others:
        x.part(event(bodies.chunk(x.model, {"content": word})))
    x.part(event(bodies.chunk(x.model, {}, "stop")))
    x.part(event(DONE))
    return x.end()


@script
def limited(x, n=8, code=429, retry_after="", first=50, held=0):
    """A capacity: with n of these in flight an error at once, else a good answer after `first` ms,
    or, with held, once the test calls the server's release(). Its place is free again before the
    answer goes: who has read it may send the next request at once."""
    with x.server.lock:
        full = x.server.busy >= n
        x.server.busy += not full
    if full:
        return status(x, code, retry_after=retry_after)
    try:
        if held:
            x.hold()
        else:
            x.pause(first / 1000)
    finally:
        with x.server.lock:
            x.server.busy -= 1
    return ok(x)


@script
def flaky(x, percent=5, seed=1, code=500):
    """Fails that share of the requests, at random but the same ones each time."""
    if random.Random(f"{seed}/{x.attempt.n}").random() * 100 < percent:
        return status(x, code)
    return ok(x)


@script
def preset(x, name="quota", retry_after=""):
    """An error of bodies.PRESETS by name."""
    code, kind, word, message = bodies.PRESETS[name]
    x.answer(code, bodies.error(message, kind, word), headers=wait_headers(retry_after, "", ""))


# -- 200, and yet no answer ---------------------------------------------------------------------
@functools.cache
def bomb():
    """20 MiB of nothing, as a small gzip."""
    return gzip.compress(b" " * (20 << 20), 1)


@script
def bad200(x, kind="error"):
    """A 200 that is not what it seems; kinds are the branches below."""
    good = bodies.completion(x.model, "".join(words(x, 5)), 5)
    text, content_type, headers = bodies.dump(good), "application/json", []
    if kind == "error":
        text = bodies.error("The server is overloaded", "server_error", "overloaded")
    elif kind == "no_choices":
        text = bodies.dump({**good, "choices": []})
    elif kind == "null_content":
        good["choices"][0]["message"]["content"] = None
        good["choices"][0]["finish_reason"] = None
        text = bodies.dump(good)
    elif kind == "object":
        text = b"{}"
    elif kind == "empty":
        text = b""
    elif kind == "html":
        text, content_type = bodies.PAGES["portal"].encode(), "text/html"
    elif kind == "truncated":
        text = text[:-40]
    elif kind == "sse_for_json":
        x.stream = True
        return ok(x)
    elif kind == "json_for_sse":
        pass
    elif kind == "gzip":
        text, headers = gzip.compress(text), [("Content-Encoding", "gzip")]
    elif kind == "bad_gzip":
        text, headers = gzip.compress(text)[:10] + b"\xff" * 50, [("Content-Encoding", "gzip")]
    elif kind == "gzip_bomb":
        text, headers = bomb(), [("Content-Encoding", "gzip")]
    elif kind == "br":
        text, headers = b"\x1b\x0c\x00\xf8" + text, [("Content-Encoding", "br")]
    else:
        raise KeyError(kind)
    return x.answer(200, text, content_type, headers)


@script
def bad_stream(x, kind="none", end="clean", n=3):
    """A 200 stream without output. kind: none (0 events) | comments | role | pings | error |
    malformed | finish (an empty answer that ends properly). end: clean | eof | rst | stall | forever (the
    kind's own noise every 50 ms)."""
    x.stream_head()
    role = event(bodies.chunk(x.model, {"role": "assistant", "content": ""}))
    noise = {"none": b"", "comments": b": keep-alive\n\n", "role": role,
             "pings": b"event: ping\ndata: {\"type\":\"ping\"}\n\n", "finish": b"",
             "error": event(json.loads(bodies.error("Overloaded", "overloaded_error"))),
             "error_role": role + event(json.loads(bodies.error("Broken", "server_error"))),
             "malformed": role + b'data: {"id":"chatcmpl-faultd","choices":[{"delta":\n\n',
             }[kind]
    for _ in range(1 if kind.startswith("error") else n):
        x.part(noise)
    if kind == "finish":
        x.part(role + event(bodies.chunk(x.model, {}, "stop")) + event(DONE))
    while end == "forever":
        x.pause(0.05)
        x.part(noise)
    finish_stream(x, end)


def finish_stream(x, end):
    if end == "clean":
        x.end()
    elif end == "eof":
        x.close()
    else:
        finish_by(x, end)


@script
def cut(x, after=3, how="eof", tools=0):
    """`after` tokens of output (or, with tools, a tool call's half), then the end that `how` names:
    eof (FIN, no last chunk) | clean (last chunk, no marker) | rst | stall | error | error_done
    (an error event, then [DONE]) | comments (nothing else, for ever) | finish_error (finish_reason
    "error") | malformed (undecodable events, then eof) | mid_event | mid_field | mid_utf8 | done (a [DONE]
    that no finish_reason precedes).
    """
    if x.voice != "openai" and x.stream:
        voices.half(x, words(x, after))
        return break_off(x, how)
    if not x.stream:
        text = bodies.dump(bodies.completion(x.model, "".join(words(x, 5)), 5))
        x.head(200, [("Content-Type", "application/json"), ("Content-Length", len(text))])
        x.send(text[:len(text) // 2])
        return finish_by(x, {"rst": "rst", "stall": "stall"}.get(how, "close"))
    x.stream_head()
    x.part(event(bodies.chunk(x.model, {"role": "assistant", "content": ""})))
    if tools:
        deltas = list(tool_deltas(1, 1, 0))
        for delta in deltas[:len(deltas) // 2]:
            x.part(event(bodies.chunk(x.model, {"tool_calls": delta})))
    else:
        for word in words(x, after):
            x.part(event(bodies.chunk(x.model, {"content": word})))
    break_off(x, how)


def said_by(x, word):
    """The event with this piece of text."""
    if x.voice == "openai":
        return event(bodies.chunk(x.model, {"content": word}))
    return next(p for p in voices.pieces(x, [word]) if word.encode() in p)


def break_off(x, how, lost=b""):
    """The end of a stream that breaks, as the script cut lists them. lost: the event that does not come."""
    x.pause(0.03)
    if how in ("error", "error_done"):
        if x.voice == "openai":
            x.part(event(json.loads(bodies.error("The model crashed", "server_error", "crash"))))
        else:
            x.part(voices.error_event(x.voice, 500, "The model crashed"))
        x.part(event(DONE) if how == "error_done" else b"")
        x.end()
    elif how == "finish_error":
        x.part(event({**bodies.chunk(x.model, {"content": ""}, "error"),
                      "error": {"code": 502, "message": "Provider returned error"}}))
        x.end()
    elif how == "malformed":
        half = said_by(x, " never")
        x.part((half[:half.index(b" never")] + b"\n\n") * 2)
        x.close()
    elif how == "comments":
        while True:
            x.part(b": keep-alive\n\n")
            x.pause(0.05)
    elif how == "mid_event":
        lost = lost or said_by(x, " never")
        x.part(lost[:len(lost) // 2])
        x.close()
    elif how == "mid_field":
        x.part(b"data: ")
        x.close()
    elif how == "mid_utf8":
        x.part(said_by(x, "\u00fc").split(b"\xbc")[0])
        x.close()
    elif how == "done":
        x.part(event(DONE))
        x.end()
    else:
        finish_stream(x, how)
