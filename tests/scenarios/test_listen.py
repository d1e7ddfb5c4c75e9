"""Where clients reach the program: either family of addresses, as their resolver likes it."""
import http.client
import json
import re
import socket

import pytest

from conftest import free_port
from test_hand_over import finish, hand_over, line  # noqa: F401


def has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


def models(host, port):
    """The status of an answer there; None: nobody listens."""
    c = http.client.HTTPConnection(host, port, timeout=20)
    try:
        c.request("GET", "/v1/models")
        return c.getresponse().status
    except ConnectionRefusedError:
        return None
    finally:
        c.close()


def listening_at(address, **more):
    return json.dumps({"listen": [address], "admin": "off", "insecure": True,
                       "drain": {"delay": "0s"},
                       "providers": {"a": {"type": "scripted", "text": "x"}},
                       "routes": [{"model": "*", "targets": ["a/m"]}]} | more)


def port_of(p):
    return int(re.search(r"listening on http://\S+:(\d+)", p.stderr)[1])


@needs_ipv6
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("listen, v4, v6", [
    ("localhost:0", 200, 200), (":0", 200, 200), ("[::1]:0", None, 200), ("[::]:0", None, 200),
    ("127.0.0.1:0", 200, None), ("0.0.0.0:0", 200, None)])
def test_which_families_an_address_serves(holdfast, listen, v4, v6, workers):
    p = holdfast(config=listening_at(listen, workers=workers))
    for _ in range(4 * workers):  # each worker has both
        assert models("127.0.0.1", port_of(p)) == v4
        assert models("::1", port_of(p)) == v6


@needs_ipv6
def test_a_port_that_another_has_at_one_of_them_is_an_error(run, tmp_path):
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as s:
        port = s.getsockname()[1]
        p = run("serve", "--listen", f"localhost:{port}", env={"HOLDFAST_ADMIN": "off"})
        assert p.process.returncode == 69
        assert f"cannot listen on localhost:{port}: Address already in use" in p.stderr


@needs_ipv6
@pytest.mark.parametrize("host", ["localhost", ""])
def test_both_are_handed_over(line, host):  # noqa: F811
    port = free_port()
    p = line(config=listening_at(f"{host}:{port}", workers=2))
    after = hand_over(p, p.process.pid)
    p.wait()
    for _ in range(8):
        assert (models("127.0.0.1", port), models("::1", port)) == (200, 200)
    finish(after)
