"""The outgoing proxy that the environment names, and what is said where no connection comes about."""
import base64
import concurrent.futures
import json

import pytest

from client import wait_for
from conftest import free_port, provider
from faultd import blackhole

HTTPS, HTTP = "https://api.holdfast.test/v1", "http://api.holdfast.test/v1"
ALONE = {"x-holdfast-failover": "off"}


def plain(url):
    return provider(url) | {"allow_http": True}


def why(p):
    """What the client is told of the first target, with nobody behind it."""
    return p.chat(headers=ALONE).error["message"]


# ---- whose variable counts ----


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_http_goes_through_the_proxy_of_either_case(upstream, holdfast, connect_proxy, variable):
    a = upstream("A")
    office = connect_proxy(("127.0.0.1", a.port))
    p = holdfast(plain(HTTP), env={variable: office.url})
    assert p.chat().text.startswith("A:")
    assert office.log[0][1] == "CONNECT api.holdfast.test:80 HTTP/1.1"


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
def test_https_goes_through_the_proxy_of_either_case(upstream, holdfast, connect_proxy, certs,
                                                     variable):
    a = upstream("A", tls="good")
    office = connect_proxy(("127.0.0.1", a.port))
    p = holdfast(HTTPS, env={variable: office.url, "SSL_CERT_FILE": certs.ca})
    assert p.chat().text.startswith("A:")
    assert office.log[0][1] == "CONNECT api.holdfast.test:443 HTTP/1.1"


@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY"])
@pytest.mark.parametrize("hosts, past", [("api.holdfast.test", True), (".holdfast.test, x.test", True),
                                         ("*", True), ("holdfast.example", False)])
def test_no_proxy_names_who_is_reached_without_it(upstream, holdfast, connect_proxy, variable, hosts,
                                                  past):
    a = upstream("A")
    office = connect_proxy(("127.0.0.1", a.port))
    p = holdfast(plain(HTTP), env={"HTTP_PROXY": office.url, variable: hosts})
    answer = p.chat(headers=ALONE)
    if past:
        assert answer.error["code"] == "dns" and office.log == []
        assert "api.holdfast.test" in answer.error["message"], "the name is our own to resolve"
        assert "proxy" not in answer.error["message"]
    else:
        assert answer.text.startswith("A:") and len(office.log) == 1


def test_a_proxy_may_speak_socks(upstream, holdfast, connect_proxy, certs):
    a = upstream("A", tls="good")
    office = connect_proxy(("127.0.0.1", a.port), "socks")
    p = holdfast(HTTPS, env={"ALL_PROXY": f"socks5h://127.0.0.1:{office.port}",
                             "SSL_CERT_FILE": certs.ca})
    assert p.chat().text.startswith("A:")
    assert office.log[0][1] == "SOCKS5 api.holdfast.test:443"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_may_be_spoken_to_by_tls(upstream, holdfast, connect_proxy, certs, scheme):
    a = upstream("A", tls="good" if scheme == "https" else None)
    office = connect_proxy(("127.0.0.1", a.port), tls=certs.path("good"))
    p = holdfast(provider(f"{scheme}://api.holdfast.test/v1") | {"allow_http": True},
                 env={"ALL_PROXY": office.url, "SSL_CERT_FILE": certs.ca}, keep_warm="0s")
    for words in ("short", "long " * 40000):
        for stream in (False, True, False):
            answer = p.chat(messages=[{"role": "user", "content": words}], stream=stream)
            assert answer.status == 200, answer.body
            assert answer.text.startswith("A:") and answer.done == stream
    assert len(office.log) == 1, "one connection for all"
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: p.chat(stream=True), range(24)))
    assert [x.body for x in answers if x.status != 200 or not x.done] == []
    assert all(x.text.startswith("A:") for x in answers)


def test_a_proxy_whose_certificate_is_not_trusted_gets_nothing(upstream, holdfast, connect_proxy, certs):
    a = upstream("A", tls="good")
    office = connect_proxy(("127.0.0.1", a.port), tls=certs.path("unknown_ca"))
    p = holdfast(HTTPS, env={"HTTPS_PROXY": office.url, "SSL_CERT_FILE": certs.ca})
    told = p.chat(headers=ALONE).error
    assert told["code"] == "egress_proxy" and "certificate" in told["message"]
    assert f"(proxy 127.0.0.1:{office.port} (HTTPS_PROXY): " in told["message"]
    assert office.log == [] and a.connections == []


# ---- its password ----


@pytest.mark.parametrize("mode", ["tunnel", "407", "close"])
def test_its_password_reaches_the_proxy_and_nobody_else(upstream, holdfast, connect_proxy, run, mode):
    a, b = upstream("A"), upstream("B")
    office = connect_proxy(("127.0.0.1", a.port), mode)
    coded = base64.b64encode(b"clerk:s3cr3t-0f-Th3-h0us3").decode()
    env = {"HTTP_PROXY": f"http://clerk:s3cr3t-0f-Th3-h0us3@127.0.0.1:{office.port}"}
    p = holdfast(plain(HTTP), b, env=env)
    answer = p.chat()
    assert f"Proxy-Authorization: Basic {coded}" in office.log[0][2]
    checked = run("check", "-c", str(p.config_path), env=env)
    assert f"127.0.0.1:{office.port} (HTTP_PROXY) for http" in checked.stdout
    for text in (repr(answer.headers), answer.body.decode(), p.stderr, p.metrics(),
                 json.dumps(p.status()), checked.stdout, checked.stderr,
                 "" if mode == "tunnel" else why(p), repr([x.headers for x in a.attempts])):
        assert "s3cr3t" not in text and coded not in text and "clerk" not in text


