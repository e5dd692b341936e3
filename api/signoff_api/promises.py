"""What several operations promise alike: headers, and sets of problems."""

from __future__ import annotations

from signoff_api.routing import Header

IDEMPOTENCY_KEY = Header(
    name="Idempotency-Key",
    description="A key of your own for this request: when it comes again, it gets the first answer and happens once.",
    schema={"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
)
IF_MATCH = Header(
    name="If-Match",
    description="The `ETag` of the human task as you saw it; or send `payload_sha256`.",
    schema={"type": "string", "pattern": r'^(W/)?"[!#-~]*"$', "example": '"1"'},
)
REPLAYED = Header(
    name="Idempotent-Replayed",
    description="`true` when this repeats an earlier answer.",
    schema={"type": "string", "enum": ["true"]},
)
ETAG = Header(
    name="ETag", description="The revision, for `If-Match`.", schema={"type": "string", "pattern": '^"[0-9]+"$'}
)
LOCATION = Header(name="Location", description="Where what was made can be read.", schema={"type": "string"})
