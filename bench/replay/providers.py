"""A simulated provider in OpenAI's dialect: it answers at a request's own pace, up to its capacity,
fails as the story says, and writes down every call."""
import asyncio
import json
import socket
import struct
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

PACE_S = 0.05  # how often it looks whether its door should be closed


@dataclass
class Call:
    """One request that came in whole."""
    at: float
    who: str
    request_id: str
    nth: int            # of this request at this provider
    reused: bool        # not the first one of its connection
    outcome: str = "running"  # ok | a kind of fault | shed | left (the caller went away)


class Gone(Exception):
    """The caller has left."""


class Hangup(Exception):
    """We end the connection, honestly or not."""


def page(status, reason, text):
    return status, reason, "text/html; charset=UTF-8", text.encode()


def error(status, reason, message, kind, code=None):
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return status, reason, "application/json", json.dumps(body).encode()


# What is said at once: (status, reason, content type, body).
SAID = {
    "bad_gateway": page(502, "Bad Gateway",
                        "<!DOCTYPE html><html><head><title>502: Bad gateway</title></head><body>"
                        "<div id=\"cf-wrapper\"><h1>Bad gateway <span>Error code 502</span></h1></div>"
                        "</body></html>"),
    "portal": page(200, "OK",
                   "<html><head><title>Welcome</title></head><body><form>Accept the terms of use to "
                   "go online.</form></body></html>"),
    "proxy_auth": page(407, "Proxy Authentication Required",
                       "<html><body>Authenticate to the web gateway.</body></html>"),
    "server_error": error(500, "Internal Server Error",
                          "The server had an error while processing your request. Sorry about that!",
                          "server_error"),
    "overloaded": error(503, "Service Unavailable",
                        "The engine is currently overloaded, please try again later.",
                        "server_error", "overloaded"),
    "auth": error(401, "Unauthorized", "Incorrect API key provided.", "invalid_request_error",
                  "invalid_api_key"),
    "quota": error(429, "Too Many Requests",
                   "You exceeded your current quota, please check your plan and billing details.",
                   "insufficient_quota", "insufficient_quota"),
    "gone": error(404, "Not Found", "The model does not exist or you do not have access to it.",
                  "invalid_request_error", "model_not_found"),
}
SHED = {
    429: error(429, "Too Many Requests", "Rate limit reached for requests.", "requests",
               "rate_limit_exceeded"),
    503: SAID["overloaded"],
    529: error(529, "Overloaded", "Overloaded", "overloaded_error"),
}


