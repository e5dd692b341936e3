"""Notifications: who is told of what, through which services, and in which words.

The rows are in `signoff.store`, and what connects to anybody is in `signoff_workers`.
"""
