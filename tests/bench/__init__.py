"""`make bench`: what durability costs, beside a bare Celery chain on the same broker in the same run.

`python -m tests.bench.pages`: what the pages and the API take with 100 and with 100,000 human tasks open.
"""
