"""The official Python SDK at the endpoints beside chat: embeddings and completions."""
import itertools

import pytest

from faultd import voices

openai = pytest.importorskip("openai", reason="the openai package is not installed")

TEXTS = ["first", "second \u00fc", "third"]
KINDS = ("openai", "gemini")
DOWN = "status?code=503"


def sdk(proxy):
    return openai.OpenAI(base_url=f"http://127.0.0.1:{proxy.port}/v1", api_key="any", max_retries=0,
                         timeout=30)


def of_kinds(upstream, holdfast, kinds, *scripts, **parts):
    accounts = [{"type": k, "base_url": upstream(n, default=s).base_url.removesuffix(
        "/v1" if k != "openai" else ""), "api_key": "sk-x"} for n, k, s in zip("AB", kinds, scripts)]
    names = "ab"[:len(accounts)]
    return sdk(holdfast(*accounts, **parts or {"routes": [
        {"model": "*", "targets": [f"{n}/emb" for n in names]}]}))


def near(got, text, n=8):
    """To the float: base64 is exact, and a list of numbers as precise as it was."""
    return got == pytest.approx(voices.vector("emb", text, n), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings(upstream, holdfast, kind):
    """The SDK asks for base64 where its user names no form, and reads it."""
    client = of_kinds(upstream, holdfast, [kind], "ok")
    for form in ({}, {"encoding_format": "float"}):
        for texts in (TEXTS, ["alone"], "alone"):
            r = client.embeddings.create(model="emb", input=texts, dimensions=16, **form)
            texts = texts if isinstance(texts, list) else [texts]
            assert [d.index for d in r.data] == list(range(len(texts))) and r.model == "emb"
            assert all(near(d.embedding, t, 16) for d, t in zip(r.data, texts))
            assert r.usage.prompt_tokens == (3 * len(texts) if kind == "openai" else 0)
    r = client.embeddings.create(model="emb", input="x", encoding_format="base64")
    assert r.data[0].embedding == voices.pack(voices.vector("emb", "x"))


def test_a_large_batch(upstream, holdfast):
    client = of_kinds(upstream, holdfast, ["openai"], "ok")
    texts = [f"text {i}" for i in range(2048)]
    r = client.embeddings.create(model="emb", input=texts, dimensions=64)
    assert len(r.data) == 2048 and near(r.data[-1].embedding, texts[-1], 64)


@pytest.mark.parametrize("kinds", list(itertools.product(KINDS, KINDS)), ids="-".join)
def test_embeddings_of_the_same_model_elsewhere(upstream, holdfast, kinds):
    for script in (DOWN, "vectors?fault=missing"):
        r = of_kinds(upstream, holdfast, kinds, script, "ok").embeddings.create(model="emb", input=TEXTS)
        assert len(r.data) == 3 and all(near(d.embedding, t) for d, t in zip(r.data, TEXTS))


def test_another_model_s_vectors_are_an_error_and_not_an_answer(upstream, holdfast):
    client = of_kinds(upstream, holdfast, KINDS, DOWN, "ok", routes=[
        {"model": "*", "targets": ["a/emb", "b/other"]}])
    with pytest.raises(openai.InternalServerError) as e:
        client.embeddings.create(model="emb", input="x")
    assert "other_model" in e.value.message


@pytest.mark.parametrize("kinds", [("openai", "openai"), ("openai", "anthropic"), ("gemini", "openai"),
                                   ("anthropic", "gemini")], ids="-".join)
def test_completions(upstream, holdfast, kinds):
    client = of_kinds(upstream, holdfast, kinds, DOWN, "ok")
    r = client.completions.create(model="m", prompt="Once", max_tokens=9)
    assert r.choices[0].text == "B: word1 word2 word3 word4" and r.usage.total_tokens == 16
    assert r.choices[0].finish_reason == "stop" and r.object == "text_completion"
    got = list(client.completions.create(model="m", prompt="Once", max_tokens=9, stream=True))
    assert "".join(c.choices[0].text for c in got if c.choices) == "B: word1 word2 word3 word4"
    assert [c.choices[0].finish_reason for c in got if c.choices][-1] == "stop"


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_cut_completion_raises_after_its_text(upstream, holdfast, kind):
    client, got = of_kinds(upstream, holdfast, [kind], "cut?after=3"), ""
    with pytest.raises(openai.APIError):
        for c in client.completions.create(model="m", prompt="Once", max_tokens=9, stream=True):
            got += c.choices[0].text if c.choices else ""
    assert got == "A: word1 word2"


def test_google_s_own_client(upstream, holdfast):
    genai = pytest.importorskip("google.genai", reason="the google-genai package is not installed")
    a, b = upstream("A", default=DOWN), upstream("B")
    p = holdfast(*({"type": "gemini", "base_url": s.base_url.removesuffix("/v1"), "api_key": "k"}
                   for s in (a, b)), routes=[{"model": "*", "targets": ["a/emb", "b/emb"]}])
    client = genai.Client(api_key="any", http_options={"base_url": f"http://127.0.0.1:{p.port}"})
    for contents in (TEXTS, TEXTS[0]):
        r = client.models.embed_content(model="mine", contents=contents)
        texts = TEXTS if contents is TEXTS else [contents]
        assert len(r.embeddings) == len(texts)
        assert all(near(e.values, t) for e, t in zip(r.embeddings, texts))
