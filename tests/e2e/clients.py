"""What the tests of real clients share: README's table of them, and how a program is run before the
proxy, in a home of its own and with nothing but loopback."""
import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = Path(os.environ.get("HOLDFAST_NODE_MODULES", ROOT / "build/e2e/node_modules"))
ADDRESS = "127.0.0.1:8090"  # of the README; a test has its own
KEYS = {"a": "sk-canary-a-0123456789", "b": "sk-canary-b-0123456789"}
KINDS = {"anthropic": {"type": "anthropic"}, "gemini": {"type": "gemini"},
         "chat": {"type": "openai"}, "responses": {"type": "openai", "dialect": "both"}}
MODELS = {"anthropic": "claude-sonnet-4-5", "gemini": "gemini-3-flash-preview", "chat": "gpt-4o",
          "responses": "gpt-5"}
CALM = {"hedge": {"after": "off"}}  # the second provider is asked when the first has failed, only
KEY_HEADERS = {"openai": "authorization", "anthropic": "x-api-key", "gemini": "x-goog-api-key"}


def table():
    """{client: (what to set, [tests])} of README's table "Point your client here"."""
    text = (ROOT / "README.md").read_text("utf-8").partition("\n## Point your client here\n")[2]
    found = {}
    for line in text.partition("\n## ")[0].splitlines():
        cells = [c.strip() for c in line.strip("|").split(" | ")]
        if line.startswith("|") and len(cells) == 3 and cells[0] not in ("client", "---"):
            found[cells[0]] = cells[1], re.findall(r"`([^`]+)`", cells[2])
    return found


class Setting:
    """A row's code, before a proxy at this port: variables to export, files below the home, an
    expression."""

    def __init__(self, client, port):
        self.env, self.files, self.code = {}, {}, ""
        name = None
        for span in re.findall(r"`([^`]+)`", table()[client][0]):
            span = span.replace(ADDRESS, f"127.0.0.1:{port}")
            if span.startswith("export "):
                self.env |= dict(w.split("=", 1) for w in shlex.split(span)[1:])
            elif span.startswith("~/"):
                name = span[2:]
                self.files[name] = ""
            elif name:
                self.files[name] += span + "\n"
            else:
                self.code = span


def installed(package):
    """Skips the test, by the package's name, where it is not there."""
    if not (MODULES / package).exists():
        pytest.skip(f"{package} is not installed")


def run(command, setting, home, cwd=None, env=None, timeout=200):
    """The finished process of a client that was set up as its row says."""
    for name, text in setting.files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    process = subprocess.Popen(
        command, cwd=cwd or home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={"PATH": f"{MODULES}/.bin:{os.environ['PATH']}", "HOME": str(home), "LANG": "C.UTF-8",
             "NODE_PATH": str(MODULES), **setting.env, **(env or {})})
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        pytest.fail(f"{command[0]} did not end within {timeout} s:\n{out[-2000:]}\n{err[-4000:]}")
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def provider(name, kind, upstream):
    """The configuration of a provider that speaks `kind`."""
    return {**KINDS[kind], "base_url": upstream.base_url, "api_key": KEYS[name]}


def targets(*kinds):
    """Of a route: the first provider with the client's model, the second with one of its own."""
    return ["a", f"b/{MODELS[kinds[1]]}"] if len(kinds) == 2 else ["a"]


def check_keys(name, kind, upstream):
    """Each request had this provider's key in its place, and nobody else's anywhere."""
    own = KEY_HEADERS[KINDS[kind]["type"]]
    for a in upstream.attempts:
        value = (a.header(own) or "").removeprefix("Bearer ")
        assert value == KEYS[name], f"{a.path}: {value!r} is not the key of {name}"
        others = [k for k in KEYS.values() if k != KEYS[name]]
        text = f"{a.path} {a.headers}"
        assert not any(k in text for k in others)
        assert [h for h in KEY_HEADERS.values() if a.header(h)] == [own]
