"""The whole program as OpenAI's door before Claude and Gemini, against every recording.

Answers: an upstream replays each recorded answer, cut at seeded random places, and what the client
of the chat dialect gets must say what a second reading of the recording says. That reading is done
here, on purpose in another way than the program does it: the whole answer at once, with Python's
JSON. Its classes are those of test_corpus.py.

Requests: every recorded chat request is sent through to both, and what arrives must be a request
that the provider takes, with everything in it; what is not in it must be named in
x-holdfast-dropped, or the request refused with the name of what cannot be said.
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


def check_answer(case, a):
    kind = case["said"].kind
    if kind == "either":
        kind = "error" if a.status >= 400 else "complete" if a.end == "complete" else "cut"
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
    CASES.clear()
    CASES.update(enumerate(c for c in load_answers(kind) if not c["skip"]))
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


# -- requests: what arrives ---------------------------------------------------------------------
MODELS = {"anthropic": ("claude-sonnet-4-5-{}", "claude-haiku-4-5-{}", "claude-opus-4-6-{}"),
          "gemini": ("gemini-2.5-pro-{}", "gemini-2.5-flash-{}", "gemini-3-flash-{}")}
FIRST = 20260000  # the number behind a model's name, as dates stand there
EMPTY = (None, "", [], {}, False)  # says nothing

# The fields that have a place: how to find them is below. All others can only be named.
MESSAGE_FIELDS = {"role", "content", "tool_calls", "tool_call_id", "function_call", "refusal"}
REASONING = {"reasoning_content", "reasoning", "reasoning_details"}
PART_FIELDS = {"text": "text", "image_url": "image_url", "file": "file", "refusal": "refusal",
               "input_audio": "input_audio", "video_url": "video_url", "thinking": "thinking"}


def strings_of(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for k, v in value.items():
            yield k
            yield from strings_of(v)
    elif isinstance(value, list):
        for v in value:
            yield from strings_of(v)


def once(pairs):
    assert len({k for k, _ in pairs}) == len(pairs), f"a key twice: {[k for k, _ in pairs]}"
    return dict(pairs)


def only(value, *keys):
    assert not set(value) - set(keys), f"unknown fields {set(value) - set(keys)}"


def object_of(text):
    try:
        value = json.loads(text) if text and text.strip() else {}
    except ValueError:
        return {"_raw": text}
    return {} if value is None else value if isinstance(value, dict) else {"_raw": text}


# What a provider takes: both give [(call id, name, arguments, result)], the result None where
# nothing answers yet, and the body's own values under the names of the chat dialect.
def a_check(body):
    only(body, "model", "max_tokens", "messages", "system", "tools", "tool_choice", "temperature",
         "top_p", "top_k", "stop_sequences", "stream", "metadata", "thinking", "output_config")
    assert body["max_tokens"] > 0 and body["messages"]
    names = [t["name"] for t in body.get("tools", [])]
    assert len(set(names)) == len(names) and ("tool_choice" not in body or names)
    for t in body.get("tools", []):
        only(t, "name", "description", "input_schema", "strict", "cache_control")
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,128}", t["name"])
        assert t["input_schema"]["type"] == "object"
    calls, waiting, last = [], [], None
    for m in body["messages"]:
        only(m, "role", "content")
        assert m["role"] in ("user", "assistant") and m["role"] != last and m["content"]
        assert last or m["role"] == "user"
        last = m["role"]
        if isinstance(m["content"], str):
            m["content"] = [{"type": "text", "text": m["content"]}]
        kinds = [b["type"] for b in m["content"]]
        results = kinds.count("tool_result")
        assert kinds[:results] == ["tool_result"] * results, f"results are not first: {kinds}"
        answered = [b["tool_use_id"] for b in m["content"][:results]]
        assert sorted(answered) == sorted(c[0] for c in waiting), f"{answered} for {waiting}"
        for b in m["content"]:
            a_check_block(b, m["role"])
            if b["type"] == "tool_result":
                next(c for c in waiting if c[0] == b["tool_use_id"])[3] = b.get("content", "")
        waiting = [[b["id"], b["name"], b["input"], None] for b in m["content"]
                   if b["type"] == "tool_use"]
        assert len({c[0] for c in waiting}) == len(waiting)
        calls += waiting
    a_check_thinking(body)
    return calls, names


def a_check_block(b, role):
    if b["type"] == "text":
        assert b["text"].strip(), "an empty text"
    elif b["type"] in ("image", "document"):
        assert role == "user" and b["source"]["type"] in ("base64", "url", "text")
    elif b["type"] == "thinking":
        assert role == "assistant" and b["signature"]  # only what Claude has signed itself
    elif b["type"] == "tool_use":
        assert role == "assistant" and re.fullmatch(r"[A-Za-z0-9_-]+", b["id"])
        assert isinstance(b["input"], dict)
    else:
        assert b["type"] == "tool_result" and role == "user", b["type"]


def a_check_thinking(body):
    assert 0 <= body.get("temperature", 0) <= 1
    assert not ("temperature" in body and "top_p" in body)
    thinking = body.get("thinking", {"type": "disabled"})
    if thinking["type"] != "disabled":
        assert body.get("temperature", 1) == 1 and "top_k" not in body
        assert body.get("tool_choice", {}).get("type") in (None, "auto", "none")
    if thinking["type"] == "enabled":
        assert 1024 <= thinking["budget_tokens"] < body["max_tokens"]


def g_check(body):
    only(body, "contents", "systemInstruction", "tools", "toolConfig", "generationConfig")
    names = [f["name"] for t in body.get("tools", []) for f in t["functionDeclarations"]]
    assert len(set(names)) == len(names) and ("toolConfig" not in body or names)
    calls, waiting, last = [], [], None
    for c in body["contents"]:
        only(c, "role", "parts")
        assert c["role"] in ("user", "model") and c["role"] != last and c["parts"]
        assert last or c["role"] == "user"
        last = c["role"]
        results = [p["functionResponse"] for p in c["parts"] if "functionResponse" in p]
        assert [(r.get("id"), r["name"]) for r in results] == [(x[0], x[1]) for x in waiting]
        for r, x in zip(results, waiting):
            assert isinstance(r["response"], dict)
            x[3] = r["response"]
        for p in c["parts"]:
            only(p, "text", "inlineData", "fileData", "functionCall", "functionResponse",
                 "thoughtSignature")
        waiting = [[p["functionCall"].get("id"), p["functionCall"]["name"],
                    p["functionCall"]["args"], None] for p in c["parts"] if "functionCall" in p]
        assert last == "model" or not waiting
        calls += waiting
    return calls, names


def a_fields(body):
    out = {k: body[k] for k in ("temperature", "top_p", "top_k", "stream") if k in body}
    choice = body.get("tool_choice", {})
    thinking = body.get("thinking", {})
    budget = thinking.get("budget_tokens", 0)
    out["max_tokens"] = range(max(body["max_tokens"] - budget, 1), body["max_tokens"] + 1)
    out["stop"] = body.get("stop_sequences")
    out["user"] = body.get("metadata", {}).get("user_id")
    out["schema"] = body.get("output_config", {}).get("format", {}).get("schema")
    out["reasoning_effort"] = "output_config" in body and "effort" in body["output_config"] \
        or thinking.get("type")
    out["choice"] = {"auto": "auto", "any": "required", "none": "none"}.get(
        choice.get("type"), choice.get("name"))
    out["one"] = choice.get("disable_parallel_tool_use")
    return out


def g_fields(body):
    config = body.get("generationConfig", {})
    names = {"temperature": "temperature", "topP": "top_p", "topK": "top_k", "seed": "seed",
             "presencePenalty": "presence_penalty", "frequencyPenalty": "frequency_penalty",
             "candidateCount": "n", "stopSequences": "stop", "responseJsonSchema": "schema",
             "responseMimeType": "mime", "thinkingConfig": "reasoning_effort"}
    out = {ours: config[theirs] for theirs, ours in names.items() if theirs in config}
    only(config, *names, "maxOutputTokens")
    if "maxOutputTokens" in config:
        out["max_tokens"] = [config["maxOutputTokens"]]
    choice = body.get("toolConfig", {}).get("functionCallingConfig", {})
    out["choice"] = {"AUTO": "auto", "ANY": "required", "NONE": "none"}.get(choice.get("mode"))
    if choice.get("allowedFunctionNames"):
        out["choice"] = choice["allowedFunctionNames"][0]
    return out


def reasoning_of(value):
    if isinstance(value, str):
        return [value]
    return [d.get(k) or "" for d in value for k in ("text", "signature", "data", "summary")]


class Arrival:
    """One request as it was sent, what arrived, and what the answer says was dropped."""

    def __init__(self, kind, asked, body, dropped):
        self.kind, self.asked, self.body, self.dropped = kind, asked, body, dropped
        self.text = "\0".join(strings_of(body))
        self.calls, self.names = (a_check if kind == "anthropic" else g_check)(body)
        self.out = (a_fields if kind == "anthropic" else g_fields)(body)

    def named(self, path):
        """Is the path, a part of it, or what it is a part of among the dropped?"""
        return any(d == path or path.startswith((d + ".", d + "[")) or
                   d.startswith((path + ".", path + "[")) for d in self.dropped)

    def need(self, path, arrived):
        assert arrived or self.named(path), f"{path} is lost; dropped: {self.dropped}"

    def need_text(self, path, text):
        self.need(path, text.strip() == "" or text.strip() in self.text)

    def check(self):
        for key, value in self.asked.items():
            if value not in EMPTY or value is False and key == "parallel_tool_calls":
                self.need(key, self.field(key, value))
        results = {}
        for i, m in enumerate(self.asked["messages"]):
            self.message(f"messages[{i}]", m, results)
        self.tools()
        self.check_calls(results)

    def field(self, key, value):
        out, tools = self.out, self.names
        if key in ("model", "messages", "tools", "functions", "stream", "stream_options"):
            return True
        if key in ("max_tokens", "max_completion_tokens"):
            return value in out.get("max_tokens", ())
        if key == "stop":
            return out.get("stop") == ([value] if isinstance(value, str) else value)
        if key == "n":
            return value == out.get("n", 1)
        if key == "parallel_tool_calls":
            return value or out.get("one")
        if key == "response_format":
            return self.response_format(value)
        if key in ("tool_choice", "function_call"):
            if isinstance(value, dict):
                value = value.get("function", value).get("name")
            value = "required" if value == "any" else value
            return out.get("choice") == value or (not tools and value in ("auto", "none"))
        if key == "reasoning_effort":
            return out.get("reasoning_effort") or value == "none"
        if key == "safety_identifier":
            key = "user"
        known = ("temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty",
                 "user")
        return key in known and (out.get(key) == value or key == "temperature" and value == 1)

    def response_format(self, value):
        if value["type"] == "text":
            return True
        if value["type"] == "json_object":
            return self.out.get("mime") == "application/json" or "JSON" in self.text
        wanted, path = value["json_schema"], "response_format.json_schema"
        got = set(strings_of(self.out.get("schema")))
        for k in property_names(wanted["schema"]):
            self.need(f"{path}.schema", k in got)
        for k in ("name", "description"):
            if wanted.get(k):
                self.need_text(f"{path}.{k}", wanted[k])
        return self.out.get("schema")

    def message(self, path, m, results):
        for key, value in m.items():
            if key in REASONING and value not in EMPTY:
                # The same words in up to three fields: one name for them is enough.
                assert any(self.named(f"{path}.{k}") for k in REASONING if m.get(k)) or \
                    all(x in self.text for x in reasoning_of(value)), f"{path}.{key} is lost"
            elif key == "name" and value:
                self.need(f"{path}.{key}", value in self.text)
            elif key == "cache_control":
                self.need(f"{path}.{key}", '"cache_control"' in json.dumps(self.body))
            elif key not in MESSAGE_FIELDS and value not in EMPTY:
                self.need(f"{path}.{key}", False)
        content = m.get("content") or ""
        if m["role"] == "tool":
            results.setdefault(m["tool_call_id"], []).append((path, content))
        elif isinstance(content, str):
            self.need_text(f"{path}.content", content)
        else:
            for j, part in enumerate(content):
                self.part(f"{path}.content[{j}]", part)

    def part(self, path, part):
        field = PART_FIELDS.get(part["type"])
        for key, value in part.items():
            if key == "cache_control":
                self.need(f"{path}.{key}", '"cache_control"' in json.dumps(self.body))
            elif key not in ("type", field) and value not in EMPTY:
                self.need(f"{path}.{key}", False)
        if field is None:
            return self.need(path, False)
        value = part[field]
        if field == "thinking" or isinstance(value, str) and field == "text":
            for text in strings_of(value) if field == "text" else [x["text"] for x in value]:
                self.need_text(path, text)
            return None
        for text in [value] if isinstance(value, str) else strings_of(list(value.values())):
            data = text.rpartition(";base64,")[2] if text.startswith("data:") else text
            if len(data) > 20 or text.startswith("http"):
                self.need(path, re.sub(r"\s", "", data) in self.text)
        if isinstance(value, dict) and value.get("detail") not in (None, "auto"):
            self.need(f"{path}.{field}.detail", False)
        if isinstance(value, dict) and value.get("filename"):
            self.need_text(f"{path}.{field}.filename", value["filename"])
        return None

    def tools(self):
        asked = [(f"tools[{i}]", t, t.get("function")) for i, t in
                 enumerate(self.asked.get("tools") or [])]
        asked += [(f"functions[{i}]", t, t) for i, t in
                  enumerate(self.asked.get("functions") or [])]
        got = self.body.get("tools") or []
        if self.kind == "gemini":
            got = [f for t in got for f in t["functionDeclarations"]]
        got = {t["name"]: t for t in got}
        for path, t, f in asked:
            if t.get("type", "function") != "function" or not f:
                self.need(path, False)
                continue
            theirs = got.get(f["name"])
            assert theirs, f"{path}: {f['name']} is lost"
            self.need(f"{path}.function.description",
                      (f.get("description") or "").strip() in theirs.get("description", ""))
            schema = theirs.get("input_schema") or theirs.get("parametersJsonSchema")
            found = set(strings_of(schema))
            assert all(k in found for k in property_names(f.get("parameters")))
            if f.get("strict"):
                self.need(f"{path}.strict" if f is t else f"{path}.function.strict",
                          theirs.get("strict"))
            for k in set(f) - {"name", "description", "parameters", "strict", "type"}:
                self.need(f"{path}.{k}" if f is t else f"{path}.function.{k}", f[k] in EMPTY)
            for k in set(t) - {"type", "function", "name", "cache_control"}:
                self.need(f"{path}.{k}", f is t or t[k] in EMPTY)
            if t.get("cache_control"):
                self.need(f"{path}.cache_control", theirs.get("cache_control"))

    def check_calls(self, results):
        """Calls stand in the order in which they were made, each with its own result."""
        asked = [(c, f"messages[{i}].tool_calls[{j}]")
                 for i, m in enumerate(self.asked["messages"]) if m["role"] == "assistant"
                 for j, c in enumerate(m.get("tool_calls") or [])]
        asked += [({"id": None, "function": m["function_call"]}, f"messages[{i}]")
                  for i, m in enumerate(self.asked["messages"]) if m.get("function_call")]
        assert len(asked) == len(self.calls), f"{len(self.calls)} calls of {len(asked)}"
        for (call, path), (_, name, arguments, result) in zip(asked, self.calls):
            f = call.get("function") or call.get("custom")
            text = f.get("arguments", f.get("input"))
            assert name == f["name"], f"{path}: {name}"
            assert arguments == (text if isinstance(text, dict) else object_of(text)), path
            if call["id"] in results:
                where, content = results[call["id"]].pop(0)
                got = "\0".join([json.dumps(result, sort_keys=True), *strings_of(result)])
                for text in [content] if isinstance(content, str) else \
                        [p.get("text", "") for p in content]:
                    whole = object_of(text)
                    assert text.strip() in got or whole == result, f"{where}: {text[:100]}"


def property_names(schema):
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            yield from schema["properties"]
        for v in schema.values():
            yield from property_names(v)
    elif isinstance(schema, list):
        for v in schema:
            yield from property_names(v)


# -- requests: sent and judged --------------------------------------------------------------------
ARRIVED = {}


@scripts.script
def taken(x):
    """Notes the request under its number and answers."""
    ARRIVED[int(x.model.rpartition("-")[2]) - FIRST] = x.attempt
    scripts.run("ok", x)


def load_requests():
    for d in rows("openai.chat"):
        if d["request"] and isinstance(d["request"]["body"], dict):
            yield {"id": d["id"], "body": d["request"]["body"], "tags": d["tags"]}


def refusal_is_right(case, a):
    """A refusal names a field that stands in the request, with the status of a caller's fault."""
    message = a.error["message"]
    m = re.search(r"(messages|tools|functions|stop|n|response_format|tool_choice|reasoning_effort|"
                  r"seed|model|temperature)((\[\d+\]|\.\w+)*): ", message)
    if a.status != 400 or not m or m[1] not in case["body"]:
        return f"refused with {a.status}: {message[:300]}"
    value = case["body"][m[1]]
    for index, name in re.findall(r"\[(\d+)\]|\.(\w+)", m[2]):
        if index:
            value = value[int(index)]
        elif name not in value:
            break  # the field that is missing
        else:
            value = value[name]
    what = f"{m[1]}{re.sub(r'[0-9]+', 'i', m[2])}: {message[m.end():]}"
    case["refused"] = what.partition(" [a/")[0]
    return None


