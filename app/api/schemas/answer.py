"""The words in which the schemas of answers are written, and what many of them have."""

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]

STRING = {"type": "string"}
INTEGER = {"type": "integer"}
NUMBER = {"type": "number"}
BOOLEAN = {"type": "boolean"}
TIME = {"type": "string", "format": "date-time"}


def an_object(*, optional: Document | None = None, **members: Any) -> dict[str, Any]:
    """Return the schema of an object; one may come to have more members."""
    return {
        "type": "object",
        "properties": {**members, **(optional or {})},
        "required": list(members),
    }


def an_array(items: Document) -> dict[str, Any]:
    """Return the schema of an array."""
    return {"type": "array", "items": items}


def by_name(values: Document) -> dict[str, Any]:
    """Return the schema of an object whose members are all alike, by any names."""
    return {"type": "object", "additionalProperties": values}


def or_null(kind: Document) -> dict[str, Any]:
    """Return the schema of what may be unknown."""
    return {**kind, "type": [kind["type"], "null"]}


def a(name: str) -> dict[str, str]:
    """Return a reference to what the document has under that name."""
    return {"$ref": f"#/components/schemas/{name}"}


def a_page(member: str, items: Document) -> dict[str, Any]:
    """Return the schema of a page of a list."""
    return an_object(**{member: an_array(items)}, links=an_array(a("Link")))


_CHECKS = {
    "type": "object",
    "additionalProperties": {"enum": ["ok", "failed", "draining"]},
}

ANSWERS = {
    "Link": {
        **an_object(
            rel=STRING, href=STRING, optional={"method": {"enum": ["POST", "DELETE"]}}
        ),
        "examples": [{"rel": "v1", "href": "/v1/"}],
    },
    "Links": {
        **an_object(links=an_array(a("Link"))),
        "examples": [{"links": [{"rel": "uptime", "href": "/v1/uptime/"}]}],
    },
    "Fault": {
        **an_object(path=STRING, message=STRING),
        "examples": [{"path": "age", "message": "is required"}],
    },
    "Problem": {
        **an_object(
            type={**STRING, "description": "a URN of ours, or about:blank"},
            title=STRING,
            status={"description": "the status; `busy` where exec has always said so"},
            detail=STRING,
            message={**STRING, "description": "the same as `detail`"},
            request_id=STRING,
            optional={
                "errors": an_array(a("Fault")),
                "mode": {"const": "exec"},
                "checks": _CHECKS,
                "msg": {**STRING, "description": "of a person: the same as `detail`"},
                "id": {**STRING, "description": "of a message that was refused"},
                "provider": STRING,
                "receivers": an_array(a("Receiver")),
                "attempts": an_array(a("Attempt")),
                "links": an_array(a("Link")),
            },
        ),
        "description": "What is wrong (RFC 9457)",
    },
    "Health": {
        **an_object(
            message={"const": "ok"},
            optional={"checks": _CHECKS},
        ),
        "examples": [{"message": "ok"}],
    },
    "Echo": {
        **an_object(user=STRING, uuid=STRING, optional={"content": {}}),
        "examples": [{"user": "anna", "uuid": "42", "content": {"any": "JSON"}}],
    },
}
