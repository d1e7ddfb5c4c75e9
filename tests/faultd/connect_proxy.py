"""A small HTTP CONNECT proxy, as a company has it: with a delay, a refusal, and a log.

    mode   tunnel | 407 | 502 | close (without an answer) | silent | socks (it speaks SOCKS5)
    to     (host, port) where every tunnel leads, whatever name was asked for
    delay  seconds before CONNECT is answered
    tls    a file with its key and certificate: it is spoken to by TLS
"""
import select
import socket
import ssl
import threading
import time


class ConnectProxy:
    def __init__(self, to, mode="tunnel", delay=0.0, tls=None):
        self.to, self.mode, self.delay = to, mode, delay
        self.tls = None
        if tls is not None:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(tls)
        self.log = []  # (monotonic seconds, request line, headers)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.listener.getsockname()[1]
        self.stopping = False
        threading.Thread(target=self._accept_loop, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def url(self):
        return f"{'http' if self.tls is None else 'https'}://127.0.0.1:{self.port}"

    def stop(self):
        self.stopping = True
        self.listener.close()

    def _accept_loop(self):
        while not self.stopping:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
            if self.mode == "socks":
                return self._serve_socks(sock)
            head = b""
            while b"\r\n\r\n" not in head:
                data = sock.recv(4096)
                if not data:
                    return
                head += data
            lines = head.decode("latin-1").split("\r\n")
            self.log.append((time.monotonic(), lines[0], [h for h in lines[1:] if h]))
            time.sleep(self.delay)
            if self.mode == "407":
                sock.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: "
                             b"Basic realm=\"office\"\r\nContent-Length: 0\r\n\r\n")
            elif self.mode == "502":
                sock.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            elif self.mode == "close":
                pass
            elif self.mode == "silent":
                sock.recv(1)
            else:
                self._tunnel(sock)
        except OSError:
            pass
        finally:
            sock.close()

    def _serve_socks(self, sock):
        """RFC 1928: no authentication, CONNECT to a name."""
        said = sock.makefile("rb")
        _, methods = said.read(2)
        said.read(methods)
        sock.sendall(b"\5\0")
        _, _, _, kind, length = said.read(5)
        assert kind == 3, "the name is the proxy's to resolve"
        name, port = said.read(length).decode(), int.from_bytes(said.read(2), "big")
        self.log.append((time.monotonic(), f"SOCKS5 {name}:{port}", []))
        self._tunnel(sock, b"\5\0\0\1" + bytes(6))

    def _tunnel(self, sock, opened=b"HTTP/1.1 200 Connection established\r\n\r\n"):
        with socket.create_connection(self.to, 5) as out:
            sock.sendall(opened)
            ways = {sock.fileno(): (sock, out), out.fileno(): (out, sock)}
            poll = select.poll()  # select() knows no descriptor above 1023
            for fd in ways:
                poll.register(fd, select.POLLIN)
            while not self.stopping:
                for fd, _ in poll.poll(500):
                    source, sink = ways[fd]
                    data = source.recv(65536)  # a TLS record has less, so that nothing stays behind
                    if not data:
                        return
                    sink.sendall(data)
