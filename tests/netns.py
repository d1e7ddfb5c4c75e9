"""A network of a test's own: addresses, routes, links and a resolver that may be broken.

It belongs to the thread that makes it and to the threads and programs that this one starts, so the
scripted upstreams and the proxy live in it and the machine does not notice. It takes root.
"""
import ctypes
import os
import shutil
import socket
import struct
import subprocess
import threading
from contextlib import contextmanager

NEW_NET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def _checked(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _own():
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


class Network:
    """`near` is where the test and the proxy live. `with net.far():` makes what is created inside
    live behind a cable, at 10.9.0.2."""

    def __init__(self):
        self.before, self.far_end = _own(), None
        try:
            _checked(libc.unshare(NEW_NET))
        except OSError:
            os.close(self.before)
            raise
        self.near_end = _own()
        self.ip("link set lo up")

    def close(self):
        _checked(libc.setns(self.before, NEW_NET))
        for fd in (self.before, self.near_end, self.far_end):
            if fd is not None:
                os.close(fd)

    @staticmethod
    def ip(command):
        subprocess.run(["ip", *command.split()], check=True, capture_output=True)

    @staticmethod
    def tc(command):
        subprocess.run(["tc", *command.split()], check=True, capture_output=True)

    @contextmanager
    def far(self):
        if self.far_end is None:
            self._cable()
        _checked(libc.setns(self.far_end, NEW_NET))
        try:
            yield
        finally:
            _checked(libc.setns(self.near_end, NEW_NET))

    def _cable(self):
        _checked(libc.unshare(NEW_NET))
        self.far_end = _own()
        self.ip("link set lo up")
        self.ip(f"link add far type veth peer name near netns /proc/{os.getpid()}/fd/{self.near_end}")
        self.ip("addr add 10.9.0.2/24 dev far")
        self.ip("link set far up")
        _checked(libc.setns(self.near_end, NEW_NET))
        self.ip("addr add 10.9.0.1/24 dev near")
        self.ip("link set near up")


def with_etc(folder, **texts):
    """A command's prefix under which these files replace those of /etc: hosts="...",
    resolv_conf="...". They lie in `folder` and may be rewritten meanwhile."""
    steps = []
    for name, text in texts.items():
        name = name.replace("_", ".")
        (folder / name).write_text(text)
        steps.append(f"mount --bind '{folder / name}' /etc/{name}")
    return ["unshare", "-m", "sh", "-c", " && ".join([*steps, 'exec "$@"']), "sh"]


class Resolver:
    """A DNS server at 127.0.0.1:53 of the own network. answers: {name: [addresses]}, or for all
    names "silent" (never answers) or "servfail"; a name that is missing does not exist."""

    A, AAAA = 1, 28

    def __init__(self, answers):
        self.answers, self.asked = answers, []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 53))
        threading.Thread(target=self._serve, daemon=True).start()

    def stop(self):
        self.sock.close()

    def _serve(self):
        while True:
            try:
                query, peer = self.sock.recvfrom(512)
                name, kind, end = self._question(query)
                self.asked.append(name)
                if self.answers != "silent":
                    self.sock.sendto(self._reply(query, name, kind, end), peer)
            except OSError:
                return

    @staticmethod
    def _question(query):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        return ".".join(labels).lower(), struct.unpack(">H", query[at + 1:at + 3])[0], at + 5

    def _reply(self, query, name, kind, end):
        known = self.answers.get(name) if isinstance(self.answers, dict) else None
        code = 2 if self.answers == "servfail" else 0 if known is not None else 3
        family = {self.A: socket.AF_INET, self.AAAA: socket.AF_INET6}.get(kind)
        found = [socket.inet_pton(family, x) for x in known or []
                 if family == (socket.AF_INET6 if ":" in x else socket.AF_INET)]
        records = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(x)) + x for x in found)
        return (query[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, len(found), 0, 0) +
                query[12:end] + records)


def why_not():
    """Why there can be no such network here; None when there can."""
    for program in ("ip", "unshare"):
        if not shutil.which(program):
            return f"{program} is not installed"
    done = subprocess.run(["unshare", "-n", "-m", "ip", "link", "set", "lo", "up"],
                          capture_output=True, text=True)
    return done.stderr.strip() if done.returncode else None
