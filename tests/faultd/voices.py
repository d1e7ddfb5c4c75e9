"""Good answers as Anthropic and Google give them; OpenAI's own are written by the scripts."""
import json
import re

from . import bodies

GRPC = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED",
        404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE",
        504: "DEADLINE_EXCEEDED"}
WORDS = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error",
         404: "not_found_error", 413: "request_too_large", 429: "rate_limit_error",
         529: "overloaded_error"}
GEMINI_PATH = re.compile(r"/models/([^/:]+):(stream)?[gG]enerateContent")
THOUGHT = "Let me see."


def voice_of(path):
    if path.partition("?")[0].endswith("/messages"):
        return "anthropic"
    return "gemini" if GEMINI_PATH.search(path) else "openai"


def gemini_model(path):
    """(model, is it a stream); both stand in the path."""
    m = GEMINI_PATH.search(path)
    return m[1], bool(m[2])


def error(voice, code, message):
    if voice == "anthropic":
        return bodies.dump({"type": "error", "request_id": "req_faultd", "error": {
            "type": WORDS.get(code, "api_error"), "message": message}})
    return bodies.dump({"error": {"code": code, "message": message,
                                  "status": GRPC.get(code, "UNKNOWN")}})


def speak(x, words, text, tools, thinks, first, gap):
    """The words, `text` instead of them, or tool calls; signed reasoning before it."""
    words = [text] if text else [] if tools else words
    pieces = (anthropic if x.voice == "anthropic" else gemini)(x, words, tools, thinks)
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
    body = error(voice, code, message)
    return b"event: error\ndata: " * (voice == "anthropic") + b"data: " * (voice == "gemini") + body + b"\n\n"


def pieces(x, words, tools=0, thinks=""):
    """A stream that says these words, in its events."""
    parts = (anthropic if x.voice == "anthropic" else gemini)(x, words, tools, thinks)
    next(parts)
    return parts


def is_output(piece):
    return b'"content_block_delta"' in piece or (b'"parts"' in piece and b'"finishReason"' not in piece)


def calls_of(n):
    return [(c["function"]["name"], json.loads(c["function"]["arguments"]))
            for c in bodies.tool_calls(n)]


def named(e):
    return b"event: " + e["type"].encode() + b"\ndata: " + bodies.dump(e) + b"\n\n"


def anthropic(x, words, tools, thinks):
    """The whole message, then the same in the pieces of a stream."""
    content = [{"type": "thinking", "thinking": THOUGHT, "signature": thinks}] if thinks else []
    if words:
        content.append({"type": "text", "text": "".join(words)})
    content += [{"type": "tool_use", "id": f"toolu_{x.server.name}_{i}", "name": name,
                 "input": arguments} for i, (name, arguments) in enumerate(calls_of(tools))]
    usage = {"input_tokens": 11, "output_tokens": max(len(words), tools)}
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
    parts += [{"functionCall": {"name": name, "args": arguments}}
              for name, arguments in calls_of(tools)]
    if thinks:
        parts[-len(words or calls_of(tools))]["thoughtSignature"] = thinks
    usage = {"promptTokenCount": 11, "candidatesTokenCount": max(len(words), tools),
             "totalTokenCount": 11 + max(len(words), tools)}
    n = x.request.get("generationConfig", {}).get("candidateCount", 1)
    rest = {"usageMetadata": usage, "modelVersion": x.model, "responseId": "faultd"}

    def fragment(parts, **more):
        return {"candidates": [{"content": {"role": "model", "parts": parts}, "index": i, **more}
                               for i in range(n)], **rest}

    yield fragment(parts, finishReason="STOP")
    for p in parts:
        yield b"data: " + bodies.dump(fragment([p])) + b"\r\n\r\n"
    yield b"data: " + bodies.dump(fragment([{"text": ""}], finishReason="STOP")) + b"\r\n\r\n"
