"""A headless Chromium, driven by its DevTools protocol over a pipe: nothing to install but the
browser. Collects what a user's console would show."""
import base64
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import time

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


def find():
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """with Browser(directory) as page: page.open(url); page.run("1 + 1")"""

    def __init__(self, directory, width=1200, height=1000):
        self.ids, self.buffer = itertools.count(1), b""
        self.requests = []    # URLs, since the last open()
        self.complaints = []  # errors and warnings of the console, exceptions, what a policy refused
        self.session = None
        to_read, self.to = os.pipe()
        self.back, to_write = os.pipe()
        # The browser reads from descriptor 3 and writes to 4; ours are out of the way of these.
        ends = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (to_read, to_write)]
        self.process = subprocess.Popen(
            [find(), "--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu",
             "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
             "--disable-background-networking", "--no-proxy-server", f"--user-data-dir={directory}",
             f"--window-size={width},{height}", "about:blank"],
            pass_fds=(3, 4), preexec_fn=lambda: [os.dup2(fd, 3 + i) for i, fd in enumerate(ends)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for fd in (to_read, to_write, *ends):
            os.close(fd)

    def __enter__(self):
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)
        os.close(self.to)
        os.close(self.back)

    def read(self, deadline):
        while b"\0" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.back], [], [], left)[0]:
                raise TimeoutError("the browser says nothing")
            data = os.read(self.back, 1 << 20)
            assert data, "the browser has ended"
            self.buffer += data
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def ask(self, method, timeout=30, **params):
        mine = next(self.ids)
        call = {"id": mine, "method": method, "params": params}
        if self.session:
            call["sessionId"] = self.session
        os.write(self.to, json.dumps(call).encode() + b"\0")
        deadline = time.monotonic() + timeout
        while True:
            m = self.read(deadline)
            self.note(m)
            if m.get("id") == mine:
                assert "error" not in m, m
                return m["result"]

    def note(self, m):
        p = m.get("params", {})
        if m.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(p["exceptionDetails"])
        elif m.get("method") == "Runtime.consoleAPICalled" and p["type"] in ("error", "warning"):
            self.complaints.append(p["args"])
        elif m.get("method") == "Log.entryAdded" and p["entry"]["level"] in ("error", "warning"):
            self.complaints.append(p["entry"])
        elif m.get("method") == "Network.requestWillBeSent":
            self.requests.append(p["request"]["url"])

    def open(self, url):
        self.requests = []
        self.ask("Page.navigate", url=url)
        self.wait(f"document.readyState === 'complete' && location.href === {json.dumps(url)}")

    def run(self, script):
        """The value of an expression in the page."""
        r = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in r, r
        return r["result"].get("value")

    def wait(self, script, timeout=20):
        """Until the expression is true there."""
        end = time.monotonic() + timeout
        while not (value := self.run(script)):
            assert time.monotonic() < end, f"never true: {script}\n{self.run('document.body.innerText')}"
            time.sleep(0.05)
        return value

    def screenshot(self, path):
        r = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(r["data"]))
