"""Idempotency-Key: a request that is sent again is answered again, and done once."""

import re
from collections.abc import Callable
from http import HTTPStatus

from flask import Response, g, request

from app.api.guard import caller, origin
from app.api.operation import IDEMPOTENCY_KEY as KEY
from app.api.operation import REPLAYED, RETURNCODE, STATE
from app.api.resource import services
from app.errors import Fault, InvalidInput
from app.tasks.kept_requests import Answer, digest_of

# Bare, or quoted as a string of structured fields is.
_KEY = re.compile(r'"([!#-~ ]{1,255})"|([!#-~]{1,255})')
_KEPT_HEADERS = ("Content-Type", "Location", "Preference-Applied", STATE, RETURNCODE)


def once(
    asked: object,
    do: Callable[[], Response],
    of_task: Callable[[str], Response],
    *,
    keeps: Callable[[int], bool] = lambda status: status < HTTPStatus.BAD_REQUEST,
) -> Response:
    """Return the answer of `do`, or the one it gave when this was `asked` before.

    `of_task` answers with the task that was started, or what was made in its place,
    where the service died before its answer was kept. What is kept, the status tells:
    refusals are not.
    """
    text = request.headers.get(KEY)
    if text is None or request.method != "POST":
        return do()
    requests, digest = services().requests, _digest(text)
    before = requests.begin(digest, asked=[request.args.to_dict(), asked])
    if before is not None:
        return _again(before, of_task)
    g.kept_request = digest
    response = None
    try:
        response = do()
    finally:
        if response is None or not keeps(response.status_code):
            requests.forget(digest)
    if keeps(response.status_code):
        _keep(digest, response)
    return response


def is_kept() -> bool:
    """Return whether this request came before, and would get its answer again."""
    text = request.headers.get(KEY, "")
    return bool(_KEY.fullmatch(text)) and services().requests.is_kept(_digest(text))


def _digest(text: str) -> str:
    key = _KEY.fullmatch(text)
    if key is None:
        raise InvalidInput([Fault(KEY, "is not 1 to 255 visible characters")])
    identity = caller()
    who = f"account {identity.account}" if identity else f"slot {origin().slot or ''}"
    return digest_of(who, request.endpoint or "", key[1] or key[2])


def _again(answer: Answer, of_task: Callable[[str], Response]) -> Response:
    if answer.status is not None:
        response = Response(answer.body, answer.status, answer.headers)
    else:
        response = of_task(answer.task_id or "")
    response.headers[REPLAYED] = "true"
    return response


def _keep(digest: str, response: Response) -> None:
    headers = {k: v for k, v in response.headers.items() if k in _KEPT_HEADERS}
    services().requests.keep(
        digest, status=response.status_code, headers=headers, body=response.get_data()
    )
