"""Good answers as Anthropic, Google and OpenAI's other endpoints give them; those of chat are written
by the scripts."""
import base64
import json
import re
import struct
import zlib

from . import bodies

GRPC = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED",
        404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE",
        504: "DEADLINE_EXCEEDED"}
WORDS = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error",
         404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error",
         529: "overloaded_error"}
ENDS = (b"message_stop", b"content_block_stop", b"finishReason", b"output_text.done",
        b'"finish_reason":"')
GEMINI_PATH = re.compile(r"/models/([^/:]+):(generateContent|streamGenerateContent|embedContent|"
                         r"batchEmbedContents)")
THOUGHT = "Let me see."


def voice_of(path):
    if path.partition("?")[0].endswith("/messages"):
        return "anthropic"
    for voice in ("responses", "embeddings"):
        if path.partition("?")[0].endswith("/" + voice):
            return voice
    if re.search(r"(?<!/chat)/completions(\?|$)", path):
        return "completions"
    if m := GEMINI_PATH.search(path):
        return "gemini" if "enerate" in m[2] else "gemini_embeddings"
    return "openai"


def gemini_model(path):
    """(model, is it a stream); both stand in the path."""
    m = GEMINI_PATH.search(path)
    return m[1], m[2].startswith("stream")


def error(voice, code, message):
    if voice in ("responses", "embeddings", "completions"):
        kind, word, _ = bodies.ERRORS.get(code, ("server_error", None, ""))
        return bodies.error(message, kind, word)
    if voice == "anthropic":
        return bodies.dump({"type": "error", "request_id": "req_faultd", "error": {
            "type": WORDS.get(code, "api_error"), "message": message}})
    return bodies.dump({"error": {"code": code, "message": message,
                                  "status": GRPC.get(code, "UNKNOWN")}})


def speak(x, words, text, tools, thinks, first, gap):
    """The words, `text` instead of them, or tool calls; signed reasoning before it."""
    words = [text] if text else [] if tools else words
    pieces = VOICES[x.voice](x, words, tools, thinks)
    whole = next(pieces)
    if not x.stream:
        x.pause(first)
        return x.answer(200, bodies.dump(whole), headers=[("request-id", "req_faultd")])
    x.stream_head()
    x.pause(first)
    for piece in pieces:
        x.part(piece)
        x.pause(gap)
    return x.end()


def error_event(voice, code, message):
    """An error inside a stream."""
    name = b"" if voice in ("gemini", "completions") else b"event: error\n"
    return name + b"data: " + error(voice, code, message) + b"\n\n"


def pieces(x, words, tools=0, thinks=""):
    """A stream that says these words, in its events."""
    parts = VOICES[x.voice](x, words, tools, thinks)
    next(parts)
    return parts


def is_output(piece):
    """Anthropic's deltas, those of responses, Google's parts."""
    return (b'"content_block_delta"' in piece or piece.partition(b"\n")[0].endswith(b".delta")
            or (b'"parts"' in piece and b'"finishReason"' not in piece)
            or (b'"text_completion"' in piece and b'"text":""' not in piece))


def half(x, words):
    """The start of a stream that says these words and has no end."""
    x.stream_head()
    for piece in pieces(x, words):
        if any(end in piece for end in ENDS):
            break
        x.part(piece)
    x.pause(0.03)


def calls_of(x, tools):
    """[(end of the id, name, arguments)] of so many calls, or of those that are given."""
    return [(c["id"] if isinstance(tools, list) else f"{x.server.name}_{i}", c["function"]["name"],
             json.loads(c["function"]["arguments"])) for i, c in enumerate(bodies.tool_calls(tools))]


def named(e):
    return b"event: " + e["type"].encode() + b"\ndata: " + bodies.dump(e) + b"\n\n"


def anthropic(x, words, tools, thinks):
    """The whole message, then the same in the pieces of a stream."""
    content = [{"type": "thinking", "thinking": THOUGHT, "signature": thinks}] if thinks else []
    if words:
        content.append({"type": "text", "text": "".join(words)})
    calls = calls_of(x, tools)
    content += [{"type": "tool_use", "id": f"toolu_{id}", "name": name, "input": arguments}
                for id, name, arguments in calls]
    usage = {"input_tokens": 11, "output_tokens": max(len(words), len(calls))}
    end = {"stop_reason": "tool_use" if tools else "end_turn", "stop_sequence": None}
    message = {"id": "msg_faultd", "type": "message", "role": "assistant", "model": x.model}
    yield {**message, "content": content, **end, "usage": usage}
    yield named({"type": "message_start", "message": {
        **message, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}})
    yield named({"type": "ping"})
    for i, block in enumerate(content):
        yield from anthropic_block(i, block, words)
    yield named({"type": "message_delta", "delta": end, "usage": usage})
    yield named({"type": "message_stop"})


