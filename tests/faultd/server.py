"""The server: connections, requests, the log. What is answered stands in scripts.py."""
import json
import select
import socket
import ssl
import struct
import threading
import time
import warnings
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from . import scripts, voices

LINGER_RST = struct.pack("ii", 1, 0)


class PeerGone(Exception):
    """The other side closed or reset the connection while a script was at work."""


class Hangup(Exception):
    """A script has ended the connection itself."""


@dataclass
class Connection:
    """One accepted connection. Times are seconds of time.monotonic()."""
    id: int
    accepted_at: float
    requests: int = 0
    closed_at: float = None
    closed_by: str = None  # peer | peer_reset | us | us_reset
    tls_error: str = None
    tls_resumed: bool = None  # a session of an earlier connection was taken up again
    alpn_offered: list = field(default_factory=list)


@dataclass
class Attempt:
    """One request that was read to its end."""
    n: int
    connection: int
    reused: bool  # not the first request of its connection
    at: float
    method: str
    path: str
    headers: list
    body: bytes
    script: str = None
    status: int = None  # of the final head that was sent
    sent: int = 0       # bytes
    ended: str = None   # done | peer | peer_reset | us | us_reset; None: still running
    ended_at: float = None

    def header(self, name):
        """All values of a header joined by ", "; None when it is absent."""
        found = [v for k, v in self.headers if k.lower() == name.lower()]
        return ", ".join(found) if found else None

    @property
    def json(self):
        return json.loads(self.body)


def closed_port():
    """(port, keeper): nothing listens there, and nobody can take it while the keeper lives."""
    keeper = socket.socket()
    keeper.bind(("127.0.0.1", 0))
    return keeper.getsockname()[1], keeper


def blackhole():
    """(port, keepers): a listener whose queue is full, so that a SYN gets no answer at all."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    port = listener.getsockname()[1]
    keepers = [listener]
    for _ in range(4):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(("127.0.0.1", port))
        keepers.append(s)
    time.sleep(0.02)  # the handshakes of those that fit into the queue
    return port, keepers


def offered_alpn(hello):
    """Protocol names in a raw ClientHello, found by extension 16's layout; [] when there is none."""
    try:
        p = 5 + 4 + 2 + 32
        p += 1 + hello[p]
        p += 2 + int.from_bytes(hello[p:p + 2], "big")
        p += 1 + hello[p]
        end = p + 2 + int.from_bytes(hello[p:p + 2], "big")
        p += 2
        while p < end:
            kind, size = struct.unpack(">HH", hello[p:p + 4])
            if kind == 16:
                names, q = [], p + 6
                while q < p + 4 + size:
                    names.append(hello[q + 1:q + 1 + hello[q]].decode())
                    q += 1 + hello[q]
                return names
            p += 4 + size
    except IndexError:
        pass
    return []


