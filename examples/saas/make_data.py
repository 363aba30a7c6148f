"""Make the files of this example: python -m examples.saas.make_data FOLDER.

A made-up SaaS company sends an extract of its clients every month, with the names of columns as
people choose them, and a file of those who left some weeks later. FOLDER gets `data`, `outcomes`,
`config.json`, and in `truth` what nobody knows yet. No program of the pipeline reads `truth`.
"""

import shutil
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

import click
import numpy as np
import pandas as pd

from examples.saas import company
from examples.saas.company import Plan

CONFIG = Path(__file__).with_name("config.json")
KEY, DATE, LEFT = "Account No", "Snapshot Date", "Left on"
REASONS = ("price", "missing feature", "competitor", "closed down", "")


class Names(StrEnum):
    """The names of the extracts, in an order of the alphabet."""

    DATED = "dated"
    BACKWARDS = "backwards"
    ODD = "odd"


ODD_NAMES = (
    "CRM export final", "clients (2)", "neu", "Export_0007", "Accounts Q2 v3", "backup of list",
    "zz_last", "a", "Kopie von clients", "1", "report-new", "list",
)  # fmt: skip


@dataclass(frozen=True)
class Month:
    """An extract and the file of leavers of the month before."""

    extract_name: str
    extract: pd.DataFrame
    outcomes_name: str
    outcomes: pd.DataFrame
    is_first: bool = False

    @property
    def day(self) -> str:
        """The day of the extract in ISO 8601."""
        return str(self.extract[DATE].iloc[0])


def as_dates(plan: Plan, days: pd.Series, form: str = "%Y-%m-%d") -> list[str]:
    """Format days, counted from the first extract, as dates."""
    return [(plan.first + timedelta(days=int(day))).strftime(form) for day in days]


def as_money(amounts: pd.Series) -> list[str]:
    """Format amounts with a comma between thousands."""
    return [f"{amount:,.2f}" for amount in amounts]


def as_percent(shares: pd.Series, digits: int) -> list[str]:
    """Format shares with a percent sign."""
    return [f"{share:.{digits}f}%" for share in shares]


def as_counts(numbers: pd.Series) -> list[str]:
    """Format whole numbers, blank where missing."""
    return ["" if np.isnan(number) else f"{number:.0f}" for number in numbers]


def as_keys(numbers: pd.Series) -> list[str]:
    """Format the numbers of clients with leading zeros."""
    return [f"{number:07d}" for number in numbers]


def make_extract(plan: Plan, month: int, clients: pd.DataFrame) -> pd.DataFrame:
    """Return an extract as text, 25 columns with a row per client."""
    websites = [f"https://www.{name.split()[0].casefold()}.example" for name in clients["company"]]
    return pd.DataFrame(
        {
            KEY: as_keys(clients["number"]),
            "Company": clients["company"],
            "E-Mail": clients["email"],
            "Tel.": clients["phone"],
            "Website": websites,
            DATE: plan.day(month).isoformat(),
            "Signed up": as_dates(plan, clients["signup"], "%d.%m.%Y"),
            "Last Login": as_dates(plan, clients["last_login"]),
            "Plan": clients["plan"],
            "Billing": clients["billing"],
            "Industry": clients["industry"],
            "Country": clients["country"],
            "Seats": clients["seats"],
            "Active users (30d)": clients["active_users_30d"],
            "Logins 30d": clients["logins_30d"],
            "Reports 30d": clients["reports_30d"],
            "Tickets 30d": clients["tickets_30d"],
            "Overdue inv.": clients["overdue_invoices"],
            "Integrations": clients["integrations"],
            "MRR (EUR)": as_money(clients["monthly"]),
            "Revenue to date": as_money(clients["revenue"]),
            "Discount": as_percent(clients["discount"], 0),
            "Storage used": as_percent(clients["storage_share"], 1),
            "NPS": as_counts(clients["nps"]),
            "Notes": clients["note"],
        }
    ).astype(str)


