"""The whole program as OpenAI's door before Claude and Gemini: every recorded answer of theirs.

An upstream replays each of them, cut at seeded random places, and what the client of the chat
dialect gets must say what a second reading of the recording says. That reading is done here, on
purpose in another way than the program does it: the whole answer at once, with Python's JSON. Its
classes are those of test_corpus.py. The requests are in test_conformance_requests.py.
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
APIS = {"anthropic": "anthropic.messages", "gemini": "gemini.generateContent"}
PATIENT = {"first_token": "30s", "answer": "30s", "idle": "30s", "total": "60s"}
CALM = {"consecutive": 1000, "min_calls": 100000, "failure_rate": 1.0}
CASES = {}

# Recordings that are none of ours to translate, and why.
NOT_ASKED_FOR = "a stream as one JSON array: we always ask for alt=sse"


def rows(api):
    for line in FILE.read_text("utf-8").splitlines():
        d = json.loads(line)
        if d["api"] == api:
            yield d


# -- what was recorded -------------------------------------------------------------------------
class Said:
    """What one answer says: choices {index: Choice}, usage, signatures, and how it ended."""

    def __init__(self):
        self.choices, self.usage, self.signatures = {}, None, []
        self.kind = "complete"

    def choice(self, index=0):
        return self.choices.setdefault(index, Choice())

    @property
    def output(self):
        return any(c.text or c.reasoning or c.calls for c in self.choices.values())


class Choice:
    """text: strings that follow each other; between them may stand what made is (loose)."""

    def __init__(self):
        self.text, self.reasoning, self.calls, self.finish = [], "", [], None
        self.loose = False


def events_of(text):
    """The data of each event, and raw JSON that stands in a stream by itself."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    for block in re.split(r"\n\n+", text):
        data = [x[5:].removeprefix(" ") for x in block.split("\n") if x.startswith("data:")]
        if data:
            yield "\n".join(data)
        elif block.lstrip().startswith("{"):
            yield block


A_FINISH = {"end_turn": "stop", "stop_sequence": "stop", "tool_use": "tool_calls",
            "max_tokens": "length", "refusal": "content_filter", "pause_turn": "stop",
            "model_context_window_exceeded": "length"}


def a_usage(u):
    if not u:
        return None
    cached = u.get("cache_read_input_tokens") or 0
    return {"prompt": (u.get("input_tokens") or 0) + cached
            + (u.get("cache_creation_input_tokens") or 0), "cached": cached,
            "completion": u.get("output_tokens") or 0,
            "reasoning": (u.get("output_tokens_details") or {}).get("thinking_tokens") or 0}


def a_block(said, block):
    c = said.choice()
    if block["type"] == "text" and block.get("text"):
        c.text.append(block["text"])
    elif block["type"] == "thinking":
        c.reasoning += block.get("thinking") or ""
        if block.get("signature"):
            said.signatures.append(block["signature"])
    elif block["type"] == "redacted_thinking":
        said.signatures.append(block["data"])
    elif block["type"] == "tool_use":
        c.calls.append((block["name"], block["input"]))


def a_finish(said, reason):
    c = said.choice()
    c.finish = A_FINISH.get(reason, "stop")
    if c.calls and c.finish == "stop":
        c.finish = "tool_calls"
    if not said.output and c.finish not in ("length", "content_filter"):
        said.kind = "either"


def a_answer(body):
    said = Said()
    if not isinstance(body, dict) or body.get("type") != "message":
        said.kind = "error"
        return said
    for block in body["content"]:
        a_block(said, block)
    if not body.get("stop_reason"):
        said.kind = "error"
        return said
    a_finish(said, body["stop_reason"])
    said.usage = a_usage(body.get("usage"))
    return said


