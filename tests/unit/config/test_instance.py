"""The instance folder and the secret key, made once."""

import os
import stat
from pathlib import Path

import pytest

from config.config import BaseConfig, prepare_instance, read_config
from config.settings import SettingsError
from tests.racing import race_processes, race_threads

KEYS = ("secret_key", "sms_receipts_secret")

READ = """
import os
from config.config import prepare_instance, read_config
config = read_config("testing")
"""

SHOW = """
prepare_instance(config)
print(config.SECRET_KEY)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "instance"


@pytest.fixture
def config(folder: Path) -> BaseConfig:
    made = read_config("testing")
    assert str(folder) == made.INSTANCE_PATH
    return made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def fault_of(config: BaseConfig) -> str:
    with pytest.raises(SettingsError) as raised:
        prepare_instance(config)
    (fault,) = raised.value.faults
    return fault


def test_folders_and_key_are_for_the_owner_only(
    config: BaseConfig, folder: Path
) -> None:
    umask = os.umask(0)
    try:
        prepare_instance(config)
    finally:
        os.umask(umask)
    assert mode(folder) == 0o700
    assert mode(folder / "output") == 0o700
    for key in KEYS:
        assert mode(folder / key) == 0o600
    assert {path.name for path in folder.iterdir()} == {"output", *KEYS}


def test_a_key_is_made_once_and_kept(config: BaseConfig, folder: Path) -> None:
    prepare_instance(config)
    again = read_config("testing")
    prepare_instance(again)
    assert config.SECRET_KEY == again.SECRET_KEY == (folder / "secret_key").read_text()
    assert len(bytes.fromhex(str(config.SECRET_KEY))) == 32


def test_every_instance_has_a_key_of_its_own(
    config: BaseConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSTANCE_PATH", str(tmp_path / "another"))
    another = read_config("testing")
    prepare_instance(config)
    prepare_instance(another)
    assert config.SECRET_KEY != another.SECRET_KEY


def test_a_key_that_is_set_is_used_and_none_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "of the operator")
    config = read_config("testing")
    prepare_instance(config)
    assert config.SECRET_KEY == "of the operator"
    assert not (folder / "secret_key").exists()


def test_a_key_may_be_kept_by_hand(config: BaseConfig, folder: Path) -> None:
    folder.mkdir()
    (folder / "secret_key").write_text("of the operator\n")
    prepare_instance(config)
    assert config.SECRET_KEY == "of the operator"


def test_an_empty_key_is_refused_and_not_signed_with(
    config: BaseConfig, folder: Path
) -> None:
    folder.mkdir()
    (folder / "secret_key").write_text("\n")
    assert fault_of(config).startswith(f"{folder}/secret_key is empty")


def test_many_processes_that_start_at_once_have_the_same_key(folder: Path) -> None:
    keys = race_processes(20, READ, SHOW, INSTANCE_PATH=str(folder))
    assert set(keys) == {(folder / "secret_key").read_text() + "\n"}
    assert {path.name for path in folder.iterdir()} == {"output", *KEYS}


def test_containers_that_start_at_once_have_the_same_key(folder: Path) -> None:
    """The first process has the same pid in each of them."""
    same_pid = READ + "os.getpid = lambda: 1\n"
    keys = race_processes(8, same_pid, SHOW, INSTANCE_PATH=str(folder))
    assert set(keys) == {(folder / "secret_key").read_text() + "\n"}


def test_many_threads_that_start_at_once_have_the_same_key(folder: Path) -> None:
    def key(_: int) -> str | None:
        config = read_config("testing")
        prepare_instance(config)
        return config.SECRET_KEY

    assert set(race_threads(16, key)) == {(folder / "secret_key").read_text()}


def test_a_folder_with_parents_that_are_not_there_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSTANCE_PATH", str(tmp_path / "a/b/c"))
    prepare_instance(read_config("testing"))
    assert (tmp_path / "a/b/c/output").is_dir()


@pytest.mark.parametrize("in_the_way", ["", "output", "secret_key/"])
def test_a_folder_that_cannot_be_used_is_told_with_the_settings_name(
    config: BaseConfig, folder: Path, in_the_way: str
) -> None:
    if in_the_way.endswith("/"):
        (folder / in_the_way).mkdir(parents=True)
    else:
        (folder / in_the_way).parent.mkdir(exist_ok=True)
        (folder / in_the_way).write_text("a file")
    assert fault_of(config).startswith(f"INSTANCE_PATH={str(folder)!r} cannot be used")


def test_a_folder_below_a_file_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write_text("a file")
    monkeypatch.setenv("INSTANCE_PATH", str(folder / "below"))
    assert fault_of(read_config("testing")).startswith("INSTANCE_PATH=")


def test_a_key_that_is_no_text_is_told(config: BaseConfig, folder: Path) -> None:
    folder.mkdir()
    (folder / "secret_key").write_bytes(b"\xff\xfe")
    assert fault_of(config).startswith("INSTANCE_PATH=")
