"""The table of routes: method and path, who may ask, and who answers."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from msgspec import Struct

from scripts.answers import Answer
from scripts.openapi import Parameter
from scripts.tokens import Role

# Methods that change nothing: a link, a picture, a look ahead.
READING = ("GET", "HEAD", "OPTIONS")
METHODS = frozenset({*READING, "POST", "PUT", "PATCH", "DELETE", "TRACE"})
# From the least to the most that a route can want.
RANKS = (None, Role.READ, Role.ADMIN)


class Lane(StrEnum):
    """Who answers a route."""

    # The front door itself: routing and request objects would cost as much as a prediction.
    EXPRESS = "express"
    # Flask, at once: the answer is only computed.
    LOOP = "loop"
    # Flask, in a thread: the answer may read a file or ask the records.
    THREAD = "thread"


@dataclass(frozen=True)
class Route:
    """One route: its view, who may ask, what comes back, its own refusals, and who answers.

    Its summary is the docstring of the view.
    """

    method: str
    path: str
    view: Callable[..., Answer]
    answer: type[Struct] | str
    role: Role | None = Role.READ
    refusals: tuple[int, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    takes_rows: bool = False
    lane: Lane = Lane.THREAD

    @property
    def rule(self) -> str:
        """The path as Flask spells it; a part in braces is a name."""
        return self.path.replace("{", "<name:").replace("}", ">")

    @property
    def prefix(self) -> str:
        """The path up to its name; all of it without one."""
        return self.path.partition("{")[0]

    @property
    def has_name(self) -> bool:
        """Whether the path ends in a name, which may hold any characters."""
        return self.prefix != self.path

    @property
    def summary(self) -> str:
        """What the route is for, in a sentence."""
        return (self.view.__doc__ or "").strip().split("\n")[0]


class RouteTable:
    """Find the route of a request, by the letter: no case, slash or spelling is forgiven.

    Parameters
    ----------
    routes : iterable of Route
        A name in a path is its last part.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._exact = {(r.method, r.path): r for r in self.routes if not r.has_name}
        self._named = [route for route in self.routes if route.has_name]

    @property
    def quick_paths(self) -> frozenset[str]:
        """The paths that are answered at once, not in a thread."""
        return frozenset(route.path for route in self.routes if route.lane is not Lane.THREAD)

    def _find(self, method: str, path: str) -> Route | None:
        """Return the route of a method and a path, if one is listed."""
        found = self._exact.get((method, path))
        if found is not None:
            return found
        for route in self._named:
            if (
                route.method == method
                and path.startswith(route.prefix)
                and len(path) > len(route.prefix)
            ):
                return route
        return None

    def list_methods(self, path: str) -> list[str]:
        """List the methods that the routes of a path have, those of HTTP itself included."""
        listed = [method for method in sorted(METHODS) if self._find(method, path) is not None]
        added = ["HEAD", "OPTIONS"] if "GET" in listed else ["OPTIONS"]
        return listed + added if listed else []

    def find(self, method: str, path: str) -> Route | None:
        """Find the route that a request asks for.

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
