"""Every recorded chat answer, cut into small writes, comes out byte for byte and judged truly.

The truth is worked out here, on purpose in another way than the program does it: whole answers at
once, with Python's JSON. Classes:

  complete   a 200 with output and an honest end: the same bytes, a clean end, one [DONE]
  error      a status of 400 and more, or an error before any output: an error status, an envelope
  cut        output, then no end (or an error): the bytes so far, one error event, an aborted end
  either     the references disagree whether this is an answer (an empty one; a stray end after the
             finish): complete or an error, but the one or the other wholly
"""
import collections
import json
import random
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from client import Raw, request_bytes
from conftest import SHARED
from faultd import scripts

FILE = SHARED / "wire/dev.jsonl"
CASES = {}


def load():
    for line in FILE.read_text("utf-8").splitlines():
        d = json.loads(line)
        if d["api"] != "openai.chat":
            continue
        body = d["response"]["body"]
        raw = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
        yield {"id": d["id"], "stream": bool(d["stream"]), "status": d["response"]["status"],
               "type": (d["response"]["headers"] or {}).get("content-type")
               or ("text/event-stream" if d["stream"] else "application/json"),
               "raw": raw.encode(), "body": body}


# -- the truth ---------------------------------------------------------------------------------
def has_output(part):
    """Does a message or a delta hold anything that a user, or a tool, gets?"""
    return any(part.get(k) for k in ("content", "tool_calls", "function_call", "refusal", "audio",
                                     "reasoning_content", "reasoning", "reasoning_details",
                                     "thinking", "images"))


STOPPED = ("length", "content_filter")  # reasons that explain why there is no output


def judge_unary(case):
    if case["status"] >= 400:
        return "error"
    body = case["body"]
    if not isinstance(body, dict) or body.get("error") or not body.get("choices"):
        return "error"
    for c in body["choices"]:
        if c.get("finish_reason") == "error":
            return "error"
        if not has_output(c.get("message") or {}) and c.get("finish_reason") not in STOPPED:
            return "either"
    return "complete"


