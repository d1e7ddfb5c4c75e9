"""SDKs and frameworks, as they install and with the settings of README's table: each does the task of
faultd's model with two tools, in whole answers and in streams, with the provider it is made for, and
when that one dies on the way and a provider of another dialect goes on."""
import json
import shutil
from pathlib import Path

import pytest

from clients import CALM, KINDS, MODELS, Setting, check_keys, installed, provider, run
from faultd import task, voices

try:
    import openai
    import pydantic
except ImportError:
    openai = None
try:
    import anthropic
except ImportError:
    anthropic = None
try:
    from google import genai
except ImportError:
    genai = None

needs_openai = pytest.mark.skipif(openai is None, reason="the openai package is not installed")
PATH = "/notes/note.txt"
NODE = Path(__file__).with_name("node")


class Sdk:
    def __init__(self, upstream, holdfast, monkeypatch):
        self.upstream, self.holdfast, self.monkeypatch = upstream, holdfast, monkeypatch

    def serve(self, client, native, then=None):
        """The client's row, and two providers: the first dies behind its first call if there is a
        second one."""
        self.kinds = [native, then] if then else [native]
        self.servers = [self.upstream("A", default="task?dies=1" if then else "task"),
                        self.upstream("B", default="task")]
        self.proxy = self.holdfast(
            *(provider(n, k, u) for n, k, u in zip("ab", self.kinds, self.servers)),
            routes=[{"model": "*", "targets": [
                f"{n}/{MODELS[k]}" for n, k in zip("ab", self.kinds)]}], **CALM)
        return Setting(client, self.proxy.port)

    def node(self, driver, client, needs, native, then, tmp_path):
        """What a driver in Node saw."""
        if shutil.which("node") is None:
            pytest.skip("node is not installed")
        for package in needs:
            installed(package)
        setting = self.serve(client, native, then)
        done = run(["node", str(NODE / driver), setting.code, task.prompt(Path(PATH).parent)],
                   setting, tmp_path)
        assert done.returncode == 0, done.stderr
        seen = json.loads(done.stdout.splitlines()[-1])
        self.check(seen)
        return seen

    def python(self, act, client, native, then):
        """The same in this process: act(prompt, streamed) does the task with an SDK."""
        for name, value in self.serve(client, native, then).env.items():
            self.monkeypatch.setenv(name, value)
        self.check({how: act(task.prompt(Path(PATH).parent), how == "streamed")
                    for how in ("whole", "streamed")})

    def check(self, seen):
        """The last words, whole and streamed, and who had which part of the work."""
        assert seen.get("whole") == seen.get("streamed") == task.told(task.NOTE), seen
        a, b = (self.steps(u) for u in self.servers)
        if len(self.kinds) == 1:
            assert a == [0, 1, 2] * 2 and b == []
        else:
            assert set(a) <= {0, 1, 2} and a.count(0) == 2 and b == [1, 2] * 2
        for name, kind, u in zip("ab", self.kinds, self.servers):
            check_keys(name, kind, u)

    def steps(self, upstream):
        found = []
        for a in upstream.attempts:
            rows = task.history(voices.voice_of(a.path), a.json)
            if task.tools_of(a.json):
                found.append(sum(kind == "result" for kind, _, _ in rows))
        return found


@pytest.fixture
def sdk(upstream, holdfast, monkeypatch):
    return Sdk(upstream, holdfast, monkeypatch)


# -- Python --------------------------------------------------------------------------------------
TEXT = {"type": "string"}
TOOLS = {
    "write_file": {"type": "object", "properties": {"path": TEXT, "content": TEXT},
                   "required": ["path", "content"], "additionalProperties": False},
    "bash": {"type": "object", "properties": {"command": TEXT}, "required": ["command"],
             "additionalProperties": False}}
NOTES = {}


def use(name, arguments):
    if name == "write_file":
        NOTES[arguments["path"]] = arguments["content"]
        return "written"
    return next(text for path, text in NOTES.items() if path in arguments["command"])


def chat_task(prompt, streamed):
    client, messages = openai.OpenAI(max_retries=0), [{"role": "user", "content": prompt}]
    asked = {"model": "m", "messages": messages, "tools": [
        {"type": "function", "function": {"name": n, "parameters": s}} for n, s in TOOLS.items()]}
    while True:
        if streamed:
            with client.chat.completions.stream(**asked) as stream:
                message = stream.get_final_completion().choices[0].message
        else:
            message = client.chat.completions.create(**asked).choices[0].message
        if not message.tool_calls:
            return message.content
        messages.append(message)
        messages += [{"role": "tool", "tool_call_id": c.id, "content": use(
            c.function.name, json.loads(c.function.arguments))} for c in message.tool_calls]


def responses_task(prompt, streamed):
    client, items = openai.OpenAI(max_retries=0), [{"role": "user", "content": prompt}]
    asked = {"model": "m", "input": items, "store": False,
             "include": ["reasoning.encrypted_content"], "tools": [
                 {"type": "function", "name": n, "parameters": s, "strict": True}
                 for n, s in TOOLS.items()]}
    while True:
        if streamed:
            with client.responses.stream(**asked) as stream:
                response = stream.get_final_response()
        else:
            response = client.responses.create(**asked)
        calls = [item for item in response.output if item.type == "function_call"]
        if not calls:
            return response.output_text
        items += [item.model_dump(exclude={"parsed_arguments"}, exclude_none=True)
                  for item in response.output]
        items += [{"type": "function_call_output", "call_id": c.call_id,
                   "output": use(c.name, json.loads(c.arguments))} for c in calls]


