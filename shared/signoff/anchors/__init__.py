"""Anchors: signed marks outside the database of where every log stood, and the file that holds them.

docs/adr/0013-anchors.md says what they show and what they can't.
"""