def anthropic_block(i, block, words):
    if block["type"] == "text":
        start, deltas = {"text": ""}, [{"type": "text_delta", "text": w} for w in words]
    elif block["type"] == "thinking":
        start = {"thinking": "", "signature": ""}
        deltas = [{"type": "thinking_delta", "thinking": block["thinking"]},
                  {"type": "signature_delta", "signature": block["signature"]}]
    else:
        text = json.dumps(block["input"], ensure_ascii=False)
        start = {"input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": p}
                  for p in ("", text[:5], text[5:])]
    yield named({"type": "content_block_start", "index": i, "content_block": {**block, **start}})
    for d in deltas:
        yield named({"type": "content_block_delta", "index": i, "delta": d})
    yield named({"type": "content_block_stop", "index": i})


def gemini(x, words, tools, thinks):
    """The whole answer, then the same in the fragments of a stream. Calls have no ids."""
    parts = [{"text": THOUGHT, "thought": True}] if thinks else []
    parts += [{"text": w} for w in words]
    calls = calls_of(x, tools)
    parts += [{"functionCall": {"name": name, "args": arguments}} for _, name, arguments in calls]
    if thinks:
        parts[-len(calls or words)]["thoughtSignature"] = thinks
    n = max(len(words), len(calls))
    usage = {"promptTokenCount": 11, "candidatesTokenCount": n, "totalTokenCount": 11 + n}
    n = x.request.get("generationConfig", {}).get("candidateCount", 1)
    rest = {"usageMetadata": usage, "modelVersion": x.model, "responseId": "faultd"}

    def fragment(parts, **more):
        return {"candidates": [{"content": {"role": "model", "parts": parts}, "index": i, **more}
                               for i in range(n)], **rest}

    yield fragment(parts, finishReason="STOP")
    for p in parts:
        yield b"data: " + bodies.dump(fragment([p])) + b"\r\n\r\n"
    yield b"data: " + bodies.dump(fragment([{"text": ""}], finishReason="STOP")) + b"\r\n\r\n"


