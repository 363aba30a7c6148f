"""The table of routes: method, path, view and required role."""

from collections.abc import Callable, Iterable
from enum import StrEnum

from msgspec import Struct

from scripts.api.openapi import BodyKind, Parameter, Tag
from scripts.api.responses import Answer
from scripts.api.tokens import Role

# Safe methods, which change nothing.
READING = ("GET", "HEAD", "OPTIONS")
METHODS = frozenset({*READING, "POST", "PUT", "PATCH", "DELETE", "TRACE"})
# The only path parameter before further parts.
MODEL_PART = "{model}"
# Required roles, from the least to the most.
RANKS = (None, *Role)


class Lane(StrEnum):
    """The place of a route's computation: event loop, fast predictor or thread."""

    # In the middleware: Flask's routing and request objects would cost as much as a prediction.
    FAST = "fast"
    # In Flask, in the event loop: the response is only computed.
    LOOP = "loop"
    # In Flask, in a thread: the response may read a file or the database.
    THREAD = "thread"


class Route(Struct, frozen=True):
    """A route: view, required role, response type, refusals and lane.

    The summary is the first sentence of the view's docstring.
    """

    method: str
    path: str
    view: Callable[..., Answer]
    answer: type[Struct] | str
    role: Role | None = Role.READ
    refusals: tuple[int, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    body_kind: BodyKind = BodyKind.NOTHING
    tag: Tag = Tag.SERVICE
    lane: Lane = Lane.THREAD

    @property
    def rule(self) -> str:
        """Return the path in Flask's syntax, with a parameter for the part in braces."""
        return self.path.replace(MODEL_PART, "<model>").replace("{", "<name:").replace("}", ">")

    @property
    def prefix(self) -> str:
        """Return the path before the parameter, or the full path without a parameter."""
        return self.path.partition("{")[0]

    @property
    def suffix(self) -> str:
        """Return the path after the parameter."""
        return self.path.partition("}")[2]

    @property
    def has_name(self) -> bool:
        """Return whether the path has a parameter."""
        return self.prefix != self.path

    def matches(self, path: str) -> bool:
        """Return whether a path matches, with slashes allowed in any parameter but a model's."""
        if not (path.startswith(self.prefix) and path.endswith(self.suffix)):
            return False
        name = path[len(self.prefix) : len(path) - len(self.suffix)]
        return bool(name) and not (MODEL_PART in self.path and "/" in name)

    @property
    def summary(self) -> str:
        """Return the first sentence of the view's docstring."""
        return (self.view.__doc__ or "").strip().split("\n")[0]


class RouteTable:
    """The routes, found by exact method and path: no case, slash or escape is normalized.

    Parameters
    ----------
    routes : iterable of Route
        The routes, each with at most one path parameter.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._exact = {(r.method, r.path): r for r in self.routes if not r.has_name}
        self._named = [route for route in self.routes if route.has_name]

    def _find(self, method: str, path: str) -> Route | None:
        """Return the route of a method and a path, or None."""
        exact = self._exact.get((method, path))
        if exact is not None:
            return exact
        for route in self._named:
            if route.method == method and route.matches(path):
                return route
        return None

    def list_methods(self, path: str) -> list[str]:
        """List the allowed methods of a path, with HEAD and OPTIONS."""
        listed = [method for method in sorted(METHODS) if self._find(method, path) is not None]
        added = ["HEAD", "OPTIONS"] if "GET" in listed else ["OPTIONS"]
        return listed + added if listed else []

    def find(self, method: str, path: str) -> Route | None:
        """Return the route of a request, or None.

        Parameters
        ----------
        method, path : str
            As sent. HEAD finds the route of GET, and OPTIONS the route of the path with the
            least required role.

        Returns
        -------
        Route or None
            None if no route is listed for the method and the path.
        """
        exact = self._exact.get((method, path))
        if exact is not None:
            return exact
        if method == "OPTIONS":
            routes = [self._find(other, path) for other in sorted(METHODS)]
            listed = [route for route in routes if route is not None]
            return min(listed, key=lambda route: RANKS.index(route.role), default=None)
        return self._find("GET" if method == "HEAD" else method, path)