def a_stream(text):
    said, usage, reason, block, pieces = Said(), {}, None, None, ""
    said.kind = "cut"
    for data in events_of(text):
        try:
            ev = json.loads(data)
        except ValueError:
            break
        kind = ev.get("type")
        if kind == "error" or "error" in ev:
            break
        if kind == "message_start" and not usage:
            usage = dict(ev["message"].get("usage") or {})
        elif kind == "content_block_start":
            block, pieces = dict(ev["content_block"]), ""
        elif kind == "content_block_delta":
            delta = ev["delta"]
            for key in ("text", "thinking", "signature"):
                if delta["type"] == key + "_delta":
                    block[key] = (block.get(key) or "") + delta[key]
            if delta["type"] == "input_json_delta":
                pieces += delta["partial_json"]
        elif kind == "content_block_stop" and block:
            if pieces and block["type"] == "tool_use":
                block["input"] = loads(pieces)
            a_block(said, block)
            block = None
        elif kind == "message_delta":
            reason = ev["delta"].get("stop_reason") or reason
            usage |= {k: v for k, v in (ev.get("usage") or {}).items() if v is not None}
        elif kind == "message_stop":
            said.kind = "complete"
            break
    if block:  # what was cut in its middle
        if pieces and block["type"] == "tool_use":
            block["input"] = pieces
        a_block(said, block)
    if said.kind == "complete":
        a_finish(said, reason)
    elif not said.output:
        said.kind = "error" if not said.signatures else "cut"
    said.usage = a_usage(usage)
    return said


def loads(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


G_FILTER = ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "MODEL_ARMOR")
G_NUMBERS = {1: "STOP", 2: "MAX_TOKENS", 3: "SAFETY", 4: "RECITATION", 5: "OTHER",
             6: "BLOCKLIST", 7: "PROHIBITED_CONTENT", 8: "SPII", 9: "MALFORMED_FUNCTION_CALL"}
G_BAD = ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS")


def g_usage(u):
    if not u:
        return None
    thoughts = u.get("thoughtsTokenCount") or 0
    return {"prompt": (u.get("promptTokenCount") or 0) + (u.get("toolUsePromptTokenCount") or 0),
            "cached": u.get("cachedContentTokenCount") or 0,
            "completion": (u.get("candidatesTokenCount") or 0) + thoughts, "reasoning": thoughts}


def g_part(said, c, part):
    if part.get("thoughtSignature"):
        said.signatures.append(part["thoughtSignature"])
    if part.get("text"):
        if part.get("thought"):
            c.reasoning += part["text"]
        else:
            c.text.append(part["text"])
    for key, field in (("inlineData", "data"), ("executableCode", "code"),
                       ("codeExecutionResult", "output")):
        if part.get(key):
            c.loose = True
            c.text.append(part[key].get(field) or "")
    if part.get("functionCall"):
        c.calls.append((part["functionCall"]["name"], part["functionCall"].get("args") or {}))


def g_fragment(said, body):
    """Adds a fragment. False: it is an error, or what we never ask for."""
    if "error" in body:
        return False
    for candidate in body.get("candidates") or []:
        c = said.choice(candidate.get("index") or 0)
        for part in (candidate.get("content") or {}).get("parts") or []:
            call = part.get("functionCall") or {}
            if call.get("partialArgs") or call.get("willContinue"):
                return False
            g_part(said, c, part)
        reason = candidate.get("finishReason")
        reason = G_NUMBERS.get(reason, reason)
        if reason in G_BAD and not said.output:
            return False
        if reason and reason != "FINISH_REASON_UNSPECIFIED":
            c.finish = "length" if reason == "MAX_TOKENS" else \
                "content_filter" if reason in G_FILTER else "stop"
    if (body.get("promptFeedback") or {}).get("blockReason"):
        said.choice().finish = "content_filter"
    said.usage = g_usage(body.get("usageMetadata")) or said.usage
    return True


def g_end(said, alive):
    finishes = [c.finish for c in said.choices.values()]
    for c in said.choices.values():
        if c.calls and c.finish == "stop":
            c.finish = "tool_calls"
    if alive and finishes and all(finishes):
        short = "length" in finishes or "content_filter" in finishes
        said.kind = "complete" if said.output or short else "either"
    else:
        said.kind = "cut" if said.output else "error"
    return said


def g_answer(body):
    said = Said()
    if not isinstance(body, dict):
        said.kind = "error"
        return said
    bad = any(G_NUMBERS.get(c.get("finishReason"), c.get("finishReason")) in G_BAD
              for c in body.get("candidates") or [])
    g_end(said, g_fragment(said, body) and not bad)
    if said.kind == "cut":  # nothing of it went out yet
        said.kind = "error"
    return said


