"""What is installed beside the binary: unit, man page, completions, compose file, example."""
import copy
import json
import os
import pty
import re
import select
import shutil
import subprocess
import time

import pytest

from conftest import ROOT
from machine import sh

pytest_plugins = "delivery"

MOST_EXPOSED = 1.5


@pytest.fixture(scope="module")
def installed(release, tmp_path_factory):
    """The prefix of an installation."""
    prefix = tmp_path_factory.mktemp("prefix")
    sh("cmake", "--install", release.parent, "--prefix", prefix)
    return prefix


@pytest.fixture(scope="module")
def told(release):
    """What --help names: (commands, options)."""
    text = sh(release, "--help")
    return set(re.findall(r"^  ([a-z]+)  ", text, re.M)), set(re.findall(r"--[a-z-]+", text))


def needs(tool):
    if not shutil.which(tool):
        pytest.skip(f"{tool} is not installed")


def test_an_installation_stays_below_its_prefix_and_names_it(release, tmp_path):
    sh("cmake", "--install", release.parent, "--prefix", "/opt/some/where",
       env=os.environ | {"DESTDIR": str(tmp_path)})
    files = [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()]
    for name in ("bin/holdfast", "share/man/man1/holdfast.1", "share/man/man5/holdfast.yaml.5",
                 "share/doc/holdfast/runbook.md"):
        assert f"opt/some/where/{name}" in files
    assert all(f.startswith("opt/some/where/") for f in files), files
    unit = tmp_path / "opt/some/where/lib/systemd/system/holdfast.service"
    assert "\nExecStart=/opt/some/where/bin/holdfast serve " in unit.read_text()


def test_the_example_configuration_is_a_good_one(installed):
    done = subprocess.run([installed / "bin/holdfast", "check", "-c",
                           installed / "share/doc/holdfast/examples/holdfast.yaml"],
                          text=True, capture_output=True, env={})
    assert done.returncode == 0, done.stderr


def test_the_unit_is_fenced_in(installed, figure):
    needs("systemd-analyze")
    unit = installed / "lib/systemd/system/holdfast.service"
    text = sh("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    exposure = float(re.search(r"Overall exposure level for holdfast.service: ([\d.]+)", text)[1])
    figure(f"holdfast.service: exposure {exposure}")
    assert exposure <= MOST_EXPOSED, text
    # It finds nothing to complain of, but for a user that is not on this machine.
    checked = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], text=True,
                             capture_output=True)
    assert checked.returncode == 0 and "holdfast.service" not in checked.stderr, checked.stderr


def test_the_unit_gives_it_the_time_that_it_may_take_to_stop(release):
    unit = (ROOT / "deploy/systemd/holdfast.service.in").read_text()
    minutes = int(re.search(r"^TimeoutStopSec=(\d+)min$", unit, re.M)[1])
    assert 60 * minutes > drain_seconds(sh(release, "check", env={"HOLDFAST_CONFIG": ""}))


def drain_seconds(checked):
    delay, timeout = re.search(r"^drain +delay (\d+)s +timeout (\d+)s", checked, re.M).groups()
    return int(delay) + int(timeout)


def test_the_man_page_names_all_that_help_names(installed, told):
    page = installed / "share/man/man1/holdfast.1"
    needs("groff")
    shown = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-P-cbou", page], text=True,
                           capture_output=True)
    assert shown.returncode == 0 and not shown.stderr, shown.stderr
    text = shown.stdout.replace("\N{HYPHEN}", "-").replace("\N{MINUS SIGN}", "-")
    commands, options = told
    for command in commands:
        assert re.search(rf"^       {command}\b", text, re.M), command
    for option in options:
        assert option in text, option
    for code in ("0", "1", "2", "64", "69", "70", "78"):
        assert re.search(rf"^       {code}\s", text, re.M), code


# -- completions ----------------------------------------------------------------------------------
def bash(installed, words):
    script = f"""source {installed}/share/bash-completion/completions/holdfast
        COMP_WORDS=({' '.join(f"'{w}'" for w in words)}) COMP_CWORD={len(words) - 1}
        _holdfast; printf '%s\\n' "${{COMPREPLY[@]}}" """
    return set(sh("bash", "--norc", "-c", script, cwd=installed / "share").split())


def fish(installed, words):
    line = " ".join(words)
    text = sh("fish", "--no-config", "-c",
              f"source {installed}/share/fish/vendor_completions.d/holdfast.fish; "
              f"complete -C '{line}'", cwd=installed / "share",
              env=os.environ | {"PATH": f"{installed}/bin:{os.environ['PATH']}", "HOME": str(installed)})
    return {row.split("\t")[0] for row in text.splitlines()}


def zsh(installed, words):
    """What a terminal shows behind a Tab."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(installed / "share")
        os.environ.update(PATH=f"{installed}/bin:{os.environ['PATH']}", TERM="dumb", COLUMNS="200",
                          LINES="60")
        os.execlp("zsh", "zsh", "-f", "-i")
    seen = ""

    def until(pattern):
        nonlocal seen
        end = time.monotonic() + 30
        while not re.search(pattern, seen, re.S):
            assert time.monotonic() < end, seen
            if select.select([fd], [], [], 1)[0]:
                seen += os.read(fd, 65536).decode("utf-8", "replace")

    os.write(fd, f"fpath=({installed}/share/zsh/vendor-completions $fpath) PROMPT='go''> '\n"
                 "autoload -U compinit; compinit -u -D; setopt no_always_last_prompt; LISTMAX=0\n"
                 "bindkey '^T' list-choices; echo rea''dy\n".encode())
    until("ready\r.*go> ")
    seen = ""
    os.write(fd, " ".join(words).encode() + b"\x14\x15echo do''ne\n")
    until("done\r")
    os.close(fd)
    os.waitpid(pid, 0)
    return set(re.split(r"\s*\n|\s{2,}", seen))


@pytest.mark.parametrize("shell", [bash, fish, zsh])
def test_a_shell_completes_what_help_names(installed, told, shell):
    needs(shell.__name__)
    program = str(installed / "bin/holdfast") if shell is bash else "holdfast"
    commands, options = told
    assert commands <= shell(installed, [program, ""])
    assert options <= shell(installed, [program, "--"])
    assert not commands & shell(installed, [program, "check", ""])
    assert "doc" in {w.strip("/") for w in shell(installed, [program, "-c", ""])}


# -- compose --------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def compose():
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())


def test_the_compose_file_is_as_the_published_schema_has_it(compose):
    jsonschema = pytest.importorskip("jsonschema")
    published = ROOT / "build/deploy/compose_spec.json"
    if not published.exists():
        pytest.skip(f"{published} is not there: tests/run.sh gets it")
    schema = json.loads(published.read_text())
    jsonschema.Draft7Validator(schema).validate(compose)
    wrong = copy.deepcopy(compose)
    wrong["services"]["holdfast"]["read_onyl"] = True
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate(wrong)


def test_the_environment_of_the_compose_file_starts_a_fenced_in_proxy(compose, release):
    service = compose["services"]["holdfast"]
    environment = {k: re.sub(r"\$\{\w+:-\}", "", v) for k, v in service["environment"].items()}
    checked = sh(release, "check", env=environment)
    grace = int(re.fullmatch(r"(\d+)s", service["stop_grace_period"])[1])
    assert drain_seconds(checked) < grace
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
    assert all(p.startswith("127.0.0.1:") for p in service["ports"])
    version = re.search(r"^project\(holdfast VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text(),
                        re.M)[1]
    assert service["image"] == f"holdfast:{version}"
