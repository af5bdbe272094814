"""Has counted what the rooms tell: each in its own words, none knows of figures."""

from collections.abc import Sequence

from app.metrics.figures import Figures
from app.sms.message import Outcome
from app.sms.message import State as SmsState
from app.tasks.record import TaskRecord
from app.tasks.states import State

# The command of who gave a text or a program: no name of the catalogue has brackets.
_SHELL = "(shell)"


class Counting:
    """Takes what the rooms tell of what happens."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def task(self, task: TaskRecord) -> None:
        """Count a task that has started, or has ended."""
        if task.state is State.STARTED:
            wait_seconds = _between(task.created, task.started) or 0.0
            self._figures.task_started(task.kind, wait_seconds=wait_seconds)
            return
        self._figures.output_written(
            written_bytes=task.end_offset + (task.stderr_end_offset or 0),
            dropped_bytes=task.dropped_bytes + (task.stderr_dropped_bytes or 0),
        )
        if task.state is State.LOST:
            self._figures.task_lost(task.kind)
            return
        self._figures.task_ended(
            task.kind,
            command=task.command or (_SHELL if task.kind == "exec" else ""),
            outcome=task.state.lower(),
            seconds=_between(task.started, task.finished),
        )

    def sms(self, provider: str, outcomes: Sequence[Outcome], seconds: float) -> None:
        """Count what a provider has answered."""
        words = [type(outcome).__name__.lower() for outcome in outcomes]
        self._figures.sms_answered(provider, words, seconds=seconds)

    def webhook(self, outcome: str) -> None:
        """Count an attempt to tell a webhook."""
        self._figures.webhook_told(outcome)

    def receipt(self, provider: str, state: SmsState) -> None:
        """Count a delivery receipt that told something new."""
        self._figures.receipt_taken(provider, state)


def _between(began: float | None, ended: float | None) -> float | None:
    """Return the time between; the clock may have been set back meanwhile."""
    return None if began is None or ended is None else max(0.0, ended - began)
