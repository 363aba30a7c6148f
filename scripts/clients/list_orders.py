"""The orders of the list by risk, name, rise and gain, and the blocks that keep them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from scripts.clients import client_gains, group_scores
from scripts.clients.client_gains import ClientGains
from scripts.clients.todays_clients import TodaysClients, TodaysScores
from scripts.data.arrays import Ints, Mask, ShortInts
from scripts.model import ranking
from scripts.records import clients, column_blocks
from scripts.records.client_blocks import ClientBlock
from scripts.records.column_blocks import CodedTexts, Column
from scripts.records.tables import BlockKind


class Lists(Struct, frozen=True):
    """The orders of the list: for each place the number of the client in the order of the blocks.

    `places` are the places by risk of the clients in the order of the blocks. `gains` are theirs,
    None where no worth of a client is declared. `held_out` is a mask of theirs, None where nobody
    is held out.
    """

    orders: dict[BlockKind, ShortInts]
    places: ShortInts
    probability: NDArray[np.float64]
    bands: list[list[Any]]
    gains: ClientGains | None = None
    held_out: Mask | None = None


def order_clients(
    today: TodaysClients, scores: TodaysScores, kept: Ints, previous: NDArray[np.float64],
    gains: ClientGains | None = None,
) -> Lists:  # fmt: skip
    """Order the clients on the list by risk, by name, by the rise of the risk, and by gain.

    Parameters
    ----------
    today : TodaysClients
        All of today's clients.
    scores : TodaysScores
        Their scores.
    kept : numpy.ndarray of shape (n_kept,)
        The rows of the clients on the list, in the order of the blocks.
    previous : numpy.ndarray of shape (n_kept,)
        Their probabilities before, NaN for new ones.
    gains : ClientGains, optional
        The gains of all of today's clients.
    """
    # Rows that are not on the list have no number.
    number_of_row = np.full(len(today), -1, np.int32)
    number_of_row[kept] = np.arange(len(kept), dtype=np.int32)

    def numbers(rows: Ints) -> ShortInts:
        """Return the numbers of the clients on the list, in the order of rows."""
        found = number_of_row[rows]
        return found[found >= 0]

    by_risk = numbers(ranking.order_by_risk(scores.probability, scores.band))
    places = np.empty(len(kept), np.int32)
    places[by_risk] = np.arange(len(kept), dtype=np.int32)
    by_rise = by_risk
    if not np.isnan(previous).all():
        change = np.nan_to_num(scores.probability[kept] - previous, nan=0.0)
        by_rise = np.lexsort((places, -change)).astype(np.int32)
    counts = np.bincount(scores.band[kept], minlength=len(ranking.WORDS)).tolist()
    words = (*reversed(ranking.BANDS), ranking.NO_DATA)
    orders = {
        BlockKind.RISK: by_risk,
        BlockKind.CLIENT: numbers(today.order_by_name()),
        BlockKind.RISE: by_rise,
    }
    gains = None if gains is None else gains.select(kept)
    if gains is not None:
        is_ranked = scores.band[kept] != ranking.WORDS.index(ranking.NO_DATA)
        by_gain = client_gains.order_by_gain(gains, is_ranked, places)
        orders[BlockKind.GAIN] = by_gain.astype(np.int32)
    bands = [[str(word), counts[ranking.WORDS.index(word)]] for word in words]
    return Lists(orders, places, scores.probability[kept], bands, gains)


def list_order_blocks(lists: Lists) -> Iterator[ClientBlock]:
    """Yield the blocks of the orders."""
    for kind, order in lists.orders.items():
        for start in range(0, len(order), clients.PART_CLIENTS):
            rows = order[start : start + clients.PART_CLIENTS]
            columns: dict[str, Column | CodedTexts] = {"rows": rows.astype(np.uint32)}
            if kind is BlockKind.RISK:
                columns["probability"] = lists.probability[rows]
            else:
                columns["place"] = lists.places[rows]
            if kind is BlockKind.GAIN and lists.gains is not None:
                columns |= {"gain": lists.gains.gain[rows], "saved": lists.gains.saved[rows]}
            yield ClientBlock(
                kind, start // clients.PART_CLIENTS, len(rows), column_blocks.pack(columns)
            )


def list_place_blocks(lists: Lists, hashes: NDArray[np.uint32], bits: int) -> Iterator[ClientBlock]:
    """Yield the blocks with the clients' places by risk, from 1, and with their gains."""
    for bucket, rows in group_scores.split_buckets(hashes, bits):
        columns: dict[str, Column | CodedTexts] = {"position": lists.places[rows] + np.int32(1)}
        if lists.gains is not None:
            columns |= {"value": lists.gains.value[rows], "gain": lists.gains.gain[rows]}
        if lists.held_out is not None:
            columns["held_out"] = lists.held_out[rows].astype(np.int8)
        content = column_blocks.pack(columns)
        yield ClientBlock(BlockKind.PLACES, bucket, rows.stop - rows.start, content)


def list_held_out_blocks(lists: Lists) -> Iterator[ClientBlock]:
    """Yield the block with the rising places by risk of the clients that are held out, if any."""
    if lists.held_out is not None and lists.held_out.any():
        places = np.sort(lists.places[lists.held_out])
        content = column_blocks.pack({"place": places})
        yield ClientBlock(BlockKind.HELD_OUT, 0, len(places), content)
