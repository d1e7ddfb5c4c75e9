"""A proxy that holds keys: who may use it, and what never leaves it."""
import hashlib

import pytest

from client import Raw, chat_body, http_get, request_bytes
from conftest import provider


def ask(port, headers=(), host="127.0.0.1", path="/v1/chat/completions", method="POST", **more):
    body = chat_body(**more) if method == "POST" else b""
    with Raw(port) as c:
        c.send(request_bytes(method, path, body, headers, host))
        return c.answer(method)


@pytest.mark.parametrize("host,status", [
    ("127.0.0.1", 200), ("127.0.0.1:{port}", 200), ("localhost", 200), ("localhost:{port}", 200),
    ("LOCALHOST", 200), ("[::1]:{port}", 200), ("evil.example", 421), ("evil.example:{port}", 421),
    ("127.0.0.1.evil.example", 421), ("localhost.evil.example", 421), ("169.254.169.254", 421),
    ("user@127.0.0.1", 400), ("127.0.0.1:80/x", 400)])
def test_only_known_hosts(upstream, holdfast, host, status):
    a = upstream("A")
    p = holdfast(a)
    answer = ask(p.port, host=host.format(port=p.port))
    assert answer.status == status
    assert len(a.attempts) == (status == 200)


def test_more_hosts_and_origins_by_configuration(upstream, holdfast):
    p = holdfast(upstream("A"), hosts=["llm.example"], origins=["https://app.example"])
    assert ask(p.port, host="llm.example").status == 200
    assert ask(p.port, {"Origin": "https://app.example"}).status == 200
    assert ask(p.port, {"Origin": "https://app.example.evil"}).status == 403


@pytest.mark.parametrize("headers,status", [
    ({"Origin": "https://evil.example"}, 403), ({"Origin": "null"}, 403),
    ({"Origin": "http://127.0.0.1.evil.example"}, 403),
    ({"Sec-Fetch-Site": "cross-site"}, 403), ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"Sec-Fetch-Site": "none"}, 200), ({"Sec-Fetch-Site": "same-origin"}, 200)])
def test_no_web_page_may_call(upstream, holdfast, headers, status):
    a = upstream("A")
    answer = ask(holdfast(a).port, headers)
    assert answer.status == status and len(a.attempts) == (status == 200)
    assert not [h for h, _ in answer.headers if h.startswith("access-control-")]


def test_a_preflight_gets_no_permission(upstream, holdfast):
    answer = ask(holdfast(upstream("A")).port, {
        "Origin": "https://evil.example", "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type"}, method="OPTIONS")
    assert answer.status == 403
    assert not [h for h, _ in answer.headers if h.startswith("access-control-")]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded",
                                  "multipart/form-data; boundary=x"])
