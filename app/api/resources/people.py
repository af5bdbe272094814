"""The directory of people."""

from typing import Any, ClassVar

from flask import Response, url_for
from werkzeug.exceptions import NotFound

from app.api.audit_log import note
from app.api.errors import problem
from app.api.operation import Answer, Operation
from app.api.pages import PAGE_HEADERS, cut, read_cursor
from app.api.rendering import render_json, render_nothing
from app.api.resource import BaseResource, services
from app.api.schemas.answer import a
from app.api.schemas.page import PAGE, PAGE_QUERY
from app.api.schemas.people import PERSON, PERSON_CHANGES

_DESCRIPTION = "The directory of people: those whom a message can go to."


class People(BaseResource):
    """All people, by pages, and new ones."""

    operations: ClassVar = {
        "get": Operation(
            "The people that a message can go to",
            {200: Answer("A page of them", a("People"), PAGE_HEADERS)},
            query=PAGE_QUERY,
        ),
        "post": Operation(
            "Add a person",
            {201: Answer("The person was added", a("AddedPerson"), ("Location",))},
            body=PERSON,
        ),
    }

    def get(self, query: dict[str, Any]) -> Response:
        """Return a page of people, and what can be done with them."""
        limit = query.get("limit", PAGE)
        people = services().people
        after = read_cursor(query.get("cursor"))
        found = people.page(after_uid=-1 if after is None else after, limit=limit + 1)
        page, pages, headers = cut(found, limit, lambda row: int(row["uid"]))
        more = [_link(page["href"], "GET", "the next page") | page for page in pages]
        answer = {"description": _DESCRIPTION, "user-count": people.count()}
        users = {"users": [_person(row) for row in page], "links": _links() + more}
        return render_json(answer | users, 200, headers)

    def post(self, body: dict[str, Any]) -> Response:
        """Add a person."""
        uid = services().people.add(_row(body))
        note(target=str(uid))
        location = url_for("v1.person", uid=uid)
        answer = {"msg": "the person was added", "uid": uid}
        return render_json(answer, 201, {"Location": location})


class Person(BaseResource):
    """One person."""

    operations: ClassVar = {
        "get": Operation("A person", {200: Answer("The person", a("Person"))}),
        "put": Operation(
            "Change the members given",
            {200: Answer("The person, as changed", a("Person"))},
            body=PERSON_CHANGES,
        ),
        "delete": Operation("Remove a person", {204: Answer("The person is gone")}),
    }

    def get(self, uid: int) -> Response:
        """Return the person."""
        return _found(services().people.find(uid))

    def put(self, uid: int, body: dict[str, Any]) -> Response:
        """Change the members given; return the person."""
        return _found(services().people.update(uid, _row(body)))

    def delete(self, uid: int) -> Response:
        """Remove the person."""
        if not services().people.remove(uid):
            return _found(None)
        return render_nothing()


def _found(row: Any) -> Response:
    if row is None:
        detail = "There is no person of that uid."
        return problem(NotFound(detail), msg=detail)
    return render_json(_person(row))


def _row(body: dict[str, Any]) -> dict[str, Any]:
    """Return what is stored of a body: 30.0 is an integer of JSON's, not of SQL's."""
    return body | {"age": int(body["age"])} if "age" in body else body


def _person(row: Any) -> dict[str, Any]:
    """Return a person without the members that were never given."""
    return {name: value for name, value in row.items() if value is not None}


def _links() -> list[dict[str, str]]:
    people = url_for("v1.user")
    person = f"{people}/<uid>"
    return [
        _link(people, "GET", "list the people"),
        _link(people, "POST", "add a person"),
        _link(person, "GET", "show a person"),
        _link(person, "PUT", "change a person"),
        _link(person, "DELETE", "remove a person"),
    ]


def _link(uri: str, method: str, description: str) -> dict[str, str]:
    return {"uri": uri, "method": method, "description": description}
