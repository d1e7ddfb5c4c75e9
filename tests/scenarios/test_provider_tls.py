"""Certificates that one provider has of its own: whom it is signed by, and what is shown to it."""
import json
import shutil

import pytest

from client import wait_for
from conftest import provider


def with_ca(a, certs, **more):
    return provider(a, "sk-a") | {"ca": certs.path("rogue")} | more


def test_a_provider_s_own_authority_adds_to_the_others(upstream, holdfast, certs):
    a, b = upstream("A", tls="unknown_ca"), upstream("B", tls="good")
    p = holdfast(with_ca(a, certs), b, env={"SSL_CERT_FILE": certs.ca})
    assert p.chat().text.startswith("A:")
    p = holdfast(with_ca(b, certs), env={"SSL_CERT_FILE": certs.ca})  # the system's still counts
    assert p.chat().text.startswith("B:")


def test_it_counts_for_that_provider_only(upstream, holdfast, certs):
    a, b, c = upstream("A", tls="unknown_ca"), upstream("B", tls="unknown_ca"), upstream("C")
    p = holdfast(b, with_ca(a, certs), c)
    answer = p.chat()
    assert answer.trail[0][:2] == ("a/model-a", "tls") and answer.text.startswith("A:")


def test_a_certificate_is_shown_to_who_asks_for_one(upstream, holdfast, certs):
    a, b = upstream("A", tls="mutual"), upstream("B")
    shown = {"client_cert": certs.path("good"), "client_key": certs.path("good")}
    env = {"SSL_CERT_FILE": certs.ca}
    assert holdfast(provider(a) | shown, b, env=env).chat().text.startswith("A:")
    assert holdfast(provider(a), b, env=env).chat().text.startswith("B:")
    assert a.connections[-1].tls_error


def test_a_new_certificate_is_taken_when_it_is_there(upstream, holdfast, certs, tmp_path):
    a, b = upstream("A", tls="mutual"), upstream("B")
    shutil.copy(certs.path("unknown_ca"), tmp_path / "own.pem")
    own = str(tmp_path / "own.pem")
    p = holdfast(provider(a) | {"client_cert": own, "client_key": own}, b,
                 env={"SSL_CERT_FILE": certs.ca}, breaker={"consecutive": 1000})
    assert p.chat().text.startswith("B:")
    shutil.copy(certs.path("good"), own)
    wait_for(lambda: "is in force" in p.stderr)
    wait_for(lambda: p.chat().text.startswith("A:"))


@pytest.mark.parametrize("options, why", [
    ({"ca": "/nowhere/ca.pem"}, "providers.a: ca: no certificate in /nowhere/ca.pem"),
    ({"client_cert": "/nowhere/c.pem", "client_key": "/nowhere/k.pem"},
     "providers.a: client_cert: no certificate in /nowhere/c.pem"),
    ({"client_cert": "/nowhere/c.pem"}, "has only one of client_cert and client_key"),
])
def test_what_is_wrong_is_named_at_the_start(run, tmp_path, options, why):
    config = {"admin": "off", "providers": {"a": provider("https://api.example.com/v1") | options},
              "routes": [{"model": "*", "targets": ["a/m"]}]}
    (tmp_path / "c.yaml").write_text(json.dumps(config))
    p = run("serve", "-c", str(tmp_path / "c.yaml"))
    assert p.process.returncode == 78 and why in p.stderr
