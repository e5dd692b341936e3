"""`make bench`: what durability costs, beside a bare Celery chain on the same broker in the same run."""