def messages_task(prompt, streamed):
    client, messages = anthropic.Anthropic(max_retries=0), [{"role": "user", "content": prompt}]
    asked = {"model": "m", "max_tokens": 4000, "messages": messages,
             "thinking": {"type": "enabled", "budget_tokens": 1024},
             "tools": [{"name": n, "input_schema": s} for n, s in TOOLS.items()]}
    while True:
        if streamed:
            with client.messages.stream(**asked) as stream:
                message = stream.get_final_message()
        else:
            message = client.messages.create(**asked)
        if message.stop_reason != "tool_use":
            return message.content[-1].text
        messages += [{"role": "assistant", "content": message.content},
                     {"role": "user", "content": [
                         {"type": "tool_result", "tool_use_id": b.id, "content": use(b.name, b.input)}
                         for b in message.content if b.type == "tool_use"]}]


def gemini_task(prompt, streamed):
    client = genai.Client(vertexai=False)  # it must live as long as the chat
    chat = client.chats.create(model="m", config={"tools": [
        {"function_declarations": [{"name": n, "parameters_json_schema": s}
                                   for n, s in TOOLS.items()]}]})
    message = prompt
    while True:
        answers = chat.send_message_stream(message) if streamed else [chat.send_message(message)]
        parts = [p for a in answers for p in a.candidates[0].content.parts or []]
        calls = [p.function_call for p in parts if p.function_call]
        if not calls:
            return "".join(p.text or "" for p in parts)
        message = [genai.types.Part.from_function_response(
            name=c.name, response={"output": use(c.name, c.args)}) for c in calls]


@needs_openai
@pytest.mark.parametrize("then", [None, "anthropic"])
def test_openai_python(sdk, then):
    sdk.python(chat_task, "OpenAI SDK, Python", "chat", then)


@needs_openai
@pytest.mark.parametrize("then", [None, "gemini"])
def test_openai_python_responses(sdk, then):
    sdk.python(responses_task, "OpenAI SDK, Python", "responses", then)


@needs_openai
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_openai_python_parses_a_response(sdk, kind):
    class Capital(pydantic.BaseModel):
        city: str
        people: int

    setting = sdk.serve("OpenAI SDK, Python", kind)
    client = openai.OpenAI(base_url=setting.env["OPENAI_BASE_URL"], api_key="any")
    parsed = client.responses.parse(model="m", input="Bern?", text_format=Capital).output_parsed
    assert parsed == Capital(city="a note", people=1)


@pytest.mark.skipif(anthropic is None, reason="the anthropic package is not installed")
@pytest.mark.parametrize("then", [None, "chat"])
def test_anthropic_python(sdk, then):
    sdk.python(messages_task, "Anthropic SDK, Python", "anthropic", then)


@pytest.mark.skipif(genai is None, reason="the google-genai package is not installed")
@pytest.mark.parametrize("then", [None, "anthropic"])
def test_google_python(sdk, then):
    sdk.python(gemini_task, "Google GenAI SDK, Python", "gemini", then)


# -- Node ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("then", [None, "anthropic"])
def test_openai_node(sdk, then, tmp_path):
    sdk.node("openai_chat.cjs", "OpenAI SDK, Node", ["openai"], "chat", then, tmp_path)


@pytest.mark.parametrize("then", [None, "gemini"])
def test_openai_node_responses(sdk, then, tmp_path):
    sdk.node("openai_responses.cjs", "OpenAI SDK, Node", ["openai"], "responses", then, tmp_path)


@pytest.mark.parametrize("then", [None, "chat"])
def test_anthropic_node(sdk, then, tmp_path):
    seen = sdk.node("anthropic.cjs", "Anthropic SDK, Node", ["@anthropic-ai/sdk"], "anthropic", then,
                    tmp_path)
    assert seen["tokens"] == task.TOKENS


@pytest.mark.parametrize("then", [None, "anthropic"])
def test_google_node(sdk, then, tmp_path):
    sdk.node("google.cjs", "Google GenAI SDK, Node", ["@google/genai"], "gemini", then, tmp_path)


@pytest.mark.parametrize("client,native,then", [
    ("LangChain, `ChatOpenAI`", "chat", None), ("LangChain, `ChatOpenAI`", "chat", "gemini"),
    ("LangChain, `ChatAnthropic`", "anthropic", None),
    ("LangChain, `ChatAnthropic`", "anthropic", "responses")])
def test_langchain(sdk, client, native, then, tmp_path):
    sdk.node("langchain.cjs", client, ["@langchain/openai", "@langchain/anthropic"], native, then,
             tmp_path)


@pytest.mark.parametrize("client,native,then", [
    ("Vercel AI SDK, `@ai-sdk/openai`", "responses", None),
    ("Vercel AI SDK, `@ai-sdk/openai`", "responses", "anthropic"),
    ("Vercel AI SDK, `@ai-sdk/openai-compatible`", "chat", None),
    ("Vercel AI SDK, `@ai-sdk/openai-compatible`", "chat", "gemini"),
    ("Vercel AI SDK, `@ai-sdk/anthropic`", "anthropic", None),
    ("Vercel AI SDK, `@ai-sdk/anthropic`", "anthropic", "gemini"),
    ("Vercel AI SDK, `@ai-sdk/google`", "gemini", None),
    ("Vercel AI SDK, `@ai-sdk/google`", "gemini", "chat")])
def test_vercel(sdk, client, native, then, tmp_path):
    sdk.node("vercel.cjs", client, ["ai", client.split("`")[1]], native, then, tmp_path)
