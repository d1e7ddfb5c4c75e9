"""The edges between two connections: what must hold whatever the order in which bytes come."""
import os
import signal
import socket
import struct
import time
from contextlib import contextmanager

import pytest

from client import Raw, chat_body, request_bytes, wait_for
from faultd import bodies, scripts

PATIENT = {"first_token": "20s", "answer": "20s", "idle": "20s", "total": "30s"}
ASK = request_bytes("POST", "/v1/chat/completions", chat_body())
ASK_STREAM = request_bytes("POST", "/v1/chat/completions", chat_body(stream=True))


def word(text):
    return scripts.event(bodies.chunk("model-a", {"content": text}))


STOP = scripts.event(bodies.chunk("model-a", {}, "stop"))
DONE = scripts.event(scripts.DONE)


@contextmanager
def frozen(proxy):
    """What happens meanwhile is there all at once, in its order, when the proxy goes on."""
    proxy.process.send_signal(signal.SIGSTOP)
    time.sleep(0.05)
    yield
    time.sleep(0.05)
    proxy.process.send_signal(signal.SIGCONT)


def serve(up, function):
    """Lets `function(exchange)` answer the upstream's requests."""
    scripts.SCRIPTS[function.__name__] = function
    up.default = function.__name__


# -- towards the provider ----------------------------------------------------------------------
def test_an_interim_head_in_pieces_with_the_next_head_behind_it(upstream, holdfast):
    def interim_in_pieces(x):
        body = bodies.dump(bodies.completion(x.model, "A: fine", 2, 0))
        head = (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n" % len(body))
        for piece in (b"HTTP/1.1 100 Con", b"tinue\r\n\r\n" + head[:-10], head[-10:] + body):
            x.send(piece)
            time.sleep(0.05)
    a = upstream("A")
    serve(a, interim_in_pieces)
    p = holdfast(a)
    assert p.chat().text == "A: fine"
