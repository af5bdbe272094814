"""Delivery receipts: the vendors' own calls, in the form that each of them has."""

from typing import ClassVar

from flask import Response, current_app, request
from flask_restful import Resource

from app.api.operation import Answer, Operation
from app.api.rendering import JSON, TEXT, render_head
from app.api.resource import services
from app.api.schemas.answer import STRING
from app.api.validation import read_bytes
from app.errors import ReceiptNotTaken
from app.sms.provider import Call


class DeliveryReceipts(Resource):  # type: ignore[misc]
    """Takes receipts from whoever knows the secret of the path."""

    operations: ClassVar = {
        method: Operation(
            "Take delivery receipts, in the vendor's own form",
            {
                200: Answer(
                    "As the vendor wants to be answered", {JSON: {}, TEXT: STRING}
                )
            },
            problems=(ReceiptNotTaken,),
        )
        for method in ("get", "post")
    }

    def post(self, provider: str, secret: str) -> Response:
        """Take what the vendor reports; answer as it wants to be."""
        receipts = services().receipts
        receipts.admit(provider, secret)
        acknowledgement = receipts.take(provider, _call())
        return Response(acknowledgement.body, content_type=acknowledgement.content_type)

    get = post

    def head(self, provider: str, secret: str) -> Response:
        """Take nothing."""
        services().receipts.admit(provider, secret)
        return render_head()


def _call() -> Call:
    base = current_app.config["PUBLIC_URL"] or request.host_url
    query = request.query_string.decode("latin-1")
    return Call(
        request.method,
        f"{base.rstrip('/')}{request.path}{'?' if query else ''}{query}",
        {name.lower(): value for name, value in request.headers.items()},
        read_bytes(),
    )
