"""Tells the webhooks of a task's notices, and notes in these what came of it."""

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import structlog

from app.tasks.notice import is_waiting, shown_url
from app.tasks.record import TaskRecord
from app.webhooks.schedule import DELAYS, next_attempt
from app.webhooks.target import host_of
from app.webhooks.teller import Outcome, Teller

from .event import event, notice_id

Notice = dict[str, Any]

log = structlog.get_logger(__name__)


class Webhooks:
    """Tells receivers; `observe` is told what came of each attempt, in a word."""

    def __init__(
        self,
        teller: Teller,
        *,
        public_url: str,
        observe: Callable[[str], None] = lambda _outcome: None,
        delays: Sequence[float] = DELAYS,
    ) -> None:
        self._teller = teller
        self._public_url = public_url
        self._observe = observe
        self._delays = delays

    @property
    def secret(self) -> str:
        """What is signed by where a notice has no secret of its own."""
        return self._teller.secret

    def fault(self, url: str) -> str | None:
        """Return why a URL may not be told, if so; no name is looked up."""
        return self._teller.fault(url)

    def bring(self, task: TaskRecord, notices: Sequence[Notice]) -> None:
        """Tell the receivers that are due; what is cut short is as it was."""
        body = event(task, self._public_url)
        for number, notice in enumerate(notices):
            if not _is_due(notice):
                continue
            webhook = notice["webhook"]
            webhook["id"] = notice_id(task.task_id, number)
            outcome = self._teller.tell(
                webhook["url"],
                secret=webhook.get("secret"),
                notice_id=webhook["id"],
                body=body,
            )
            if self._teller.is_closed and not outcome.is_delivered:
                return
            self._note(task, notice, outcome)

    def close(self) -> None:
        """Cut what is going on; safe to call twice."""
        self._teller.close()

    def _note(self, task: TaskRecord, notice: Notice, outcome: Outcome) -> None:
        """Note what came of an attempt, and when the next one is due."""
        webhook = notice["webhook"]
        webhook["attempts"] = webhook.get("attempts", 0) + 1
        webhook |= {"status": outcome.status, "detail": outcome.detail}
        again = self._again(task, webhook["attempts"], outcome)
        if again is None:
            notice["webhook"] = _done(notice, outcome)
        else:
            webhook["next"] = again
        self._report(task, notice)

    def _report(self, task: TaskRecord, notice: Notice) -> None:
        """Log what was noted, and have it counted."""
        webhook = notice["webhook"]
        facts = {name: webhook[name] for name in ("attempts", "status", "detail")}
        facts |= {"notice_id": webhook["id"], "url": shown_url(notice)}
        facts["task_id"] = task.task_id
        if is_waiting(notice):
            log.warning("webhook.postponed", **facts)
            self._observe("postponed")
        elif webhook["state"] == "delivered":
            log.info("webhook.delivered", **facts)
            self._observe("delivered")
        else:
            log.error("webhook.given_up", **facts)
            self._observe("given_up")

    def _again(self, task: TaskRecord, attempts: int, outcome: Outcome) -> float | None:
        if outcome.is_delivered or outcome.is_final:
            return None
        return next_attempt(
            attempts,
            since=task.finished or task.created,
            not_before=outcome.not_before,
            delays=self._delays,
        )


def _done(notice: Notice, outcome: Outcome) -> dict[str, Any]:
    """Return what is kept of a webhook that is done with: nothing that is secret."""
    left = {n: v for n, v in notice["webhook"].items() if n not in ("next", "secret")}
    left["url"] = shown_url(notice)
    if not outcome.is_delivered:
        return left | {"state": "failed"}
    return left | {"state": "delivered", "delivered": time.time()}


def due_hosts(notices: Collection[Notice]) -> Collection[str]:
    """Return the hosts whose webhooks are to be told now."""
    return {host_of(n["webhook"]["url"]) for n in notices if _is_due(n)}


def due_times(notices: Collection[Notice]) -> Collection[float]:
    """Return when webhooks are to be told that were not so far (Unix seconds)."""
    return [each["webhook"].get("next", 0.0) for each in notices if is_waiting(each)]


def _is_due(notice: Notice) -> bool:
    return is_waiting(notice) and notice["webhook"].get("next", 0.0) <= time.time()
