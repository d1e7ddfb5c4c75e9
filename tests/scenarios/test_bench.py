"""The measuring tools of bench/ measure, notice wrong answers, and leave nothing behind. How fast the
program is, is not judged here: these runs are too short for that."""
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from client import wait_for
from conftest import BINARY, ROOT, free_port

PATH = os.environ["PATH"] + ":/usr/sbin"
pytestmark = [
    pytest.mark.release,
    pytest.mark.skipif(not shutil.which("nginx", path=PATH), reason="nginx is not installed"),
]


@pytest.fixture
def bench(tmp_path):
    """bench(options...) is the running command; what it starts is known by the folder in its command line."""
    started = []

    def start(*options, holdfast=("--holdfast", BINARY)):
        started.append(subprocess.Popen(
            [ROOT / "bench/run.sh", "--short", "--rounds", "1", *map(str, (*holdfast, *options))], text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=os.environ | {"TMPDIR": str(tmp_path)}))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
    wait_for(lambda: not left(tmp_path), timeout=5)


def left(folder):
    """Command lines of processes that were started for the run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if str(folder) in command:
            found.append(command)
    return found


def figures_of(bench, tmp_path, *options):
    process = bench("--json", tmp_path / "figures.json", *options)
    out, err = process.communicate(timeout=150)
    assert process.returncode == 0, err[-3000:]
    assert "FAILED" not in out
    found = json.loads((tmp_path / "figures.json").read_text())
    assert found["failures"] == []
    return out, found


def check_positive(figures, workload, names, metric="cpu"):
    for name in names:
        assert figures[workload][name][metric][0] > 0, (workload, name)


def test_the_comparison_measures_every_row_of_the_targets(bench, tmp_path):
    out, found = figures_of(bench, tmp_path)
    figures = found["figures"]
    for workload in ("small-1", "small-64", "body-200k", "stream-fast", "stream-paced"):
        check_positive(figures, workload, ("nginx", "holdfast", "to Anthropic", "to Gemini"))
        check_positive(figures, workload, ("direct",), "p50")
        assert f"| {workload}: " in out
    for workload in ("small-1-tls", "small-64-tls", "stream-500", "stream-5000"):
        check_positive(figures, workload, ("nginx", "holdfast"))
    for workload in ("memory-plain", "memory-tls"):
        check_positive(figures, workload, ("nginx", "holdfast"), "stream_bytes")
    check_positive(figures, "idle-used", ("nginx", "holdfast"), "rss")
    check_positive(figures, "start", ("nginx", "holdfast"), "ms")
    check_positive(figures, "dead-target", ("healthy", "dead"))

    again, _ = bench("--from", tmp_path / "figures.json").communicate(timeout=20)
    assert again == out
    assert len(found["targets"]) == 26
    for target in found["targets"]:
        assert target["measured"] is not None and target["holds"] in ("aim", "must", "NO")
        assert f"| {target['what']} | " in out


def test_growth_is_measured_to_thousands_of_connections_and_streams(bench, tmp_path):
    out, found = figures_of(bench, tmp_path, "--growth", "--plots", tmp_path / "plots")
    for kind, count in (("connections", 6), ("streams", 3), ("workers", 4)):
        workloads = [w for w in found["figures"] if w.startswith(f"{kind}-")]
        assert len(workloads) >= count
        for workload in workloads:
            check_positive(found["figures"], workload, ("nginx", "holdfast"))
    assert "| 5,000 | " in out


def test_a_wrong_answer_fails_the_row_and_the_run(bench, tmp_path):
    port = free_port()
    (tmp_path / "peer.yaml").write_text(
        f"listen: [127.0.0.1:{port}]\nadmin: off\nproviders: {{notice: {{type: scripted, text: no tide}}}}\n"
        "routes: [{model: '*', targets: [notice/x]}]\n")
    process = bench("--only", "small-1", "--peer", f"exec {BINARY} -c {tmp_path}/peer.yaml", "--peer-port", port,
                    holdfast=["--no-holdfast"])
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "wrong answer: its text or its end is not the provider's" in err and "FAILED small-1 peer" in err
    row = next(line for line in out.splitlines() if line.startswith("| small-1: "))
    assert row.count("FAILED") == 1


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_leaves_no_process_behind(bench, tmp_path, how):
    process = bench("--only", "small-1", "--rounds", "20")
    for line in process.stderr:
        if "small-1 holdfast" in line:
            break
    assert len(left(tmp_path)) >= 4
    process.send_signal(how)
    assert process.wait(timeout=20) == (143 if how == signal.SIGTERM else -how)
    wait_for(lambda: not left(tmp_path), timeout=5)


@pytest.mark.parametrize("options, text", [
    (["--only", "nothing"], "invalid choice: 'nothing'"),
    (["--rounds", "0"], "--rounds"),
    (["--peer", "true"], "belong together"),
    (["--core", "4096"], "we may not use a CPU 4096"),
])
def test_wrong_usage_is_told(bench, options, text):
    process = bench(*options)
    start = time.monotonic()
    _, err = process.communicate(timeout=20)
    assert process.returncode == 2 and text in err
    assert time.monotonic() - start < 5