def test_what_a_form_can_send_is_no_request(upstream, holdfast, kind):
    a = upstream("A")
    body = chat_body()
    with Raw(holdfast(a).port) as c:
        c.send(f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
               f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert c.answer().status == 415
    assert a.attempts == []


def test_what_the_client_sends_for_us_is_not_forwarded(upstream, holdfast):
    a = upstream("A")
    private = {"Authorization": "Bearer client-canary", "x-api-key": "client-canary",
               "x-goog-api-key": "client-canary", "api-key": "client-canary",
               "Cookie": "s=client-canary", "Proxy-Authorization": "Basic client-canary",
               "X-Forwarded-For": "10.1.2.3", "Forwarded": "for=10.1.2.3", "X-Real-IP": "10.1.2.3",
               "Connection": "x-hop", "x-hop": "client-canary", "TE": "trailers",
               "x-holdfast-route": "", "x-portkey-custom-host": "http://evil.example"}
    private.pop("x-holdfast-route")
    answer = ask(holdfast(a).port, private, path="/v1/chat/completions?key=client-canary")
    assert answer.status == 200
    sent = a.attempts[0]
    assert sent.header("authorization") == "Bearer sk-canary-a-0123456789"
    everything = repr(sent.headers) + sent.path + sent.body.decode()
    assert "client-canary" not in everything and "10.1.2.3" not in everything
    for name in ("x-api-key", "cookie", "forwarded", "x-forwarded-for", "x-portkey-custom-host",
                 "te", "x-hop", "proxy-authorization", "x-real-ip"):
        assert sent.header(name) is None, name


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_upstream_says_to_others_does_not_reach_the_client(upstream, holdfast, stream):
    answer = holdfast(upstream("A", default="ok?set_cookie=1")).chat(stream=stream)
    assert answer.status == 200
    for name in ("set-cookie", "x-goog-api-key", "access-control-allow-origin", "location",
                 "strict-transport-security", "server"):
        assert "secret-box" not in (answer.header(name) or "")
        assert name == "server" or answer.header(name) is None, name
    ids = [v for k, v in answer.headers if k == "x-request-id"]
    assert len(ids) == 1


def test_no_request_chooses_the_upstream_or_the_key(upstream, holdfast):
    a, evil = upstream("A"), upstream("EVIL")
    p = holdfast(a)
    p.chat(api_base=evil.base_url, base_url=evil.base_url, api_key="x", custom_host=evil.base_url,
           headers={"x-base-url": evil.base_url})
    assert evil.connections == []


def test_redirects_are_not_followed(upstream, holdfast):
    trap = upstream("TRAP")
    a = upstream("A", default=f"redirect?code=307&to={trap.base_url}/chat/completions")
    assert holdfast(a).chat().status == 502
    assert trap.connections == []


CANARIES = {"a": "sk-Zq7Xw9Kp2Lm4Tv8Rb6Ny", "b": "sk-Hd3Gf5Js1Wc0Ea8Ub7Io"}


def test_no_secret_in_any_output(upstream, holdfast):
    """Many faults, every output searched for the keys and for eight characters in a row of them."""
    scripts = ["status?code=401", "status?code=403", "status?code=500", "status?code=429", "fin_before",
               "bad200?kind=error", "redirect", "junk", "status?code=400", "status?code=404",
               "preset?name=quota", "ok"]
    a, b = upstream("A", queue=scripts), upstream("B", queue=scripts[::-1])
    p = holdfast(provider(a, CANARIES["a"]), provider(b, CANARIES["b"]),
                 log={"level": "debug", "format": "json"})
    seen = []
    for n in range(14):
        answer = p.chat(stream=bool(n % 2), headers={"Authorization": "Bearer Pc6Yt2Vn9Qe5Mk1Lx"},
                        messages=[{"role": "user", "content": "prompt-Aa4Bb8Cc2Dd"}])
        seen += [repr(answer.headers), answer.body.decode("utf-8", "replace")]
    ask(p.port, path="/v1/chat/completions?key=Rs8Tu3Wv7Xy1Za")
    for path in ("/metrics", "/status", "/", "/readyz", "/livez"):
        code, headers, body = http_get(p.admin, path)
        seen += [repr(headers), body.decode("utf-8", "replace")]
    seen += [p.stderr, p.stdout]
    for secret in [*CANARIES.values(), "Pc6Yt2Vn9Qe5Mk1Lx", "Rs8Tu3Wv7Xy1Za"]:
        secret = secret.removeprefix("sk-")
        for i in range(len(secret) - 7):
            assert not any(secret[i:i + 8] in s for s in seen), secret[i:i + 8]
        digest = hashlib.sha256(secret.encode()).hexdigest()[:16]
        assert not any(digest in s for s in seen)
    assert "prompt-Aa4Bb8Cc2Dd" not in p.stderr, "prompts are not logged"


def test_log_lines_cannot_be_forged(upstream, holdfast):
    p = holdfast(upstream("A"))
    p.chat('m"\n{"forged":true}', user="\x1b[31mred\r\nforged: 1")
    ask(p.port, {"x-request-id": '${jndi:ldap://x}"forged'})
    for line in p.log_lines():
        assert "forged" not in line
    assert "\x1b" not in p.stderr


@pytest.mark.parametrize("given", ["abc-1.2_3", "x" * 65, "${jndi:x}", "a b"])
def test_a_request_id_is_kept_when_it_is_harmless(upstream, holdfast, given):
    answer = ask(holdfast(upstream("A")).port, {"x-request-id": given})
    assert (answer.header("x-request-id") == given) == (given == "abc-1.2_3")
    assert answer.header("x-request-id")


# -- clients with keys -------------------------------------------------------------------------
KEY = "hf-client-Jk5Lm2"
CLIENTS = [{"name": "ci", "key_sha256": hashlib.sha256(KEY.encode()).hexdigest()}]


@pytest.mark.parametrize("headers,query,status", [
    ({"Authorization": f"Bearer {KEY}"}, "", 200), ({"authorization": f"bearer {KEY}"}, "", 200),
    ({"x-api-key": KEY}, "", 200), ({"x-goog-api-key": KEY}, "", 200), ({}, f"?key={KEY}", 200),
    ({}, "", 401), ({"Authorization": "Bearer wrong"}, "", 401), ({"x-api-key": "wrong"}, "", 401),
    ({"Authorization": "Bearer "}, "", 401), ({"Authorization": f"Basic {KEY}"}, "", 401),
    ({"Authorization": f"Bearer {KEY}x"}, "", 401), ({}, "?key=wrong", 401)])
def test_clients_need_their_key(upstream, holdfast, headers, query, status):
    a = upstream("A")
    p = holdfast(a, clients=CLIENTS)
    p.probe = None  # it has no key
    answer = ask(p.port, headers, path="/v1/chat/completions" + query)
    assert answer.status == status and len(a.attempts) == (status == 200)
    if status == 401:
        assert answer.error["code"] == "invalid_api_key" and KEY.encode() not in answer.body
    else:
        assert KEY not in repr(a.attempts[0].headers) + a.attempts[0].path
    assert KEY not in p.stderr


def test_one_good_key_among_several_is_enough(upstream, holdfast):
    """Some clients send what they have in two headers."""
    a = upstream("A")
    p = holdfast(a, clients=CLIENTS)
    p.probe = None
    assert ask(p.port, {"Authorization": "Bearer wrong", "x-api-key": KEY}).status == 200
    assert ask(p.port, {"Authorization": "Bearer wrong", "x-api-key": "wrong"}).status == 401
    assert len(a.attempts) == 1


@pytest.mark.parametrize("listen,more,code", [
    ("0.0.0.0:{port}", "", 78), ("0.0.0.0:{port}", "insecure: true\n", None),
    ("0.0.0.0:{port}", "clients: [{name: ci, key_sha256: %s}]\n" % CLIENTS[0]["key_sha256"], None),
    ("127.0.0.1:{port}", "", None)])
def test_a_public_listener_wants_clients(holdfast, listen, more, code):
    from conftest import free_port
    port = free_port()
    p = holdfast(config=f"listen: ['{listen.format(port=port)}']\nadmin: 127.0.0.1:{free_port()}\n"
                        "drain: {delay: 10ms}\n" + more +
                        "providers: {n: {type: scripted, text: hi}}\n"
                        "routes: [{model: '*', targets: [n/x]}]\n", ready=code is None)
    if code is not None:
        assert p.wait() == code
        assert "clients" in p.stderr
