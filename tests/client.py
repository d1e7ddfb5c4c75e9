"""Clients for the tests: one that reads HTTP strictly from a raw socket, one over http.client."""
import http.client
import json
import re
import socket
import threading
import time
from dataclasses import dataclass, field

HELLO = [{"role": "user", "content": "hello"}]


@dataclass
class Answer:
    """One answer. end: complete | aborted (EOF or RST before the framing's end) | timeout."""
    status: int
    reason: str
    version: str
    headers: list
    body: bytes = b""
    end: str = "complete"
    framing: str = "none"  # none | length | chunked | close
    pieces: list = field(default_factory=list)  # (seconds since the request, bytes so far)
    seconds: float = 0.0

    def header(self, name):
        """All values joined by ", "; None when the header is absent."""
        found = [v for k, v in self.headers if k == name.lower()]
        return ", ".join(found) if found else None

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        """The error object of the envelope, in the body or in a stream's last data event."""
        if self.status >= 400:
            return self.json["error"]
        for data in reversed(self.data):
            if data != "[DONE]" and "error" in json.loads(data):
                return json.loads(data)["error"]
        return None

    @property
    def data(self):
        """The data of each event of a stream, in order."""
        text = self.body.decode("utf-8", "replace").replace("\r\n", "\n")
        found = []
        for block in text.split("\n\n"):
            lines = [x[5:].removeprefix(" ") for x in block.split("\n") if x.startswith("data:")]
            if lines:
                found.append("\n".join(lines))
        return found

    @property
    def done(self):
        return [d.strip() for d in self.data].count("[DONE]")

    @property
    def chunks(self):
        return [json.loads(d) for d in self.data if d.strip() != "[DONE]"]

    @property
    def text(self):
        """The content, of a completion or of a stream."""
        if not (self.header("content-type") or "").startswith("text/event-stream"):
            return self.json["choices"][0]["message"]["content"]
        return "".join(c["delta"].get("content") or ""
                       for chunk in self.chunks for c in chunk.get("choices", []))

    @property
    def trail(self):
        """[(target, outcome, milliseconds)] of x-holdfast-trail."""
        rows = []
        for part in (self.header("x-holdfast-trail") or "").split(", "):
            m = re.fullmatch(r"(\S+)=(\S+)@(\d+)ms", part)
            assert m, f"x-holdfast-trail: {self.header('x-holdfast-trail')!r}"
            rows.append((m[1], m[2], int(m[3])))
        return rows


