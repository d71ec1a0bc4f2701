"""The description of the API, tried out: no generated request makes the server fail or answer what it does not say."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest
import schemathesis
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from feature_repo.core.settings import Settings
from running_app import Running

# 503 is described: Redis is away, a task has no champion. 500 is not, nor is anything a framework says by itself.
EXAMPLES = 25


@pytest.fixture
def running(shop: Settings) -> Iterator[Running]:
    found = Running(shop)
    while "warm_up" in found.http.get("/readyz").json()["wrong"]:
        assert found.http.get("/healthz").status_code == 200
    yield found
    found.close()


def test_no_generated_request_makes_the_server_fail(running: Running) -> None:
    described = schemathesis.openapi.from_url(f"{running.http.base_url}/openapi.json")
    tried = set()
    for found in described.get_all_operations():
        operation = found.ok()
        tried.add(operation.path)

        @hypothesis.settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=True)
        @hypothesis.given(case=operation.as_strategy())
        def holds(case: schemathesis.Case) -> None:
            case.call_and_validate(
                checks=[status_code_conformance, response_schema_conformance, content_type_conformance]
            )

        holds()
    assert tried >= {"/v1/explain", "/v1/evidence", "/v1/what-if", "/v1/segment", "/v1/tags"}
    assert tried >= {"/v1/features", "/v1/profiles", "/v1/predict", "/v1/events", "/v1/pseudonyms", "/healthz"}
