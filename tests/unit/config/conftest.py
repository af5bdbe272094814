"""An environment without settings, put back after each test."""

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from config.config import BaseConfig
from config.settings import Setting

NAMES = [
    name for name in dir(BaseConfig) if isinstance(getattr(BaseConfig, name), Setting)
]


@pytest.fixture(autouse=True)
def environment(tmp_path: Path) -> Iterator[None]:
    """Set nothing but the folder, so that no test writes into the project's own."""
    saved = dict(os.environ)
    for name in (*NAMES, "FLASK_ENV"):
        os.environ.pop(name, None)
    os.environ["INSTANCE_PATH"] = str(tmp_path / "instance")
    yield
    os.environ.clear()
    os.environ.update(saved)


@pytest.fixture
def logging_put_back() -> Iterator[None]:
    """Undo what config_logger does to the whole process."""
    root, hook = logging.getLogger(), threading.excepthook
    level, handlers, chain = root.level, list(root.handlers), structlog.get_config()
    yield
    for handler in [h for h in root.handlers if h not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    structlog.configure(**chain)
    threading.excepthook = hook