def make_outcomes(plan: Plan, month: int, clients: pd.DataFrame) -> pd.DataFrame:
    """Return the leavers between the extract before and this extract, with the days of leaving."""
    start, end = ((plan.day(m) - plan.first).days for m in (month - 1, month))
    left = clients[(clients["leave"] > start) & (clients["leave"] <= end)]
    reasons = [REASONS[number % len(REASONS)] for number in left["number"]]
    return pd.DataFrame(
        {KEY: as_keys(left["number"]), LEFT: as_dates(plan, left["leave"]), "Reason": reasons}
    )


def name_extract(plan: Plan, month: int, names: Names, uploads: tuple[int, ...]) -> str:
    """Return the file name of an extract, for some months like an upload."""
    day = plan.day(month)
    if month in uploads:
        return f"upload_{day:%Y%m%d}T080000000000Z.csv"
    if names is Names.DATED:
        return f"extract_{day}.csv"
    if names is Names.BACKWARDS:
        return f"{999 - month} clients.csv"
    return f"{ODD_NAMES[month % len(ODD_NAMES)]}{month // len(ODD_NAMES) or ''}.csv"


def make_months(
    plan: Plan, names: Names = Names.DATED, uploads: tuple[int, ...] = ()
) -> tuple[list[Month], pd.DataFrame]:
    """Make the files of all months, and the truth.

    Parameters
    ----------
    plan : Plan
        Size, time and seed of the company.
    names : Names
        The order of the names of the extracts.
    uploads : tuple of int
        The months, counted from 0, whose extract has the name of an upload.

    Returns
    -------
    tuple of list of Month and pandas.DataFrame
        The files in order of time; key and day of leaving of everybody who ever leaves.
    """
    extracts, clients = company.live(plan)
    months = [
        Month(
            name_extract(plan, month, names, uploads),
            make_extract(plan, month, table),
            f"left_{plan.day(month):%Y_%m}.csv",
            make_outcomes(plan, month, clients),
            is_first=month == 0,
        )
        for month, table in enumerate(extracts)
    ]
    leaving = clients[clients["leave"] < company.NEVER]
    truth = pd.DataFrame({KEY: as_keys(leaving["number"]), LEFT: as_dates(plan, leaving["leave"])})
    return months, truth


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False, lineterminator="\n")


def write_month(folder: Path, month: Month, *, extract: bool = True, outcomes: bool = True) -> None:
    """Write the extract of a month, the outcomes known then, or both."""
    if extract:
        write_csv(month.extract, folder / "data" / month.extract_name)
    # The company started to collect outcomes with its first extract.
    if outcomes and not month.is_first:
        write_csv(month.outcomes, folder / "outcomes" / month.outcomes_name)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--seed", default=0, show_default=True, help="The seed of chance.")
@click.option("--months", "n_months", default=6, show_default=True, help="Number of extracts.")
@click.option("--clients", "n_clients", default=3000, show_default=True, help="Number of clients.")
@click.option(
    "--names", type=click.Choice([str(name) for name in Names]), default="dated", show_default=True
)
@click.option("--upload", "uploads", type=int, multiple=True, help="A month sent as an upload.")
@click.option("--until", type=int, help="Write the files of the first months only.")
def main(
    folder: Path,
    *,
    seed: int,
    n_months: int,
    n_clients: int,
    names: str,
    uploads: tuple[int, ...],
    until: int | None,
) -> None:
    """Write extracts, outcomes, truth and config.json below a folder."""
    plan = Plan(seed, n_months, n_clients)
    months, truth = make_months(plan, Names(names), tuple(number - 1 for number in uploads))
    for month in months[:until]:
        write_month(folder, month)
    write_csv(truth, folder / "truth" / "left.csv")
    if not (folder / "config.json").exists():
        shutil.copyfile(CONFIG, folder / "config.json")
    click.echo(f"Wrote {len(months[:until])} months to {folder}.")


if __name__ == "__main__":
    main()
