"""The container image: the Dockerfile's last stage, built and run without a daemon.

What its first stage does in a builder's Debian is done here with the release build: both call
deploy/image-root.sh, where all that the image holds is listed.
"""
import json
import os
import shutil
import signal
import subprocess

import pytest

import netns
from client import chat, http_get, wait_for
from conftest import ROOT, free_port, provider
from machine import sh

pytest_plugins = "delivery"

MOST = 12_000_000  # bytes to be fetched


@pytest.fixture(scope="module")
def buildah(tmp_path_factory):
    """buildah(...) with a store of its own."""
    if reason := netns.why_not():
        pytest.skip(f"needs mounts of its own: {reason}")
    if not shutil.which("buildah"):
        pytest.skip("buildah is not installed")
    store = tmp_path_factory.mktemp("store")

    def run(*args):
        return sh("buildah", "--storage-driver=vfs", f"--root={store}/root",
                  f"--runroot={store}/run", *args, env=os.environ | {"BUILDAH_ISOLATION": "chroot"})
    yield run
    run("umount", "--all")


@pytest.fixture(scope="module")
def image(buildah, release, tmp_path_factory):
    """Its name, in buildah's store."""
    context = tmp_path_factory.mktemp("context")
    sh(ROOT / "deploy/image-root.sh", release, context / "image")
    buildah("bud", "--quiet", f"--build-context=build={context}", "--tag=holdfast",
            f"--file={ROOT}/deploy/Dockerfile", context)
    return "localhost/holdfast"


@pytest.fixture
def container(buildah, image):
    """(folder of its root, its configuration)"""
    name = buildah("from", "--pull-never", image).strip()
    yield buildah("mount", name).strip(), json.loads(buildah("inspect", name))["OCIv1"]["config"]
    buildah("umount", name)
    buildah("rm", name)


def start(root, config, environment, errors):
    """What a runtime does with --read-only, in this network."""
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && user=$1 && shift && ' \
             'exec chroot --userspec="$user" "$0" "$@"'
    with open(errors, "wb") as err:
        return subprocess.Popen(["unshare", "--mount", "sh", "-c", script, root, config["User"],
                                 *config["Entrypoint"]], stdin=subprocess.DEVNULL, stderr=err,
                                stdout=err, env=environment)


def test_the_image_answers_over_tls_as_nobody_with_a_root_it_cannot_write(
        container, upstream, certs, tmp_path):
    a, (root, config) = upstream("A", tls="good"), container
    port = free_port()
    # What a runtime or its user puts there.
    (tmp_path / "hosts").write_text("127.0.0.1 localhost\n")
    shutil.copy(tmp_path / "hosts", f"{root}/etc/hosts")
    shutil.copy(certs.ca, f"{root}/etc/ssl/certs/ca-certificates.crt")
    with open(f"{root}/etc/holdfast/holdfast.yaml", "w", encoding="ascii") as f:
        json.dump({"providers": {"a": provider(a.base_url.replace("127.0.0.1", "localhost"))},
                   "routes": [{"model": "*", "targets": ["a/m"]}], "drain": {"delay": "0s"}}, f)
    p = start(root, config, {"HOLDFAST_LISTEN": f"127.0.0.1:{port}", "HOLDFAST_ADMIN": "off"},
              tmp_path / "errors")
    try:
        wait_for(lambda: p.poll() is not None or
                 "listening on" in (tmp_path / "errors").read_text(), timeout=30)
        assert p.poll() is None, (tmp_path / "errors").read_text()
        answer = chat(port, "m")
        assert answer.status == 200 and answer.text.startswith("A:"), answer.body
        assert http_get(port, "/readyz")[0] == 200
        with open(f"/proc/{p.pid}/status", encoding="ascii") as f:
            status = f.read()
        assert "\nUid:\t65532\t65532\t65532\t65532\n" in status
        assert "\nCapEff:\t0000000000000000\n" in status
        with open(f"/proc/{p.pid}/mountinfo", encoding="ascii") as f:
            assert " / ro" in [row for row in f if row.split()[4] == "/"][-1]
        p.send_signal(signal.SIGTERM)
        assert p.wait(20) == 0, (tmp_path / "errors").read_text()
    finally:
        if p.poll() is None:
            p.kill()
            p.wait()


def test_without_configuration_and_keys_it_tells_what_to_do(container, tmp_path):
    root, config = container
    port = free_port()
    p = start(root, config, {"HOLDFAST_LISTEN": f"127.0.0.1:{port}", "HOLDFAST_ADMIN": "off",
                             "HOLDFAST_DRAIN_DELAY": "0s"}, tmp_path / "errors")
    try:
        wait_for(lambda: "listening on" in (tmp_path / "errors").read_text(), timeout=30)
        assert "no provider key was found" in chat(port, "m").text
    finally:
        p.terminate()
        assert p.wait(20) == 0


def test_it_says_how_it_wants_to_be_run(container, buildah, image):
    root, config = container
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["/usr/bin/holdfast"] and not config.get("Cmd")
    assert config["StopSignal"] == "SIGTERM"
    assert set(config["ExposedPorts"]) == {"8090/tcp", "8091/tcp"}
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert not os.path.exists(f"{root}/bin/sh") and not os.path.exists(f"{root}/usr/bin/sh")
    licences = os.listdir(f"{root}/usr/share/doc")
    for package in ("libc6", "libcurl4", "libssl3", "libmicrohttpd12", "libyaml-0-2", "libgnutls"):
        assert any(name.startswith(package) for name in licences), package
    name = buildah("from", "--pull-never", image).strip()
    assert buildah("run", name, "/usr/bin/holdfast", "version").startswith("holdfast ")
    buildah("rm", name)


def test_it_is_small(buildah, image, tmp_path, figure):
    buildah("push", "--quiet", image, f"oci:{tmp_path}/oci")
    size = sum(f.stat().st_size for f in (tmp_path / "oci/blobs/sha256").iterdir())
    figure(f"image: {size / 1e6:.1f} MB compressed")
    assert size <= MOST
