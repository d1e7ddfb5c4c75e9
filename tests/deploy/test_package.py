"""The Debian package: installed, started, upgraded, removed, purged."""
import re
import threading

from client import wait_for
from machine import sh

pytest_plugins = "delivery"

GREETING = "Holdfast runs"
CONFIG = "etc/holdfast/holdfast.yaml"


def depends(deb):
    """The names of the packages it needs."""
    return re.findall(r"(?:^|, )([a-z0-9.+-]+)", sh("dpkg-deb", "-f", deb, "Depends"))


def answers(m, port=8090):
    wait_for(lambda: m.ask(port)[0] == 200, timeout=30)
    assert GREETING in m.ask(port)[1]


def show(m, what):
    return m.run("systemctl", "show", "-P", what, "holdfast").strip()


def install(m, deb):
    (m.root / "opt/holdfast.deb").write_bytes(deb.read_bytes())
    m.run("dpkg", "-i", "/opt/holdfast.deb")
    (m.root / "opt/holdfast.deb").unlink()


def assert_gone(m, before):
    m.run("dpkg", "-P", "holdfast")
    # dpkg and passwd keep their own files as they were before the last change.
    assert not {f for f in m.files() - before if not f.endswith(("-", "-old"))}
    for accounts in ("passwd", "group", "shadow"):
        assert "holdfast" not in (m.root / "etc" / accounts).read_text()


def test_the_package_installs_starts_upgrades_and_is_gone_without_a_trace(package, machine):
    old, new = package("1.0.0"), package("1.0.1")
    m = machine(depends(old))
    before = m.files()
    install(m, old)
    answers(m)
    first = show(m, "MainPID")
    assert m.run("systemctl", "is-enabled", "holdfast").strip() == "enabled"

    # It runs as its own user, inside the unit's fence, and its files are nobody else's to read.
    for name in ("holdfast.yaml", "environment"):
        assert m.run("stat", "-c", "%a %U %G", f"/etc/holdfast/{name}").strip() == \
            "640 root holdfast"
    uid = m.run("id", "-u", "holdfast").strip()
    status = m.run("cat", f"/proc/{first}/status")
    for line in ("\t".join(["Uid:", *[uid] * 4]), "CapBnd:\t0000000000000000", "NoNewPrivs:\t1",
                 "Seccomp:\t2"):
        assert line in status, status
    assert re.search(r" / / ro\b", m.run("cat", f"/proc/{first}/mountinfo"))

    # A change of the configuration needs no restart, and providers are looked up and asked from
    # behind the fence: here it is another Holdfast.
    config = m.root / CONFIG
    as_installed = config.read_text()
    provider = m.root / "opt/provider.yaml"
    provider.write_text(as_installed.replace(GREETING, "A provider").replace("809", "829"))
    m.run("systemd-run", "--unit=provider", "holdfast", "serve", "-c", "/opt/provider.yaml")
    config.write_text(re.sub(r"(?m)^    type: scripted\n    text: .*", "    type: openai\n"
                             "    base_url: http://localhost:8290/v1", as_installed))
    m.run("systemctl", "reload", "holdfast")
    wait_for(lambda: "A provider" in m.ask()[1], timeout=30)
    assert show(m, "MainPID") == first
    m.run("systemctl", "kill", "-s", "KILL", "provider")
    provider.unlink()
    config.write_text(as_installed)

    # A crash is over in a moment.
    m.run("systemctl", "kill", "-s", "KILL", "holdfast")
    wait_for(lambda: show(m, "MainPID") not in ("0", first), timeout=30)
    answers(m)
    first = show(m, "MainPID")

    # An upgrade starts the new one and leaves the configuration as the administrator has it.
    edited = config.read_text().replace("localhost:8090", "localhost:8190")
    edited = edited.replace("drain: {", "drain: {delay: 0s, ")
    config.write_text(edited)
    install(m, new)
    assert show(m, "MainPID") not in ("0", first)
    answers(m, 8190)
    assert config.read_text() == edited
    assert m.run("stat", "-c", "%a %U %G", "/" + CONFIG).strip() == "640 root holdfast"

    # Whoever asks during an upgrade is answered, by the old one or by the new one.
    second, found, over = show(m, "MainPID"), [], threading.Event()

    def ask_on():
        while not over.is_set():
            found.append(m.ask(8190))

    asking = threading.Thread(target=ask_on)
    asking.start()
    install(m, new)
    over.set()
    asking.join()
    assert len(found) > 5 and {status for status, _ in found} == {200}
    assert show(m, "MainPID") not in ("0", second) and show(m, "ActiveState") == "active"
    wait_for(lambda: not (m.root / f"proc/{second}").exists(), timeout=30)

    # A wrong configuration is told once and not tried again and again.
    config.write_text("listne: 1\n")
    m.run("systemctl", "restart", "--no-block", "holdfast")
    wait_for(lambda: show(m, "SubState") == "failed", timeout=30)
    assert show(m, "ExecMainStatus") == "78"
    config.write_text(edited)
    m.run("systemctl", "restart", "holdfast")
    answers(m, 8190)

    # Removed, its configuration stays; installed again, it is used.
    m.run("dpkg", "-r", "holdfast")
    assert not (m.root / "usr/bin/holdfast").exists() and config.read_text() == edited
    assert m.ask(8190) == (0, "")
    install(m, new)
    answers(m, 8190)
    assert_gone(m, before)
    assert "holdfast" not in m.run("systemctl", "list-unit-files")


def test_without_systemd_it_is_installed_and_can_be_started_by_hand(package, machine):
    deb = package("1.0.0")
    m = machine(depends(deb), boots=False)
    before = m.files()
    install(m, deb)
    pid = m.run("sh", "-c", "setpriv --reuid=holdfast --regid=holdfast --clear-groups "
                      "holdfast serve -c /etc/holdfast/holdfast.yaml >/dev/null 2>&1 & echo $!")
    answers(m)
    m.run("sh", "-c", f"kill -9 {pid}")
    install(m, deb)
    m.run("dpkg", "-r", "holdfast")
    assert_gone(m, before)


def test_the_package_holds_what_a_debian_package_should(package):
    deb = package("1.0.0")
    listed = sh("dpkg-deb", "-c", deb)
    for path in ("usr/bin/holdfast", "usr/share/man/man1/holdfast.1",
                 "usr/share/man/man5/holdfast.yaml.5",
                 "usr/lib/systemd/system/holdfast.service", "etc/holdfast/holdfast.yaml",
                 "usr/share/doc/holdfast/copyright",
                 "usr/share/bash-completion/completions/holdfast"):
        assert re.search(rf" \./{re.escape(path)}$", listed, re.M), path
    assert all(" root/root " in line for line in listed.splitlines()), listed
    assert {"libc6", "libyaml-0-2", "adduser", "ca-certificates"} <= set(depends(deb))
