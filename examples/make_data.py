"""Write the client tables of this repository: python -m examples.make_data [FOLDER].

A made-up company sells a service by subscription. Each client has a size, a yearly activity that
grows with its size and differs widely between clients, and an activity in the last month: a twelfth
of the year's, times a random trend. Exits follow a logistic relation with the last month's activity
and, more weakly, with size, plus a large random part. About 35 of 100 clients leave.

The practice extracts are from a seasonal segment in its off-season: the last month's activity has a
smaller effect there, and a busy past year raises the risk. The source extracts and the test table
are from the whole clientele. This difference is the only shift between practice and source data.
The two files of a folder share some rows, like extracts of different days, and a few cells of the
source extracts are blank.

Random numbers come from the uniform stream of PCG64, kept stable by numpy, by inverse distribution
functions, so that every version of numpy makes the same bytes.
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
    """The log-odds of an exit per unit, for a segment of clients."""

    base: float
    per_month_activity: float
    per_year_activity: float
    per_employee: float


PRACTICE = Segment(base=-1.0, per_month_activity=-0.030, per_year_activity=0.0030, per_employee=0.0)
WHOLE = Segment(base=2.6, per_month_activity=-0.060, per_year_activity=-0.0004, per_employee=-0.002)


class Draw:
    """Random numbers by inverse distribution functions."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.Generator(np.random.PCG64(seed))

    def uniform(self) -> float:
        """Draw from [0, 1)."""
        return float(self.generator.random())

    def lognormal(self, median: float, sigma: float) -> float:
        """Draw a positive number with the given median."""
        return median * math.exp(sigma * NormalDist().inv_cdf(max(self.uniform(), 1e-12)))

    def name(self) -> str:
        """Draw a made-up company name of three syllables."""
        return "".join(SYLLABLES[int(self.uniform() * len(SYLLABLES))] for _ in range(3))


def make_client(draw: Draw, segment: Segment) -> Row:
    """Return a random client."""
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
    """Return random clients of a segment."""
    return [make_client(draw, segment) for _ in range(n_rows)]


def blank_some(draw: Draw, rows: list[Row]) -> list[Row]:
    """Remove a few numbers."""
    blanked: list[Row] = []
    for name, *numbers, exited in rows:
        kept = ["" if draw.uniform() < BLANK_FRACTION else number for number in numbers]
        blanked.append((name, kept[0], kept[1], kept[2], exited))
    return blanked


def make_pair(draw: Draw, segment: Segment, n_rows: int) -> tuple[list[Row], list[Row]]:
    """Return the rows of two files, with some rows in both."""
    first = make_clients(draw, segment, n_rows)
    n_shared = round(n_rows * N_SHARED_FRACTION)
    return first, first[-n_shared:] + make_clients(draw, segment, n_rows - n_shared)


def to_csv(rows: list[Row]) -> str:
    """Encode rows as CSV."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(rows)
    return buffer.getvalue()


def make_tables() -> dict[str, str]:
    """Return the tables as text, by path below the repository."""
    practice = make_pair(Draw(1), PRACTICE, 600)
    draw = Draw(2)
    source = [blank_some(draw, rows) for rows in make_pair(draw, WHOLE, 3000)]
    return {
        "practicedata/dataset1.csv": to_csv(practice[0]),
        "practicedata/dataset2.csv": to_csv(practice[1]),
        "sourcedata/dataset3.csv": to_csv(source[0]),
        "sourcedata/dataset4.csv": to_csv(source[1]),
        "testdata/testdata.csv": to_csv(make_clients(Draw(3), WHOLE, 1000)),
    }


def main(folder: Path) -> None:
    """Write the tables below a folder."""
    for name, text in make_tables().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, newline="")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
