"""The lists to call of two scorings beside each other, and the clients on a single list."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET
from sqlalchemy.engine import Connection

from scripts.clients import worklist
from scripts.core.config import WorklistSettings
from scripts.model import ranking
from scripts.production.comparison_types import ListChange, ListedClient
from scripts.records import client_blocks, column_blocks, people_names, scored_clients
from scripts.records.runs import Row
from scripts.records.tables import BlockKind

MAX_NAMED = 500
WANTED = ("position", "probability", "gain", "band", "held_out")


def read_places(connection: Connection, scoring_id: int) -> dict[str, Any]:
    """Read places, risks, gains and bands of the clients of a scoring, and the bucket of each."""
    parts: dict[str, list[Any]] = {}
    buckets = list(client_blocks.bucket_sizes(connection, scoring_id))
    kinds = [BlockKind.SCORES, BlockKind.PLACES]
    for start in range(0, len(buckets), client_blocks.BATCH_BLOCKS):
        some = buckets[start : start + client_blocks.BATCH_BLOCKS]
        read = client_blocks.read_buckets(connection, scoring_id, kinds, some, "content")
        columns: dict[int, dict[str, Any]] = {bucket: {} for bucket in some}
        for row in read:
            columns[row.bucket] |= column_blocks.unpack(row.content, WANTED)
        for bucket, found in columns.items():
            n_clients = len(found["probability"])
            beside = {"bucket": np.full(n_clients, bucket), "row": np.arange(n_clients)}
            for name, column in (found | beside).items():
                parts.setdefault(name, []).append(column)
    return {name: np.concatenate(columns) for name, columns in parts.items()}


def order_places(places: Mapping[str, Any]) -> Any:
    """Return the callable clients in the order of the list: by gain, or by risk."""
    by_risk = np.argsort(places["position"], kind="stable")
    if "gain" in places:
        is_unranked = places["band"] == ranking.NO_DATA
        by_risk = np.lexsort((places["position"], -places["gain"], is_unranked))
    return by_risk if "held_out" not in places else by_risk[places["held_out"][by_risk] == 0]


def read_listed(connection: Connection, scoring: Row, n_listed: int) -> list[ListedClient]:
    """Read the first clients of the list of a scoring, without held-out clients.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    scoring : mapping
        The row of a scoring whose scores are still kept.
    n_listed : int
        The length of the list.
    """
    places = read_places(connection, scoring["id"])
    if not places:
        return []
    chosen = order_places(places)[:n_listed]
    buckets = sorted(set(places["bucket"][chosen].tolist()))
    names = {
        bucket: column_blocks.unpack_texts(packed, n_names)
        for bucket, packed, n_names in scored_clients.read_names(
            connection, scoring["id"], BlockKind.SCORES, buckets
        )
    }
    return [
        ListedClient(
            client=names[int(places["bucket"][n])][int(places["row"][n])], place=place,
            probability=float(places["probability"][n]),
        )
        for place, n in enumerate(chosen.tolist(), start=1)
    ]  # fmt: skip


def find_others(listed: Sequence[ListedClient], beside: set[str]) -> list[ListedClient]:
    """Return the clients of a list who are absent from a second list."""
    return [client for client in listed if client.client not in beside]


def add_names(connection: Connection, listed: Sequence[ListedClient]) -> list[ListedClient]:
    """Return clients with their names for people."""
    names = people_names.find_names(connection, [each.client for each in listed])
    return [msgspec.structs.replace(each, names=names.get(each.client, UNSET)) for each in listed]


def compare(
    connection: Connection, scorings: tuple[Row, Row], settings: WorklistSettings
) -> ListChange:
    """Compare the lists of two scorings, both as long as the team can call.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    scorings : tuple of mapping
        Two scorings whose scores are still kept.
    settings : WorklistSettings
        The capacity of the team.

    Returns
    -------
    ListChange
        The lists as they were scored, with clients at rest.
    """
    n_wanted = worklist.list_length(settings)
    a, b = (read_listed(connection, scoring, n_wanted) for scoring in scorings)
    names_a, names_b = ({client.client for client in listed} for listed in (a, b))
    only_a, only_b = find_others(a, names_b), find_others(b, names_a)
    n_only_a, n_only_b = len(only_a), len(only_b)
    only_a, only_b = (add_names(connection, listed[:MAX_NAMED]) for listed in (only_a, only_b))
    return ListChange(
        n_listed_a=len(a), n_listed_b=len(b), n_both=len(names_a & names_b),
        release_a=scorings[0]["release"], release_b=scorings[1]["release"],
        only_a=only_a, only_b=only_b, n_only_a=n_only_a, n_only_b=n_only_b,
    )  # fmt: skip
