"""A new process takes the place of the old one, and nobody who calls notices."""
import signal
import socket
import threading

import pytest

from client import Load, Raw, chat_body, request_bytes, wait_for
from conftest import free_port

ROUTES = [{"model": "live", "targets": ["a/m"]}, {"model": "*", "targets": ["b/m"]}]


class Manager:
    """The part of a service manager that a restart needs: a listening socket that outlives the process."""

    def __init__(self, path=None):
        self.sock = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        if not path:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.port = None if path else free_port()
        self.sock.bind(path or ("127.0.0.1", self.port))
        self.sock.listen(512)

    def passing(self):
        fd = self.sock.fileno()
        return {"pass_fds": [fd], "prefix": [
            "bash", "-c", f'[ {fd} = 3 ] || exec 3<&{fd} {fd}<&-; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"', "-"]}


@pytest.fixture
def manager():
    m = Manager()
    yield m
    m.sock.close()


@pytest.fixture
def start(holdfast, manager):
    """start(upstreams..., ...) -> a process that serves the manager's socket."""
    def go(*upstreams, **parts):
        p = holdfast(*upstreams, listen=[f"127.0.0.1:{manager.port}"], **manager.passing(), **parts)
        p.port = manager.port
        return p
    return go


def live_stream(port, found):
    with Raw(port, timeout=60) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body("live", True)))
        answer = c.answer()
        found.append((answer.status, answer.end, answer.text, answer.done))


def replaced_under_load(proxy, a, replace):
    """Four times 25 streams are held inside by A, and after each 25 the process is replaced while others
    ask B; in the end all hundred are let go, and none is lost. ROUTES lead to the two."""
    streams, found = [], []
    load = Load(proxy, 4, ("B:",))
    try:
        for _ in range(4):
            streams += [threading.Thread(target=live_stream, args=(proxy.port, found)) for _ in range(25)]
            for s in streams[-25:]:
                s.start()
            wait_for(lambda: len(a.attempts) == len(streams), timeout=30)
            replace()
            load.goes_on(8)
        assert found == [], "all of them are under way, in four processes that are ending"
    finally:
        a.release()
        load.end()
        for s in streams:
            s.join(60)
    assert load.wrong == []
    assert len(found) == 100 and set(found) == {(200, "complete", found[0][2], 1)}
    assert found[0][2].startswith("A:")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_rolling_restart_under_load_loses_none_of_a_hundred_streams(upstream, start, manager, workers):
    a, b = upstream("A", default="held_inside"), upstream("B")
    parts = {"routes": ROUTES, "workers": workers, "drain": {"delay": "10ms", "timeout": "120s"}}
    processes = [start(a, b, **parts)]

    def replace():
        processes.append(start(a, b, **parts))
        processes[-2].process.send_signal(signal.SIGTERM)
    replaced_under_load(processes[0], a, replace)
    for p in processes[:-1]:
        assert p.wait(20) == 0


def test_who_calls_between_two_processes_waits_and_is_served(upstream, start, manager):
    b = upstream("B")
    start(b).stop()
    with Raw(manager.port) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body()))
        start(b)
        assert c.answer().text.startswith("B:")


def test_a_connection_that_has_not_asked_yet_is_served_while_the_process_ends(upstream, start, manager):
    a, b = upstream("A", default="held_inside"), upstream("B")
    p = start(a, b, routes=ROUTES)
    found = []
    stream = threading.Thread(target=live_stream, args=(manager.port, found))
    stream.start()
    with Raw(manager.port) as c:
        with Raw(manager.port) as later:  # once this one is served, the one before is accepted
            later.send(request_bytes("GET", "/v1/models"))
            assert later.answer("GET").status == 200
        p.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "stopping" in p.stderr)
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body()))
        assert c.answer().text.startswith("B:")
    a.release()
    stream.join(20)
    assert found[0][1] == "complete" and p.wait(20) == 0


def test_a_unix_socket_that_was_passed_stays_where_it_is(upstream, holdfast, tmp_path):
    path = str(tmp_path / "s")
    m = Manager(path)
    for _ in range(2):
        p = holdfast(upstream("B"), listen=[f"unix:{path}"], **m.passing())
        with Raw(path=path) as c:
            c.send(request_bytes("POST", "/v1/chat/completions", chat_body(), host="localhost"))
            assert c.answer().text.startswith("B:")
        p.port = None
        p.stop()
    m.sock.close()


def test_a_socket_that_listen_does_not_name_is_an_error(upstream, holdfast, manager):
    other = free_port()
    p = holdfast(upstream("A"), listen=[f"127.0.0.1:{other}"], ready=False, **manager.passing())
    assert p.wait() == 69
    assert (f"passed a socket at 127.0.0.1 port {manager.port}, which neither `listen` nor `admin` names"
            in p.stderr)


def test_the_admin_port_is_passed_too(upstream, holdfast, manager):
    p = holdfast(upstream("A"), admin=f"127.0.0.1:{manager.port}", **manager.passing())
    p.admin = manager.port
    assert p.status()["uptime_ms"] >= 0
    p.stop()
    with Raw(manager.port) as c:  # it waits for the next one
        c.send(request_bytes("GET", "/livez"))
        holdfast(upstream("B"), admin=f"127.0.0.1:{manager.port}", **manager.passing())
        assert c.answer("GET").status == 200


def test_sockets_for_another_process_are_left_alone(upstream, holdfast):
    p = holdfast(upstream("A"), env={"LISTEN_PID": "1", "LISTEN_FDS": "1"})
    assert p.chat().text.startswith("A:")


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_is_told(upstream, holdfast, tmp_path, abstract):
    name = f"holdfast-test-{free_port()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind("\0" + name if abstract else name)
        s.settimeout(20)
        p = holdfast(upstream("A"), env={"NOTIFY_SOCKET": "@" + name if abstract else name})
        assert s.recv(100) == b"READY=1"
        p.stop()
        assert s.recv(100) == b"STOPPING=1"
