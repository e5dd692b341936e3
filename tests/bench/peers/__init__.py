"""The same refund in other systems, each in a virtual environment of its own.

A module here runs as `python -m tests.bench.peers.NAME` under the Python of `.bench/NAME`, knows nothing of Signoff,
and is told by lines of JSON what to do: see `child`. What it installs is in `NAME.txt`.
"""
