"""A model that does a small task with the tools of an agent, in the words of each dialect: it writes a
note into a file, reads it back, and tells what it says. What comes next is seen in the request alone,
so any account can go on with what another one began; and as strict as the real ones are about their
history, so that none can go on with what was passed on badly.
"""
import base64
import json
import re
import shlex

from . import bodies, story, voices
from .scripts import break_off, known_pieces, script, status

NOTE = "Zürich's \"harbour\" \\ 42 €"
STEPS = 2  # calls until the last word
TOKENS = 14  # of whatever is to be counted
WRITERS = "write", "write_file"
SCRIPTERS = "exec", "functions__exec"  # it takes a script that calls the other tools
SHELLS = "bash", "exec_command", "shell", "shell_command", "run_shell_command"
SCHEMAS = "parameters", "input_schema", "parametersJsonSchema", "parameters_json_schema"
PATH = re.compile(r"(/[\w./-]+/note\.txt)")
UNKNOWN_STATE = "The signature of the reasoning could not be verified."
# How Google lets clients write calls that another model made.
UNSIGNED = {"skip_thought_signature_validator", "context_engineering_is_the_way_to_go"}


def prompt(directory):
    return f"Write the note into {directory}/note.txt, read it back, and tell me what it says."


def told(text):
    return f"It is done: the note reads {text.strip()} and that is all of it."


def signed_by(voice):
    return base64.b64encode(f"state of {voice}".encode()).decode()


