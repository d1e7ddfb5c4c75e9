"""Which authorities are trusted: the system's, and beside them what variables and the configuration add."""
import os
import shutil
import subprocess

import pytest

from conftest import provider


def rehash(folder, authority):
    """Makes it a folder in which OpenSSL finds this authority."""
    shutil.copy(authority, folder)
    subprocess.run(["openssl", "rehash", str(folder)], check=True)


@pytest.fixture(params=["bundle", "folder"])
def system(request, certs, tmp_path):
    """A command prefix for a machine whose own certificates are the good authority alone."""
    said = subprocess.run(["openssl", "version", "-d"], capture_output=True, text=True).stdout
    home = said.split('"')[1]
    bundle, folder = (os.path.realpath(os.path.join(home, x)) for x in ("cert.pem", "certs"))
    if os.path.dirname(bundle) != folder or not os.path.isdir(folder):
        pytest.skip(f"this machine's certificates are not all in one folder: {bundle}, {folder}")
    ours = tmp_path / "system"
    ours.mkdir()
    if request.param == "bundle":
        shutil.copy(certs.ca, ours / os.path.basename(bundle))
    else:
        rehash(ours, certs.ca)
    prefix = ["unshare", "-m" if os.geteuid() == 0 else "-rm", "sh", "-c",
              f'mount --bind "{ours}" "{folder}" && exec "$@"', "sh"]
    probe = subprocess.run([*prefix, "true"], capture_output=True)
    if probe.returncode != 0:
        pytest.skip(f"needs a mount namespace: {probe.stderr.decode()}")
    return prefix


def trusted(holdfast, prefix, upstream, env=None, **own):
    """Is whom the system's authority has signed trusted, and whom the other one has?"""
    a, b, c = upstream("GOOD", tls="good"), upstream("ROGUE", tls="unknown_ca"), upstream("C")
    p = holdfast(a, provider(b) | own, c, env=env, prefix=prefix, routes=[
        {"model": "good", "targets": ["a/m", "c/m"]}, {"model": "rogue", "targets": ["b/m", "c/m"]}])
    return p.chat("good").text.startswith("GOOD"), p.chat("rogue").text.startswith("ROGUE")


def test_by_itself_the_system_s(holdfast, system, upstream):
    assert trusted(holdfast, system, upstream) == (True, False)
    assert trusted(holdfast, system, upstream, env={"SSL_CERT_FILE": "", "SSL_CERT_DIR": ""}) == \
        (True, False)


def test_a_file_adds_to_the_system_s(holdfast, system, upstream, certs):
    env = {"SSL_CERT_FILE": certs.path("rogue")}
    assert trusted(holdfast, system, upstream, env=env) == (True, True)


def test_a_folder_adds_to_the_system_s(holdfast, system, upstream, certs, tmp_path):
    folder = tmp_path / "authorities"
    folder.mkdir()
    rehash(folder, certs.path("rogue"))
    env = {"SSL_CERT_DIR": f"{tmp_path / 'nothing'}:{folder}"}
    assert trusted(holdfast, system, upstream, env=env) == (True, True)


def test_a_provider_s_own_adds_to_the_system_s(holdfast, system, upstream, certs):
    assert trusted(holdfast, system, upstream, ca=certs.path("rogue")) == (True, True)


def test_a_provider_s_own_leaves_the_system_s_to_it(holdfast, system, upstream, certs):
    a = upstream("GOOD", tls="good")
    p = holdfast(provider(a) | {"ca": certs.path("rogue")}, prefix=system)
    assert p.chat().text.startswith("GOOD")


def test_a_file_without_certificates_ends_the_start(run, tmp_path):
    (tmp_path / "empty.pem").write_text("")
    p = run("serve", "--listen", "127.0.0.1:0", env={
        "HOLDFAST_ADMIN": "off", "SSL_CERT_FILE": str(tmp_path / "empty.pem")})
    assert p.process.returncode != 0
    assert f'SSL_CERT_FILE: "{tmp_path}/empty.pem" holds no readable certificates' in p.stderr