def request_features(case):
    body, messages = case["body"], case["body"]["messages"]
    yield "refused" if case.get("refused") else "taken"
    parts = [p.get("type") for m in messages if isinstance(m.get("content"), list)
             for p in m["content"]]
    found = {"text": True, "stream": body.get("stream"), "tools": body.get("tools"),
             "tool results": any(m["role"] == "tool" for m in messages),
             "parallel tools": any(len(m.get("tool_calls") or []) > 1 for m in messages),
             "vision": "image_url" in parts, "pdf": "file" in parts, "audio": "input_audio" in parts,
             "json_schema": (body.get("response_format") or {}).get("type") == "json_schema",
             "reasoning": body.get("reasoning_effort"), "stop": body.get("stop"),
             "tool_choice": body.get("tool_choice")}
    yield from (k for k, v in found.items() if v)


@pytest.mark.parametrize("kind", sorted(APIS))
def test_every_recorded_request_arrives(upstream, holdfast, figure, kind):
    if not FILE.exists():
        pytest.skip("no ../shared")
    ARRIVED.clear()
    cases = list(load_requests())
    a = upstream("A", default="taken")
    p = holdfast({"type": kind, "base_url": a.base_url, "api_key": "k"},
                 routes=[{"model": "*", "targets": ["a"]}],
                 failover={"max_attempts": 1, "per_target": 1}, breaker=CALM, timeouts=PATIENT)
    for n, case in enumerate(cases):
        case["n"] = n

    def play(case):
        n, asked = case["n"], case["body"]
        model = MODELS[kind][n % 3].format(FIRST + n)
        with Raw(p.port, timeout=60) as c:
            c.send(request_bytes("POST", "/v1/chat/completions",
                                 json.dumps({**asked, "model": model}).encode()))
            answer = c.answer()
        if answer.status != 200:
            assert n not in ARRIVED, "refused, and sent all the same"
            return refusal_is_right(case, answer)
        dropped = [x for x in (answer.header("x-holdfast-dropped") or "").split(", ") if x]
        body = json.loads(ARRIVED[n].body, object_pairs_hook=once)
        Arrival(kind, asked, body, dropped).check()
        return None if answer.text else "no text in the answer"

    try:
        play_all(play, cases, request_features, f"chat requests to {kind}", figure)
    finally:
        for text, k in collections.Counter(c["refused"] for c in cases
                                           if c.get("refused")).most_common():
            figure(f"  refused for {kind}, {k}: {text}")


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
