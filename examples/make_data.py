"""Make the client tables of this repository: python -m examples.make_data [FOLDER].

A made-up company sells a service by subscription. Each client has a size, a yearly activity that
grows with its size and differs widely between clients, and an activity in the last month, which is
a twelfth of the year's times how things are going. Whether a client leaves follows a logistic
relation: the quieter the last month, the likelier; large clients are a little more loyal; much of
it is chance. About 35 of 100 leave.

The practice extracts are from a seasonal segment in its off-season: last month's activity says
less there, and clients who were busy in the past year, and have tried everything, leave more. The
source extracts are from the whole clientele, and so is the test table: a model trained on them
learns what matters there. That is the shift between the two, and nothing else is done for it. The
two files of a folder share some rows, as extracts taken on different days do, and a few cells of
the source extracts are blank.

Random numbers are uniform ones from PCG64, whose stream numpy keeps stable, turned into others by
inverse distribution functions, so that every version of numpy makes the same bytes.
"""

import csv
import io
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
HEADER = ("corporation", "lastmonth_activity", "lastyear_activity", "number_of_employees", "exited")
SYLLABLES = tuple(a + b for a in "bcdfglmnprstvz" for b in "aeiou")
BLANK_FRACTION = 0.01
N_SHARED_FRACTION = 0.1

Row = tuple[str, str, str, str, str]


@dataclass(frozen=True)
class Segment:
    """What decides whether clients of a segment leave: log-odds per unit."""

    base: float
    per_month_activity: float
    per_year_activity: float
    per_employee: float


PRACTICE = Segment(base=-1.0, per_month_activity=-0.030, per_year_activity=0.0030, per_employee=0.0)
WHOLE = Segment(base=2.6, per_month_activity=-0.060, per_year_activity=-0.0004, per_employee=-0.002)


class Draw:
    """Random numbers from uniform ones."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.Generator(np.random.PCG64(seed))

    def uniform(self) -> float:
        """Draw from [0, 1)."""
        return float(self.generator.random())

    def lognormal(self, median: float, sigma: float) -> float:
        """Draw a positive number, half of them below the median."""
        return median * math.exp(sigma * NormalDist().inv_cdf(max(self.uniform(), 1e-12)))

    def name(self) -> str:
        """Draw a made-up company name of three syllables."""
        return "".join(SYLLABLES[int(self.uniform() * len(SYLLABLES))] for _ in range(3))


def make_client(draw: Draw, segment: Segment) -> Row:
    """Make one client."""
    employees = max(1, round(draw.lognormal(60, 0.9)))
    year = round(draw.lognormal(600, 0.6) * (employees / 60) ** 0.15)
    month = round(year / 12 * draw.lognormal(1.0, 0.7))
    log_odds = (
        segment.base
        + segment.per_month_activity * month
        + segment.per_year_activity * year
        + segment.per_employee * employees
    )
    exited = draw.uniform() < 1 / (1 + math.exp(-log_odds))
    return draw.name(), str(month), str(year), str(employees), str(int(exited))


def make_clients(draw: Draw, segment: Segment, n_rows: int) -> list[Row]:
    """Make clients of one segment."""
    return [make_client(draw, segment) for _ in range(n_rows)]


def blank_some(draw: Draw, rows: list[Row]) -> list[Row]:
    """Leave a few numbers out."""
    blanked: list[Row] = []
    for name, *numbers, exited in rows:
        kept = ["" if draw.uniform() < BLANK_FRACTION else number for number in numbers]
        blanked.append((name, kept[0], kept[1], kept[2], exited))
    return blanked


def make_pair(draw: Draw, segment: Segment, n_rows: int) -> tuple[list[Row], list[Row]]:
    """Make the rows of two files, of which the second repeats some of the first."""
    first = make_clients(draw, segment, n_rows)
    n_shared = round(n_rows * N_SHARED_FRACTION)
    return first, first[-n_shared:] + make_clients(draw, segment, n_rows - n_shared)


def spell(rows: list[Row]) -> str:
    """Spell rows as CSV."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(rows)
    return buffer.getvalue()


def make_tables() -> dict[str, str]:
    """Make all tables: path below the repository to text."""
    practice = make_pair(Draw(1), PRACTICE, 600)
    draw = Draw(2)
    source = [blank_some(draw, rows) for rows in make_pair(draw, WHOLE, 3000)]
    return {
        "practicedata/dataset1.csv": spell(practice[0]),
        "practicedata/dataset2.csv": spell(practice[1]),
        "sourcedata/dataset3.csv": spell(source[0]),
        "sourcedata/dataset4.csv": spell(source[1]),
        "testdata/testdata.csv": spell(make_clients(Draw(3), WHOLE, 1000)),
    }


def main(folder: Path) -> None:
    """Write all tables below a folder."""
    for name, text in make_tables().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, newline="")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
