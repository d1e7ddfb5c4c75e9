"""faultd - a scripted fault server that speaks the OpenAI chat dialect.

In a test:

    with Faultd("A", queue=["status?code=503", "ok"]) as up:
        ...                     # point a provider's base_url at up.base_url
        assert [a.script for a in up.attempts] == ["status", "ok"]

Each request is answered by one script of scripts.py. Which one: the request's model when it reads
"fault:NAME?key=value&...", else the next spec of the queue, else the server's default ("ok").
Faults that happen before a request was read (accept, TLS) are chosen per connection, see Faultd.
"""
from .certs import Certs
from .connect_proxy import ConnectProxy
from . import task
from .server import Attempt, Connection, Faultd, blackhole, closed_port

__all__ = ["Attempt", "Certs", "ConnectProxy", "Connection", "Faultd", "blackhole", "closed_port",
           "task"]
