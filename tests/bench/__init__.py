"""`make bench`: Signoff beside bare Celery chains and other systems, on this machine, in one run: see `__main__`.

`make bench-guard`: fails on gross regressions. `python -m tests.bench.pages`: what the pages and the API take with 100
and with 100,000 human tasks open.
"""
