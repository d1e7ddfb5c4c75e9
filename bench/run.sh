#!/usr/bin/env bash
# run.sh - what a request and a streamed event cost, beside nginx and others, in one run.
# See bench/README.md for the method, its limits and how to read the tables; --help for options.
here=$(cd "$(dirname "$0")" && pwd)
PYTHONPATH=$here PYTHONDONTWRITEBYTECODE=1 exec python3 -m cost "$@"
