"""Packs the scores of clients into blocks, and marks whole scorings."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from alembic import op

from scripts.core import name_hashes
from scripts.records import column_blocks

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

BUCKET_CLIENTS = 2**11
PART_CLIENTS = 2**16
NO_MOMENT = np.iinfo(np.int64).min
# Of the bands on the list, from the first to call to the last.
WORDS = ("high", "medium", "low", "no data")

Row = dict[str, Any]

OLD_SCORES = """
    SELECT s.id, s.scoring_id, s.client, s.position, s.probability, s.band, s."values", s.labels,
        s.first_high_at, p.probability AS previous_probability, e.scored_at AS previous_at,
        o.id IS NOT NULL AS is_settled
    FROM client_scores s
    LEFT JOIN client_scores p ON p.id = s.previous_id
    LEFT JOIN scorings e ON e.id = p.scoring_id
    LEFT JOIN client_outcomes o ON o.score_id = s.id
    {condition} ORDER BY s.id
"""


def make_tables() -> None:
    """Make the table of blocks, and add the columns of whole scorings."""
    op.create_table(
        "client_blocks",
        sa.Column("scoring_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("bucket", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("n_clients", sa.Integer, nullable=False),
        sa.Column("names", sa.LargeBinary),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        # The blocks are compressed already.
        for name in ("names", "content"):
            op.execute(f"ALTER TABLE client_blocks ALTER COLUMN {name} SET STORAGE EXTERNAL")
    op.add_column(
        "scorings", sa.Column("is_whole", sa.Boolean, nullable=False, server_default=sa.true())
    )
    op.add_column("scorings", sa.Column("bits", sa.Integer, nullable=False, server_default="0"))
    for column in (
        sa.Column("bands", sa.JSON), sa.Column("values_from", sa.Integer),
        sa.Column("absent_in", sa.JSON), sa.Column("as_of", sa.String(10)),
    ):  # fmt: skip
        op.add_column("scorings", column)


def choose_bits(n_clients: int) -> int:
    """Return the number of bits of a bucket."""
    return max(0, (max(1, n_clients) - 1) // BUCKET_CLIENTS).bit_length()


def read_moment(value: Any) -> int:
    """Return a moment of either database as microseconds since 1970."""
    return int(NO_MOMENT) if value is None else int(np.datetime64(value, "us").astype(np.int64))


def read_features(connection: sa.Connection, scoring_id: int) -> list[tuple[str, bool]] | None:
    """Return the features of a scoring's model and whether they are numbers, None if unknown."""
    content = connection.execute(
        sa.text(
            "SELECT content FROM scoring_models m JOIN scorings s ON s.model_stamp = m.stamp"
            " WHERE s.id = :id"
        ),
        {"id": scoring_id},
    ).scalar()
    if content is None:
        return None
    schema = json.loads(content)["schema"]
    numbers = [(name, True) for name in schema.get("numeric", ())]
    return numbers + [(name, False) for name in schema.get("categorical", ())]


def pack_values(rows: Sequence[Row], features: list[tuple[str, bool]]) -> dict[str, Any]:
    """Return the values of rows as columns."""
    columns: dict[str, Any] = {}
    values = [json.loads(row["values"]) for row in rows]
    for place, (name, is_number) in enumerate(features):
        cells = [row[place] for row in values]
        columns[("number:" if is_number else "text:") + name] = (
            np.array([np.nan if cell is None else cell for cell in cells], np.float64)
            if is_number
            else np.array([cell or "" for cell in cells], object)
        )
    return columns