class Exchange:
    """What a script works with: one request, and the raw socket for the answer."""

    def __init__(self, server, conn, sock, attempt):
        self.server, self.conn, self.sock, self.attempt = server, conn, sock, attempt
        self.chunked = False
        self.keep_alive = True
        self.body_left = None  # bytes after which the body breaks off, wherever that is
        try:
            self.request = json.loads(attempt.body) if attempt.body else {}
        except ValueError:
            self.request = {}
        if not isinstance(self.request, dict):
            self.request = {}
        self.stream = bool(self.request.get("stream"))
        self.model = str(self.request.get("model", "none"))
        self.voice = voices.voice_of(attempt.path)
        if self.voice.startswith("gemini"):
            self.model, self.stream = voices.gemini_model(attempt.path)

    # -- writing -----------------------------------------------------------------------------
    def send(self, data):
        try:
            self.sock.sendall(data)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLError, OSError) as e:
            self._gone("peer_reset", e)
        self.attempt.sent += len(data)

    def head(self, status, headers=(), version="1.1", reason=None):
        self.attempt.status = status
        lines = [f"HTTP/{version} {status} {reason or scripts.REASONS.get(status, 'Status')}"]
        lines += [f"{k}: {v}" for k, v in headers]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def answer(self, status, body, content_type="application/json", headers=()):
        fields = [("Content-Type", content_type)] if content_type else []
        self.head(status, [*fields, ("Content-Length", len(body)), *headers])
        self.send(body)

    def stream_head(self, content_type="text/event-stream; charset=utf-8", framing="chunked",
                    headers=()):
        self.chunked = framing == "chunked"
        self.keep_alive = self.chunked
        how = ("Transfer-Encoding", "chunked") if self.chunked else ("Connection", "close")
        self.head(200, [("Content-Type", content_type), how, ("Cache-Control", "no-cache"),
                        ("x-request-id", "req_faultd"), *headers])

    def part(self, data):
        """A piece of a stream's body, in the framing that stream_head announced."""
        if self.body_left is not None and len(data) >= self.body_left:
            self.send(b"%x\r\n" % len(data) * self.chunked + data[:self.body_left])
            self.close()
        if self.body_left is not None:
            self.body_left -= len(data)
        if data:
            self.send(b"%x\r\n%s\r\n" % (len(data), data) if self.chunked else data)

    def end(self):
        """The body's honest end."""
        if self.chunked:
            self.send(b"0\r\n\r\n")

    # -- ending ------------------------------------------------------------------------------
    def close(self):
        """FIN, whatever the framing still owes."""
        self._hangup("us")

    def reset(self):
        """RST: what the peer has not read yet may be lost with it."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RST)
        self._hangup("us_reset")

    def _hangup(self, how):
        self.attempt.ended = how
        self.conn.closed_by = how
        raise Hangup

    def _gone(self, how, cause=None):
        self.attempt.ended = how
        self.conn.closed_by = how
        raise PeerGone from cause

    def pause(self, seconds):
        """Waits, and notices at once when the peer leaves meanwhile."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0 and not self.server.stopping:
            if self.server.readable(self.sock, min(left, 0.2)):
                self.check()

    def hold(self):
        """Waits until the test calls the server's release()."""
        while not self.server.released.is_set() and not self.server.stopping:
            self.pause(0.01)

    def check(self):
        """Notices a peer that has left; what it sent ahead is kept for the next request."""
        try:
            data = self.sock.recv(65536)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError as e:
            self._gone("peer_reset", e)
        if not data:
            self._gone("peer")
        self.server.pending[self.conn.id] += data

    def stall(self, seconds=60):
        """Says nothing more until the peer leaves or the time has passed, then closes."""
        self.pause(seconds)
        self.close()


