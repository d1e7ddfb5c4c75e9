"""The command line: bench/run.sh."""
import argparse
import json
import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from . import growth, results
from .servers import ROOT, Broken, Stage, is_open, run, say
from .workloads import ROWS, Bench


def port(text):
    value = int(text)
    if not 0 < value < 65536:
        raise ValueError
    if is_open(value):
        raise argparse.ArgumentTypeError(f"port {value} of 127.0.0.1 is in use")
    return value


def rounds(text):
    if not 1 <= int(text) <= 99:
        raise ValueError
    return int(text)


def options():
    names = "\n".join(f"  {name:<14} {what}" for name, (_, what) in (ROWS | growth.ROWS).items())
    p = argparse.ArgumentParser(
        prog="bench/run.sh", formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
        description="CPU per request and per streamed event, delay, memory and start: holdfast beside nginx "
        "and haproxy, in one run.",
        epilog=f"workloads:\n{names}\nProgress goes to stderr, the tables to stdout. Exit status: 0; 1 an "
        "answer was wrong or something\nbroke; 2 wrong usage or something is not installed.")
    p.add_argument("--only", metavar="NAME", action="append", choices=[*ROWS, *growth.ROWS],
                   help="one workload; may be repeated")
    p.add_argument("--growth", action="store_true", help="only how cost grows, below ten minutes; with a picture")
    p.add_argument("--rounds", type=rounds, default=9,
                   help="of every workload, a third where one takes long; medians are printed (9)")
    p.add_argument("--short", action="store_true", help="a trial in a minute; the figures mean nothing")
    p.add_argument("--core", type=int, help="the CPU that everything shares (the last one allowed)")
    p.add_argument("--holdfast", metavar="FILE", help="this binary instead of building the release preset")
    p.add_argument("--no-holdfast", action="store_true", help="only the others")
    p.add_argument("--portkey", action="store_true", help="the Portkey gateway too; npm installs it in build/")
    p.add_argument("--peer", metavar="CMD", help="one more proxy, started by this shell command; it finds "
                   "the provider's port in $UPSTREAM_PORT and answers /v1/chat/completions")
    p.add_argument("--peer-port", metavar="P", type=port, help="where it listens on 127.0.0.1")
    p.add_argument("--provider-port", metavar="P", type=port,
                   help="a fixed port for the provider, for a peer that cannot read $UPSTREAM_PORT")
    p.add_argument("--json", metavar="FILE", help="all figures")
    p.add_argument("--from", metavar="FILE", action="append", dest="kept",
                   help="measure nothing, print what --json has kept; may be repeated")
    p.add_argument("--brief", action="store_true", help="print the two tables of README.md instead")
    p.add_argument("--plots", metavar="DIR", help="SVGs; needs matplotlib (--growth: build/plots)")
    args = p.parse_args()
    if bool(args.peer) != bool(args.peer_port):
        p.error("--peer and --peer-port belong together")
    args.only = args.only or list(growth.ROWS if args.growth else ROWS)
    return args


def missing(text):
    say(text)
    sys.exit(2)


def check_machine(args):
    os.environ["PATH"] += ":/usr/sbin"
    for tool, package in (("nginx", "nginx-light"), ("cc", "gcc libc6-dev libssl-dev"), ("openssl", "openssl"),
                          ("setpriv", "util-linux"), ("taskset", "util-linux")):
        if not shutil.which(tool):
            missing(f"{tool} is not installed: sudo apt-get install {package}")
    args.haproxy = shutil.which("haproxy") is not None
    if not args.haproxy:
        say("haproxy is not installed, its column is left out: sudo apt-get install haproxy")
    allowed = os.sched_getaffinity(0)
    args.core = max(allowed) if args.core is None else args.core
    if args.core not in allowed:
        missing(f"--core: we may not use a CPU {args.core}")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    args.files = hard if hard > 0 else 1 << 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (args.files, hard))
    if args.files < 4096:
        missing(f"only {args.files} open files are allowed, 4096 are needed")


def build(args, tmp):
    say("building")
    for tool in ("provider", "load"):
        run(["cc", "-std=gnu17", "-O2", "-Wall", "-Wextra", "-I", ROOT, "-o", tmp / tool,
             ROOT / f"bench/{tool}.c", ROOT / "bench/tool.c", "-lssl", "-lcrypto"])
    if args.no_holdfast:
        args.holdfast = None
    elif args.holdfast is None:
        run(["cmake", "--preset", "release"], cwd=ROOT)
        run(["cmake", "--build", "--preset", "release"], cwd=ROOT)
        args.holdfast = ROOT / "build/release/holdfast"
    if args.holdfast:
        args.holdfast = str(Path(args.holdfast).resolve())
        if not os.access(args.holdfast, os.X_OK):
            raise Broken(f"{args.holdfast} is not an executable file")


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        model = [line.split(": ", 1)[1].strip() for line in f if line.startswith("model name")]
    nginx = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=False).stderr
    return f"{nginx.strip().rpartition(' ')[2]}, Linux {platform.release()}, {(model or ['unknown CPU'])[0]}"


def write_plots(figures, directory):
    try:
        from . import plot
    except ImportError:
        say("pictures are left out, matplotlib is not installed (bench/requirements.txt)")
        return
    for path in plot.write(figures, Path(directory)):
        say(f"{path} is written")


def measure(args, tmp):
    build(args, tmp)
    with Stage(tmp, args) as stage:
        bench = Bench(stage, args.rounds, args.short)
        bench.contestants("plain")  # what cannot be started at all ends the run at once
        for name in args.only:
            try:
                (ROWS | growth.ROWS)[name][0](bench)
            except (Broken, OSError) as e:
                bench.fail(name, "", e)
    return bench


def kept_of(args, bench):
    """What --json keeps."""
    targets = [{"what": t.what, "unit": t.unit, "must": t.must, "aim": t.aim, "measured": v, "holds": verdict}
               for t, v, verdict in results.judged(bench.figures)]
    return {"title": f"Medians of {args.rounds} rounds; client, provider and proxies share CPU {args.core}.\n"
            f"{machine()}", "figures": bench.figures, "targets": targets, "failures": bench.failures,
            "notes": bench.notes}


def kept_in(files):
    """What several runs have kept, as one."""
    together = {"title": "", "figures": {}, "failures": [], "notes": []}
    for name in files:
        with open(name, encoding="utf-8") as f:
            one = json.load(f)
        together["title"] = one["title"]
        together["figures"] |= one["figures"]
        together["failures"] += one["failures"]
        together["notes"] += one["notes"]
    return together


def print_all(args, kept):
    figures = kept["figures"]
    if args.brief:
        print(results.brief(figures))
    else:
        print(kept["title"] + "\n")
        print("\n".join(filter(None, (results.report(figures), growth.report(figures)))))
        for note in kept["notes"]:
            print(f"\n{note}")
    if args.plots or args.growth:
        write_plots(figures, args.plots or ROOT / "build/plots")


def main():
    args = options()
    if args.kept:
        print_all(args, kept_in(args.kept))
        return 0
    check_machine(args)
    for sig in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, lambda number, _: sys.exit(128 + number))
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as tmp:
            kept = kept_of(args, measure(args, Path(tmp)))
    except KeyboardInterrupt:
        return 130
    except Broken as e:
        say(e)
        return 1
    if args.json:
        Path(args.json).write_text(json.dumps(kept, indent=1), encoding="utf-8")
    print_all(args, kept)
    for failure in kept["failures"]:
        say(f"FAILED {failure}")
    return 1 if kept["failures"] else 0


sys.exit(main())
