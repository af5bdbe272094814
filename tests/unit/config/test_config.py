"""The environments and their settings, the file of settings, the child's names."""

import os
import re
from pathlib import Path

import pytest
import sqlalchemy as sa

from config.config import (
    BaseConfig,
    child_environment,
    config_map,
    read_config,
    read_env_file,
)
from config.settings import Setting, SettingsError

SECRETS = (
    "SECRET_KEY",
    "DATABASE_URL",
    "CELERY_BROKER_URL",
    "REDIS_URL",
    "ADMIN_PASSWORD",
    "METRICS_TOKEN",
)


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / "settings.env"


def faults() -> list[str]:
    with pytest.raises(SettingsError) as raised:
        read_config("testing")
    return raised.value.faults


def faults_of_file(path: Path) -> list[str]:
    before = dict(os.environ)
    with pytest.raises(SettingsError) as raised:
        read_env_file(path)
    assert dict(os.environ) == before, "nothing of a faulty file counts"
    return raised.value.faults


@pytest.mark.parametrize("name", ["development", "testing", "production"])
def test_an_environment_is_found_by_its_name(name: str) -> None:
    config = read_config(name)
    assert isinstance(config, BaseConfig)
    assert type(config) is config_map[name]
    assert name == config.FLASK_ENV


def test_the_environment_is_what_was_asked_for_then_flask_env_then_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert read_config().FLASK_ENV == "production"
    assert read_config(default="development").FLASK_ENV == "development"
    monkeypatch.setenv("FLASK_ENV", "testing")
    assert read_config(default="development").FLASK_ENV == "testing"
    assert read_config("production").FLASK_ENV == "production"
    monkeypatch.setenv("FLASK_ENV", "")
    assert read_config(default="development").FLASK_ENV == "development"


