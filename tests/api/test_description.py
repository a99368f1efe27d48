"""The description is true: requests made from it get answers that it describes, and nothing breaks the server."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

from tests.api.people import World
from tracker_server.api.authorise import Open
from tracker_server.api.endpoints import ENDPOINTS
from tracker_server.api.openapi import describe

EXAMPLES = 2  # of each route; more find nothing that is worth the minutes
LEFT_OUT = {"/api/session"}  # it would sign us out


@pytest.mark.timeout(600)  # some seconds of work; on a machine that is full, minutes
def test_requests_made_from_the_description(world: World) -> None:
    schema = schemathesis.openapi.from_dict(describe(ENDPOINTS))
    schema.config.update(base_url=world.url)
    tried = 0
    with world.signed_in("owner", world.account()) as owner:
        cookies = dict(owner.cookies)
        for found in schema.get_all_operations():
            operation: Any = found.ok()  # pyright: ignore[reportAttributeAccessIssue]
            if operation.path in LEFT_OUT or operation.path.startswith(("/api/password", "/api/setup")):
                continue

            @settings(
                max_examples=EXAMPLES,
                database=None,
                derandomize=True,
                phases=[Phase.generate],
                suppress_health_check=[
                    HealthCheck.too_slow,
                    HealthCheck.filter_too_much,
                    HealthCheck.data_too_large,
                ],
            )
            @given(case=operation.as_strategy())
            def ask(case: Any) -> None:
                case.call_and_validate(
                    cookies=cookies,
                    checks=[not_a_server_error, response_schema_conformance, status_code_conformance],
                )

            ask()
            tried += 1
    http = [one for one in ENDPOINTS if one.method != "SOCKET"]
    assert tried > len(http) - 12
    assert any(isinstance(one.needs, Open) for one in http)
