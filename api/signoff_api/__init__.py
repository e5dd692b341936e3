"""The HTTP API of Signoff: a Flask app over the engine, and the pages for reviewers."""
