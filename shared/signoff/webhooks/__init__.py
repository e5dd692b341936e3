"""Webhooks out: which events are told, in what form, how they are signed, where they may go and when they go again.

All of it is pure; the rows are in `signoff.store`, and what connects to anybody is in `signoff_workers`.
"""
