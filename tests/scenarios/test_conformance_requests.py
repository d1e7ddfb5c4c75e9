"""The whole program as OpenAI's door before Claude and Gemini: every recorded chat request.

What arrives must be a request that the provider takes, with everything in it; what is not in it
must be named in x-holdfast-dropped, or the request refused with the name of what cannot be said.
The checks are written from what the providers take, not from what the program writes.
"""
import collections
import json
import re

import pytest

from client import Raw, request_bytes
from faultd import scripts
from test_conformance import APIS, CALM, FILE, PATIENT, play_all, rows

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
             "vision": "image_url" in parts, "pdf": "file" in parts,
             "audio": "input_audio" in parts,
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