class Provider:
    """One provider of one run. `requests` maps the ids to what is to be answered."""

    def __init__(self, name, story, requests, clock, place):
        self.name, self.story, self.requests = name, story, requests
        self.clock, self.port = clock, place.getsockname()[1]
        self.place = place  # keeps the port ours while the door is closed
        self.calls, self.seen, self.busy, self.crashed_until = [], Counter(), 0, 0.0
        self.tokens, self.tokens_at = 1.0, 0.0
        self.idle, self.tasks, self.server, self.keeper = set(), set(), None, None

    async def start(self):
        await self._open()
        self.keeper = asyncio.create_task(self._keep_door())

    async def stop(self):
        self._close()
        self.place.close()
        self.keeper.cancel()
        for t in list(self.tasks):
            t.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        with suppress(asyncio.CancelledError):  # but not what it may have failed with before
            await self.keeper

    # -- the door ------------------------------------------------------------------------------
    async def _open(self):
        self.server = await asyncio.start_server(self._connection, "127.0.0.1", self.port,
                                                 backlog=512, reuse_port=True)

    def _close(self):
        """Refuses new connections and ends the unused ones; answers under way are finished."""
        if self.server:
            self.server.close()
        self.server = None
        for writer in list(self.idle):
            writer.transport.abort()

    async def _keep_door(self):
        while True:
            closed = self.story.is_refused(self.name, self.clock())
            if closed and self.server:
                self._close()
            elif not closed and not self.server:
                await self._open()
            await asyncio.sleep(PACE_S)

    async def _connection(self, reader, writer):
        task = asyncio.current_task()
        self.tasks.add(task)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            reused = False
            while self.server:
                self.idle.add(writer)
                body = await self._read(reader)
                self.idle.discard(writer)
                await self._serve(body, reused, reader, writer)
                reused = True
            writer.close()
        except (Gone, Hangup, ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self.idle.discard(writer)
            self.tasks.discard(task)

    @staticmethod
    async def _read(reader):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        size = head.partition(b"content-length:")[2].split(b"\r\n")[0]
        return await reader.readexactly(int(size))

    # -- one call ------------------------------------------------------------------------------
    async def _serve(self, body, reused, reader, writer):
        asked = json.loads(body)
        request = self.requests[asked["messages"][-1]["content"].split()[-1]]
        now = self.clock()
        call = Call(now, self.name, request.id, self.seen[request.id], reused)
        self.seen[request.id] += 1
        self.calls.append(call)
        kind, draw = self.story.fate(self.name, now, request.id, call.nth)
        left, load = self.story.load(self.name, now)
        try:
            if kind == "reset":
                raise Hangup
            if kind == "hang":
                await self._wait(600, reader)
            elif kind in SAID:
                await self._say(writer, SAID[kind])
            elif self.is_full(now, left, load):
                kind = "shed"
                await self._shed(writer, now, load)
            else:
                self.busy += 1
                try:
                    await self._answer(request, asked, kind, draw, reader, writer)
                finally:
                    self.busy -= 1
            call.outcome = kind or "ok"
        except Hangup:
            call.outcome = kind
            raise
        except (Gone, ConnectionError):
            call.outcome = "left" if kind in (None, "slow") else kind
            raise

    def is_full(self, now, left, load):
        c = self.story.capacity[self.name]
        if now < self.crashed_until:
            return True
        full = self.busy >= c.in_flight * left
        if c.per_s:
            rate = c.per_s * left
            self.tokens = min(max(1.0, rate), self.tokens + rate * (now - self.tokens_at))
            self.tokens_at = now
            full = full or self.tokens < 1
            self.tokens -= not full
        if full and load and load.crash_s:
            self.crashed_until = now + load.crash_s
        return full

    async def _shed(self, writer, now, load):
        c = self.story.capacity[self.name]
        if now < self.crashed_until:
            return await self._say(writer, SAID["server_error"])
        after = self.story.retry_after(self.name, now)
        await self._say(writer, SHED[c.status], f"Retry-After: {after:.0f}\r\n" if after else "")

    async def _say(self, writer, said, fields=""):
        status, reason, content_type, body = said
        writer.write(f"HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\n{fields}"
                     f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()

    async def _wait(self, seconds, reader):
        """Notices at once when the caller leaves."""
        try:
            await asyncio.wait_for(reader.read(1), seconds)
        except TimeoutError:
            return
        raise Gone

    async def _pause(self, seconds, reader):
        await asyncio.sleep(seconds)
        if reader.at_eof() or reader.exception():
            raise Gone

    async def _answer(self, request, asked, kind, draw, reader, writer):
        pieces = request.pieces(self.name)
        stop = draw.randint(1, len(pieces) - 1) if kind in ("cut", "stall") else None
        await self._pause(request.first_s * (10 if kind == "slow" else 1), reader)
        if not asked.get("stream"):
            return await self._whole(request, pieces, stop, kind, draw, reader, writer)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                     b"Transfer-Encoding: chunked\r\n\r\n"
                     + self._event(request, {"role": "assistant"}))
        for i, piece in enumerate(pieces):
            if i > 0:
                await self._pause(request.gaps[i - 1], reader)
            event = self._event(request, {"content": piece})
            if i == stop:
                await self._break(kind, draw, event, reader, writer)
            writer.write(event)
        writer.write(self._event(request, {}, "stop") + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        await writer.drain()

    async def _whole(self, request, pieces, stop, kind, draw, reader, writer):
        await self._pause(sum(request.gaps), reader)
        body = json.dumps({"id": "chatcmpl-" + request.id, "object": "chat.completion", "created": 1,
                           "model": self.name, "choices": [{
                               "index": 0, "finish_reason": "stop", "logprobs": None,
                               "message": {"role": "assistant", "content": "".join(pieces)}}],
                           "usage": {"prompt_tokens": 9, "completion_tokens": len(pieces),
                                     "total_tokens": 9 + len(pieces)}}, ensure_ascii=False).encode()
        head = (f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n").encode()
        if stop is not None:
            writer.write(head)
            await self._break(kind, draw, body, reader, writer)
        writer.write(head + body)
        await writer.drain()

    async def _break(self, kind, draw, rest, reader, writer):
        """Ends the answer in its middle: silence, or a connection that is lost or reset somewhere in
        the bytes to come, or (a stream) an end that looks clean."""
        if kind == "stall":
            await self._wait(600, reader)
        how = draw.choice(("lost", "reset", "clean"))
        clean = how == "clean" and rest.endswith(b"\r\n")
        writer.write(b"0\r\n\r\n" if clean else rest[:draw.randrange(len(rest))])
        await writer.drain()
        if how == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        raise Hangup

    def _event(self, request, delta, finish=None):
        """One event of a stream, as an HTTP chunk."""
        data = json.dumps({"id": "chatcmpl-" + request.id, "object": "chat.completion.chunk",
                           "created": 1, "model": self.name,
                           "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]},
                          ensure_ascii=False).encode()
        event = b"data: " + data + b"\n\n"
        return b"%x\r\n%s\r\n" % (len(event), event)
