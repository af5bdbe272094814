"""Rows of tables, for the tests of app/storage and app/auth."""

import time
import uuid
from typing import Any

NOW = 1_800_000_000.0


def task_row(**changes: Any) -> dict[str, Any]:
    """Return a row of a task that has just been taken on, in a slot of its own."""
    task_id = str(uuid.uuid4())
    return {
        "task_id": task_id,
        "kind": "exec",
        "state": "QUEUED",
        "owner": "bob",
        "slot": f"slot of {task_id}",
        "host": "pelican",
        "worker": "4711",
        "cmd": "true",
        "command": None,
        "max_running": None,
        "request_id": None,
        "created": time.time(),
        "end_offset": 0,
        "dropped_bytes": 0,
        "polled_offset": 0,
        "polled_end": False,
        "cancel_requested": False,
    } | changes


def account_row(username: str = "ann", **changes: Any) -> dict[str, Any]:
    """Return a row of an account that is no admin's."""
    return {
        "username": username,
        "fullname": "Ann 安 \U0001f6ce",
        "admin": False,
        "password_hash": "$argon2id$…",
        "created": 1700000000.123456,
    } | changes


def token_row(account: int, name: str = "first", **changes: Any) -> dict[str, Any]:
    """Return a row of a token that does not expire."""
    return {
        "token_id": f"id of {name}",
        "account": account,
        "digest": f"digest of {name}",
        "scopes": "read exec",
        "description": "",
        "created": NOW,
        "expires": None,
    } | changes


def audit_row(actor: str | None = "ann", **changes: Any) -> dict[str, Any]:
    """Return a row of the audit."""
    return {
        "at": 1700000000.123456,
        "actor": actor,
        "via": "basic",
        "action": "POST /v3/exec/",
        "outcome": "success",
    } | changes


def message_row(**changes: Any) -> dict[str, Any]:
    """Return a row of a message that is about to be sent."""
    return {
        "message_id": str(uuid.uuid4()),
        "request_id": None,
        "task_id": None,
        "worker": "4711",
        "host": "pelican",
        "template": "captcha",
        "provider": "aliyun",
        "params": '{"code": "736251"}',
        "text": "Your code is 736251 验证码",
        "validity_seconds": None,
        "created": NOW,
        "touched": NOW,
        "attempts": "[]",
    } | changes