def score_columns(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the scores of rows as columns, without their values and places."""
    before = [row["previous_probability"] for row in rows]
    return {
        "probability": np.array([row["probability"] for row in rows], np.float64),
        "previous_probability": np.array(
            [np.nan if value is None else value for value in before], np.float64
        ),
        "previous_at": np.array([read_moment(row["previous_at"]) for row in rows], np.int64),
        "first_high_at": np.array([read_moment(row["first_high_at"]) for row in rows], np.int64),
        "band": np.array([row["band"] for row in rows], object),
    }


def pack_labels(rows: Sequence[Row]) -> bytes | None:
    """Return the known labels of rows, None if there are none."""
    labels = [sorted(json.loads(row["labels"])) for row in rows]
    hashes = np.array([value for part in labels for value in part], np.uint64).astype(np.uint32)
    counts = np.array([len(part) for part in labels], np.int32)
    return column_blocks.pack({"counts": counts, "hashes": hashes}) if len(hashes) else None


def by_bucket(rows: Iterable[Row], bits: int) -> dict[int, list[Row]]:
    """Return rows by bucket, in each by the hash of the name."""
    hashed = [(name_hashes.hash_name(row["client"]), row) for row in rows]
    buckets: dict[int, list[Row]] = {}
    for name_hash, row in sorted(hashed, key=lambda pair: (pair[0], pair[1]["id"])):
        buckets.setdefault(name_hashes.find_bucket(name_hash, bits), []).append(row)
    return dict(sorted(buckets.items()))


def list_blocks(
    scoring_id: int, rows: Sequence[Row], features: list[tuple[str, bool]], *, is_newest: bool
) -> Iterator[Row]:
    """Yield the blocks of a whole list."""
    n_before = 0
    for bucket, here in by_bucket(rows, choose_bits(len(rows))).items():
        stored = {"values_at": np.full(len(here), scoring_id, np.int32)}
        stored["value_row"] = np.arange(len(here), dtype=np.int32)
        positions = np.array([row["position"] for row in here], np.int32)
        names = column_blocks.pack_texts([row["client"] for row in here])
        contents = [
            ("scores", column_blocks.pack(score_columns(here) | stored), names),
            ("places", column_blocks.pack({"position": positions}), None),
            ("values", column_blocks.pack(pack_values(here, features)), None),
        ]
        labels = pack_labels(here) if is_newest else None
        contents += [] if labels is None else [("labels", labels, None)]
        for kind, content, packed in contents:
            yield make_block(scoring_id, kind, bucket, len(here), content, packed)
        for row in here:
            row["number"], n_before = n_before, n_before + 1
    if is_newest:
        yield from list_orders(scoring_id, rows)


def make_block(
    scoring_id: int, kind: str, bucket: int, n_clients: int, content: bytes, names: bytes | None
) -> Row:
    """Return a row of the table of blocks."""
    return {
        "scoring_id": scoring_id, "kind": kind, "bucket": bucket, "n_clients": n_clients,
        "names": names, "content": content,
    }  # fmt: skip


def list_orders(scoring_id: int, rows: Sequence[Row]) -> Iterator[Row]:
    """Yield the blocks of the orders of the newest list."""
    by_risk = sorted(rows, key=lambda row: row["position"])
    for place, row in enumerate(by_risk):
        row["place"] = place

    def rise(row: Row) -> tuple[float, int]:
        """Return the key of the order by the rise of the risk."""
        before = row["previous_probability"]
        return (0.0 if before is None else before - row["probability"], row["place"])

    orders = {
        "risk": by_risk,
        "client": sorted(rows, key=lambda row: row["client"]),
        "rise": sorted(rows, key=rise),
    }
    for kind, order in orders.items():
        for start in range(0, len(order), PART_CLIENTS):
            part = order[start : start + PART_CLIENTS]
            columns: dict[str, Any] = {"rows": np.array([row["number"] for row in part], np.uint32)}
            if kind == "risk":
                columns["probability"] = np.array([row["probability"] for row in part])
            else:
                columns["place"] = np.array([row["place"] for row in part], np.int32)
            content = column_blocks.pack(columns)
            yield make_block(scoring_id, kind, start // PART_CLIENTS, len(part), content, None)


def list_absent(
    scoring_id: int, rows: Sequence[Row], bits: int, features_of: dict[int, Any]
) -> Iterator[Row]:
    """Yield the blocks of the clients that are not on the newest list."""
    features = list(dict.fromkeys(pair for row in rows for pair in features_of[row["scoring_id"]]))
    for bucket, here in by_bucket(rows, bits).items():
        columns = score_columns(here) | {
            "scored_in": np.array([row["scoring_id"] for row in here], np.int32),
            "is_settled": np.array([bool(row["is_settled"]) for row in here], np.bool_),
            "position": np.array([row["position"] for row in here], np.int32),
        }
        for row in here:
            own = dict(
                zip(
                    [name for name, _ in features_of[row["scoring_id"]]],
                    json.loads(row["values"]), strict=True,
                )
            )  # fmt: skip
            row["values"] = json.dumps([own.get(name) for name, _ in features])
        columns |= pack_values(here, features)
        names = column_blocks.pack_texts([row["client"] for row in here])
        yield make_block(
            scoring_id, "absent", bucket, len(here), column_blocks.pack(columns), names
        )
        labels = pack_labels(here)
        if labels is not None:
            yield make_block(scoring_id, "absent labels", bucket, len(here), labels, None)


def read_scores(connection: sa.Connection, condition: str, **values: Any) -> list[Row]:
    """Return scores of the old table."""
    query = sa.text(OLD_SCORES.format(condition=condition))
    return [dict(row) for row in connection.execute(query, values).mappings()]


def take_over_scores(connection: sa.Connection) -> None:
    """Pack the scores of all scorings. A scoring whose model is gone could not be read before."""
    blocks = sa.table("client_blocks", *map(sa.column, BLOCK_COLUMNS))
    scorings = connection.execute(sa.text("SELECT id, n_clients FROM scorings ORDER BY id")).all()
    found = {row.id: read_features(connection, row.id) for row in scorings}
    features_of = {number: features for number, features in found.items() if features is not None}
    newest = max(features_of, default=None)
    for scoring in scorings:
        if scoring.id not in features_of:
            continue
        rows = read_scores(connection, "WHERE s.scoring_id = :id", id=scoring.id)
        # Of a forgotten scoring only the last scores of clients that are gone are left.
        if len(rows) != scoring.n_clients:
            continue
        made = list_blocks(
            scoring.id, rows, features_of[scoring.id], is_newest=scoring.id == newest
        )
        for block in made:
            connection.execute(blocks.insert().values(block))
        describe_scoring(connection, scoring.id, rows)
    if newest is not None:
        take_over_absent(connection, newest, features_of, blocks)


def describe_scoring(connection: sa.Connection, scoring_id: int, rows: Sequence[Row]) -> None:
    """Record the buckets and the bands of a scoring."""
    counts = [[word, sum(row["band"] == word for row in rows)] for word in WORDS]
    connection.execute(
        sa.text(
            "UPDATE scorings SET bits = :bits, bands = :bands, values_from = :id WHERE id = :id"
        ),
        {"bits": choose_bits(len(rows)), "bands": json.dumps(counts), "id": scoring_id},
    )


def take_over_absent(
    connection: sa.Connection, newest: int, features_of: dict[int, Any], blocks: Any
) -> None:
    """Pack the last scores of the clients that are not on the newest list."""
    rows = read_scores(
        connection,
        "WHERE s.id IN (SELECT MAX(id) FROM client_scores GROUP BY client)"
        " AND s.scoring_id <> :newest",
        newest=newest,
    )
    rows = [row for row in rows if row["scoring_id"] in features_of]
    bits = connection.execute(
        sa.text("SELECT bits FROM scorings WHERE id = :id"), {"id": newest}
    ).scalar_one()
    for block in list_absent(newest, rows, bits, features_of):
        connection.execute(blocks.insert().values(block))
    absent_in = sorted({row["scoring_id"] for row in rows})
    connection.execute(
        sa.text("UPDATE scorings SET absent_in = :absent WHERE id = :id"),
        {"absent": json.dumps(absent_in), "id": newest},
    )


BLOCK_COLUMNS = ("scoring_id", "kind", "bucket", "n_clients", "names", "content")
OUTCOME_COLUMNS = (
    "run_id", "scoring_id", "client", "known_at", "exited", "scored_at", "release", "probability",
    "band", "position", "first_high_at",
)  # fmt: skip


def make_outcomes() -> None:
    """Make the table of outcomes, which no longer points to a row of scores."""
    op.create_table(
        "client_outcomes",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), nullable=False, index=True),
        sa.Column("scoring_id", sa.Integer),
        sa.Column("client", sa.Text, nullable=False, index=True),
        sa.Column("as_of", sa.String(10)),
        sa.Column("known_at", sa.DateTime, nullable=False),
        sa.Column("exited", sa.Boolean, nullable=False),
        sa.Column("scored_at", sa.DateTime, nullable=False),
        sa.Column("release", sa.String(64), nullable=False),
        sa.Column("probability", sa.Float, nullable=False),
        sa.Column("band", sa.String(8), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("first_high_at", sa.DateTime),
        sa.Column("warned_s", sa.Float, index=True),
        sa.Column("recorded_by", sa.Integer, index=True),
    )
    op.create_index(
        "ix_client_outcomes_counted", "client_outcomes",
        ["position", "exited", "probability", "recorded_by"],
    )  # fmt: skip


def take_over_outcomes() -> None:
    """Let outcomes point to scorings."""
    # Names of tables and columns stand above.
    op.execute(
        "CREATE TABLE client_outcomes_moved AS SELECT o.*, s.scoring_id AS scoring_id"
        " FROM client_outcomes o LEFT JOIN client_scores s ON s.id = o.score_id"
    )
    op.drop_table("client_outcomes")
    make_outcomes()
    names = ", ".join(OUTCOME_COLUMNS)
    op.execute(
        f"INSERT INTO client_outcomes ({names})"  # noqa: S608
        f" SELECT {names} FROM client_outcomes_moved ORDER BY id"
    )
    op.drop_table("client_outcomes_moved")
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    warned_s = (
        "(julianday(known_at) - julianday(first_high_at)) * 86400"
        if is_sqlite
        else "EXTRACT(EPOCH FROM known_at - first_high_at)"
    )
    op.execute(
        f"UPDATE client_outcomes SET warned_s = {warned_s}"  # noqa: S608
        " WHERE exited AND first_high_at IS NOT NULL"
    )


def upgrade() -> None:
    """Make the table of blocks, then take over the scores and outcomes."""
    make_tables()
    take_over_scores(op.get_bind())
    take_over_outcomes()
    op.drop_table("client_scores")
