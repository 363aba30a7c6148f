"""Tells whom to call: today's clients as last scored, or those of one table, ranked."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy.engine import Connection

from scripts import clientparts, clients, outcomes, ranking
from scripts.cells import name_client
from scripts.clientcontract import Capacity, ReasonEntry, Worklist, WorklistEntry
from scripts.clientparts import DEFAULT_TOP
from scripts.config import ApiSettings, WorklistSettings
from scripts.database import Row
from scripts.model import Model

EMPTY = Worklist(
    clients=[], n_clients=0, n_found=0, bands={}, capacity=None, scored_at=None, run_id=None,
    model_stamp=None, next_offset=None, release=None,
)  # fmt: skip


def as_entry(row: Row, reasons: list[ReasonEntry]) -> WorklistEntry:
    """Give a client of the list as he is answered."""
    before = row["previous_probability"]
    return WorklistEntry(
        position=row["position"],
        client=row["client"],
        probability=row["probability"],
        band=row["band"],
        reasons=reasons,
        previous_probability=before,
        previous_at=clientparts.spell(row["previous_at"]),
        change=None if before is None else row["probability"] - before,
    )


def measure_capacity(scoring: Row, settings: WorklistSettings) -> Capacity | None:
    """Say what share of the exits a list of the team's length catches among the test rows."""
    n_ranked = scoring["n_clients"] - scoring["n_without_data"]
    if settings.capacity is None or n_ranked == 0:
        return None
    bits = np.frombuffer(scoring["gains"], dtype=np.uint8)
    y = np.unpackbits(bits, count=scoring["n_test_rows"]).astype(np.int64)
    listed_fraction = min(1.0, settings.capacity / n_ranked)
    # The labels stand in the order of their probability already.
    falling = -np.arange(len(y), dtype=np.float64)
    return Capacity(
        n_listed=min(settings.capacity, n_ranked),
        listed_fraction=listed_fraction,
        caught=clientparts.as_interval(outcomes.caught_share(y, falling, listed_fraction)),
        n_test_rows=len(y),
    )


def worklist_page(
    connection: Connection,
    settings: WorklistSettings,
    *,
    top: int = DEFAULT_TOP,
    offset: int = 0,
    search: str = "",
    band: str = "",
    order: str = "risk",
) -> Worklist:
    """Give a page of the worklist, as of the last scoring.

    Parameters
    ----------
    connection : sqlalchemy.Connection
        A transaction that reads.
    settings : WorklistSettings
        How many clients the team can call.
    top, offset : int
        How many clients, after how many.
    search, band : str
        Only clients whose name contains this, and of this band; "" is any.
    order : str
        "risk", "client" or "rise".

    Returns
    -------
    Worklist
        Empty before the first scoring.
    """
    scoring = clients.last_scoring(connection)
    if scoring is None:
        return EMPTY
    found = {"search": search, "band": band}
    rows = clients.list_clients(
        connection, scoring["id"], limit=top + 1, offset=offset, order=order, **found
    )
    shown = rows[:top]
    used = clientparts.read_model(connection, scoring["model_stamp"])
    reasons = clientparts.list_reasons(used, clientparts.read_values(used, shown)) if shown else []
    return Worklist(
        clients=[as_entry(row, why) for row, why in zip(shown, reasons, strict=True)],
        n_clients=scoring["n_clients"],
        n_found=clients.count_listed(connection, scoring["id"], **found),
        bands=clients.count_bands(connection, scoring["id"]),
        capacity=measure_capacity(scoring, settings),
        scored_at=clientparts.spell(scoring["scored_at"]),
        run_id=scoring["run_id"],
        model_stamp=scoring["model_stamp"],
        next_offset=offset + top if len(rows) > top else None,
        release=scoring["release"],
    )


def name_clients(used: Model, columns: Mapping[str, Sequence[Any]], n_rows: int) -> list[str]:
    """Name the clients of a table by its identifiers; without them, by the numbers of the rows."""
    ids = [columns[name] for name in used.schema.ids]
    if not ids:
        return [f"row {number}" for number in range(1, n_rows + 1)]
    return [name_client(row) for row in zip(*ids, strict=True)]


def rank_table(
    used: Model,
    columns: Mapping[str, Sequence[Any]],
    api: ApiSettings,
    settings: WorklistSettings,
    top: int,
) -> list[WorklistEntry]:
    """Rank the clients of a table once, without the records.

    Parameters
    ----------
    used : Model
        The model in production.
    columns : mapping of str to sequence
        The columns that were read, by name.
    api, settings : ApiSettings, WorklistSettings
        The bands.
    top : int
        How many to give.

    Returns
    -------
    list of WorklistEntry
        The first to call first.
    """
    schema = used.schema
    kinds = dict.fromkeys(schema.numeric, np.float64) | dict.fromkeys(schema.categorical, object)
    values = {name: np.array(columns[name], dtype=kind) for name, kind in kinds.items()}
    names = name_clients(used, columns, len(columns[schema.features[0]]))
    ranked = ranking.rank(used, values, api, settings)
    places = ranked.order[:top]
    reasons = clientparts.list_reasons(
        used, {name: column[places] for name, column in values.items()}
    )
    return [
        WorklistEntry(
            position=position,
            client=names[place],
            probability=float(ranked.probability[place]),
            band=ranked.bands[place],
            reasons=why,
            previous_probability=None,
            previous_at=None,
            change=None,
        )
        for position, (place, why) in enumerate(zip(places.tolist(), reasons, strict=True), start=1)
    ]
