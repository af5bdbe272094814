"""The recipe of several containers: what it names is there, and it starts.

No docker is needed: its commands and health checks are run as they stand there.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.house.test_settings import SETTINGS
from tests.postgres import Postgres
from tests.servers import PROJECT, running
from tests.trees import ADMIN, PASSWORD
from tests.valkey import running_valkey

TEXT = (PROJECT / "compose.yaml").read_text()
RECIPE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = RECIPE["services"]
OURS = ("migrate", "web", "worker")
#: What a name in it is replaced by, as from the file `.env`.
SECRETS = {
    "SECRET_KEY": "k" * 64,
    "POSTGRES_PASSWORD": "p" * 64,
    "VALKEY_PASSWORD": "v" * 64,
}

#: What it uses of the Compose specification: a word that is misspelt is none of it.
KNOWN = {
    *("build", "cap_drop", "command", "depends_on", "deploy", "env_file"),
    *("environment", "healthcheck", "image", "logging", "networks", "ports"),
    *("read_only", "restart", "security_opt", "stop_grace_period", "tmpfs", "user"),
    "volumes",
}
KNOWN_OF_CHECK = {
    *("disable", "interval", "retries", "start_period", "test", "timeout"),
}
CONDITIONS = {"service_healthy", "service_completed_successfully"}


def filled_in(text: str) -> str:
    """Return a text as compose makes it, with its own defaults."""

    def value(found: re.Match[str]) -> str:
        name, default = found[1], found[2]
        return SECRETS[name] if default is None else default

    filled = re.sub(r"\$\{(\w+)(?::-([^}]*)|:\?[^}]*)\}", value, text)
    return filled.replace("$$", "$")


def checks_of(name: str) -> list[str]:
    """Return a service's health check as it is run."""
    kind, *rest = SERVICES[name]["healthcheck"]["test"]
    words = [filled_in(each) for each in rest]
    return ["sh", "-c", *words] if kind == "CMD-SHELL" else words


def test_every_word_of_it_is_one_of_compose() -> None:
    top = {each for each in RECIPE if not each.startswith("x-")}
    assert top == {"name", "services", "networks", "volumes"}
    for service in SERVICES.values():
        assert set(service) <= KNOWN
        assert set(service.get("healthcheck", {})) <= KNOWN_OF_CHECK
        limits = service["deploy"]["resources"]["limits"]
        assert set(limits) == {"cpus", "memory", "pids"}
        assert re.fullmatch(r"\d+[MG]", limits["memory"])


def test_what_it_refers_to_is_in_it() -> None:
    for service in SERVICES.values():
        for name, how in service.get("depends_on", {}).items():
            assert name in SERVICES
            assert how["condition"] in CONDITIONS
            if how["condition"] == "service_healthy":
                assert "test" in SERVICES[name]["healthcheck"]
        assert set(service["networks"]) <= set(RECIPE["networks"])
        for volume in service["volumes"]:
            assert volume.partition(":")[0] in RECIPE["volumes"]


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_no_root_and_writes_to_its_volume_alone(name: str) -> None:
    service = SERVICES[name]
    assert service["user"].partition(":")[0] not in ("", "0", "root")
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert service["restart"] == ("no" if name == "migrate" else "unless-stopped")


def test_only_the_web_tier_can_be_reached_and_that_from_this_host_only() -> None:
    published = {
        name: each["ports"] for name, each in SERVICES.items() if "ports" in each
    }
    assert published == {"web": ["127.0.0.1:5000:5000"]}
    assert RECIPE["networks"]["inside"] == {"internal": True}
    for name in ("postgres", "valkey", "migrate"):
        assert SERVICES[name]["networks"] == ["inside"]


def test_no_secret_stands_in_it_and_none_is_made_up() -> None:
    wanted = set(re.findall(r"\$\{(\w+):\?", TEXT))
    assert wanted == set(SECRETS)
    for name in re.findall(r"\$\{(\w+)", TEXT):
        assert name in wanted or name in SETTINGS
    assert not re.search(r"PASSWORD: (?!\$\{)", TEXT)


