"""Google's official Python SDK as a client, whoever answers."""
import pytest

genai = pytest.importorskip("google.genai", reason="the google-genai package is not installed")
from google.genai import errors, types  # noqa: E402

MODELS = {"openai": "gpt-4o", "anthropic": "claude-sonnet-4-5", "gemini": "gemini-3-flash-preview"}
KINDS = sorted(MODELS)
REST = " word1 word2 word3 word4"


@pytest.fixture
def serve(upstream, holdfast):
    """serve(kind, script): a client of the proxy, and the one provider behind it."""
    def start(kind, default="ok", **http):
        a = upstream("A", default=default)
        proxy = holdfast({"type": kind, "base_url": a.base_url, "api_key": "sk-1"},
                         routes=[{"model": "*", "targets": [f"a/{MODELS[kind]}"]}])
        client = genai.Client(api_key="any", vertexai=False, http_options=types.HttpOptions(
            base_url=f"http://127.0.0.1:{proxy.port}", timeout=30000, **http))
        return client, a
    return start


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("version", [None, "v1beta"])
def test_an_answer(serve, kind, version):
    client, _ = serve(kind, api_version=version)
    r = client.models.generate_content(model="m", contents="hello")
    assert r.text == "A:" + REST and r.candidates[0].finish_reason == types.FinishReason.STOP
    assert r.usage_metadata.total_token_count == 16 and r.response_id
    assert r.model_version == MODELS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream(serve, kind):
    client, _ = serve(kind)
    got = list(client.models.generate_content_stream(model="m", contents="hello"))
    assert "".join(c.text or "" for c in got) == "A:" + REST and len(got) > 3
    assert got[-1].candidates[0].finish_reason == types.FinishReason.STOP
    assert got[-1].usage_metadata.total_token_count == 16


@pytest.mark.parametrize("kind", KINDS)
def test_a_chat_calls_a_function_by_itself(serve, kind):
    client, a = serve(kind)
    a.queue("ok?tools=1")
    asked = []

    def look_up_0(city: str, n: int = 0) -> str:
        """Looks up a city."""
        asked.append(city)
        return "sunny"

    chat = client.chats.create(model="m", config=types.GenerateContentConfig(tools=[look_up_0]))
    r = chat.send_message("hello")
    assert r.text == "A:" + REST and len(asked) == 1
    assert "sunny" in a.attempts[-1].body.decode()
    assert [c.role for c in chat.get_history()] == ["user", "model", "user", "model"]
    assert chat.send_message("again").text == "A:" + REST


@pytest.mark.parametrize("kind", KINDS)
def test_a_streamed_chat_keeps_its_history(serve, kind):
    client, a = serve(kind)
    chat = client.chats.create(model="m")
    assert "".join(c.text or "" for c in chat.send_message_stream("hello")) == "A:" + REST
    assert "".join(c.text or "" for c in chat.send_message_stream("again")) == "A:" + REST
    assert "word4" in a.attempts[-1].body.decode() and "again" in a.attempts[-1].body.decode()


def test_claudes_thoughts_survive_the_sdk(serve):
    signature = "c2lnbmVkIGJ5IENsYXVkZQ=="
    client, a = serve("anthropic", f"ok?tools=1&thinks={signature}")
    config = types.GenerateContentConfig(
        max_output_tokens=4096, tools=[{"function_declarations": [{"name": "look_up_0"}]}],
        thinking_config=types.ThinkingConfig(thinking_budget=1024, include_thoughts=True))
    for stream in (False, True):
        chat = client.chats.create(model="m", config=config)
        parts = []
        for r in chat.send_message_stream("hello") if stream else [chat.send_message("hello")]:
            parts += r.candidates[0].content.parts
        assert "".join(p.text or "" for p in parts if p.thought) == "Let me see."
        call = next(p.function_call for p in parts if p.function_call)
        chat.send_message(types.Part.from_function_response(name=call.name,
                                                            response={"output": "9"}))
        messages = a.attempts[-1].json["messages"]
        assert messages[1]["content"][0] == {"type": "thinking", "thinking": "Let me see.",
                                             "signature": signature}
        assert messages[2]["content"][0]["content"] == "9"


def test_a_schema_and_a_picture(serve):
    client, a = serve("openai")
    client.models.generate_content(
        model="m", contents=["what", types.Part.from_bytes(data=b"\xff\xfe\xfd", mime_type="image/png")],
        config=types.GenerateContentConfig(
            system_instruction="Be brief.", response_mime_type="application/json",
            response_schema={"type": "OBJECT", "properties": {"a": {"type": "INTEGER"}}}))
    sent = a.attempts[-1].json
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}
    url = sent["messages"][1]["content"][1]["image_url"]["url"]
    assert url == "data:image/png;base64,//79"
    assert sent["response_format"]["json_schema"]["schema"] == {
        "type": "object", "properties": {"a": {"type": "integer"}}}


@pytest.mark.parametrize("script,code,error", [
    ("status?code=400", 400, errors.ClientError), ("status?code=429", 429, errors.ClientError),
    ("status?code=503", 503, errors.ServerError), ("status?code=401", 502, errors.ServerError),
    ("fin_before", 502, errors.ServerError)])
def test_each_error_raises_its_class(serve, script, code, error):
    client, _ = serve("openai", script)
    for ask in (client.models.generate_content,
                lambda **k: list(client.models.generate_content_stream(**k))):
        with pytest.raises(error) as e:
            ask(model="m", contents="hello")
        assert e.value.code == code and e.value.message and e.value.status


@pytest.mark.parametrize("how", ["eof", "rst", "clean"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_stream_raises_after_its_content(serve, kind, how):
    client, _ = serve(kind, f"cut?after=3&how={how}", headers={"x-holdfast-midstream": "error"})
    got = ""
    with pytest.raises(Exception):
        for c in client.models.generate_content_stream(model="m", contents="hello"):
            got += c.text or ""
    assert got == "A: word1 word2"


def test_models_are_listed(serve):
    client, _ = serve("openai")
    names = [m.name for m in client.models.list()]
    assert "models/gpt-4o" in names
    assert client.models.get(model="gpt-4o").name == "models/gpt-4o"
