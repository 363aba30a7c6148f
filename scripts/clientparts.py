"""Gives what the records keep of clients the types of the answers."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from scripts import clients, explanation
from scripts.clientcontract import Interval, OutcomeEntry, ReasonEntry, ScoreEntry
from scripts.config import WorklistSettings
from scripts.database import Row
from scripts.errors import ModelError
from scripts.explanation import Reason
from scripts.model import Columns, Model, decode_model
from scripts.outcomes import Share

DEFAULT_TOP = 50
# How many scores of a client are shown, and how many outcomes.
N_SHOWN = 100

Value = float | str | None


def spell(moment: datetime | None) -> str | None:
    """Spell a moment."""
    return None if moment is None else moment.isoformat()


def as_interval(share: Share) -> Interval:
    """Give a share as it is answered."""
    return msgspec.convert(asdict(share), Interval)


def as_value(value: Any) -> Value:
    """Give a value as JSON has it; a blank number is null."""
    if isinstance(value, str):
        return value
    return None if math.isnan(value) else float(value)


def read_model(connection: Connection, stamp: str) -> Model:
    """Read the model of a scoring.

    Raises
    ------
    ModelError
        If it is not kept, or damaged.
    """
    content = clients.find_model_content(connection, stamp)
    if content is None:
        raise ModelError(f"The records have no model {stamp}; the next run records one.")
    return decode_model(content.encode(), Path(f"model {stamp} in the records"))


def read_values(used: Model, rows: Sequence[Row]) -> dict[str, NDArray[Any]]:
    """Read the values of scored clients, as `model.contributions` wants them."""
    table = [msgspec.json.decode(row["values"]) for row in rows]
    columns: dict[str, NDArray[Any]] = {}
    for place, name in enumerate(used.schema.features):
        values = [row[place] for row in table]
        is_number = name in used.schema.numeric
        columns[name] = np.array(values, dtype=np.float64 if is_number else object)
    return columns


def as_reason(reason: Reason) -> ReasonEntry:
    """Give a reason as it is answered, also in plain words."""
    return ReasonEntry(
        column=reason.column,
        value=as_value(reason.value),
        typical=reason.typical,
        effect=reason.effect,
        text=explanation.spell_reason(reason),
    )


def list_reasons(used: Model, columns: Columns) -> list[list[ReasonEntry]]:
    """List the strongest reasons of each client."""
    found = explanation.find_reasons(used, columns, explanation.typical_values(used))
    return [[as_reason(reason) for reason in reasons] for reasons in found]


def as_score(row: Row, used: Model) -> ScoreEntry:
    """Give a score as it is answered."""
    names = used.schema.features
    return ScoreEntry(
        scored_at=row["scored_at"].isoformat(),
        probability=row["probability"],
        band=row["band"],
        position=row["position"],
        n_clients=row["n_clients"],
        release=row["release"],
        model_stamp=row["model_stamp"],
        values=dict(zip(names, msgspec.json.decode(row["values"]), strict=True)),
        contributions=dict(zip(names, msgspec.json.decode(row["contributions"]), strict=True)),
    )


def list_length(settings: WorklistSettings) -> int:
    """Say how many clients count as listed: as many as the team can call."""
    return settings.capacity or DEFAULT_TOP


def as_outcome(row: Row, n_listed: int) -> OutcomeEntry:
    """Give an outcome as it is answered."""
    return OutcomeEntry(
        client=row["client"],
        exited=row["exited"],
        known_at=row["known_at"].isoformat(),
        scored_at=row["scored_at"].isoformat(),
        probability=row["probability"],
        band=row["band"],
        position=row["position"],
        is_listed=row["position"] <= n_listed,
        release=row["release"],
    )


def spell_share(share: Interval) -> str:
    """Spell a share with its interval and counts."""
    if share.share is None:
        return "none"
    return (
        f"{share.share:.0%} ({share.n_part} of {share.n_whole}; 95 % interval"
        f" {share.low:.0%} to {share.high:.0%})"
    )
