"""All vendors that are stood in for."""

from .aliyun import FakeAliyun
from .huawei import FakeHuawei
from .kannel import FakeKannel
from .sns import FakeSns
from .tencent import FakeTencent
from .twilio import FakeTwilio
from .vendor import FakeVendor


def all_vendors() -> list[FakeVendor]:
    """Return one of each."""
    return [
        FakeAliyun(),
        FakeHuawei(),
        FakeTencent(),
        FakeTwilio(),
        FakeKannel(),
        FakeSns(),
    ]