def g_stream(text):
    said, alive = Said(), True
    for data in events_of(text):
        body = loads(data)
        alive = isinstance(body, dict) and g_fragment(said, body)
        if not alive:
            break
    return g_end(said, alive)


READ = {"anthropic": (a_answer, a_stream), "gemini": (g_answer, g_stream)}


# -- what the client got -----------------------------------------------------------------------
class Got:
    def __init__(self, answer, stream):
        self.choices, self.usage, self.signatures, self.ids = {}, None, [], []
        self.finishes = collections.Counter()
        for body in answer.chunks if stream else [answer.json]:
            assert body["object"] == ("chat.completion.chunk" if stream else "chat.completion")
            assert body["id"] and body["model"] and body["created"]
            if body.get("usage"):
                self.usage = self.read_usage(body["usage"])
            for c in body["choices"]:
                self.add(c, c["delta"] if stream else c["message"])
        for c in self.choices.values():
            c.calls = [(x["name"], loads(x["arguments"])) for x in c.calls]
        self.signatures = list(dict.fromkeys(self.signatures))

    @staticmethod
    def read_usage(u):
        assert u["total_tokens"] == u["prompt_tokens"] + u["completion_tokens"]
        return {"prompt": u["prompt_tokens"], "completion": u["completion_tokens"],
                "cached": u["prompt_tokens_details"]["cached_tokens"],
                "reasoning": u["completion_tokens_details"]["reasoning_tokens"]}

    def add(self, c, part):
        mine = self.choices.setdefault(c["index"], Choice())
        mine.text.append(part.get("content") or "")
        mine.reasoning += part.get("reasoning_content") or ""
        for x in part.get("reasoning_details") or []:
            self.signatures.append(x.get("signature") or x.get("data"))
        for n, call in enumerate(part.get("tool_calls") or []):
            n = call.get("index", n)
            if n == len(mine.calls):
                assert call["type"] == "function"
                self.ids.append(call["id"])
                mine.calls.append({"name": call["function"]["name"], "arguments": ""})
            mine.calls[n]["arguments"] += call["function"].get("arguments") or ""
            google = (call.get("extra_content") or {}).get("google") or {}
            if google:
                self.signatures.append(google["thought_signature"])
        if c["finish_reason"]:
            mine.finish = c["finish_reason"]
            self.finishes[c["index"]] += 1


def same_text(want, got):
    if not want.loose:
        return "".join(want.text) == got
    at = 0
    for piece in want.text:
        found = got.find(piece.rstrip("\n"), at)
        if found < 0:
            return False
        at = found + len(piece.rstrip("\n"))
    return True


def compare(said, got, whole=True):
    """What differs; with whole False only what goes before the cut is asked for."""
    for index, want in said.choices.items():
        c = got.choices.get(index)
        if c is None:
            return f"choice {index} is missing"
        text = "".join(c.text)
        if not same_text(want, text):
            return f"text: {text[-200:]!r}, expected {''.join(want.text)[-200:]!r}"
        if c.reasoning != want.reasoning:
            return f"reasoning: {c.reasoning[-200:]!r}, expected {want.reasoning[-200:]!r}"
        if whole and c.calls != want.calls:
            return f"calls: {c.calls}, expected {want.calls}"
        if [x[0] for x in c.calls] != [x[0] for x in want.calls]:
            return f"calls: {c.calls}, expected {want.calls}"
        if whole and c.finish != want.finish:
            return f"finish: {c.finish}, expected {want.finish}"
    if set(got.choices) - set(said.choices):
        return f"choices {set(got.choices)}, expected {set(said.choices)}"
    if len(set(got.ids)) != len(got.ids) or not all(got.ids):
        return f"ids: {got.ids}"
    if whole and got.usage != said.usage:
        return f"usage: {got.usage}, expected {said.usage}"
    if whole and set(got.signatures) != set(said.signatures):
        return f"signatures: {len(set(got.signatures))}, expected {len(set(said.signatures))}"
    if whole and any(n != 1 for n in got.finishes.values()):
        return f"finish reasons: {got.finishes}"
    return None