# ---- what is wrong is named ----


def test_check_tells_of_the_proxies_on_the_way(run, tmp_path):
    def check(env, *providers):
        names = dict(zip("ab", providers))
        (tmp_path / "c.yaml").write_text(json.dumps({
            "providers": names, "routes": [{"model": "*", "targets": [f"{n}/m" for n in names]}]}))
        return run("check", "-c", str(tmp_path / "c.yaml"), env=env)
    env = {"HTTPS_PROXY": "http://office:3128", "http_proxy": "socks5://[::1]"}
    both = check(env, provider(HTTPS), plain(HTTP)).stdout
    assert "office:3128 (HTTPS_PROXY) for https, unless NO_PROXY names the host\n" in both
    assert "[::1]:1080 (http_proxy) for http, unless NO_PROXY names the host\n" in both
    near = check(env, provider("http://127.0.0.1:9/v1"), provider("http://10.0.0.1/v1")).stdout
    assert "PROXY" not in near.upper(), "loopback and private hosts are reached without"
    wrong = check({"HTTPS_PROXY": "http://u:s3cr3t@office:port"}, provider(HTTPS))
    assert wrong.process.returncode == 78 and "s3cr3t" not in wrong.stderr
    assert "HTTPS_PROXY: the URL has a port that is not 1 to 65535" in wrong.stderr
    unused = check({"HTTPS_PROXY": "http://office:port"}, provider("http://127.0.0.1:9/v1"))
    assert unused.process.returncode == 0


@pytest.mark.parametrize("mode, words", [
    ("407", "407"), ("502", "502"), ("close", ""), ("refused", "Couldn't connect"),
    ("unknown", "Could not resolve proxy: office.invalid"), ("silent", "no answer to CONNECT"),
    ("hole", "no connection")])
def test_a_failing_proxy_is_named_with_its_variable(holdfast, connect_proxy, mode, words):
    office, keep = connect_proxy(("127.0.0.1", 9), mode), None
    host = f"127.0.0.1:{office.port}"
    if mode == "refused":
        host = f"127.0.0.1:{free_port()}"
    elif mode == "unknown":
        host = "office.invalid:3128"
    elif mode == "hole":
        port, keep = blackhole()
        host = f"127.0.0.1:{port}"
    p = holdfast(HTTPS, env={"HTTPS_PROXY": f"http://{host}"}, hasty="a")
    answer = p.chat(headers=ALONE)
    late = mode in ("silent", "hole")
    assert answer.error["code"] == ("connect_timeout" if late else "egress_proxy")
    assert f"(proxy {host} (HTTPS_PROXY): " in answer.error["message"]
    assert words in answer.error["message"]
    wait_for(lambda: f"proxy {host} (HTTPS_PROXY): " in json.dumps(p.status()))
    del keep


def test_a_certificate_that_came_through_the_proxy_is_told_so(upstream, holdfast, connect_proxy):
    a = upstream("A", tls="unknown_ca")
    office = connect_proxy(("127.0.0.1", a.port))
    told = holdfast(HTTPS, env={"HTTPS_PROXY": office.url}).chat(headers=ALONE).error
    assert told["code"] == "tls"
    assert (f"(https://api.holdfast.test:443: through proxy 127.0.0.1:{office.port} (HTTPS_PROXY): "
            "SSL certificate") in told["message"]


@pytest.mark.parametrize("tls, words", [
    ("unknown_ca", "certificate"), ("expired", "certificate has expired"),
    ("wrong_host", "no alternative certificate subject name matches target host name '127.0.0.1'"),
    ("silent", "no end of the TLS handshake")])
def test_tls_failures_name_host_and_phase(upstream, holdfast, certs, tls, words):
    a = upstream("A", tls=tls)
    hasty = "a" if tls == "silent" else ""
    told = holdfast(a, env={"SSL_CERT_FILE": certs.ca}, hasty=hasty).chat(headers=ALONE).error
    assert told["code"] == "tls" and words in told["message"]
    assert f"(https://127.0.0.1:{a.port}: " in told["message"]


def test_a_name_that_does_not_resolve_is_named(holdfast):
    told = holdfast("https://upstream.invalid/v1").chat(headers=ALONE).error
    assert told["code"] == "dns" and "Could not resolve host: upstream.invalid" in told["message"]


def test_a_connection_that_does_not_come_about_in_time_is_named(holdfast):
    port, keep = blackhole()
    told = holdfast(f"http://127.0.0.1:{port}/v1", hasty="a").chat(headers=ALONE).error
    assert told["code"] == "connect_timeout"
    assert f"(http://127.0.0.1:{port}: no connection)" in told["message"]
    del keep
