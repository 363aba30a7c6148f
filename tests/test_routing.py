"""The table of routes finds a route by the letter, and tells who answers it."""

import pytest

from scripts.answers import Answer
from scripts.dashboard import PAGES
from scripts.routing import Lane, Route, RouteTable
from scripts.tokens import Role
from scripts.views import ROUTES, STATIC


def answer() -> Answer:
    """Answer with nothing."""
    return Answer(200, b"")


OPEN = Route("GET", "/form", answer, "text/html", None)
SENT = Route("POST", "/form", answer, "text/html", Role.ADMIN)
NAMED = Route("GET", "/clients/{client}", answer, "text/html")
FAST = Route("POST", "/predict", answer, "text/html", lane=Lane.EXPRESS)
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

    assert table.quick_paths == {"/predict", "/score", "/summarise", "/health"}
    assert [route.path for route in table.routes if route.lane is Lane.EXPRESS] == ["/predict"]


def test_no_method_and_path_has_two_routes_and_a_name_is_the_last_part() -> None:
    routes = (*ROUTES, *PAGES, STATIC)

    assert len({(route.method, route.path) for route in routes}) == len(routes)
    assert all(route.path.endswith("}") for route in routes if route.has_name)