class Faultd:
    """One scripted upstream on 127.0.0.1, or on `host`; a thread a connection.

    name        goes into every text it answers with, so that a test sees who spoke
    queue       specs for the next requests; when it is empty, `default`
    models      {model: spec} for requests for these models, before the queue; a list of specs is for
                its requests one after another, the last one for all that follow
    on_accept   for the next connections: serve | close | rst | silent (never reads nor writes) |
                delay?ms=N (serves after N ms); when the list is empty, `accept_default`
    tls         None | a kind of certs.py | h2 (a good certificate; offers h2 before http/1.1) |
                alert (refuses the handshake) | old (speaks nothing newer than TLS 1.1) | silent
                (never answers it) | slow?ms=N
    idle_close  seconds after which it closes a connection that has no request
    """

    def __init__(self, name="A", queue=(), default="ok", models=None, on_accept=(),
                 accept_default="serve", tls=None, certs=None, idle_close=None, host="127.0.0.1",
                 port=0):
        self.name, self.default, self.accept_default = name, default, accept_default
        self.models, self.host, self.busy = models or {}, host, 0
        self.tls, self.certs, self.idle_close = tls, certs, idle_close
        self.specs, self.accepts = list(queue), list(on_accept)
        self.attempts, self.connections, self.pending = [], [], {}
        self.released = threading.Event()
        self.since = time.monotonic()  # its start, or when its log was last cleared
        self.lock, self.stopping, self.socks = threading.Lock(), False, set()
        self.listener = socket.create_server((host, port), backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.context = self._context() if tls else None
        threading.Thread(target=self._accept_loop, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def base_url(self):
        host = "127.0.0.1" if self.host == "0.0.0.0" else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}/v1"

    def asked(self, model):
        """How often this model was asked for."""
        return sum(a.json.get("model") == model for a in list(self.attempts))

    def queue(self, *specs):
        with self.lock:
            self.specs.extend(specs)

    def release(self):
        """Lets the scripts go on that hold their answer, and those that come later."""
        self.released.set()

    def hold(self):
        """From now on they hold it again."""
        self.released.clear()

    def clear_log(self):
        with self.lock:
            self.attempts.clear()
            self.since = time.monotonic()

    def open_connections(self):
        return [c for c in self.connections if c.closed_at is None]

    def stop(self):
        self.stopping = True
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for s in list(self.socks):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def log_json(self):
        rows = []
        for a in list(self.attempts):
            row = dict(vars(a))
            row["body"] = a.body.decode("utf-8", "replace")
            rows.append(row)
        return {"attempts": rows, "connections": [dict(vars(c)) for c in self.connections]}

    # -- connections -------------------------------------------------------------------------
    def _context(self):
        kind = self.tls.split("?")[0]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf = kind if kind in ("expired", "wrong_host", "self_signed", "unknown_ca") else "good"
        context.load_cert_chain(self.certs.path(leaf))
        context.set_alpn_protocols(["h2", "http/1.1"] if kind == "h2" else ["http/1.1"])
        if kind == "mutual":  # and who calls must show one of the same authority
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.certs.ca)
        if kind == "old":
            context.set_ciphers("ALL:@SECLEVEL=0")
            with warnings.catch_warnings():  # that it is old is what we want
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = ssl.TLSVersion.TLSv1
                context.maximum_version = ssl.TLSVersion.TLSv1_1
        return context

    def _accept_loop(self):
        while not self.stopping:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                conn = Connection(len(self.connections), time.monotonic())
                self.connections.append(conn)
                self.pending[conn.id] = b""
                how = self.accepts.pop(0) if self.accepts else self.accept_default
            threading.Thread(target=self._connection, args=(conn, sock, how), daemon=True).start()

    def _connection(self, conn, sock, how):
        self.socks.add(sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw = sock
        try:
            sock = self._welcome(conn, sock, how)
            while self._serve_one(conn, sock):
                pass
        except (PeerGone, Hangup):
            pass
        except OSError as e:
            conn.closed_by = conn.closed_by or "peer_reset"
            conn.tls_error = str(e) if isinstance(e, ssl.SSLError) else conn.tls_error
        finally:
            conn.closed_by = conn.closed_by or "us"
            conn.closed_at = time.monotonic()
            self.socks.discard(raw)
            sock.close()

    def _welcome(self, conn, sock, how):
        kind, _, params = how.partition("?")
        params = dict(parse_qsl(params))
        if kind == "rst":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RST)
        if kind in ("rst", "close"):
            conn.closed_by = "us_reset" if kind == "rst" else "us"
            raise Hangup
        if kind == "silent":
            self._until_gone(conn, sock)
        if kind == "delay":
            time.sleep(int(params["ms"]) / 1000)
        return self._handshake(conn, sock) if self.tls else sock

    def _handshake(self, conn, sock):
        kind, _, params = self.tls.partition("?")
        if not self.readable(sock, 10):
            raise Hangup
        conn.alpn_offered = offered_alpn(sock.recv(4096, socket.MSG_PEEK))
        if kind == "silent":
            self._until_gone(conn, sock)
        if kind == "alert":
            sock.sendall(b"\x15\x03\x03\x00\x02\x02\x28")  # fatal handshake_failure
            raise Hangup
        if kind == "slow":
            time.sleep(int(dict(parse_qsl(params))["ms"]) / 1000)
        sock = self.context.wrap_socket(sock, server_side=True)
        conn.tls_resumed = sock.session_reused
        return sock

    def _until_gone(self, conn, sock):
        """Keeps quiet, reads nothing but the end."""
        poll = select.poll()
        poll.register(sock, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
        while not self.stopping and not poll.poll(200):
            pass
        conn.closed_by = "peer"
        raise Hangup

    def readable(self, sock, seconds):
        if isinstance(sock, ssl.SSLSocket) and sock.pending():
            return True
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(max(0, int(seconds * 1000 + 0.999))))

    # -- requests ----------------------------------------------------------------------------
    def _more(self, conn, sock, seconds):
        deadline = time.monotonic() + seconds
        while not self.readable(sock, min(0.2, max(0, deadline - time.monotonic()))):
            if self.stopping or time.monotonic() >= deadline:
                raise Hangup
        data = sock.recv(262144)
        if not data:
            conn.closed_by = "peer"
            raise PeerGone
        self.pending[conn.id] += data

    def _read_request(self, conn, sock):
        idle = self.idle_close if self.idle_close is not None else 3600
        while b"\r\n\r\n" not in self.pending[conn.id]:
            self._more(conn, sock, idle)
        head, _, rest = self.pending[conn.id].partition(b"\r\n\r\n")
        self.pending[conn.id] = rest
        lines = head.decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ", 2)
        headers = [tuple(p.strip() for p in line.split(":", 1)) for line in lines[1:]]
        fields = {k.lower(): v for k, v in headers}
        if fields.get("expect", "").lower() == "100-continue":
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in fields.get("transfer-encoding", ""):
            body = self._read_chunked(conn, sock)
        else:
            size = int(fields.get("content-length", 0))
            body = self._take(conn, sock, size)
        return method, path, headers, body

    def _take(self, conn, sock, size):
        got = [self.pending[conn.id]]
        have = len(got[0])
        while have < size:  # pieces are joined once: large bodies stay linear
            self.pending[conn.id] = b""
            self._more(conn, sock, 60)
            got.append(self.pending[conn.id])
            have += len(got[-1])
        all_ = b"".join(got)
        self.pending[conn.id] = all_[size:]
        return all_[:size]

    def _read_chunked(self, conn, sock):
        body = b""
        while True:
            while b"\r\n" not in self.pending[conn.id]:
                self._more(conn, sock, 60)
            line, _, self.pending[conn.id] = self.pending[conn.id].partition(b"\r\n")
            size = int(line.split(b";")[0], 16)
            piece = self._take(conn, sock, size + 2)
            if size == 0:
                return body
            body += piece[:-2]

    def _serve_one(self, conn, sock):
        method, path, headers, body = self._read_request(conn, sock)
        if path.startswith("/_"):
            self._control(sock, method, path, body)
            return True
        with self.lock:
            attempt = Attempt(len(self.attempts), conn.id, conn.requests > 0, time.monotonic(),
                              method, path, headers, body)
            self.attempts.append(attempt)
            conn.requests += 1
            x = Exchange(self, conn, sock, attempt)
            spec = self._choose(x)
        attempt.script = spec.partition("?")[0]
        try:
            scripts.run(spec, x)
            attempt.ended = "done"
        finally:
            attempt.ended = attempt.ended or "us"
            attempt.ended_at = time.monotonic()
        if not x.keep_alive:
            conn.closed_by = "us"
        return x.keep_alive

    def _choose(self, x):
        if x.attempt.method == "GET" and "/models" in x.attempt.path:
            return "models"
        if x.model.startswith("fault:"):
            return x.model[len("fault:"):]
        if x.model in self.models:
            spec = self.models[x.model]
            return spec if isinstance(spec, str) else spec[min(self.asked(x.model), len(spec)) - 1]
        return self.specs.pop(0) if self.specs else self.default

    def _control(self, sock, method, path, body):
        """GET /_log, POST /_queue with a JSON list of specs, POST /_clear."""
        if path == "/_queue" and method == "POST":
            self.queue(*json.loads(body))
        elif path == "/_clear" and method == "POST":
            self.clear_log()
        text = json.dumps(self.log_json() if path == "/_log" else {"ok": True}).encode()
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d"
                     b"\r\n\r\n%s" % (len(text), text))
