"""What the echo route takes: any JSON."""

from app.api.validation import Schema

ECHO_BODY = Schema({})