# -- answers: replayed and judged ---------------------------------------------------------------
@scripts.script
def conformance(x):
    case = CASES[int(x.model.rpartition("-")[2])]
    rng, i = random.Random(case["id"]), 0
    if case["stream"] and case["status"] == 200:
        x.stream_head("text/event-stream")
    else:
        x.chunked = True
        x.head(case["status"], [("Content-Type", case["type"]), ("Transfer-Encoding", "chunked")])
    while i < len(case["raw"]):
        n = rng.choice((1, 2, 3, 17, 80, 200, 500, 1500, 4000))
        x.part(case["raw"][i:i + n])
        i += n
    x.end()


def load_answers(kind):
    for d in rows(APIS[kind]):
        body, stream = d["response"]["body"], bool(d["stream"])
        if "json_array_stream" in d["tags"]:
            yield {"id": d["id"], "skip": NOT_ASKED_FOR}
            continue
        raw = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
        case = {"id": d["id"], "stream": stream, "status": d["response"]["status"], "raw":
                raw.encode(), "tags": d["tags"], "skip": None,
                "type": (d["response"]["headers"] or {}).get("content-type")
                or ("text/event-stream" if stream else "application/json")}
        if case["status"] >= 400:
            case["said"] = Said()
            case["said"].kind = "error"
        else:
            case["said"] = READ[kind][stream](body)
        yield case


CLASS_OF = {400: (400,), 401: (502,), 402: (502, 503), 403: (502, 503), 404: (404,),
            408: (408, 504), 413: (413,), 429: (429, 503), 500: (500, 502), 502: (502,),
            503: (503,), 504: (504,), 520: (520, 502), 529: (529, 503)}
NOT_THE_CALLERS = rb"(?i)api[_ ]key|credit|billing|User location"  # a 400 all the same


def check_error(case, a):
    if a.status < 400 or not a.error.get("message") or "type" not in a.error:
        return f"status {a.status}: {a.body[:200]!r}"
    wanted = CLASS_OF.get(case["status"], range(500, 600))
    if case["status"] == 400 and re.search(NOT_THE_CALLERS, case["raw"]):
        wanted = (502, 503)
    return None if a.status in wanted else f"status {a.status}: {a.body[:300]!r}"


def check_complete(case, a):
    if a.status != 200 or a.end != "complete":
        return f"status {a.status}, end {a.end}: {a.body[-300:]!r}"
    if case["stream"] and a.done != 1:
        return f"[DONE] {a.done} times"
    return compare(case["said"], Got(a, case["stream"]))


def check_cut(case, a):
    if a.status != 200 or a.end != "aborted" or a.done:
        return f"status {a.status}, end {a.end}, [DONE] {a.done}: {a.body[-200:]!r}"
    if a.error is None or not a.error.get("message"):
        return f"no error at the end: {a.body[-200:]!r}"
    end = a.body.rindex(b"data:")
    a.body = a.body[:end]
    return compare(case["said"], Got(a, True), whole=False)


def check_held(case, a):
    """A stream that was cut in its calls, with nothing before them: the client has an error."""
    choices = case["said"].choices.values()
    if not any(c.calls for c in choices) or any("".join(c.text) or c.reasoning for c in choices):
        return f"status {a.status}, although there was output: {a.body[:200]!r}"
    return None if a.status >= 500 and a.error.get("message") else f"status {a.status}: {a.body[:200]!r}"


def check_answer(case, a):
    kind = case["said"].kind
    if kind == "either":
        kind = "error" if a.status >= 400 else "complete" if a.end == "complete" else "cut"
    if kind == "cut" and a.status != 200:
        return check_held(case, a)
    if kind == "cut":  # calls that are not complete never go out
        for c in case["said"].choices.values():
            c.calls = []
    return {"complete": check_complete, "error": check_error, "cut": check_cut}[kind](case, a)


