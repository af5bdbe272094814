"""A route as the document has it."""

import re
from collections.abc import Mapping
from typing import Any

from werkzeug.routing import Rule

from app.api.access import Access, Who
from app.api.operation import Operation
from app.api.resource import BaseResource
from app.api.rule import plain

_ACCOUNT = ("token", "password")


class Route:
    """One rule of the URL map, who may use it, and what its methods do."""

    def __init__(
        self,
        rule: Rule,
        access: Access,
        resource: Any,
        settings: Mapping[str, Any],
    ) -> None:
        self.path = plain(rule.rule).replace("<", "{").replace(">", "}")
        self.parts: list[str] = re.findall("{(.+?)}", self.path)
        self.endpoint = rule.endpoint
        self.access = access
        self.operations: Mapping[str, Operation] = resource.operations
        #: Whether what a request has is checked against a schema.
        self.is_checked = issubclass(resource, BaseResource)
        self._settings = settings

    @property
    def security(self) -> tuple[str, ...]:
        """What a request is asked for, any of them, under the settings that hold."""
        match self.access.who:
            case Who.ACCOUNT:
                return _ACCOUNT
            case Who.SCRAPER:
                return ("metricsToken",) if self._settings["METRICS_TOKEN"] else ()
            case Who.ACCOUNT_IN_PRODUCTION:
                return () if self._settings["OPEN_TO_ALL"] else _ACCOUNT
        return ()

    @property
    def takes_signature(self) -> bool:
        """Whether its path has to be signed."""
        is_for_signers = self.access.who is Who.SIGNER
        return is_for_signers and bool(self._settings["EXEC_TOKEN_REQUIRED"])