class Raw:
    """A connection that sends the bytes it is given and believes nothing about the answer."""

    def __init__(self, port=None, path=None, timeout=30):
        if path:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(path)
        else:
            self.sock = socket.create_connection(("127.0.0.1", port), timeout)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer, self.timeout, self.eof = b"", timeout, None
        self.sent_at = time.monotonic()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        self.sent_at = time.monotonic()
        try:
            self.sock.sendall(data)
        except OSError as e:  # the answer may still be there to be read
            self.eof = self.eof or type(e).__name__

    def fill(self, deadline):
        """More bytes; False at the end of the connection. TimeoutError at the deadline."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(262144)
        except ConnectionResetError:
            data = b""
            self.eof = "reset"
        if not data:
            self.eof = self.eof or "fin"
            return False
        self.buffer += data
        return True

    def fill_some(self):
        """What comes within a moment; True, so that it can stand before a condition."""
        try:
            self.fill(time.monotonic() + 0.05)
        except TimeoutError:
            pass
        return True

    def head(self, deadline):
        """The next head as an Answer without a body, or None at the end of the connection."""
        while b"\r\n\r\n" not in self.buffer:
            if not self.fill(deadline):
                assert not self.buffer, f"half an answer head: {self.buffer!r}"
                return None
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        m = re.fullmatch(r"(HTTP/1\.[01]) (\d{3}) ?(.*)", lines[0])
        assert m, f"bad status line: {lines[0]!r}"
        headers = []
        for line in lines[1:]:
            h = re.fullmatch(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*", line)
            assert h and "\n" not in line and "\r" not in line, f"bad header line: {line!r}"
            headers.append((h[1].lower(), h[2]))
        return Answer(int(m[2]), m[3], m[1], headers)

    def answer(self, method="POST", interim=None, timeout=None):
        """The next final answer, or None when the connection ends before it. 1xx heads go into
        the list `interim`."""
        deadline = time.monotonic() + (timeout or self.timeout)
        while True:
            a = self.head(deadline)
            if a is None or a.status >= 200:
                break
            if interim is not None:
                interim.append(a.status)
        if a is None:
            return None
        length, coding = a.header("content-length"), a.header("transfer-encoding")
        assert not (length and coding), "both Content-Length and Transfer-Encoding"
        try:
            if method == "HEAD" or a.status in (204, 304):
                pass
            elif coding:
                assert coding == "chunked" and a.version == "HTTP/1.1", a.headers
                a.framing = "chunked"
                self._chunked(a, deadline)
            elif length is not None:
                a.framing = "length"
                self._exactly(a, int(length), deadline)
            else:
                a.framing = "close"
                self._to_end(a, deadline)
        except TimeoutError:
            a.end = "timeout"
        a.seconds = time.monotonic() - self.sent_at
        return a

    def _note(self, a):
        a.pieces.append((time.monotonic() - self.sent_at, len(a.body)))

    def _exactly(self, a, n, deadline):
        while len(self.buffer) < n:
            if not self.fill(deadline):
                a.end = "aborted"
                break
        a.body, self.buffer = self.buffer[:n], self.buffer[n:]
        self._note(a)

    def _to_end(self, a, deadline):
        while self.fill(deadline):
            pass
        a.body, self.buffer = self.buffer, b""
        if self.eof == "reset":
            a.end = "aborted"

    def _chunked(self, a, deadline):
        body, at = bytearray(), 0
        try:
            while at is not None:
                if at > 1 << 20:  # what is read is cut off now and then: large bodies stay linear
                    self.buffer, at = self.buffer[at:], 0
                at = self._chunk(a, body, at, deadline)
        finally:
            a.body = bytes(body)

    def _chunk(self, a, body, at, deadline):
        """Reads the chunk that begins at `at` of the buffer. Returns where the next one does, or None
        after the last one or when the connection ended instead."""
        while (end := self.buffer.find(b"\r\n", at)) < 0:
            if not self.fill(deadline):
                a.end = "aborted"
                return None
        line = self.buffer[at:end]
        assert re.fullmatch(rb"[0-9a-fA-F]{1,8}", line), f"bad chunk size line: {line!r}"
        size, at = int(line, 16), end + 2
        while len(self.buffer) < at + size + 2:
            if not self.fill(deadline):
                body += self.buffer[at:at + size]
                a.end = "aborted"
                return None
        body += self.buffer[at:at + size]
        at += size
        assert self.buffer[at:at + 2] == b"\r\n", "chunk without its CRLF"
        a.pieces.append((time.monotonic() - self.sent_at, len(body)))
        if size > 0:
            return at + 2
        self.buffer = self.buffer[at + 2:]
        return None

    def closed(self, timeout=20):
        """True when the other side ends the connection in time without another byte."""
        deadline = time.monotonic() + timeout
        try:
            while not self.buffer:
                if not self.fill(deadline):
                    return True
        except TimeoutError:
            pass
        return False


def request_bytes(method, path, body=b"", headers=(), host="127.0.0.1"):
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    if body or method == "POST":
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{k}: {v}" for k, v in dict(headers).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def chat_body(model="m", stream=False, messages=None, **fields):
    body = {"model": model, "messages": messages or HELLO, **fields}
    if stream:
        body["stream"] = True
    return json.dumps(body).encode()


def chat(port, model="m", stream=False, headers=(), timeout=30, **fields):
    """One chat completion on a connection of its own."""
    with Raw(port, timeout=timeout) as c:
        c.send(request_bytes("POST", "/v1/chat/completions", chat_body(model, stream, **fields),
                             headers))
        a = c.answer()
        assert a is not None, f"no answer at all; the connection ended with {c.eof}"
        return a


def http_get(port, path, headers=None, method="GET", body=None):
    """(status, headers in lower case, body) over http.client."""
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        c.request(method, path, body, headers or {})
        r = c.getresponse()
        return r.status, {k.lower(): v for k, v in r.getheaders()}, r.read()
    finally:
        c.close()


def in_time(ask, low, high, of=lambda answer: answer.seconds, tries=6):
    """The answer of an `ask()` that took from `low` to `high` seconds. Too early is wrong at once; too
    late may be the machine's fault, so only a time that is late again and again is wrong."""
    for _ in range(tries):
        answer = ask()
        assert of(answer) >= low, f"{of(answer):.3f} s, and not {low}"
        if of(answer) <= high:
            return answer
    raise AssertionError(f"{of(answer):.3f} s after {tries} tries, and not {high}")


class Stillness:
    """with Stillness() as still: how long did the machine give this process no time, at the most?"""

    def __enter__(self):
        self.longest, self.over = 0.0, threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def _watch(self):
        before = time.monotonic()
        while not self.over.wait(0.01):
            now = time.monotonic()
            self.longest, before = max(self.longest, now - before - 0.01), now

    def most(self):
        """Seconds."""
        return self.longest


class Load:
    """n clients that ask all the time, each on a new connection, half of them for streams. `wrong` are
    the answers that were not whole and by one of those expected."""

    def __init__(self, proxy, n, by):
        self.proxy, self.by = proxy, by
        self.done, self.wrong, self.over = [], [], threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(i % 2 == 0,)) for i in range(n)]
        for t in self.threads:
            t.start()

    def work(self, stream):
        while not self.over.is_set():
            try:
                answer = self.proxy.chat(stream=stream)
                if answer.status != 200 or answer.end != "complete" or answer.text[:2] not in self.by:
                    self.wrong.append((answer.status, answer.body[-300:]))
            except (AssertionError, OSError) as e:
                self.wrong.append(repr(e))
            self.done.append(1)

    def goes_on(self, n):
        seen = len(self.done)
        wait_for(lambda: len(self.done) > seen + n)

    def end(self):
        self.over.set()
        for t in self.threads:
            t.join(30)


def wait_for(what, timeout=15, every=0.01):
    """Polls until `what()` is true and returns it; a failing assertion names nothing but time."""
    deadline = time.monotonic() + timeout
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < deadline, f"not true within {timeout} s"
        time.sleep(every)
