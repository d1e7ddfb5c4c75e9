"""What deploy/ has for Prometheus and Grafana, against the metrics of a running program and, where
it is installed (PATH, or build/tools by tests/run.sh), against a real Prometheus."""
import json
import re
import shutil
import subprocess
import urllib.parse

import pytest

from client import http_get, wait_for
from conftest import ROOT, free_port

TOOLS = ROOT / "build/tools/prometheus/usr/bin"
ALERTS = ROOT / "deploy/prometheus/alerts.yaml"
RUNBOOK = ROOT / "docs/runbook.md"
DASHBOARD = ROOT / "deploy/grafana/holdfast.json"


def tool(name):
    found = shutil.which(name, path=f"{TOOLS}:/usr/local/bin:/usr/bin:/bin")
    if not found:
        pytest.skip(f"no {name}: apt-get install prometheus")
    return found


def check(*command, **more):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def alert_queries():
    """{alert: expression}, read without a YAML library: each is on one line, or folded below."""
    found = {}
    for block in ALERTS.read_text().split("- alert: ")[1:]:
        name, rest = block.split("\n", 1)
        m = re.search(r"expr: (?:>-\n((?: {10}.*\n)+)|(.*)\n)", rest)
        found[name] = " ".join((m[1] or m[2]).split())
    return found


def panels():
    return [p for p in json.loads(DASHBOARD.read_text())["panels"] if p["type"] != "row"]


def dashboard_queries():
    """[(panel, expression)], the variables filled in as Grafana would."""
    fill = {"$__rate_interval": "1m", "$instance": ".*", "$job": "holdfast"}
    found = []
    for p in panels():
        for t in p["targets"]:
            query = t["expr"]
            for variable, value in fill.items():
                query = query.replace(variable, value)
            found.append((p["title"], query))
    return found


@pytest.fixture
def busy(upstream, holdfast):
    """A program whose metrics have something of everything that happens now and then."""
    a, b = upstream("A", default="status?code=500"), upstream("B", default="status?code=401")
    p = holdfast(a, b, upstream("C"))
    for stream in (True, False) * 3:
        assert p.chat(stream=stream).status == 200
    return p


def test_every_query_names_metrics_and_labels_that_exist(busy):
    """One that does not would be an empty panel, or an alert that never comes."""
    known = {}
    for line in busy.metrics().splitlines():
        m = re.fullmatch(r"([a-z_]+)(?:\{(.*)\})? \S+", line)
        if m:
            known.setdefault(m[1], set()).update(re.findall(r'(\w+)="', m[2] or ""))
    queries = dashboard_queries() + list(alert_queries().items())
    assert len(queries) > 35
    used = set()
    for where, query in queries:
        for name, labels in re.findall(r"\b((?:holdfast|process)_[a-z_]+)(?:\{([^}]*)\})?", query):
            assert name in known, f"{where}: no metric {name}"
            asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", labels or ""))
            assert asked <= known[name] | {"instance", "job"}, f"{where}: {name}{{{labels}}}"
            used.add(name)
        names = set().union(*(known[n] for n in known if n in query)) | {"instance", "job"}
        for by in re.findall(r"\bby \(([^)]*)\)", query):
            assert set(by.split(", ")) <= names, f"{where}: by ({by})"
    missing = {re.sub(r"_(bucket|sum|count)$", "", n) for n in known} - {
        re.sub(r"_bucket$", "", n) for n in used}
    assert missing <= {"holdfast_attempt_duration_seconds", "holdfast_kept_answers",
                       "process_start_time_seconds"}, f"shown nowhere: {missing}"


def test_the_runbook_has_a_section_for_every_alert_and_no_other():
    sections = re.findall(r"^## (Holdfast\w+)$", RUNBOOK.read_text(), re.M)
    assert sorted(sections) == sorted(alert_queries())


def test_the_runbook_names_only_what_exists(busy, run):
    text = RUNBOOK.read_text()
    known = set(re.findall(r"^# TYPE (\S+)", busy.metrics(), re.M))
    for name in re.findall(r"\b(?:holdfast|process)_[a-z_]+", text):
        assert re.sub(r"_bucket$", "", name) in known, f"no metric {name}"
    commands = set(re.findall(r"^  ([a-z]+)  ", run("--help").stdout, re.M))
    asked = set(re.findall(r"(?:^|`|-- )holdfast ([a-z]+)", text, re.M))
    assert asked and asked <= commands, asked - commands
    manual = run("manual").stdout
    for option in re.findall(r"`((?:log|limits|timeouts|drain|clients\[\])\.[a-z_]+)`", text):
        assert f"| `{option}` |" in manual, f"no option {option}"
    headings = {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-")
                for h in re.findall(r"^#+ (.*)$", text, re.M)}
    for place in re.findall(r"\]\(#([^)]*)\)", text):
        assert place in headings, f"no section #{place}"