def answer_features(case):
    said = case["said"]
    yield said.kind
    if said.kind in ("complete", "cut"):
        yield "stream" if case["stream"] else "unary"
        calls = [c for choice in said.choices.values() for c in choice.calls]
        found = {"text": any(c.text for c in said.choices.values()), "tools": calls,
                 "parallel tools": len(calls) > 1, "usage": said.usage,
                 "reasoning": any(c.reasoning for c in said.choices.values()),
                 "signatures": said.signatures,
                 "length": any(c.finish == "length" for c in said.choices.values())}
        yield from (k for k, v in found.items() if v)
        for tag, name in (("vision", "vision"), ("pdf", "pdf"), ("json_schema", "json_schema"),
                          ("stop_sequences", "stop"), ("cached_usage", "cached usage"),
                          ("non_ascii", "non-ASCII"), ("server_tools", "server tools")):
            if tag in case["tags"]:
                yield name


def told(what, counts, wrong):
    return f"{what}: " + ", ".join(f"{k} {n - wrong[k]} of {n}" for k, n in counts.items())


def play_all(play, items, features, what, figure):
    """Plays every item and tells `N of M` per feature; fails with what went wrong."""
    def guarded(item):
        try:
            return play(item)
        except (AssertionError, ValueError, KeyError, TypeError, TimeoutError, OSError) as e:
            return f"{type(e).__name__}: {e}"

    with ThreadPoolExecutor(12) as pool:
        results = list(pool.map(guarded, items))
    total, bad = collections.Counter(), collections.Counter()
    for item, r in zip(items, results):
        for f in ("all", *features(item)):
            total[f] += 1
            bad[f] += bool(r)
    figure(told(what, total, bad))
    wrong = [f"{item['id']} {r}" for item, r in zip(items, results) if r]
    assert not wrong, f"{len(wrong)} of {len(results)}:\n" + "\n".join(wrong[:60])


@pytest.mark.parametrize("kind", sorted(APIS))
def test_every_recorded_answer_in_openais_words(upstream, holdfast, figure, kind):
    if not FILE.exists():
        pytest.skip("no ../shared")
    cases = list(load_answers(kind))
    CASES.clear()
    CASES.update(enumerate(c for c in cases if not c["skip"]))
    for reason, n in collections.Counter(c["skip"] for c in cases if c["skip"]).items():
        figure(f"  left out of {kind}, {n}: {reason}")
    a = upstream("A", default="conformance")
    account = {"type": kind, "base_url": a.base_url, "api_key": "k"}
    # What fails rests its key for a while, so each answer that is no success has its own account.
    odd = [n for n, c in CASES.items() if c["said"].kind != "complete"]
    p = holdfast(account, providers={f"p{n}": account for n in odd},
                 routes=[*({"model": f"case-{n}", "targets": [f"p{n}"]} for n in odd),
                         {"model": "*", "targets": ["a"]}],
                 failover={"max_attempts": 1, "per_target": 1}, breaker=CALM, timeouts=PATIENT)

    def play(case):
        body = {"model": f"case-{case['n']}", "messages": [{"role": "user", "content": "x"}],
                "stream": case["stream"]}
        if case["stream"]:
            body["stream_options"] = {"include_usage": True}
        with Raw(p.port, timeout=60) as c:
            c.send(request_bytes("POST", "/v1/chat/completions", json.dumps(body).encode(),
                                 {"x-holdfast-midstream": "error"}))
            return check_answer(case, c.answer())

    for n, case in CASES.items():
        case["n"] = n
    play_all(play, list(CASES.values()), answer_features, f"{kind} answers to chat", figure)


def test_a_bare_error_that_ends_a_stream_counts(upstream, holdfast):
    """Google writes such errors as JSON without `data:`, and without an empty line behind it."""
    good = json.dumps({"candidates": [{"content": {"parts": [{"text": "half"}]}, "index": 0,
                                       "finishReason": "STOP"}]}).encode()
    bare = json.dumps({"error": {"code": 499, "message": "The operation was cancelled.",
                                 "status": "CANCELLED"}}, indent=1).encode()
    a = upstream("A", default="replay")
    a.recording = [b"data: " + good + b"\r\n\r\n", bare + b"\n"]
    answer = holdfast({"type": "gemini", "base_url": a.base_url, "api_key": "k"}).chat(
        stream=True, headers={"x-holdfast-midstream": "error"})
    assert answer.text == "half" and answer.end == "aborted" and not answer.done
    assert "cancelled" in answer.error["message"]