@pytest.mark.parametrize("name", ["nonsense", "Production", "prod", "base", " testing"])
def test_an_unknown_environment_is_refused_with_the_three(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [f"FLASK_ENV={name!r} is not one of development, testing, production"]
    with pytest.raises(SettingsError) as raised:
        read_config(name)
    assert raised.value.faults == expected
    monkeypatch.setenv("FLASK_ENV", name)
    with pytest.raises(SettingsError) as raised:
        read_config()
    assert raised.value.faults == expected


def test_production_runs_no_shell_and_takes_signed_callers_only() -> None:
    config = read_config("production")
    assert config.EXEC_ALLOW_SHELL is False
    assert config.EXEC_TOKEN_REQUIRED is True
    assert config.TESTING is False


@pytest.mark.parametrize("name", ["development", "testing"])
def test_elsewhere_whoever_may_call_may_all(name: str) -> None:
    config = read_config(name)
    assert config.EXEC_ALLOW_SHELL is True
    assert config.EXEC_TOKEN_REQUIRED is False
    assert (name == "testing") is config.TESTING


def test_what_production_is_strict_about_can_be_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EXEC_ALLOW_SHELL", "1")
    monkeypatch.setenv("EXEC_TOKEN_REQUIRED", "0")
    config = read_config("production")
    assert (config.EXEC_ALLOW_SHELL, config.EXEC_TOKEN_REQUIRED) == (True, False)


@pytest.mark.parametrize("name", config_map)
def test_every_environment_listens_on_localhost_only(name: str) -> None:
    assert read_config(name).BIND_ADDRESS == "127.0.0.1"


def test_the_defaults_are_the_ones_promised() -> None:
    config = read_config("production")
    promised = {
        "PORT": 5000,
        "LOG_LEVEL": "INFO",
        "LOG_FILE": None,
        "SECRET_KEY": None,
        "MAX_CONTENT_LENGTH": 1024 * 1024,
        "EXEC_MAX_RUNNING": 8,
        "EXEC_TIMEOUT_SECONDS": 3600.0,
        "EXEC_GRACE_SECONDS": 5.0,
        "EXEC_OUTPUT_HEAD_BYTES": 64 * 1024,
        "EXEC_OUTPUT_TAIL_BYTES": 1024 * 1024,
        "IOSTAT_SYNC_SECONDS": 30,
        "TASK_RETENTION_SECONDS": 7 * 24 * 3600.0,
        "TASK_RETENTION_COUNT": 100_000,
        "BELLHOP_HOST": os.uname().nodename,
    }
    assert {name: getattr(config, name) for name in promised} == promised


@pytest.mark.parametrize("name", config_map)
def test_every_default_is_one_that_could_be_set(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = vars(read_config(name))
    for setting in vars(BaseConfig):
        if isinstance(getattr(BaseConfig, setting), Setting):
            value = before[setting]
            if value is not None:
                several = isinstance(value, tuple | dict)
                monkeypatch.setenv(setting, ",".join(value) if several else str(value))
    assert vars(read_config(name)) == before


def test_all_faulty_settings_are_told_at_once_and_no_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PORT", "nonsense")
    monkeypatch.setenv("LOG_LEVEL", "loud")
    monkeypatch.setenv("DATABASE_URL", "mysql://bob:hunter2@db.example/bellhop")
    monkeypatch.setenv("SECRET_KEY", "{{hunter2}}")
    monkeypatch.setenv("EXEC_ALLOW_SHELL", "maybe")

    told = faults()

    assert [re.split(" is | does ", fault)[0] for fault in told] == [
        "DATABASE_URL",
        "EXEC_ALLOW_SHELL='maybe'",
        "LOG_LEVEL='loud'",
        "PORT='nonsense'",
    ]
    assert "hunter2" not in "".join(told)


def test_what_is_secret_is_marked_so() -> None:
    marked = {
        name
        for name, setting in vars(BaseConfig).items()
        if isinstance(setting, Setting) and setting.secret
    }
    suspect = re.compile("(KEY|URL|PASSWORD|METRICS_TOKEN)$")
    suspects = {name for name in vars(BaseConfig) if suspect.search(name)}
    assert marked == {*SECRETS} == suspects


@pytest.mark.parametrize("name", ["instance", "a b#c", "a?b&c=d", "100%41", "a;b@c:d"])
def test_records_are_kept_in_the_instance_folder_whatever_its_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSTANCE_PATH", str(tmp_path / name))
    url = sa.make_url(read_config("testing").DATABASE_URL)
    assert url.database == str(tmp_path / name / "bellhop.db")
    assert not url.query


def test_a_relative_instance_folder_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INSTANCE_PATH", "kept/here")
    config = read_config("testing")
    assert str(tmp_path / "kept/here") == config.INSTANCE_PATH
    assert f"sqlite:///{tmp_path}/kept/here/bellhop.db" == config.DATABASE_URL


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite://?timeout=3"]
)
def test_a_database_in_one_workers_memory_is_refused(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    (fault,) = faults()
    assert fault.startswith("DATABASE_URL names no file")


def test_a_child_sees_four_names_of_the_environment_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = {"PATH": "/bin", "HOME": "/home/bob", "LANG": "de_DE", "TZ": "Asia/Tokyo"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    monkeypatch.setenv("LD_PRELOAD_OF_BOB", "x.so")
    assert child_environment() == values
    assert values == read_config("testing").EXEC_ENVIRONMENT


def test_a_child_has_a_path_a_home_and_a_language_where_we_have_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("PATH", "HOME", "LANG", "TZ"):
        monkeypatch.delenv(name, raising=False)
    names = child_environment()
    assert set(names) == {"PATH", "HOME", "LANG"}
    assert all(names.values())
    monkeypatch.setenv("HOME", "")
    assert child_environment() == names


def test_a_file_sets_what_the_environment_has_not(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", "6000")
    env_file.write_text("PORT=7000\nTHREADS=3\nFLASK_ENV=testing\n")

    read_env_file(env_file)

    config = read_config()
    assert (config.PORT, config.THREADS, config.FLASK_ENV) == (6000, 3, "testing")


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=value", "value"),
        ("export NAME=value", "value"),
        ("  NAME = value  ", "value"),
        ("NAME='single # quoted'", "single # quoted"),
        ('NAME="double # quoted" # why', "double # quoted"),
        ("NAME=a#b", "a#b"),
        ("NAME=value # why", "value"),
        ("NAME='#all'", "#all"),
        ("NAME=a=b==", "a=b=="),
        ("NAME=$HOME/${PATH}", "$HOME/${PATH}"),
        ("NAME={{PATH}}", "{{PATH}}"),
        ("NAME=中文", "中文"),
        ("NAME=", ""),
        ("NAME=first\nNAME=second", "second"),
        ("\ufeffNAME=value", "value"),
        ("\r\n# a comment\r\n\r\nNAME=value\r\n", "value"),
    ],
)
def test_a_line_of_the_file_is_read(env_file: Path, line: str, value: str) -> None:
    env_file.write_bytes(line.encode())
    read_env_file(env_file)
    assert os.environ["NAME"] == value


@pytest.mark.parametrize("content", ["", "\n\n", "# only\n  # comments\n"])
def test_a_file_may_set_nothing(env_file: Path, content: str) -> None:
    env_file.write_text(content)
    before = dict(os.environ)
    read_env_file(env_file)
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("PORT=1\nSECRET_KEY\n", "'SECRET_KEY' has no = and value"),
        ("PORT 5000\n", "line 1 is no NAME=VALUE"),
        ("THREADS=1\n\n  \nPORT: hunter2 5\nWORKERS=2\n", "line 4 is no NAME=VALUE"),
        ("=5000\n", "line 1 is no NAME=VALUE"),
        ('THREADS=1\nPORT="5000\nWORKERS=2\n', "line 2 is no NAME=VALUE"),
        ("NAME='a' b\n", "line 1 is no NAME=VALUE"),
        ("NAME=a\0b\n", "line 1 is no NAME=VALUE"),
    ],
)
def test_a_line_that_sets_nothing_is_told_and_not_passed_over(
    env_file: Path, content: str, fault: str
) -> None:
    env_file.write_text(content)
    assert faults_of_file(env_file) == [f"{env_file}: {fault}"]


def test_all_faulty_lines_are_told_at_once(env_file: Path) -> None:
    env_file.write_text("PORT 5000\nTHREADS=3\nWORKERS\n")
    assert len(faults_of_file(env_file)) == 2


def test_a_file_that_cannot_be_read_is_told(env_file: Path, tmp_path: Path) -> None:
    for path in (env_file, tmp_path):
        (fault,) = faults_of_file(path)
        assert fault.startswith(f"{path} cannot be read")
    env_file.write_bytes(b"NAME=\xff\n")
    (fault,) = faults_of_file(env_file)
    assert fault.startswith(f"{env_file} cannot be read")
