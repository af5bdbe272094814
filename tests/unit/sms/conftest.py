"""Vendors that say what a test has them say, and records on SQLite."""

import time
from collections.abc import Sequence

import pytest

from app.sms.gateway import Letter, SmsGateway
from app.sms.limits import SmsLimits
from app.sms.message import Accepted, Outcome, Rejected
from app.sms.outbox import Outbox, SmsRetention
from app.sms.provider import SmsProvider
from app.sms.templates import SmsTemplate, SmsTemplates
from app.storage.engine import Database
from app.storage.message_store import MessageStore
from app.storage.ownership import Viewer
from app.storage.people_store import PeopleStore
from app.tasks.worker import Worker
from tests.vendors import FIRST, SECOND

EVERYBODY = Viewer(None, sees_all=True)
HOST = "pelican"
TEMPLATES = """
[templates.captcha]
params = ["code"]
text = "Your code is {code}"
ids = {keeper = "1110"}

[templates.kept]
params = ["code"]
ids = {keeper = "1111"}
"""

#: What a vendor does when it is asked: it answers, for as many as it likes, or raises.
Says = Sequence[Outcome] | Outcome | BaseException | None


class Scripted(SmsProvider):
    """Says one thing after the other, one outcome for all of a batch, then accepts."""

    def __init__(self, *says: Says, batch_limit: int = 10) -> None:
        self.batch_limit = batch_limit
        self.says = list(says)
        self.asked = []
        self.options = []
        self.closed = 0

    def send(self, template, receivers, **options):
        self.asked.append(list(receivers))
        self.options.append({"template": template, **options})
        said = self.says.pop(0) if self.says else Accepted("p-1", 1)
        if isinstance(said, BaseException):
            raise said
        is_one = isinstance(said, Outcome)
        return [said] * len(receivers) if is_one else said

    def close(self) -> None:
        self.closed += 1


class Keeper(Scripted):
    """Has the templates itself."""

    needs_template_id = True


def rejected(category, code="E", **how):
    return Rejected(category, code, "its words", **how)


def letter_to(*receivers, providers=("first", "second"), **changes):
    document = {"params": ["code"], "text": "{code}", "ids": {"keeper": "1110"}}
    facts = {
        "message_id": "m-1",
        "template": SmsTemplate("captcha", document),
        "params": {"code": "736251"},
        "receivers": receivers or (FIRST, SECOND),
        "providers": providers,
        "created": time.time(),
    }
    return Letter(**facts | changes)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/bellhop.db"


@pytest.fixture
def database(url):
    made = Database(url)
    yield made
    made.close()


@pytest.fixture
def store(database):
    return MessageStore(database)


@pytest.fixture
def templates(tmp_path):
    path = tmp_path / "templates.toml"
    path.write_text(TEMPLATES)
    return SmsTemplates(str(path))


@pytest.fixture
def make_outbox(database, store, templates):
    """Return what makes outboxes with these providers, asked in that order."""

    def make(*, limits=None, retention=(3600.0, 7200.0), is_gone=None, **providers):
        contents, rest = retention
        return Outbox(
            store=store,
            people=PeopleStore(database),
            templates=templates,
            gateway=SmsGateway(providers, order=tuple(providers)),
            limits=limits or SmsLimits(),
            retention=SmsRetention(contents, rest, key="a key"),
            host=HOST,
            worker=lambda: str(Worker.current()),
            is_gone=is_gone or (lambda _: False),
        )

    return make
