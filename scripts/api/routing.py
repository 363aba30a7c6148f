"""The table of routes: method, path, view and required role."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from msgspec import Struct

from scripts.api.openapi import Parameter, Tag, Takes
from scripts.api.responses import Answer
from scripts.api.tokens import Role

# Methods that change nothing: a link, a picture, a look ahead.
READING = ("GET", "HEAD", "OPTIONS")
METHODS = frozenset({*READING, "POST", "PUT", "PATCH", "DELETE", "TRACE"})
# The only path parameter before further parts.
MODEL_PART = "{model}"
# Required roles, from the least to the most.
RANKS = (None, Role.READ, Role.ADMIN)


class Lane(StrEnum):
    """The place of a route's computation: event loop, fast predictor or thread."""

    # The front door itself: routing and request objects would cost as much as a prediction.
    FAST = "fast"
    # Flask, at once: the answer is only computed.
    LOOP = "loop"
    # Flask, in a thread: the answer may read a file or ask the records.
    THREAD = "thread"


@dataclass(frozen=True)
class Route:
    """A route: view, required role, response type, refusals and lane.

    Its summary is the docstring of the view.
    """

    method: str
    path: str
    view: Callable[..., Answer]
    answer: type[Struct] | str
    role: Role | None = Role.READ
    refusals: tuple[int, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    takes: Takes = Takes.NOTHING
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
        """Whether a part of the path is a name."""
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
    """Find the route of a request, by the letter: no case, slash or spelling is forgiven.

    Parameters
    ----------
    routes : iterable of Route
        At most one part of a path is a name.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._exact = {(r.method, r.path): r for r in self.routes if not r.has_name}
        self._named = [route for route in self.routes if route.has_name]

    def _find(self, method: str, path: str) -> Route | None:
        """Return the route of a method and a path, or None."""
        found = self._exact.get((method, path))
        if found is not None:
            return found
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
        """Return the route of a request, or refuse the request.

        Parameters
        ----------
        method, path : str
            As sent. HEAD asks for the route of GET, and OPTIONS for the route of the path that
            wants the least.

        Returns
        -------
        Route or None
            None if no route is listed for the method and the path.
        """
        exact = self._exact.get((method, path))
        if exact is not None:
            return exact
        if method == "OPTIONS":
            found = [self._find(other, path) for other in sorted(METHODS)]
            listed = [route for route in found if route is not None]
            return min(listed, key=lambda route: RANKS.index(route.role), default=None)
        return self._find("GET" if method == "HEAD" else method, path)