def responses(x, words, tools, thinks):
    """The whole response, then the same in the events of a stream."""
    output = []
    if thinks:
        output.append({"id": "rs_faultd", "type": "reasoning", "encrypted_content": thinks,
                       "summary": [{"type": "summary_text", "text": THOUGHT}]})
    if words:
        output.append({"id": "msg_faultd", "type": "message", "status": "completed",
                       "role": "assistant", "content": [response_text("".join(words))]})
    for i, (id, name, arguments) in enumerate(calls_of(x, tools)):
        item = {"id": f"fc_{i}", "type": "function_call", "status": "completed",
                "call_id": f"call_{id}", "name": name}
        if isinstance(arguments, str):  # a tool of free text
            output.append({**item, "type": "custom_tool_call", "input": arguments})
        else:
            output.append({**item, "arguments": json.dumps(arguments, ensure_ascii=False)})
    n = max(len(words), len(bodies.tool_calls(tools)))
    response = {"id": "resp_faultd", "object": "response", "created_at": bodies.CREATED,
                "model": x.model, "error": None, "incomplete_details": None, "tools": [],
                "parallel_tool_calls": True, "tool_choice": "auto", "x_vendor_extra": 1.0}
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    whole = {**response, "status": "completed", "output": output, "usage": {
        "input_tokens": 11, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": n,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 11 + n}}
    yield whole
    events = [{"type": "response.created", "response": begun},
              {"type": "response.in_progress", "response": begun}]
    for i, item in enumerate(output):
        events += response_item(i, item, words)
    events.append({"type": "response.completed", "response": whole})
    for number, e in enumerate(events):
        yield named({"type": e["type"], "sequence_number": number, **e})


def response_text(text):
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def response_item(i, item, words):
    of = {"item_id": item["id"], "output_index": i}
    if item["type"] == "reasoning":
        start, middle = {"summary": []}, [
            {"type": "response.reasoning_summary_part.added", **of, "summary_index": 0,
             "part": {"type": "summary_text", "text": ""}},
            {"type": "response.reasoning_summary_text.delta", **of, "summary_index": 0,
             "delta": THOUGHT},
            {"type": "response.reasoning_summary_text.done", **of, "summary_index": 0,
             "text": THOUGHT}]
        item_start = {k: v for k, v in {**item, **start}.items() if k != "encrypted_content"}
    elif item["type"] == "message":
        of_part = {**of, "content_index": 0}
        item_start = {**item, "status": "in_progress", "content": []}
        middle = [{"type": "response.content_part.added", **of_part, "part": response_text("")},
                  *({"type": "response.output_text.delta", **of_part, "delta": w, "logprobs": []}
                    for w in words),
                  {"type": "response.output_text.done", **of_part, "text": "".join(words),
                   "logprobs": []},
                  {"type": "response.content_part.done", **of_part,
                   "part": response_text("".join(words))}]
    else:
        field, kind = "arguments", "response.function_call_arguments"
        if item["type"] == "custom_tool_call":
            field, kind = "input", "response.custom_tool_call_input"
        item_start, text = {**item, "status": "in_progress", field: ""}, item[field]
        middle = [*({"type": f"{kind}.delta", **of, "delta": p} for p in (text[:5], text[5:])),
                  {"type": f"{kind}.done", **of, field: text}]
    return [{"type": "response.output_item.added", "output_index": i, "item": item_start}, *middle,
            {"type": "response.output_item.done", "output_index": i, "item": item}]


def completions(x, words, tools, thinks):
    """The completion of before chat, then the same in the events of a stream."""
    n = x.request.get("n") or 1
    prompts = x.request.get("prompt")
    n *= len(prompts) if isinstance(prompts, list) and not isinstance(prompts[0], int) else 1
    head = {"id": "cmpl-faultd", "object": "text_completion", "created": bodies.CREATED,
            "model": x.model}

    def choices(text, finish=None):
        return [{"text": text, "index": i, "logprobs": None, "finish_reason": finish}
                for i in range(n)]

    yield {**head, "choices": choices("".join(words), "stop"), "usage": bodies.usage(len(words)),
           "x_vendor_extra": 1.0}
    for word in words:
        yield b"data: " + bodies.dump({**head, "choices": choices(word)}) + b"\n\n"
    yield b"data: " + bodies.dump({**head, "choices": choices("", "stop")}) + b"\n\n"
    if (x.request.get("stream_options") or {}).get("include_usage"):
        yield b"data: " + bodies.dump({**head, "choices": [],
                                       "usage": bodies.usage(len(words))}) + b"\n\n"
    yield b"data: [DONE]\n\n"


def vector(model, text, n=8):
    """The vector of a text is its model's, whoever serves it."""
    return [round(zlib.crc32(f"{model} {text} {i}".encode()) / 2 ** 31 - 1, 9) for i in range(n)]


def pack(numbers):
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def embeddings(x, words=(), tools=0, thinks="", of=None, form=""):
    """of: the vectors in place of its own. form: base64 | float, whatever was asked for."""
    texts = x.request["input"]
    if not isinstance(texts, list) or isinstance(texts[0], int):  # one text, or one's tokens
        texts = [texts]
    of = of or [vector(x.model, t, x.request.get("dimensions") or 8) for t in texts]
    packed = (form or x.request.get("encoding_format")) == "base64"
    yield {"object": "list", "data": [
        {"object": "embedding", "index": i, "embedding": pack(v) if packed else v}
        for i, v in enumerate(of)], "model": x.model, "x_vendor_extra": 1.0,
        "usage": {"prompt_tokens": 3 * len(texts), "total_tokens": 3 * len(texts)}}


def gemini_embeddings(x, words=(), tools=0, thinks="", of=None, form=""):
    requests = x.request.get("requests", [x.request])
    of = of or [vector(x.model, r["content"]["parts"][0]["text"],
                       r.get("outputDimensionality") or 8) for r in requests]
    values = [{"values": v} for v in of]
    yield {"embeddings": values} if "requests" in x.request else {"embedding": values[0]}


def vectors_of(voice, answer):
    """The lists of numbers of a whole answer."""
    if voice == "embeddings":
        return [d["embedding"] for d in answer["data"]]
    return [e["values"] for e in answer.get("embeddings", [answer.get("embedding")])]


VOICES = {"anthropic": anthropic, "gemini": gemini, "responses": responses,
          "completions": completions, "embeddings": embeddings,
          "gemini_embeddings": gemini_embeddings}
