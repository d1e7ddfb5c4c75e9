"""A server whose answers a test writes itself, byte by byte: for what needs both directions at once."""
import socket
import threading


class ByHand:
    """Runs `serve(peer)` in a thread for each connection; `peer` reads and writes."""

    def __init__(self, serve):
        self.serve, self.problems, self.peers = serve, [], []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.peers.append(Peer(sock))
            threading.Thread(target=self._run, args=(self.peers[-1],), daemon=True).start()

    def _run(self, peer):
        try:
            self.serve(peer)
        except (OSError, EOFError) as e:
            self.problems.append(e)
        finally:
            peer.sock.close()

    def stop(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for p in self.peers:
            try:
                p.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Peer:
    def __init__(self, sock):
        self.sock, self.buffer, self.head = sock, b"", ""
        sock.settimeout(30)

    def fill(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        self.buffer += data

    def read_head(self):
        while b"\r\n\r\n" not in self.buffer:
            self.fill()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        self.head = head.decode("latin-1")
        return self.head

    def read(self, n):
        while len(self.buffer) < n:
            self.fill()
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def header(self, name):
        found = [line.partition(":")[2].strip() for line in self.head.split("\r\n")[1:]
                 if line.partition(":")[0].lower() == name.lower()]
        return ", ".join(found) if found else None

    def send(self, data):
        self.sock.sendall(data)
