"""SIGUSR2: the program starts itself anew, and the new process takes over the sockets of the old one."""
import ctypes
import json
import os
import re
import signal
import socket
import threading

import pytest

from client import Raw, chat_body, request_bytes, wait_for
from conftest import free_port
from test_restart import ROUTES, Manager, live_stream, replaced_under_load

PR_SET_CHILD_SUBREAPER = 36


def hand_over(proxy, pid):
    """Sends SIGUSR2 to the process; the number of the one that has taken its place."""
    before = proxy.stderr.count("has taken our place")
    os.kill(pid, signal.SIGUSR2)
    wait_for(lambda: proxy.stderr.count("has taken our place") > before, timeout=30)
    return int(re.findall(r"process (\d+) has taken our place", proxy.stderr)[-1])


def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def line(holdfast):
    """line(upstreams...) -> a process, whose successors become children of ours when it has ended."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    started = []

    def start(*upstreams, **parts):
        p = holdfast(*upstreams, **parts)
        started.append(p)
        return p
    yield start
    for p in started:
        for pid in map(int, re.findall(r"process (\d+) is starting", p.stderr)):
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass


def under_way(port, a):
    """A stream that A holds inside: its thread, and where its end will be found."""
    found = []
    stream = threading.Thread(target=live_stream, args=(port, found))
    stream.start()
    wait_for(lambda: a.attempts)
    return stream, found


def finish(pid):
    os.kill(pid, signal.SIGTERM)
    assert ended(pid) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_hand_overs_under_load_lose_none_of_a_hundred_streams(upstream, line, workers):
    a, b = upstream("A", default="held_inside"), upstream("B")
    p = line(a, b, routes=ROUTES, workers=workers, drain={"delay": "10s", "timeout": "120s"})
    pids = [p.process.pid]

    def replace():
        pids.append(hand_over(p, pids[-1]))
        assert p.status()["uptime_ms"] < 5000, "the admin port is the new one's at once"
    replaced_under_load(p, a, replace)
    assert p.wait() == 0
    for pid in pids[1:-1]:
        assert ended(pid) == 0
    finish(pids[-1])
    with pytest.raises(OSError):
        p.chat()


def test_the_new_process_has_the_new_configuration(upstream, line):
    a = upstream("A")
    other = free_port()
    p = line(a, workers=1)
    config = json.loads(p.config_path.read_text())
    for workers, listen in ((2, [f"127.0.0.1:{p.port}", f"127.0.0.1:{other}"]),
                            (1, [f"127.0.0.1:{p.port}"])):
        p.config_path.write_text(json.dumps(config | {"workers": workers, "listen": listen}))
        pid = hand_over(p, p.process.pid if workers == 2 else pid)
        assert p.status()["workers"] == workers and len(p.status()["listeners"]) == len(listen)
        for _ in range(20):  # sockets that nobody serves any more would swallow some
            assert p.chat().text.startswith("A:")
    assert "HOLDFAST_PREDECESSOR" not in p.stderr, "it is no option of the configuration"
    assert p.wait() == 0
    finish(pid)


def test_an_address_that_the_new_process_does_not_have_is_refused(upstream, line):
    """At once, though the old one still has a stream under way."""
    a, other = upstream("A", default="held_inside"), free_port()
    p = line(a, upstream("B"), routes=ROUTES)
    config = json.loads(p.config_path.read_text())
    with_other = config | {"listen": [f"127.0.0.1:{p.port}", f"127.0.0.1:{other}"]}
    p.config_path.write_text(json.dumps(with_other))
    second = hand_over(p, p.process.pid)
    stream, found = under_way(other, a)
    p.config_path.write_text(json.dumps(config))
    third = hand_over(p, second)

    def refused():
        try:
            socket.create_connection(("127.0.0.1", other)).close()
        except ConnectionRefusedError:
            return True
    wait_for(refused)
    assert found == []
    a.release()
    stream.join(30)
    assert found[0][1] == "complete"
    assert p.wait() == 0 and ended(second) == 0
    finish(third)


def test_a_successor_that_cannot_start_changes_nothing(upstream, line):
    p = line(upstream("A"))
    good = p.config_path.read_text()
    p.config_path.write_text("{listen: [")
    p.process.send_signal(signal.SIGUSR2)
    wait_for(lambda: "was to take our place, ended with exit code 78; this process goes on" in p.stderr)
    assert p.chat().text.startswith("A:")
    p.config_path.write_text(good)
    pid = hand_over(p, p.process.pid)
    assert p.wait() == 0 and p.chat().text.startswith("A:")
    finish(pid)


def test_unix_sockets_are_removed_by_the_last(upstream, line, tmp_path):
    path, admin = str(tmp_path / "s"), str(tmp_path / "admin")
    p = line(upstream("A"), listen=[f"unix:{path}"], admin=f"unix:{admin}")
    p.port = None
    pid = hand_over(p, p.process.pid)
    assert p.wait() == 0
    with Raw(path=path) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body(), host="localhost"))
        assert c.answer().text.startswith("A:")
    with Raw(path=admin) as c:
        c.send(request_bytes("GET", "/livez", host="localhost"))
        assert c.answer("GET").status == 200
    finish(pid)
    assert not os.path.exists(path) and not os.path.exists(admin)


def test_it_is_noticed_that_it_ended_though_who_started_us_cares_for_no_child(upstream, line):
    p = line(upstream("A"), prefix=["env", "--ignore-signal=CHLD"])
    p.config_path.write_text("{listen: [")
    p.process.send_signal(signal.SIGUSR2)
    wait_for(lambda: "ended with exit code 78; this process goes on" in p.stderr)


def test_the_end_of_the_service_leaves_time_to_the_old_process(upstream, line):
    """Who stops a service signals all of its processes: the one that ends already is not hurried."""
    a = upstream("A", default="held_inside")
    p = line(a, upstream("B"), routes=ROUTES)
    stream, found = under_way(p.port, a)
    pid = hand_over(p, p.process.pid)
    p.process.send_signal(signal.SIGTERM)
    os.kill(pid, signal.SIGTERM)
    a.release()
    stream.join(30)
    assert found[0][1] == "complete"
    assert p.wait() == 0 and ended(pid) == 0


def test_a_successor_that_cannot_listen_leaves_the_unix_socket(upstream, line, tmp_path):
    path = str(tmp_path / "s")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        p = line(upstream("A"), listen=[f"unix:{path}"])
        p.port = None
        config = json.loads(p.config_path.read_text())
        config["listen"].append(f"127.0.0.1:{taken.getsockname()[1]}")
        p.config_path.write_text(json.dumps(config))
        p.process.send_signal(signal.SIGUSR2)
        wait_for(lambda: "ended with exit code 69; this process goes on" in p.stderr)
    with Raw(path=path) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body(), host="localhost"))
        assert c.answer().text.startswith("A:")


def test_sockets_of_the_service_manager_are_still_its_own(upstream, line):
    m, b = Manager(), upstream("B")
    p = line(b, listen=[f"127.0.0.1:{m.port}"], **m.passing())
    p.port = m.port
    pid = hand_over(p, p.process.pid)
    assert p.chat().text.startswith("B:") and p.wait() == 0
    finish(pid)
    with Raw(m.port) as c:  # it waits in the manager's queue
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body()))
        line(b, listen=[f"127.0.0.1:{m.port}"], **m.passing()).port = m.port
        assert c.answer().text.startswith("B:")
    m.sock.close()


def test_the_service_manager_learns_whom_to_watch(upstream, line, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(str(tmp_path / "notify"))
        s.settimeout(20)
        p = line(upstream("A"), env={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert s.recv(100) == b"READY=1"
        pid = hand_over(p, p.process.pid)
        assert s.recv(100) == b"MAINPID=%d" % pid
        assert p.wait() == 0
        finish(pid)
        assert s.recv(100) == b"STOPPING=1"


def test_a_second_demand_while_the_first_is_met_is_refused(upstream, line, tmp_path):
    """The successor reads its configuration from a pipe that nobody has written to yet."""
    p = line(upstream("A"))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    os.replace(pipe, p.config_path)
    p.process.send_signal(signal.SIGUSR2)
    wait_for(lambda: "is starting to take our place" in p.stderr)
    p.process.send_signal(signal.SIGUSR2)
    wait_for(lambda: "is starting already to take our place; this process goes on" in p.stderr)
    assert p.chat().text.startswith("A:")
    p.process.send_signal(signal.SIGTERM)
    assert p.wait() == 0
    pid = int(re.search(r"process (\d+) is starting to", p.stderr)[1])
    assert ended(pid) == -signal.SIGTERM


def test_an_ordinary_file_in_the_place_of_a_unix_socket_is_left_alone(upstream, holdfast, tmp_path):
    path = tmp_path / "precious"
    path.write_text("data")
    p = holdfast(upstream("A"), args=["--listen", f"unix:{path}"], ready=False)
    assert p.wait() == 69 and "cannot listen on unix:" in p.stderr
    assert path.read_text() == "data"


def test_a_second_signal_ends_the_old_process_too(upstream, line):
    a = upstream("A", default="held_inside")
    p = line(a, upstream("B"), routes=ROUTES)
    stream, found = under_way(p.port, a)
    pid = hand_over(p, p.process.pid)

    def has_ended():
        p.process.send_signal(signal.SIGTERM)
        return p.process.poll() is not None
    wait_for(has_ended, every=0.1)
    stream.join(30)
    assert found[0][1] != "complete" and found[0][3] == 0
    a.release()
    finish(pid)
