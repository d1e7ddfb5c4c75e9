"""python3 -m faultd --port N [--name A] [--default SPEC] [--queue SPEC ...] [--tls KIND]"""
import argparse
import threading

from . import Certs, Faultd

parser = argparse.ArgumentParser(prog="faultd", description="A scripted fault server; the log is "
                                 "at /_log, more scripts go to /_queue as a JSON list.")
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--name", default="A")
parser.add_argument("--default", default="ok", help="the script when the queue is empty")
parser.add_argument("--queue", nargs="*", default=[], help="scripts of the first requests")
parser.add_argument("--tls", help="good, expired, wrong_host, self_signed, unknown_ca, h2, ...")
args = parser.parse_args()

certs = Certs() if args.tls else None
server = Faultd(args.name, args.queue, args.default, tls=args.tls, certs=certs, port=args.port)
print(f"faultd {args.name}: {server.base_url}" + (f" (authority: {certs.ca})" if certs else ""),
      flush=True)
try:
    threading.Event().wait()
except KeyboardInterrupt:
    server.stop()
