"""The vendors' stand-ins, running."""

from collections.abc import Iterator

import pytest

from app.sms.fake.aliyun import FakeAliyun
from app.sms.fake.huawei import FakeHuawei
from app.sms.fake.server import FakeServer
from app.sms.fake.tencent import FakeTencent

VENDORS = [FakeAliyun, FakeHuawei, FakeTencent]


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    """Run a server that is all the vendors."""
    with FakeServer([vendor() for vendor in VENDORS]) as server:
        yield server
