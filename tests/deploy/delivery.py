"""Fixtures: what is delivered, made of build/release, which must have been built."""
import functools
import shutil
import subprocess

import pytest

import machine as machines
from conftest import ROOT

RELEASE = ROOT / "build/release"


@pytest.fixture(scope="session")
def release():
    """The binary of the release build."""
    if not (RELEASE / "holdfast").exists():
        pytest.fail("build/release/holdfast is not there: build it first")
    return RELEASE / "holdfast"


@pytest.fixture(scope="session")
def package(release, tmp_path_factory):
    """package(version) makes the Debian package under that version and gives its path."""
    for tool in ("dpkg-deb", "dpkg-shlibdeps", "file"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed")

    @functools.cache
    def make(version):
        directory = tmp_path_factory.mktemp("package")
        machines.sh("cpack", "-R", version, "-B", directory, cwd=RELEASE)
        return next(directory.glob("*.deb"))
    return make


@pytest.fixture
def machine(tmp_path):
    """machine(packages) is a Debian machine with these packages."""
    if reason := machines.why_not():
        pytest.skip(f"needs a machine in a container: {reason}")
    started = []

    def start(packages, **options):
        root = machines.debian(packages)
        tried = subprocess.run(machines.container(root, "true"), text=True, capture_output=True,
                               stdin=subprocess.DEVNULL)
        if tried.returncode != 0:
            pytest.skip(f"systemd-nspawn starts nothing here: {tried.stderr.strip()}")
        started.append(machines.Machine(root, tmp_path, **options))
        return started[-1]
    yield start
    for m in started:
        m.close()