# -- what the request holds --------------------------------------------------------------------
def text_in(content):
    """The text of a result, which is a string, parts, or whatever an agent makes of it."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return json.dumps(content, ensure_ascii=False)


def history(voice, request):
    """("call" | "result" | "signature", id, text), in order. Calls of Gemini may have no ids."""
    if voice == "responses":
        asked = request.get("input") or []
        for item in asked if isinstance(asked, list) else []:
            if item.get("type") in ("function_call", "custom_tool_call"):
                yield "call", item["call_id"], item["name"]
            elif item.get("type") in ("function_call_output", "custom_tool_call_output"):
                yield "result", item["call_id"], text_in(item["output"])
            elif item.get("encrypted_content"):
                yield "signature", None, item["encrypted_content"]
    elif voice == "gemini":
        for part in (p for c in request.get("contents") or [] for p in c.get("parts") or []):
            if "thoughtSignature" in part:
                yield "signature", None, part["thoughtSignature"]
            if "functionCall" in part:
                yield "call", None, part["functionCall"]["name"]
            if "functionResponse" in part:
                response = part["functionResponse"]["response"]
                yield "result", None, text_in(response.get("output", response))
    elif voice == "anthropic":
        for block in (b for m in request.get("messages") or [] if isinstance(m["content"], list)
                      for b in m["content"]):
            if block["type"] == "tool_use":
                yield "call", block["id"], block["name"]
            elif block["type"] == "tool_result":
                yield "result", block["tool_use_id"], text_in(block.get("content") or "")
            elif block["type"] == "thinking":
                yield "signature", None, block["signature"]
    else:
        for m in request.get("messages") or []:
            for call in m.get("tool_calls") or []:
                yield "call", call["id"], call["function"]["name"]
            if m.get("role") == "tool":
                yield "result", m["tool_call_id"], text_in(m["content"])


def complaint(voice, rows):
    """What the provider would refuse in this history; None: nothing."""
    calls = [id for kind, id, _ in rows if kind == "call"]
    results = [id for kind, id, _ in rows if kind == "result"]
    if calls != results:
        return f"The calls {calls} and the results {results} do not fit."
    if None not in calls and len(set(calls)) != len(calls):
        return f"The ids of the calls {calls} are not unique."
    known = {signed_by(voice)} | (UNSIGNED if voice == "gemini" else set())
    if any(kind == "signature" and text not in known for kind, _, text in rows):
        return UNKNOWN_STATE
    return None


def declared(tools):
    """The functions of a list of tools, however deep they stand."""
    for tool in tools or []:
        inside = tool.get("functionDeclarations") or tool.get("tools")
        if inside:
            yield from declared(inside)
        else:
            yield tool.get("function", tool)


def tools_of(request):
    """{name: JSON Schema} of the functions that are declared; None for a tool of free text."""
    found, lists = {}, [request.get("tools")]
    if isinstance(request.get("input"), list):
        lists += [i["tools"] for i in request["input"] if i.get("type") == "additional_tools"]
    for f in (f for tools in lists for f in declared(tools)):
        schema = next((f[k] for k in SCHEMAS if k in f), {})
        if f.get("type") == "custom":
            found[f["name"]] = None
        elif "name" in f and "properties" in schema:
            found[f["name"]] = schema
    return found


def shown_thoughts(voice, request):
    """The state that goes with the answer, where the client asked to be told of reasoning."""
    asked = {"anthropic": (request.get("thinking") or {}).get("type") in ("enabled", "adaptive"),
             "gemini": True,  # its calls are always signed
             "responses": "reasoning.encrypted_content" in (request.get("include") or [])}
    return signed_by(voice) if asked.get(voice) else ""


def schema_of(request):
    """The JSON Schema that the answer must fit; None where prose will do."""
    config = request.get("generationConfig") or {}
    for form in (request.get("response_format"), (request.get("text") or {}).get("format"),
                 (request.get("output_config") or {}).get("format"),
                 {"schema": config.get("responseJsonSchema") or config.get("responseSchema")}):
        form = (form or {}).get("json_schema") or form or {}
        if form.get("schema"):
            return form["schema"]
    return None


# -- what is said ------------------------------------------------------------------------------
def instance(schema):
    """Something that fits a schema."""
    if "enum" in schema:
        return schema["enum"][0]
    kind = str(schema.get("type", "string")).lower()
    if kind == "object":
        return {k: instance(v) for k, v in (schema.get("properties") or {}).items()
                if k in schema.get("required", [k])}
    return {"array": [], "integer": 1, "number": 1, "boolean": True}.get(kind, "a note")


def arguments(schema, known):
    """Arguments of a call: `known` values where the schema has a place for them, and what it asks
    for besides."""
    fields = {k: instance(v) for k, v in schema["properties"].items()
              if k in schema.get("required", [])}
    return fields | {k: v for k, v in known.items() if k in schema["properties"]}


def call(x, step, tools, path):
    """The call of a step, as chat writes it."""
    writer = next((n for n in tools if n.lower() in WRITERS), None)
    shell = next((n for n in tools if n.lower() in SHELLS), None)
    scripter = next((n for n in tools if n in SCRIPTERS), None)
    if step == 0 and writer:
        name, known = writer, {k: path for k in ("file_path", "filePath", "path")}
        known["content"] = NOTE + "\n"
    else:
        name, command = shell or scripter, f"cat {shlex.quote(path)}"
        if step == 0:
            command = f"printf '%s\\n' {shlex.quote(NOTE)} > {shlex.quote(path)}"
        program = f"text((await tools.exec_command({{cmd: {json.dumps(command)}}})).output);"
        known = {"command": command, "cmd": command, "input": program}
    said = arguments(tools[name], known) if tools[name] else known["input"]
    return {"id": f"{x.server.name}{step}", "type": "function",
            "function": {"name": name, "arguments": json.dumps(said, ensure_ascii=False)}}


def say(x, text, calls=(), cut=""):
    """Says and calls this; with `cut`, breaks off so in the middle of the call, or of the words."""
    calls, words = list(calls), story.pieces(text)
    thinks = shown_thoughts(x.voice, x.request) if calls else ""
    if not x.stream and x.voice == "openai":
        return x.answer(200, bodies.dump(bodies.completion(x.model, text, len(words), calls)))
    if not x.stream:
        return x.answer(200, bodies.dump(next(voices.VOICES[x.voice](x, words, calls, thinks))))
    x.stream_head()
    pieces = list(known_pieces(x, words, thinks, calls, 1))
    outputs = [i for i, (_, is_output) in enumerate(pieces) if is_output]
    last = outputs[-1 if calls else len(outputs) // 2] if cut else len(pieces)
    for piece, _ in pieces[:last]:
        x.part(piece)
    return break_off(x, cut) if cut else x.end()


def has_broken_off(server):
    return any(a.ended in ("us", "us_reset") for a in list(server.attempts))


@script
def task(x, dies=9, how="503"):
    """The next step of the task. dies: calls that have been answered when the account dies; how: with
    503s, or first with the end of a stream as the script cut names it. Requests that are no part of the task (a
    title, a choice of a model) get an answer that fits their schema."""
    if x.attempt.path.partition("?")[0].endswith("/count_tokens"):
        return x.answer(200, bodies.dump({"input_tokens": TOKENS}))
    rows = list(history(x.voice, x.request))
    tools, path = tools_of(x.request), PATH.search(json.dumps(x.request))
    if why := complaint(x.voice, rows):
        data = (voices.error(x.voice, 400, why) if x.voice != "openai" else
                bodies.error(why, "invalid_request_error"))
        return x.answer(400, data)
    if not tools or not path:
        schema = schema_of(x.request)
        return say(x, json.dumps(instance(schema)) if schema else "A note")
    results = [text for kind, _, text in rows if kind == "result"]
    dead = len(results) >= dies
    if dead and (how == "503" or has_broken_off(x.server)):
        return status(x, 503)
    if len(results) < STEPS:
        step = call(x, len(results), tools, path[1])
        return say(x, "I write it down." if not results else "", [step], how if dead else "")
    known = any(form in results[-1] for form in (NOTE, json.dumps(NOTE, ensure_ascii=False)[1:-1]))
    return say(x, told(NOTE if known else results[-1]), cut=how if dead else "")
