"""What the echo route takes: any JSON."""

from app.schema import Schema

ECHO_BODY = Schema({"examples": [{"any": "JSON"}]})
