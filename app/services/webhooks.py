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
        facts = {
            "task_id": task.task_id,
            "notice_id": webhook["id"],
            "url": shown_url(notice),
            **{name: webhook[name] for name in ("attempts", "status", "detail")},
        }
        if again is not None:
            webhook["next"] = again
            log.warning("webhook.postponed", **facts)
            self._observe("postponed")
            return
        # What is done with needs no secret, which the URL may have as well.
        left = {n: v for n, v in webhook.items() if n not in ("next", "secret")}
        left |= {"url": shown_url(notice), "state": "failed"}
        notice["webhook"] = left
        if outcome.is_delivered:
            left |= {"state": "delivered", "delivered": time.time()}
            log.info("webhook.delivered", **facts)
        else:
            log.error("webhook.given_up", **facts)
        self._observe("delivered" if outcome.is_delivered else "given_up")

    def _again(self, task: TaskRecord, attempts: int, outcome: Outcome) -> float | None:
        if outcome.is_delivered or outcome.is_final:
            return None
        return next_attempt(
            attempts,
            since=task.finished or task.created,
            not_before=outcome.not_before,
            delays=self._delays,
        )


def due_hosts(notices: Collection[Notice]) -> Collection[str]:
    """Return the hosts whose webhooks are to be told now."""
    return {host_of(n["webhook"]["url"]) for n in notices if _is_due(n)}


def next_due(notices: Collection[Notice]) -> float | None:
    """Return when the next webhook is to be told (Unix seconds); None: all were."""
    waiting = [n["webhook"] for n in notices if is_waiting(n)]
    return min((each.get("next", 0.0) for each in waiting), default=None)


def _is_due(notice: Notice) -> bool:
    return is_waiting(notice) and notice["webhook"].get("next", 0.0) <= time.time()
