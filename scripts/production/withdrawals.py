"""The releases that a person has rolled back, and those to which a rollback may lead."""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from scripts.core import artifacts, files
from scripts.core.errors import ReleaseError

if TYPE_CHECKING:
    from scripts.model.logistic_model import Model


log = logging.getLogger(__name__)


class Withdrawal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A release that was rolled back: when, by whom, why, and what its model was made of."""

    release: str
    at: datetime
    actor: str
    reason: str
    origin: str | None = None


def origin_of(model: "Model") -> str:
    """Identify what makes a model: its dataset, schema and training settings.

    The same three give the same model, whatever run trains it, and whatever versions of the
    packages put into the last bit of a coefficient.
    """
    made_of = [model.dataset.sha256, model.schema, model.settings]
    return files.digest(msgspec.json.encode(made_of, order="sorted"))


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


def known_withdrawals(prod_folder: Path) -> tuple[Withdrawal, ...]:
    """Read what was rolled back; a damaged list must not stand in the way of going back."""
    try:
        return read_withdrawals(prod_folder)
    except ReleaseError as error:
        log.warning("%s", error)
        return ()


def find_targets(prod_folder: Path, served: Sequence[str]) -> list[str]:
    """List the releases to which a rollback could lead, the best first.

    Parameters
    ----------
    prod_folder : Path
        The deployment folder.
    served : sequence of str
        Names of releases that have served, the latest first, as far as is known.

    Returns
    -------
    list of str
        Releases older than the current one and still there, without what was rolled back: those
        that served last first, then those of which that is not known, the newest first.
    """
    names = [path.name for path in artifacts.list_releases(prod_folder)]
    current = artifacts.current_name(prod_folder)
    older = names[: names.index(current)] if current in names else names
    withdrawn = {w.release for w in known_withdrawals(prod_folder)}
    order = dict.fromkeys([*served, *reversed(older)])
    return [name for name in order if name in older and name not in withdrawn]


def write_withdrawals(prod_folder: Path, withdrawn: Iterable[Withdrawal]) -> None:
    """Write which releases were rolled back."""
    spelled = msgspec.json.format(msgspec.json.encode(tuple(withdrawn)), indent=2)
    files.write_whole(prod_folder / artifacts.WITHDRAWN, spelled + b"\n")


def find_withdrawal(withdrawn: Iterable[Withdrawal], model: "Model") -> Withdrawal | None:
    """Find the latest withdrawal of a model made of the same; None if there is none."""
    origin = origin_of(model)
    return next((w for w in reversed(tuple(withdrawn)) if w.origin == origin), None)
