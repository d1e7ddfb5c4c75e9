"""A TLS session with a provider is taken up again, with the same provider and nobody else."""
import pytest

from client import wait_for
from conftest import provider


def again(p, a, model):
    """Asks on a new connection, which is returned."""
    wait_for(lambda: not a.open_connections())
    p.chat(model=model)
    return a.connections[-1]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_next_connection_takes_the_session_up_again(upstream, holdfast, certs, host):
    a = upstream("A", tls="good", idle_close=0.05)
    p = holdfast(provider(a.base_url.replace("127.0.0.1", host)), env={"SSL_CERT_FILE": certs.ca})
    assert p.chat().text.startswith("A:")
    assert not a.connections[0].tls_resumed
    for _ in range(3):
        assert again(p, a, "gpt").tls_resumed


def test_a_session_is_not_taken_up_for_another_provider(upstream, holdfast, certs):
    """What was allowed to the one, who showed a certificate, is not allowed to the other."""
    a = upstream("A", tls="mutual", idle_close=0.05)
    shown = {"client_cert": certs.path("good"), "client_key": certs.path("good")}
    p = holdfast(provider(a) | shown, provider(a), env={"SSL_CERT_FILE": certs.ca},
                 routes=[{"model": "one", "targets": ["a/m"]}, {"model": "two", "targets": ["b/m"]}])
    assert p.chat(model="one").text.startswith("A:")
    assert again(p, a, "one").tls_resumed
    wait_for(lambda: not a.open_connections())
    asked = len(a.attempts)
    assert p.chat(model="two").error["code"] in ("tls", "reset")
    assert len(a.attempts) == asked
    assert again(p, a, "one").tls_resumed
