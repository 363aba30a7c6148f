"""Which models a person has taken out of production, so that no run puts them back."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from scripts import artifacts, durable
from scripts.errors import ReleaseError
from scripts.model import Model


class Withdrawal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A release that was rolled back: when, by whom, why, and what its model was made of."""

    release: str
    at: datetime
    actor: str
    reason: str
    origin: str | None = None


def origin_of(model: Model) -> str:
    """Identify what makes a model: its dataset, schema and training settings.

    The same three give the same model, whatever run trains it, and whatever versions of the
    packages put into the last bit of a coefficient.
    """
    made_of = [model.dataset.sha256, model.schema, model.settings]
    return durable.digest(msgspec.json.encode(made_of, order="sorted"))


def read_withdrawals(prod_folder: Path) -> tuple[Withdrawal, ...]:
    """Read which releases were rolled back, oldest first.

    Raises
    ------
    ReleaseError
        If the file is damaged: without it, a run could put a withdrawn model back.
    """
    path = prod_folder / artifacts.WITHDRAWN
    try:
        return msgspec.json.decode(path.read_bytes(), type=tuple[Withdrawal, ...])
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ReleaseError(f"{path} cannot be read: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ReleaseError(
            f"{path}, which says what was rolled back, is damaged: {error}. Remove it if no model"
            " is to be kept out of production."
        ) from error


def write_withdrawals(prod_folder: Path, withdrawn: Iterable[Withdrawal]) -> None:
    """Write which releases were rolled back."""
    spelled = msgspec.json.format(msgspec.json.encode(tuple(withdrawn)), indent=2)
    durable.write_whole(prod_folder / artifacts.WITHDRAWN, spelled + b"\n")


def find_withdrawal(withdrawn: Iterable[Withdrawal], model: Model) -> Withdrawal | None:
    """Find the latest withdrawal of a model made of the same; None if there is none."""
    origin = origin_of(model)
    return next((w for w in reversed(tuple(withdrawn)) if w.origin == origin), None)
