"""The clients: they ask at their own pace whatever happens, and retry like the official SDKs."""
import asyncio
import json
from dataclasses import dataclass
from random import Random

from .scripts import OFFLINE, SLA

RETRIES = 2          # of the official SDKs
SILENT_S = 20        # a call that was silent for so long when its caller gave up was a hang: longer
                     # than a place in a queue and a second target are waited for together
MOST_WAIT_S = 60     # the SDKs ignore a longer Retry-After


@dataclass
class Record:
    """What became of one request.

    outcome: good (whole and right) | offline (the scripted answer) | failed (an honest error) |
    late (given up while waiting or while bytes came) | hang | truncated (less than the answer, said
    to be whole) | wrong (bytes that no provider would have sent there)
    """
    request: object
    outcome: str = None
    by: str = None
    why: str = ""
    first_s: float = None  # from the arrival to the first output of the last try
    took_s: float = None
    tries: int = 0
    refused: int = 0       # tries that got no connection

    @property
    def answered(self):
        return self.outcome in ("good", "offline")


class Retry(Exception):
    """A failure after which the SDKs try again, after so many seconds if somebody said."""

    def __init__(self, why, wait=None):
        super().__init__(why)
        self.wait = wait


class Failed(Exception):
    """A failure that the SDKs pass to their caller."""


class Try:
    """One call; what came of the answer stays here however it ends."""

    def __init__(self, port, request, n, clock):
        self.port, self.request, self.n, self.clock = port, request, n, clock
        self.text, self.first_at, self.heard_at, self.connected = "", None, clock(), False

    async def run(self):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            raise Retry("no connection") from None
        self.connected = True
        try:
            writer.write(self._bytes())
            await self._answer(reader)
        except (asyncio.IncompleteReadError, ConnectionError):
            if self.text:
                raise Failed("connection lost") from None
            raise Retry("connection lost") from None
        finally:
            writer.transport.abort()

    def _bytes(self):
        body = json.dumps({"model": "m", "stream": self.request.stream, "messages": [
            {"role": "user", "content": f"Answer request {self.request.id}"}]}).encode()
        return (f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n"
                f"Content-Type: application/json\r\nAuthorization: Bearer sk-test\r\n"
                f"x-stainless-timeout: {SLA}\r\nx-stainless-retry-count: {self.n}\r\nContent-Length: {len(body)}\r\n"
                f"Connection: close\r\n\r\n").encode() + body

    async def _answer(self, reader):
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        fields = {k.lower(): v.strip() for k, _, v in (x.partition(":") for x in lines[1:] if x)}
        if status >= 400:
            self._refusal(status, fields)
        if self.request.stream:
            return await self._events(self._pieces(reader, fields))
        body = b"".join([p async for p in self._pieces(reader, fields)])
        try:
            self.text = json.loads(body)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError):
            raise Failed("not a chat completion") from None
        self.first_at = self.clock()

    @staticmethod
    def _refusal(status, fields):
        """What the SDKs make of an error: obey x-should-retry, else judge by the status."""
        wish = fields.get("x-should-retry")
        again = wish == "true" if wish in ("true", "false") else \
            status in (408, 409, 429) or status >= 500
        if not again:
            raise Failed(f"status {status}")
        try:
            wait = float(fields["retry-after-ms"]) / 1000 if "retry-after-ms" in fields else \
                float(fields.get("retry-after", "nan"))
        except ValueError:
            wait = None
        raise Retry(f"status {status}", wait if wait and 0 < wait <= MOST_WAIT_S else None)

    async def _pieces(self, reader, fields):
        """The body's bytes as they come. IncompleteReadError where it ends before its framing."""
        if fields.get("transfer-encoding") == "chunked":
            while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                yield (await reader.readexactly(size + 2))[:-2]
                self.heard_at = self.clock()
            await reader.readuntil(b"\r\n")
        elif "content-length" in fields:
            yield await reader.readexactly(int(fields["content-length"]))
        else:
            while piece := await reader.read(65536):
                yield piece

    async def _events(self, pieces):
        """Reads a stream as the SDKs do: [DONE] or the body's end is the end, an error is raised."""
        rest = b""
        async for piece in pieces:
            *events, rest = (rest + piece).split(b"\n\n")
            for event in events:
                if event.startswith(b"data: [DONE]"):
                    return
                if event.startswith(b"data: "):
                    self._event(json.loads(event[6:]))

    def _event(self, chunk):
        if "error" in chunk:
            raise Failed("error in the stream: " + str(chunk["error"].get("code")))
        for choice in chunk["choices"]:
            if content := choice["delta"].get("content"):
                self.first_at = self.first_at or self.clock()
                self.text += content


def wait_before(n, wished, draw):
    """openai-python: what the server wishes, else 0.5 s doubling to 8 s, less up to a quarter."""
    return wished or min(0.5 * 2 ** n, 8) * (1 - 0.25 * draw.random())


def judge(record, text, names, ended_well):
    """Compares what was received with what each provider would have said."""
    request = record.request
    for name in names:
        whole = request.text(name)
        if ended_well and text == whole:
            record.outcome, record.by = "good", name
        elif whole.startswith(text):
            record.outcome = "truncated" if ended_well else "failed"
        else:
            continue
        return
    if ended_well and text == OFFLINE:
        record.outcome, record.by = "offline", "offline"
    else:
        record.outcome = "failed" if OFFLINE.startswith(text) and not ended_well else "wrong"


async def ask(port, request, names, clock, seed):
    """One request with its retries, until its answer, its error, or the caller's patience ends."""
    record, draw, t = Record(request), Random(f"{seed}/client/{request.id}"), None
    try:
        async with asyncio.timeout(SLA):
            for n in range(RETRIES + 1):
                t = Try(port, request, n, clock)
                record.tries += 1
                try:
                    await t.run()
                    judge(record, t.text, names, ended_well=True)
                    break
                except (Failed, Retry) as e:
                    record.why = str(e)
                    record.refused += not t.connected
                    judge(record, t.text, names, ended_well=False)
                    if isinstance(e, Failed) or n == RETRIES:
                        break
                    t = None
                    await asyncio.sleep(wait_before(n, e.wait, draw))
    except TimeoutError:
        judge(record, t.text if t else "", names, ended_well=False)
        if record.outcome != "wrong":
            silent = t is not None and clock() - t.heard_at >= SILENT_S
            record.outcome = "hang" if silent else "late"
    record.took_s = clock() - request.at
    if record.answered:
        record.first_s = t.first_at - request.at
    return record


async def ask_all(port, requests, names, clock, seed):
    """Open loop: everybody asks at their time, however the others fare."""
    async def one(request):
        await asyncio.sleep(max(0, request.at - clock()))
        return await ask(port, request, names, clock, seed)
    return await asyncio.gather(*map(one, requests))
