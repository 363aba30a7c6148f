"""The table of routes finds a route by the letter, and tells who answers it."""

import pytest

from scripts.api.responses import Answer
from scripts.api.routes import ROUTES, STATIC
from scripts.api.routing import Lane, Route, RouteTable
from scripts.api.tokens import Role
from scripts.app import PAGES


def answer() -> Answer:
    """Answer with nothing."""
    return Answer(200, b"")


OPEN = Route("GET", "/form", answer, "text/html", None)
SENT = Route("POST", "/form", answer, "text/html", Role.ADMIN)
NAMED = Route("GET", "/clients/{client}", answer, "text/html")
FAST = Route("POST", "/predict", answer, "text/html", lane=Lane.FAST)
TABLE = RouteTable([SENT, OPEN, NAMED, FAST])


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("GET", "/form", OPEN),
        ("HEAD", "/form", OPEN),
        ("POST", "/form", SENT),
        # Asking what can be asked wants no more than the least of it.
        ("OPTIONS", "/form", OPEN),
        ("OPTIONS", "/predict", FAST),
        ("HEAD", "/predict", None),
        ("PUT", "/form", None),
        ("post", "/form", None),
        ("OPTIONS", "/nothing", None),
        ("GET", "/form/", None),
        ("GET", "//form", None),
        ("GET", "form", None),
        ("GET", "/FORM", None),
        ("GET", "/clients/x", NAMED),
        ("GET", "/clients//a/../b ", NAMED),
        ("GET", "/clients/", None),
        ("GET", "/clients", None),
        ("GET", "//clients/x", None),
        ("POST", "/clients/x", None),
        ("GET", "", None),
    ],
)
def test_a_route_is_found_by_the_letter(method: str, path: str, found: Route | None) -> None:
    assert TABLE.find(method, path) is found


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/form", ["GET", "POST", "HEAD", "OPTIONS"]),
        ("/predict", ["POST", "OPTIONS"]),
        ("/clients/x", ["GET", "HEAD", "OPTIONS"]),
        ("/nothing", []),
    ],
)
def test_the_methods_of_a_path_are_those_of_its_routes(path: str, methods: list[str]) -> None:
    assert TABLE.list_methods(path) == methods


def test_only_what_computes_is_answered_at_once() -> None:
    table = RouteTable((*ROUTES, *PAGES, STATIC))

    by_lane = {lane: {r.path for r in table.routes if r.lane is lane} for lane in Lane}
    assert by_lane[Lane.FAST] == {"/predict", "/invocations", "/v2/models/{model}/infer"}
    assert by_lane[Lane.LOOP] == {
        "/score", "/summarise", "/health", "/ping", "/v2/health/live", "/v2/health/ready",
    }  # fmt: skip


def test_no_method_and_path_has_two_routes_and_only_a_model_is_named_within_a_path() -> None:
    routes = (*ROUTES, *PAGES, STATIC)

    assert len({(route.method, route.path) for route in routes}) == len(routes)
    assert {r.path for r in routes if r.has_name and r.suffix} == {
        "/v2/models/{model}/infer",
        "/v2/models/{model}/ready",
    }


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v2/models/adras", "/v2/models/{model}"),
        ("/v2/models/adras/ready", "/v2/models/{model}/ready"),
        ("/v2/models//ready", None),
        ("/v2/models/a/b", None),
        ("/v2/models/", None),
    ],
)
def test_the_name_of_a_model_has_no_slash(path: str, route: str | None) -> None:
    found = RouteTable(ROUTES).find("GET", path)

    assert (None if found is None else found.path) == route
