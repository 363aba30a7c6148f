"""The withdrawn releases, rolled back by a person, and the possible targets of a rollback."""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import Struct

from scripts.core import artifacts, files, kept_lists
from scripts.core.errors import ReleaseError

if TYPE_CHECKING:
    from scripts.model.logistic_model import Model


log = logging.getLogger(__name__)


class Withdrawal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A withdrawn release: time, actor, reason, and the origin of the model."""

    release: str
    at: datetime
    actor: str
    reason: str
    origin: str | None = None
    # A candidate that a person rejected has never served.
    kind: Literal["rolled back", "rejected"] = "rolled back"


def origin_of(model: "Model") -> str:
    """Return the origin of a model: the digest of dataset, schema and training settings.

    Equal origins mean equal models, apart from the last bits of the coefficients, which may
    differ between versions of the packages.
    """
    origin = [model.dataset.sha256, model.schema, model.settings]
    return files.digest(msgspec.json.encode(origin, order="sorted"))


def read_withdrawals(prod_folder: Path) -> tuple[Withdrawal, ...]:
    """Read the withdrawn releases, oldest first.

    Raises
    ------
    ReleaseError
        If the file is damaged: without it, a run could put a withdrawn model back.
    """
    found = kept_lists.read(
        prod_folder / artifacts.WITHDRAWN,
        tuple[Withdrawal, ...],
        title="the list of the releases rolled back",
        remedy="Remove it if no model is to be kept out of production.",
    )
    return found or ()


def known_withdrawals(prod_folder: Path) -> tuple[Withdrawal, ...]:
    """Read the withdrawn releases, () from a damaged list, so a rollback goes on."""
    try:
        return read_withdrawals(prod_folder)
    except ReleaseError as error:
        log.warning("%s", error)
        return ()


def find_targets(prod_folder: Path, served: Sequence[str]) -> list[str]:
    """Return the names of the possible targets of a rollback, the best first.

    Parameters
    ----------
    prod_folder : Path
        The deployment folder.
    served : sequence of str
        Names of the releases once in production, the latest first, as far as known.

    Returns
    -------
    list of str
        Existing releases older than the current one, without the withdrawn. The releases of
        `served` come first, in the same order, then the remaining ones, the newest first.
    """
    names = [path.name for path in artifacts.list_releases(prod_folder)]
    current = artifacts.current_name(prod_folder)
    older = names[: names.index(current)] if current in names else names
    withdrawn = {w.release for w in known_withdrawals(prod_folder)}
    order = dict.fromkeys([*served, *reversed(older)])
    return [name for name in order if name in older and name not in withdrawn]


def write_withdrawals(prod_folder: Path, withdrawn: Iterable[Withdrawal]) -> None:
    """Write the list of the withdrawn releases."""
    kept_lists.write(prod_folder / artifacts.WITHDRAWN, tuple(withdrawn))


def find_withdrawal(withdrawn: Iterable[Withdrawal], model: "Model") -> Withdrawal | None:
    """Find the latest withdrawal of a model of the same origin, or None."""
    origin = origin_of(model)
    return next((w for w in reversed(tuple(withdrawn)) if w.origin == origin), None)