def test_the_log_lines_of_the_runbook_are_those_of_the_program():
    sources = "".join(p.read_text() for d in ("proxy", "config") for p in (ROOT / d).rglob("*.c"))
    sources = re.sub(r'"\s*"', "", sources)
    sources = re.sub(r'%[-.0-9l]*[a-z]|%" PRIu64 "', "...", sources)
    lines = "".join(re.findall(r"```log\n(.*?)```", RUNBOOK.read_text(), re.S)).splitlines()
    assert len(lines) > 10
    for line in filter(None, map(str.strip, lines)):
        assert line in sources, f"no such message: {line}"


def test_the_dashboard_is_whole():
    doc = json.loads(DASHBOARD.read_text())
    ids = [p["id"] for p in doc["panels"]]
    assert len(set(ids)) == len(ids) and doc["uid"] == "holdfast"
    cells = set()
    for p in doc["panels"]:
        g = p["gridPos"]
        mine = {(x, y) for x in range(g["x"], g["x"] + g["w"])
                for y in range(g["y"], g["y"] + g["h"])}
        assert g["x"] + g["w"] <= 24 and not mine & cells, f"{p['title']} overlaps another panel"
        cells |= mine


def test_promtool_finds_no_fault_with_the_metrics(busy):
    check(tool("promtool"), "check", "metrics", input=busy.metrics())


def test_alerts_come_on_the_days_they_are_for():
    promtool = tool("promtool")
    tests = ROOT / "tests/prometheus/alerts_test.yaml"
    assert f"{len(alert_queries())} rules found" in check(promtool, "check", "rules", str(ALERTS))
    for name in alert_queries():
        assert name in tests.read_text(), f"{name} has no test"
    assert "SUCCESS" in check(promtool, "test", "rules", str(tests))


def test_a_real_prometheus_scrapes_answers_every_query_and_raises_alerts(busy, tmp_path):
    prometheus, port = tool("prometheus"), free_port()
    rules = re.sub(r"for: \w+", "for: 0s", ALERTS.read_text())
    (tmp_path / "alerts.yaml").write_text(rules)
    (tmp_path / "prometheus.yaml").write_text(json.dumps({
        "global": {"scrape_interval": "200ms", "evaluation_interval": "200ms"},
        "rule_files": ["alerts.yaml"],
        "scrape_configs": [{"job_name": "holdfast", "static_configs": [
            {"targets": [f"127.0.0.1:{busy.admin}"]}]}]}))
    log = open(tmp_path / "prometheus.log", "wb")
    process = subprocess.Popen(
        [prometheus, f"--config.file={tmp_path / 'prometheus.yaml'}",
         f"--storage.tsdb.path={tmp_path / 'data'}", f"--web.listen-address=127.0.0.1:{port}"],
        stdout=log, stderr=log)

    def ask(query):
        path = "/api/v1/query?" + urllib.parse.urlencode({"query": query})
        try:
            code, _, body = http_get(port, path)
        except OSError:
            return None
        answer = json.loads(body)
        assert code == 200 and answer["status"] == "success", (query, answer)
        return answer["data"]["result"]
    try:
        wait_for(lambda: http_ready(port), timeout=30)
        wait_for(lambda: ask("count_over_time(holdfast_build_info[1m]) >= 3"), timeout=30)
        assert ask("scrape_samples_scraped")[0]["value"][1] != "0"
        for where, query in dashboard_queries():
            result = ask(query)
            # Filtered by a comparison, or quotients of no traffic within the minute: may be empty.
            if "> 0" not in query and "quantile" not in query:
                assert result, f"{where}: {query}"
        assert ask('ALERTS{alertname="HoldfastTargetOut",target="b/model-b",alertstate="firing"}')
        assert ask('ALERTS{alertname="HoldfastAccountNeedsCare",provider="b"}')
        assert not ask('ALERTS{severity="page"}'), "C answers everything"
    finally:
        process.terminate()
        process.wait(20)


def http_ready(port):
    try:
        return http_get(port, "/-/ready")[0] == 200
    except OSError:
        return False