def sse_events(text):
    """[(data, offset after its event, properly ended)] of an event stream."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    found, pos = [], 0
    for m in re.finditer(r"(.*?)(\n\n+|\Z)", text, re.S):
        block, ended = m[1], bool(m[2])
        data = [x[5:].removeprefix(" ") for x in block.split("\n") if x.startswith("data:")]
        if data:
            found.append(("\n".join(data), m.end(), ended))
        elif block.lstrip().startswith("{"):
            found.append((block, m.end(), ended))  # a raw error object inside the stream
        pos = m.end()
        if pos >= len(text):
            break
    return found


def judge_stream(case):
    """(class, is [DONE] there)."""
    if case["status"] >= 400:
        return "error", False
    output, stopped, unfinished, finished = False, False, set(), set()
    for data, _, _ in sse_events(case["raw"].decode("utf-8", "replace")):
        if data.strip() == "[DONE]":
            if unfinished or not finished:
                return ("cut" if output else "error"), True
            return ("complete" if output or stopped else "either"), True
        try:
            event = json.loads(data)
        except ValueError:
            if finished and not unfinished:
                return "either", False
            return ("cut" if output else "error"), False
        choices = event.get("choices") or []
        if event.get("error") or any(c.get("finish_reason") == "error" for c in choices):
            if finished and not unfinished:
                return "either", False
            return ("cut" if output else "error"), False
        for c in choices:
            index = c.get("index", 0)
            if has_output(c.get("delta") or c.get("message") or {}):
                output = True
            if index not in finished:
                unfinished.add(index)
            stopped = stopped or c.get("finish_reason") in STOPPED
            if c.get("finish_reason"):
                finished.add(index)
                unfinished.discard(index)
    if finished and not unfinished:
        return ("complete" if output or stopped else "either"), False
    return ("cut" if output else "error"), False


# -- the upstream that replays -----------------------------------------------------------------
@scripts.script
def corpus(x):
    case = CASES[x.request["x_case"]]
    rng = random.Random(case["id"])
    pieces, i = [], 0
    while i < len(case["raw"]):
        n = rng.choice((1, 2, 3, 17, 80, 200, 500, 1500))
        pieces.append(case["raw"][i:i + n])
        i += n
    if case["stream"] and case["status"] == 200:
        x.stream_head(case["type"])
    else:
        x.chunked = True
        x.head(case["status"], [("Content-Type", case["type"]), ("Transfer-Encoding", "chunked")])
    for p in pieces:
        x.part(p)
    x.end()


# -- the checks --------------------------------------------------------------------------------
def check_complete(case, a, done):
    if a.status != 200 or a.end != "complete":
        return f"status {a.status}, end {a.end}: {a.body[-300:]!r}"
    if not case["stream"]:
        return None if a.body == case["raw"] else "the bytes differ"
    sent, got = case["raw"].rstrip(b"\r\n"), a.body.rstrip(b"\r\n")
    if not done:
        if not got.endswith(b"data: [DONE]"):
            return f"[DONE] was not added: {got[-100:]!r}"
        got = got[:-len(b"data: [DONE]")].rstrip(b"\r\n")
    else:  # nothing after [DONE]
        sent = re.sub(rb"(?s)(data: ?\[DONE\] *).*", rb"\1", sent).rstrip(b" ")
        got = got.rstrip(b" ")
    return None if got == sent else f"the bytes differ at {common(got, sent)} of {len(sent)}"


def common(a, b):
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


CLASS_OF = {400: (400,), 401: (502, 503), 404: (404,), 408: (408, 504), 413: (413,), 429: (429, 503)}


def check_error(case, a):
    if a.status < 400 or not a.error.get("message"):
        return f"status {a.status}: {a.body[:200]!r}"
    if case["status"] in CLASS_OF and not case["ambiguous_400"]:
        if a.status not in CLASS_OF[case["status"]]:
            return f"upstream {case['status']} became {a.status}"
    if case["status"] >= 500 and a.status < 500:
        return f"upstream {case['status']} became {a.status}"
    return None


def check_cut(case, a):
    if a.status != 200 or a.end != "aborted" or a.done:
        return f"status {a.status}, end {a.end}, [DONE] {a.done}"
    errors = [d for d in a.data if '"error"' in d]
    if not errors:
        return f"no error event: {a.body[-200:]!r}"
    if "error" not in json.loads(a.data[-1]):
        return "the error event is not the last one"
    body = a.body[:a.body.rindex(b"data:")].rstrip(b"\r\n")
    return None if case["raw"].startswith(body) else "the bytes before the error differ"


def check(case, a):
    kind, done = case["kind"], case["done"]
    if kind == "complete":
        return check_complete(case, a, done)
    if kind == "error":
        return check_error(case, a)
    if kind == "cut" and b'"tool_calls"' in case["raw"] and a.status != 200:
        return check_error(case, a)  # a call that was not complete never went out
    if kind == "cut":
        return check_cut(case, a)
    if a.status == 200 and a.end == "complete":
        return check_complete(case, a, done) if not case["stream"] else None
    return check_cut(case, a) if a.status == 200 else check_error(case, a)


def test_every_recorded_answer(upstream, holdfast, figure):
    if not FILE.exists():
        pytest.skip(f"no {FILE}")
    for n, case in enumerate(load()):
        case["kind"], case["done"] = judge_stream(case) if case["stream"] else (judge_unary(case), 0)
        # Some hosts say 400 for a bad key, an unknown model or spent credit: another class.
        case["ambiguous_400"] = case["status"] == 400 and re.search(
            rb"(?i)api[_ ]key|credit|model|location|unsupported|not support", case["raw"])
        CASES[n] = case
    a = upstream("A", default="corpus")
    # What fails rests its key for a while, so each answer that is no success has its own account.
    odd = [n for n, c in CASES.items() if c["kind"] != "complete"]
    account = {"type": "openai", "base_url": a.base_url}
    p = holdfast(a, providers={f"p{n}": account for n in odd},
                 routes=[*({"model": f"case-{n}", "targets": [f"p{n}"]} for n in odd),
                         {"model": "*", "targets": ["a"]}],
                 failover={"max_attempts": 1, "per_target": 1},
                 breaker={"consecutive": 1000, "min_calls": 100000, "failure_rate": 1.0},
                 timeouts={"first_token": "20s", "answer": "20s", "idle": "20s", "total": "60s"})

    def play(n):
        body = json.dumps({"model": f"case-{n}", "messages": [{"role": "user", "content": "x"}],
                           "stream": CASES[n]["stream"], "n": 1, "x_case": n,
                           **({"stream_options": {"include_usage": True}}
                              if CASES[n]["stream"] else {})}).encode()
        try:
            with Raw(p.port, timeout=60) as c:
                c.send(request_bytes("POST", "/v1/chat/completions", body))
                answer = c.answer()
                return "no answer at all" if answer is None else check(CASES[n], answer)
        except (AssertionError, ValueError, KeyError, TypeError, TimeoutError, OSError) as e:
            return f"{type(e).__name__}: {e}"

    with ThreadPoolExecutor(12) as pool:
        results = list(pool.map(play, CASES))
    wrong = [f"{CASES[n]['id']} {'stream' if CASES[n]['stream'] else 'unary'} {CASES[n]['kind']} "
             f"({CASES[n]['status']}): {r}" for n, r in zip(CASES, results) if r]
    total, right = collections.Counter(), collections.Counter()
    for n, r in zip(CASES, results):
        total[CASES[n]["kind"]] += 1
        right[CASES[n]["kind"]] += not r
    classes = ", ".join(f"{k} {right[k]} of {total[k]}" for k in sorted(total))
    figure(f"corpus: {len(CASES) - len(wrong)} of {len(CASES)} ({classes})")
    assert not wrong, "\n".join(wrong[:60])
