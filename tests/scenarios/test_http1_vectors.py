"""The listed HTTP/1.1 vectors, byte for byte against the running binary."""
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from client import Raw
from conftest import SHARED

FILE = SHARED / "testdata/http1-vectors/vectors.json"
# A status or an error code that says "these bytes are no request", as an accepted one never may.
FRAMING = {"bad_request_line", "bad_header", "bad_framing", "bad_host", "bad_chunk", "bad_target",
           "header_too_large", "uri_too_long", "body_too_large", "not_implemented",
           "version_not_supported", "expectation_failed", "duplicate_header"}


def wanted_of(vector):
    """The answers after which no more are waited for; the end of the connection must be seen where
    a second request is hidden."""
    if vector["expect"] == "reject" and vector["contains_second_request"]:
        return 99
    return 2 if vector["id"] == "base-pipeline" else 1


def play(port, vector):
    """(answers, connection closed after them) for a vector's bytes."""
    answers = []
    with Raw(port) as c:
        c.send(vector["raw"].encode("latin-1"))
        try:
            while (a := c.answer(timeout=20 if len(answers) < wanted_of(vector) else 0.4)) is not None:
                answers.append(a)
        except TimeoutError:
            return answers, False
        return answers, True


def verdict(vector, answers, closed):
    """None when it behaved as listed, else what was wrong."""
    statuses = [a.status for a in answers]
    if vector["contains_second_request"] and len(answers) > 1:
        return f"the bytes inside were taken for a request: {statuses}"
    if vector["expect"] == "accept":
        if len(answers) != wanted_of(vector):
            return f"{len(answers)} answers instead of {wanted_of(vector)}"
        for a in answers:
            if a.status >= 400 and a.error.get("code") in FRAMING:
                return f"refused with {a.status} {a.error['code']}"
    elif vector["expect"] == "reject":
        if not answers and not closed:
            return "neither an answer nor an end"
        if any(s < 400 for s in statuses):
            return f"accepted: {statuses}"
        if vector["contains_second_request"] and not closed:
            return "the connection stayed open"
    return None


def test_every_vector_gets_its_verdict(upstream, holdfast, figure):
    if not FILE.exists():
        pytest.skip(f"no {FILE}")
    a = upstream("A")
    p = holdfast(a, limits={"head_timeout": "1500ms", "body_timeout": "1500ms"})
    vectors = json.loads(FILE.read_text())["vectors"]

    def judge(vector):
        try:
            return verdict(vector, *play(p.port, vector))
        except (AssertionError, ValueError, OSError) as e:  # bytes that are no HTTP answer
            return f"{type(e).__name__}: {str(e)[:200]}"
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(judge, vectors))
    wrong = [f"{v['id']} ({v['expect']}, {v['why']}): {r}" for v, r in zip(vectors, results) if r]
    figure(f"http1 vectors: {len(vectors) - len(wrong)} of {len(vectors)}")
    assert a.attempts == [], "none of them is a whole request for a model"
    assert not wrong, "\n".join(wrong)