def test_images_are_pinned_and_ours_is_built() -> None:
    for name, service in SERVICES.items():
        if name in OURS:
            assert (service["build"], service["image"]) == (".", "bellhop")
        else:
            assert re.fullmatch(r"[\w/]+:\d+-alpine", service["image"])


def test_its_settings_are_ours_and_its_user_is_the_image_s() -> None:
    image = (PROJECT / "Dockerfile").read_text()
    for name in OURS:
        assert set(SERVICES[name]["environment"]) <= set(SETTINGS)
        assert f"--uid {SERVICES[name]['user'].partition(':')[0]} " in image
        [volume] = SERVICES[name]["volumes"]
        assert f"VOLUME {volume.partition(':')[2]}\n" in image
    for name in ("celery", "postgres"):
        assert f"-r requirements-{name}.txt" in image


def valkey_options() -> list[str]:
    """Return what Valkey is started with, but for what is each test's own."""
    words = shlex.split(filled_in(SERVICES["valkey"]["command"][-1]))
    assert words[:2] == ["exec", "valkey-server"]
    given = dict(zip(words[2::2], words[3::2], strict=True))
    assert given.pop("--requirepass") == "$VALKEY_PASSWORD"
    assert given.pop("--dir") == SERVICES["valkey"]["volumes"][0].partition(":")[2]
    return [word for pair in given.items() for word in pair]


@contextmanager
def settings_of(
    postgres: Postgres, folder: Path
) -> Iterator[Mapping[str, Mapping[str, str]]]:
    """Give the environment of each of our containers, with engines that are there."""
    with (
        postgres.new_database() as url,
        running_valkey(folder, *valkey_options()) as valkey,
    ):
        with valkey.client() as client:
            assert client.config_get("appendonly") == {"appendonly": "yes"}
            assert client.config_get("maxmemory-policy")["maxmemory-policy"] == (
                "noeviction"
            )
        base = valkey.url.removesuffix("/0")
        engines = {"DATABASE_URL": url, "ADMIN_PASSWORD": PASSWORD}
        for name in ("CELERY_BROKER_URL", "REDIS_URL"):
            number = SERVICES["web"]["environment"][name].rpartition("/")[2]
            engines[name] = f"{base}/{number}"
        yield {
            name: {
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "INSTANCE_PATH": str(folder / name),
                **{k: filled_in(v) for k, v in SERVICES[name]["environment"].items()},
                **engines,
            }
            for name in OURS
        }


def test_its_commands_start_a_service_that_runs_what_it_is_asked_for(
    postgres: Postgres, tmp_path: Path
) -> None:
    with settings_of(postgres, tmp_path) as settings:
        migrated = subprocess.run(
            SERVICES["migrate"]["command"], cwd=PROJECT, env=settings["migrate"]
        )
        assert migrated.returncode == 0
        log = tmp_path / "worker.log"
        with log.open("wb") as output:
            worker = subprocess.Popen(
                SERVICES["worker"]["command"],
                cwd=PROJECT,
                env=settings["worker"],
                stdout=output,
                stderr=output,
            )
        own = {"PORT": "", "BIND_ADDRESS": "127.0.0.1", "FLASK_ENV": "production"}
        web = {**settings["web"], **own}
        del web["PORT"]  # each test has one of its own
        try:
            with running(tmp_path, **web) as server:
                asked = {"command": "echo", "params": {"text": "hello"}}
                answer = server.post(
                    "/v3/exec/", json={**asked, "wait_seconds": 30}, auth=ADMIN
                )
                assert answer.status_code == 201, answer.text
                assert answer.json()["state"] == "SUCCESS", log.read_text()
                assert answer.json()["host"] == "compose"
                assert server.get("/api/health/ready").ok
                assert is_well("worker", settings)
        finally:
            worker.terminate()
            worker.wait(30)


def is_well(name: str, settings: Mapping[str, Mapping[str, str]]) -> bool:
    """Return what a container's health check says, run where it would be."""
    checked = subprocess.run(
        checks_of(name), cwd=PROJECT, env=settings[name], capture_output=True
    )
    return checked.returncode == 0
