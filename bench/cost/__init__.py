"""What a request and a streamed event cost: holdfast beside nginx, haproxy and others, in one run.

bench/run.sh starts it. See bench/README.md for the method, its limits and how to read the tables.
"""
