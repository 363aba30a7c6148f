"""Make the tables of this example: python -m examples.telecom.make_data [FOLDER].

Clients of a made-up telecom operator. New clients on monthly contracts with fibre and an
electronic check leave most; much of it is chance; about 27 of 100 leave. As in real extracts,
total charges are blank for clients of no full month, a few tariffs are rare, everybody lives in
one country, and the second file is separated by semicolons and starts with a byte order mark.
"""

import math
import sys
from pathlib import Path

from examples.make_data import Draw

FOLDER = Path(__file__).resolve().parent
HEADER = (
    "customerID", "gender", "SeniorCitizen", "tenure", "Contract", "InternetService",
    "PaymentMethod", "PaperlessBilling", "Country", "MonthlyCharges", "TotalCharges", "Churn",
)  # fmt: skip
N_TRAIN, N_ROWS = 1600, 2000
BOM = "\ufeff"
# The shares of the clients.
CONTRACTS = {"Month-to-month": 0.55, "One year": 0.25, "Two year": 0.196, "Staff": 0.004}
PAYMENTS = {
    "Electronic check": 0.34, "Mailed check": 0.23, "Bank transfer": 0.22, "Credit card": 0.21
}  # fmt: skip


def choose(draw: Draw, shares: dict[str, float]) -> str:
    """Choose a word by the shares."""
    left = draw.uniform() * sum(shares.values())
    for word, share in shares.items():
        left -= share
        if left < 0:
            return word
    return next(iter(shares))


def make_client(draw: Draw, number: int) -> tuple[str, ...]:
    """Make a client."""
    contract = choose(draw, CONTRACTS)
    internet = choose(draw, {"DSL": 0.36, "Fiber optic": 0.42, "No": 0.22})
    payment = choose(draw, PAYMENTS)
    paperless, senior = draw.uniform() < 0.6, draw.uniform() < 0.16
    tenure = int(73 * draw.uniform() ** 1.5)
    monthly = 20 + {"DSL": 30, "Fiber optic": 55, "No": 0}[internet] + 20 * draw.uniform()
    log_odds = (
        -0.6 - 0.04 * tenure + 0.9 * (internet == "Fiber optic") - 0.6 * (internet == "No")
        + {"Month-to-month": 0.8, "One year": -0.4, "Two year": -1.4, "Staff": -1.0}[contract]
        + 0.5 * (payment == "Electronic check") + 0.3 * paperless + 0.3 * senior
    )  # fmt: skip
    churn = draw.uniform() < 1 / (1 + math.exp(-log_odds))
    total = f"{monthly * tenure:.2f}" if tenure else " "
    return (
        f"{number:04d}-{draw.name().upper()}", choose(draw, {"Female": 0.5, "Male": 0.5}),
        str(int(senior)), str(tenure), contract, internet, payment, "Yes" if paperless else "No",
        "Nowhere", f"{monthly:.2f}", total, "Yes" if churn else "No",
    )  # fmt: skip


def make_tables() -> dict[str, str]:
    """Make all tables: path below this folder to text."""
    draw = Draw(4)
    rows = [make_client(draw, number) for number in range(N_ROWS)]

    def spell(chosen: list[tuple[str, ...]], separator: str) -> str:
        return "".join(separator.join(row) + "\n" for row in [HEADER, *chosen])

    half = N_TRAIN // 2
    return {
        "data/january.csv": spell(rows[:half], ","),
        "data/february.csv": BOM + spell(rows[half:N_TRAIN], ";"),
        "testdata/testdata.csv": spell(rows[N_TRAIN:], ","),
    }


def main(folder: Path) -> None:
    """Write all tables below a folder."""
    for name, text in make_tables().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, newline="", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
