"""What the OpenAPI document makes others send is answered as it says."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import PROJECT, Server, running

ADMIN = ("admin", "change-me")
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
CONFIG = PROJECT / "tests" / "schemathesis.toml"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    settings = {
        "FLASK_ENV": "production",
        "ADMIN_PASSWORD": ADMIN[1],
        # Its commands are those of the catalogue; nobody can sign what is made up.
        "EXEC_TOKEN_REQUIRED": "0",
        "EXEC_GRACE_SECONDS": "1",
        "SMS_PROVIDER": "memory",
        "SMS_RECEIPTS_SECRET": "hidden",
        **{f"SMS_LIMIT_{kind}": "off" for kind in ("RECEIVER", "CALLER", "TOTAL")},
    }
    with running(tmp_path, "-w", "2", **settings) as started:
        yield started


def generate(document: str, server: Server, *options: str) -> int:
    """Send what a document makes of itself; return how many requests that were."""
    done = subprocess.run(
        [
            *(SCHEMATHESIS, "--config-file", CONFIG, "run", document),
            *("--url", server.url, "--continue-on-failure", *options),
        ],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=server.log_path.parent,  # where it keeps what it found
    )
    said = f"{done.stdout[-8000:]}{done.stderr[-1000:]}"
    assert done.returncode == 0, said
    [sent] = re.findall(r"^ +(\d+) generated, \1 passed", said, re.MULTILINE)
    return int(sent)


@pytest.mark.timeout(900)
def test_what_is_generated_of_it_finds_no_fault(server: Server, soak: bool) -> None:
    # In every run the same, in the long dose others each time.
    dose = ("200",) if soak else ("4", "--seed", "1")
    url = f"{server.url}/openapi.json"
    sent = generate(
        url,
        server,
        *("--auth", ":".join(ADMIN)),
        *("--exclude-checks", "ignored_auth", "--max-examples", *dose),
    )
    assert sent >= 2000
    assert server.get("/v3/users/", auth=ADMIN).status_code == 200
    assert not [line for line in server.log_lines() if line["level"] == "error"]


def test_nobody_is_let_in_without_credentials_or_with_false_ones(
    server: Server, tmp_path: Path
) -> None:
    document = server.get("/openapi.json").json()
    _leave_out_passwords(document)
    (tmp_path / "document.json").write_text(json.dumps(document))
    body = {"scopes": ["read", "exec", "sms", "admin"]}
    token = server.post("/v3/users/admin/tokens", json=body, auth=ADMIN).json()["token"]
    sent = generate(
        str(tmp_path / "document.json"),
        server,
        *("--header", f"Authorization: Bearer {token}"),
        *("--checks", "ignored_auth", "--phases", "examples,coverage"),
    )
    assert sent >= 1000


def _leave_out_passwords(document: dict[str, Any]) -> None:
    """Leave only tokens: after ten false passwords any is refused in another way."""
    del document["components"]["securitySchemes"]["password"]
    for item in document["paths"].values():
        for operation in item.values():
            if isinstance(operation, dict):
                ways = operation["security"]
                operation["security"] = [way for way in ways if "password" not in way]
