#!/usr/bin/env python3
"""The rules of the house, checked: house.py ROOT

  floors      a file includes its own floor and those below:
              0 proxy/base, 1 config, 2 providers, 3 proxy, 4 proxy/main.c
  cycles      no header reaches itself
  policy      the pure files of floor 3 know neither wire nor ops
  doors       a library's header is included by the files that are its door, by no others
  headers     each opens with "/* name.h - what it is for" and has an include guard
  includes    quoted paths start at the root and exist
  format      clang-format 14 has nothing to change (skipped where that version is missing)
  text        no tabs, no paths of somebody's machine

There is no way to except a line. Before it looks at ROOT it checks itself on small trees that break
each rule. Prints what it checked; exit status 1, with file:line, where a rule is broken.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

FLOORS = [  # first match wins
    ("proxy/main.c", 4),
    ("proxy/base/", 0),
    ("config/", 1),
    ("providers/", 2),
    ("proxy/", 3),
]
FLOOR_NAMES = ["proxy/base", "config", "providers", "proxy", "proxy/main.c"]
POLICY = {"failover", "breaker", "target", "budget", "limiter", "hedge", "pace", "queue",
          "retry_after", "seam", "seam_compare", "route", "admit", "door", "stitch", "replay",
          "event_ids", "quota"}
DOORS = [
    (r"curl/", {"proxy/wire/transport.c", "proxy/ops/fetch.c"}),
    (r"microhttpd\.h$", {"proxy/ops/admin.c"}),
    (r"yaml\.h$", {"config/yaml.c"}),
    (r"zlib\.h$", {"proxy/wire/inflate.c"}),
    (r"openssl/", {"proxy/base/hash.c", "proxy/wire/tls.c"}),
]
ROOTS = ("proxy/", "config/", "providers/", "tests/", "bench/")
SKIPPED_FOLDERS = {".git", "build", "__pycache__", "node_modules", "corpus"}
TEXT_ENDINGS = (".c", ".h", ".py", ".sh", ".md", ".txt", ".json", ".yaml", ".yml", ".js", ".mjs",
                ".service", ".cmake")
TEXT_NAMES = {"Dockerfile", "LICENSE", ".clang-format", ".gitignore"}
MACHINE = re.compile(r"(?<![\w.$})/])/(?:%s)(?![\w.-])" % "|".join(["work", "home", "root"]))
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


class Tree:
    """The files under a root: C sources with their includes, and the text of everything."""

    def __init__(self, root):
        self.root = root
        self.texts = {}
        self.includes = {}  # path -> [(line number, "<" or quote, what)]
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(d for d in folders if d not in SKIPPED_FOLDERS)
            for name in sorted(names):
                if not (name.endswith(TEXT_ENDINGS) or name in TEXT_NAMES):
                    continue
                path = os.path.relpath(os.path.join(folder, name), root).replace(os.sep, "/")
                with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as f:
                    self.texts[path] = f.read()
        for path in self.c_files():
            self.includes[path] = list(includes_of(self.texts[path]))

    def c_files(self):
        return [p for p in self.texts if p.endswith((".c", ".h"))]

    def house_files(self):
        return [p for p in self.c_files() if floor_of(p) is not None]


def includes_of(text):
    for number, line in enumerate(text.splitlines(), 1):
        found = INCLUDE.match(line)
        if found:
            yield number, found.group(1), found.group(2)


def floor_of(path):
    for prefix, floor in FLOORS:
        if path == prefix or (prefix.endswith("/") and path.startswith(prefix)):
            return floor
    return None


# The rules: each takes a tree and yields (path, line, what is wrong).


def check_floors(tree):
    for path in tree.house_files():
        for line, kind, what in tree.includes[path]:
            above = floor_of(what) if kind == '"' else None
            if kind == '"' and what.startswith(("tests/", "bench/")):
                yield path, line, f'the program includes "{what}"'
            elif above is not None and above > floor_of(path):
                yield (path, line, f'floor {floor_of(path)} ({FLOOR_NAMES[floor_of(path)]}) '
                       f'includes "{what}" of floor {above} ({FLOOR_NAMES[above]})')


def check_cycles(tree):
    done, on_path = set(), []

    def visit(path):
        if path in on_path:
            ring = on_path[on_path.index(path):] + [path]
            yield on_path[-1], 1, "include cycle: " + " -> ".join(ring)
            return
        if path in done or path not in tree.includes:
            return
        done.add(path)
        on_path.append(path)
        for _, kind, what in tree.includes[path]:
            if kind == '"':
                yield from visit(what)
        on_path.pop()

    for path in tree.c_files():
        yield from visit(path)


def check_policy(tree):
    for path in tree.house_files():
        folder, name = os.path.split(path)
        if folder != "proxy" or name.rsplit(".", 1)[0] not in POLICY:
            continue
        for line, kind, what in tree.includes[path]:
            if kind == '"' and what.startswith(("proxy/wire/", "proxy/ops/")):
                yield path, line, f'policy includes "{what}"'


def check_doors(tree):
    for path in tree.house_files():
        for line, _, what in tree.includes[path]:
            for pattern, doors in DOORS:
                if re.match(pattern, what) and path not in doors:
                    yield (path, line, f"includes {what}, whose only door is "
                           + " and ".join(sorted(doors)))


def check_headers(tree):
    for path in tree.c_files():
        if not path.endswith(".h"):
            continue
        text, name = tree.texts[path], os.path.basename(path)
        if not re.match(r"/\* %s - \S" % re.escape(name), text):
            yield path, 1, f'does not open with "/* {name} - what it is for"'
        body = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), text, flags=re.S)
        lines = [(n, s.strip()) for n, s in enumerate(body.splitlines(), 1) if s.strip()]
        guard = re.fullmatch(r"#ifndef (\w+)", lines[0][1]) if len(lines) > 2 else None
        if (guard is None or lines[1][1] != "#define " + guard.group(1)
                or not lines[-1][1].startswith("#endif")):
            yield path, lines[0][0] if lines else 1, "has no include guard around everything"
        elif not guard.group(1).endswith("_" + re.sub(r"\W", "_", name).upper()):
            yield path, lines[0][0], f"include guard {guard.group(1)} does not name {name}"


def check_includes(tree):
    for path in tree.c_files():
        for line, kind, what in tree.includes[path]:
            if kind == '"' and not what.startswith(ROOTS):
                yield path, line, f'"{what}" is not a path from the root'
            elif kind == '"' and what not in tree.texts:
                yield path, line, f'"{what}" does not exist'


def check_text(tree):
    for path, text in tree.texts.items():
        for number, line in enumerate(text.splitlines(), 1):
            if "\t" in line:
                yield path, number, "a tab"
            found = MACHINE.search(line)
            if found:
                yield path, number, f"a path of somebody's machine: {found.group()}"


def clang_format_14():
    for name in ("clang-format-14", "clang-format"):
        program = shutil.which(name)
        if program is None:
            continue
        version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
        if re.search(r"version 14\.", version):
            return program
    return None


def check_format(tree):
    program, files = clang_format_14(), tree.c_files()
    if program is None or not files:
        return
    out = subprocess.run([program, "--dry-run", "--ferror-limit=0"] + files, cwd=tree.root,
                         capture_output=True, text=True).stderr
    seen = set()
    for found in re.finditer(r"^(\S+?):(\d+):\d+: (?:warning|error): (.*)$", out, re.M):
        place = (found.group(1), int(found.group(2)))
        if place not in seen:
            seen.add(place)
            yield place[0], place[1], "clang-format 14 would change this line"


RULES = [
    ("floors", check_floors), ("cycles", check_cycles), ("policy", check_policy),
    ("doors", check_doors), ("headers", check_headers), ("includes", check_includes),
    ("format", check_format), ("text", check_text),
]


def breaches(root):
    tree = Tree(root)
    return tree, {name: list(rule(tree)) for name, rule in RULES}


# The self-test: a clean tree, and for each way to break a rule that tree with one file changed.

HEADER = "/* %s - a thing. */\n#ifndef %s\n#define %s\n%s\n#endif\n"


def header(name, body=""):
    guard = "HOLDFAST_" + re.sub(r"\W", "_", name).upper()
    return HEADER % (name, guard, guard, body)


CLEAN = {
    ".clang-format": "BasedOnStyle: LLVM\nMaxEmptyLinesToKeep: 3\n",
    "proxy/base/low.h": header("low.h"),
    "config/config.h": header("config.h", '#include "proxy/base/low.h"'),
    "providers/chat.h": header("chat.h", '#include "config/config.h"'),
    "proxy/breaker.h": header("breaker.h", '#include "providers/chat.h"'),
    "proxy/wire/loop.h": header("loop.h", '#include "proxy/breaker.h"'),
    "proxy/ops/admin.c": '#include <microhttpd.h>\n\n#include "proxy/breaker.h"\n',
    "proxy/base/hash.c": "#include <openssl/evp.h>\n",
    "proxy/exchange.c": '#include "proxy/wire/loop.h"\n',
    "proxy/main.c": '#include "proxy/breaker.h"\n',
    "tests/unit/x_test.c": '#include <curl/curl.h>\n\n#include "proxy/breaker.h"\n',
    "README.md": "Files in a $HOME/work or framework/root stay; so does https://x.test/homes.\n",
}
BROKEN = [  # rule, file, content, line
    ("floors", "proxy/base/low.c", '#include "config/config.h"\n', 1),
    ("floors", "config/options.c", '\n#include "providers/chat.h"\n', 2),
    ("floors", "providers/sse.c", '#include "proxy/breaker.h"\n', 1),
    ("floors", "proxy/relay.c", '#include "tests/unit/check.h"\n', 1),
    ("cycles", "proxy/breaker.h", header("breaker.h", '#include "proxy/wire/loop.h"'), 1),
    ("cycles", "proxy/base/low.h", header("low.h", '#include "proxy/base/low.h"'), 1),
    ("policy", "proxy/breaker.c", '#include "proxy/wire/loop.h"\n', 1),
    ("policy", "proxy/route.h", header("route.h", '#include "proxy/ops/metrics.h"'), 4),
    ("doors", "proxy/wire/client.c", "#include <curl/curl.h>\n", 1),
    ("doors", "proxy/ops/status.c", "#include <microhttpd.h>\n", 1),
    ("doors", "config/config.c", "#  include <yaml.h>\n", 1),
    ("doors", "proxy/relay.c", "#include <zlib.h>\n", 1),
    ("doors", "proxy/base/secret.c", "#include <openssl/crypto.h>\n", 1),
    ("headers", "proxy/base/low.h", "#ifndef A_LOW_H\n#define A_LOW_H\n#endif\n", 1),
    ("headers", "proxy/base/low.h", "/* low.h - a thing. */\nint x;\n", 2),
    ("headers", "proxy/base/low.h", HEADER % ("low.h", "A_LOW_H", "B_LOW_H", ""), 2),
    ("headers", "proxy/base/low.h", HEADER % ("low.h", "A_OTHER_H", "A_OTHER_H", ""), 2),
    ("includes", "proxy/relay.c", '#include "breaker.h"\n', 1),
    ("includes", "proxy/relay.c", '#include "proxy/nothing.h"\n', 1),
    ("text", "proxy/relay.c", "int x;\n\tint y;\n", 2),
    ("text", "README.md", "see /" + "work/wt or so\n", 1),
    ("text", "deploy/run.sh", "cd /" + "root\n", 1),
    ("text", "tests/run.sh", "cd '/" + "home/me'\n", 1),
]
if clang_format_14() is not None:
    BROKEN.append(("format", "proxy/relay.c", "int x;\nint  y;\n", 2))


def problems_of_tree(files):
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            os.makedirs(os.path.dirname(os.path.join(root, path)) or root, exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as f:
                f.write(text)
        return breaches(root)[1]


def self_test():
    """The number of trees that were judged rightly; exits where one was not."""
    clean = problems_of_tree(CLEAN)
    if any(clean.values()):
        sys.exit(f"house.py: self-test: the clean tree has breaches: {clean}")
    for rule, path, text, line in BROKEN:
        found = [(p, n) for p, n, _ in problems_of_tree({**CLEAN, path: text})[rule]]
        # A cycle is reported at one of its files.
        if not found or (rule != "cycles" and found != [(path, line)]):
            sys.exit(f"house.py: self-test: {rule} in {path}:{line}: found {found}")
    return 1 + len(BROKEN)


def main():
    if len(sys.argv) != 2 or not os.path.isdir(sys.argv[1]):
        sys.exit("usage: house.py ROOT")
    trees = self_test()
    tree, found = breaches(sys.argv[1])
    for rule, problems in found.items():
        for path, line, what in problems:
            print(f"{path}:{line}: {rule}: {what}")
    skipped = [] if clang_format_14() else ["format (no clang-format 14)"]
    total = sum(len(problems) for problems in found.values())
    print(f"self-test: {trees} trees judged rightly")
    print(f"checked {len(tree.c_files())} C files and {len(tree.texts)} text files for "
          + ", ".join(name for name, _ in RULES if skipped == [] or name != "format")
          + ("; skipped: " + ", ".join(skipped) if skipped else ""))
    print(f"{total} breaches" if total else "no breaches")
    sys.exit(1 if total else 0)


if __name__ == "__main__":
    main()
