"""One module a promise; each is found by its being here."""
