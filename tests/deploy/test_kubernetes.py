"""The manifests for Kubernetes: what kustomize makes of them, by the published API and in use."""
import os
import re
import subprocess

import pytest

import netns
from client import wait_for
from conftest import ROOT

yaml = pytest.importorskip("yaml")
api = pytest.importorskip("kubernetes.client")

pytest_plugins = "delivery"

KUBECTL = ROOT / "build/deploy/kubectl"
POD_IP = "10.1.2.3"
UNITS = {"s": 1, "m": 60, "h": 3600}
SIZES = {"Mi": 1 << 20, "MiB": 1 << 20, "Gi": 1 << 30, "GiB": 1 << 30}


def render(name):
    """(name of the overlay, its objects by kind)"""
    if not KUBECTL.exists():
        pytest.skip("build/deploy/kubectl is not there: tests/run.sh gets it")
    done = subprocess.run([KUBECTL, "kustomize", ROOT / "deploy/kubernetes/overlays" / name],
                          text=True, capture_output=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return name, {o["kind"]: o for o in yaml.safe_load_all(done.stdout)}


@pytest.fixture(scope="module", params=["gateway", "sidecar"])
def overlay(request):
    return render(request.param)


def holdfast_container(objects):
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    return next(c for c in pod.get("initContainers", []) + pod["containers"]
                if c["name"] == "holdfast")


def environment(container):
    """What the container's program finds, with the keys of the secret."""
    secret = {"OPENAI_API_KEY": "sk-1", "ANTHROPIC_API_KEY": "sk-2"}
    return secret | {e["name"]: e["value"] for e in container["env"]}


def number(text, units):
    value, unit = re.fullmatch(r"([\d.]+)(\w+)", text).groups()
    return float(value) * units[unit]


def assert_valid(o):
    """Every field has its type, none is missing, and there is none that the API does not have."""
    understood = getattr(api, f"V1{o['kind']}").model_validate(o)
    assert understood.model_dump(by_alias=True, exclude_unset=True) == o


def test_every_object_is_as_the_published_api_has_it(overlay):
    for o in overlay[1].values():
        assert_valid(o)


@pytest.mark.parametrize("mistake", [
    lambda d: d["spec"].update(replcas=2),
    lambda d: d["spec"].update(replicas="2"),
    lambda d: d["spec"].pop("selector"),
    lambda d: d["spec"]["template"]["spec"]["containers"][0].update(securityContext={"readOnly": 1}),
])
def test_the_check_notices_a_mistake(mistake):
    o = yaml.safe_load((ROOT / "deploy/kubernetes/overlays/gateway/deployment.yaml").read_text())
    assert_valid(o)
    mistake(o)
    with pytest.raises((ValueError, AssertionError)):
        assert_valid(o)


def test_the_pod_is_fenced_in_and_has_probes(overlay):
    name, objects = overlay
    container = holdfast_container(objects)
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    context = pod.get("securityContext", {}) | container["securityContext"]
    assert context == {
        "runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"}, "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    ports = {p["name"] for p in container["ports"]}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] in ports
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert (container.get("restartPolicy") == "Always") == (name == "sidecar")
    version = re.search(r"^project\(holdfast VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text(),
                        re.M)[1]
    assert container["image"] == f"holdfast:{version}"


def test_what_belongs_to_the_gateway_finds_its_pods():
    objects = render("gateway")[1]
    labels = objects["Deployment"]["spec"]["template"]["metadata"]["labels"]
    selectors = [objects["Deployment"]["spec"]["selector"]["matchLabels"],
                 objects["Service"]["spec"]["selector"],
                 objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
                 objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]]
    assert all(s and s.items() <= labels.items() for s in selectors)
    ports = {p["name"] for p in holdfast_container(objects)["ports"]}
    policy = objects["NetworkPolicy"]["spec"]["ingress"]
    assert {p["port"] for rule in policy for p in rule["ports"]} == ports
    assert objects["Service"]["spec"]["ports"][0]["targetPort"] in ports
    assert objects["Deployment"]["spec"]["replicas"] > \
        objects["PodDisruptionBudget"]["spec"]["maxUnavailable"]


@pytest.fixture
def pod(overlay, release, tmp_path):
    """Holdfast with the configuration and environment of its container, in a network of its own."""
    if reason := netns.why_not():
        pytest.skip(f"needs a network namespace: {reason}")
    container = holdfast_container(overlay[1])
    (tmp_path / "holdfast.yaml").write_text(overlay[1]["ConfigMap"]["data"]["holdfast.yaml"])
    args = [str(tmp_path / "holdfast.yaml") if a.startswith("/etc/") else a
            for a in container["args"]]
    with open(tmp_path / "errors", "wb") as err:
        p = subprocess.Popen(["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh",
                              release, *args], stdin=subprocess.DEVNULL, stderr=err,
                             env=environment(container) | {"PATH": os.environ["PATH"]})
    wait_for(lambda: p.poll() is not None or "listening on" in (tmp_path / "errors").read_text(),
             timeout=30)
    assert p.poll() is None, (tmp_path / "errors").read_text()

    def ask(port, path, host):
        return subprocess.run(
            ["nsenter", "-t", str(p.pid), "-n", "curl", "-s", "--max-time", "10", "-o", "/dev/null",
             "-w", "%{http_code}", "-H", f"Host: {host}", f"http://127.0.0.1:{port}{path}"],
            text=True, stdout=subprocess.PIPE).stdout
    yield container, ask
    p.kill()
    p.wait()


def test_its_probes_and_scrapers_are_answered(overlay, pod):
    container, ask = pod
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        get = container[probe]["httpGet"]
        port = ports[get["port"]]
        assert ask(port, get["path"], f"{POD_IP}:{port}") == "200", probe
    assert ask(8091, "/metrics", f"{POD_IP}:8091") == "200"
    assert ask(8091, "/metrics", "evil.example:8091") != "200"
    assert ask(8090, "/v1/models", "127.0.0.1:8090") == \
        ("401" if overlay[0] == "gateway" else "200")


def test_the_pod_has_the_time_and_the_memory_that_it_may_need(overlay, release, tmp_path):
    name, objects = overlay
    container = holdfast_container(objects)
    (tmp_path / "c.yaml").write_text(objects["ConfigMap"]["data"]["holdfast.yaml"])
    done = subprocess.run([release, "check", "-c", tmp_path / "c.yaml"], text=True,
                          capture_output=True, env=environment(container))
    assert done.returncode == 0, done.stderr
    memory = re.search(r"^limits .*\bmemory (\w+)", done.stdout, re.M)[1]
    assert 1.4 * number(memory, SIZES) < number(container["resources"]["limits"]["memory"], SIZES)
    if name == "gateway":
        delay, drain = re.search(r"^drain +delay (\w+) +timeout (\w+)", done.stdout, re.M).groups()
        wait = container["lifecycle"]["preStop"]["sleep"]["seconds"]
        grace = objects["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
        assert wait + number(delay, UNITS) + number(drain, UNITS) < grace
