"""The life of a made-up SaaS company, month by month: who comes, who uses it, who leaves.

Most of those who leave use the product less and less before, for some weeks or months. Some leave
without a warning, and some recover. A growing share of the clients leaves. After a relaunch the
signs are weaker, since scheduled reports log in by themselves.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.random import Generator

NEVER = 10**6
# The company is as many months old at the first extract.
N_EARLIER_MONTHS = 6
# The share of the clients that turn away in the first month, and its growth per month.
TURNING_FRACTION, GROWTH = 0.05, 1.06
# Of those who turn away, the shares that recover, and that leave without using it less.
RECOVERING_FRACTION, SUDDEN_FRACTION = 0.12, 0.1
NEW_FRACTION = 0.05
# From this extract on usage falls more slowly before a client leaves.
RELAUNCH = 3
DECAY_DAYS = {"before": 8.0, "after": 50.0}
PRICES = {"Starter": 19.0, "Team": 39.0, "Business": 69.0}
INDUSTRIES = {"retail": 0.3, "logistics": 0.2, "health": 0.2, "software": 0.2, "education": 0.1}
COUNTRIES = {"DE": 0.4, "FR": 0.2, "NL": 0.15, "GB": 0.15, "ES": 0.1}
BILLING = {"monthly": 0.7, "yearly": 0.3}
LEGAL_FORMS = ("GmbH", "Ltd", "Studio", "Group", "& Sons")
FIRST_NAMES = ("anna", "ben", "chloe", "david", "elif", "femi", "greta", "hugo", "ines", "jonas")
SYLLABLES = ("lo", "ma", "ter", "vi", "san", "ku", "bren", "del", "far", "no", "qui", "ro", "zet")
NOTES = (
    "Asked for a copy of invoice {}", "Training with {} people went well", "Call {} back in spring",
    "Wants export number {} as a table", "New contact, extension {}", "Ticket {} took too long",
    "No answer to mail {}", "Interested in offer {}, the larger plan",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """The size of the company and the time of the extracts.

    The first extract is of the day `first` and has about `n_clients` clients. The others follow on
    the same day of each month.
    """

    seed: int = 0
    n_months: int = 6
    n_clients: int = 3000
    first: date = date(2025, 2, 1)

    def day(self, month: int) -> date:
        """Return the day of an extract, counted from 0."""
        months = self.first.year * 12 + self.first.month - 1 + month
        return date(months // 12, months % 12 + 1, self.first.day)


def choose(rng: Generator, shares: dict[str, float], n: int) -> list[str]:
    """Choose words by their shares."""
    return [str(word) for word in rng.choice(list(shares), n, p=list(shares.values()))]


def invent_phone(rng: Generator) -> str:
    """Invent a phone number, blank for three clients in ten."""
    if rng.random() < 0.3:
        return ""
    return f"+49 {rng.integers(30, 1000)} {rng.integers(10**6, 10**7)}"


def invent_email(rng: Generator, company: str) -> str:
    """Invent the address of a contact in a company."""
    word = company.split()[0].casefold()
    return f"{rng.choice(FIRST_NAMES)}.{rng.choice(SYLLABLES)}@{word}.example"


def found_clients(rng: Generator, numbers: range, signup: np.ndarray) -> pd.DataFrame:
    """Make new clients with their facts and their use of the product.

    Parameters
    ----------
    rng : numpy.random.Generator
        The source of chance.
    numbers : range
        The numbers of the clients.
    signup : numpy.ndarray of shape (n_clients,)
        The days of signing up, counted from the first extract.

    Returns
    -------
    pandas.DataFrame of shape (n_clients, n_columns)
        One row per client. `turn` and `leave` are days, NEVER for a client who stays.
    """
    n = len(numbers)
    names = [
        f"{''.join(rng.choice(SYLLABLES, 3)).capitalize()} {rng.choice(LEGAL_FORMS)}"
        for _ in numbers
    ]
    return pd.DataFrame(
        {
            "number": np.array(numbers, dtype=np.int64),
            "company": names,
            "email": [invent_email(rng, name) for name in names],
            "phone": [invent_phone(rng) for _ in numbers],
            "industry": choose(rng, INDUSTRIES, n),
            "country": choose(rng, COUNTRIES, n),
            "billing": choose(rng, BILLING, n),
            "plan": choose(rng, {"Starter": 0.5, "Team": 0.35, "Business": 0.15}, n),
            "seats": 2 + rng.lognormal(2.0, 0.9, n).astype(np.int64),
            "adoption": rng.beta(12, 6, n),
            "intensity": rng.lognormal(1.8, 0.4, n),
            "discount": rng.choice([0, 0, 0, 5, 10, 15, 20], n),
            "integrations": rng.poisson(1.5, n),
            "signup": signup,
            "last_login": signup + rng.integers(0, 3, n),
            "revenue": np.zeros(n),
            "turn": np.full(n, NEVER),
            "recover": np.full(n, NEVER),
            "leave": np.full(n, NEVER),
        }
    )


def turn_away(rng: Generator, clients: pd.DataFrame, month: int, start: int, end: int) -> None:
    """Let some clients turn away between two days, and decide when they leave or recover."""
    odds = TURNING_FRACTION * GROWTH**month * (1 + 0.8 * (clients["billing"] == "monthly"))
    odds = odds * np.where(clients["integrations"] == 0, 1.4, 0.8)
    is_free = (clients["turn"] == NEVER) & (clients["leave"] == NEVER)
    turned = (is_free & (rng.random(len(clients)) < odds)).to_numpy()
    n = int(turned.sum())
    day = rng.integers(start, end, n)
    after = day + 10 + rng.gamma(3.0, 20.0, n).astype(np.int64)
    kind = rng.random(n)
    is_sudden = kind < SUDDEN_FRACTION
    recovers = kind > 1 - RECOVERING_FRACTION
    clients.loc[turned, "turn"] = np.where(is_sudden, NEVER, day)
    clients.loc[turned, "recover"] = np.where(recovers, after, NEVER)
    clients.loc[turned, "leave"] = np.where(recovers, NEVER, after)


def measure_interest(clients: pd.DataFrame, day: int, decay_days: float) -> np.ndarray:
    """Compute how much of the usual usage is left of each client on a day, in [0, 1]."""
    since = np.clip(day - clients["turn"].to_numpy(), 0, None)
    left = np.exp(-since / decay_days)
    return np.where(clients["recover"].to_numpy() <= day, 1.0, left)


def use_product(
    rng: Generator, clients: pd.DataFrame, day: int, decay_days: float
) -> dict[str, np.ndarray]:
    """Return the usage of the 30 days before a day, and move the last logins on."""
    interest = measure_interest(clients, day, decay_days) * rng.lognormal(0, 0.15, len(clients))
    share = np.clip(clients["adoption"] * interest, 0, 1)
    active = rng.binomial(clients["seats"], share)
    logins = rng.poisson(active * clients["intensity"])
    silence = np.minimum(rng.exponential(30 / (1 + logins)), 29).astype(np.int64)
    seen = np.maximum(clients["last_login"], day - silence)
    clients["last_login"] = np.where(logins > 0, seen, clients["last_login"])
    return {
        "active_users_30d": active,
        "logins_30d": logins,
        "reports_30d": rng.poisson(0.2 * logins),
        "tickets_30d": rng.poisson(0.4 + 0.6 * (interest < 0.6)),
        "overdue_invoices": rng.poisson(0.08 + 0.35 * (interest < 0.5)),
        "storage_share": np.clip(clients["adoption"] * 60 + rng.normal(0, 12, len(clients)), 0, 99),
    }


def change_details(rng: Generator, clients: pd.DataFrame) -> None:
    """Let a few contacts, phone numbers and names of companies change."""
    moved, called, renamed = (rng.random(len(clients)) < share for share in (0.03, 0.02, 0.003))
    companies = clients["company"]
    clients.loc[moved, "email"] = [invent_email(rng, name) for name in companies[moved]]
    clients.loc[called, "phone"] = [invent_phone(rng) for _ in companies[called]]
    clients.loc[renamed, "company"] = [f"{name} Holding" for name in companies[renamed]]


def write_notes(rng: Generator, n: int) -> list[str]:
    """Write a note about some clients."""
    return [
        str(rng.choice(NOTES)).format(rng.integers(1, 10_000)) if rng.random() < 0.35 else ""
        for _ in range(n)
    ]


def take_extract(
    rng: Generator, clients: pd.DataFrame, usage: dict[str, np.ndarray], n_days: int, day: int
) -> pd.DataFrame:
    """Return the rows of the clients of a day, and add the month's revenue."""
    price = clients["plan"].map(PRICES) * clients["seats"]
    clients["monthly"] = price * (1 - clients["discount"] / 100)
    clients["revenue"] += clients["monthly"] * n_days / 30
    is_client = ((clients["signup"] <= day) & (clients["leave"] > day)).to_numpy()
    table = clients.assign(**usage, note=write_notes(rng, len(clients)))[is_client]
    rating = rng.integers(0, 11, len(table)).astype(np.float64)
    table["nps"] = np.where(rng.random(len(table)) < 0.4, np.nan, rating)
    return table.reset_index(drop=True)


def live(plan: Plan) -> tuple[list[pd.DataFrame], pd.DataFrame]:
    """Let the company live through the months of a plan.

    Parameters
    ----------
    plan : Plan
        Size, time and seed.

    Returns
    -------
    tuple of list of pandas.DataFrame and pandas.DataFrame
        The clients at each extract; all clients there ever were, with the day of leaving. Days are
        counted from the first extract.
    """
    rng = np.random.default_rng(plan.seed)
    n = plan.n_clients
    first_day = -31 * N_EARLIER_MONTHS
    clients = found_clients(rng, range(1, n + 1), rng.integers(-1400, first_day, n))
    extracts = []
    for month in range(-N_EARLIER_MONTHS + 1, plan.n_months):
        start, end = ((plan.day(m) - plan.first).days for m in (month - 1, month))
        turn_away(rng, clients, month, start, end)
        change_details(rng, clients)
        decay_days = DECAY_DAYS["before" if month < RELAUNCH else "after"]
        usage = use_product(rng, clients, end, decay_days)
        table = take_extract(rng, clients, usage, end - start, end)
        if month >= 0:
            extracts.append(table)
        n_new = rng.poisson(NEW_FRACTION * plan.n_clients)
        numbers = range(len(clients) + 1, len(clients) + 1 + n_new)
        new = found_clients(rng, numbers, rng.integers(end, end + 28, n_new))
        clients = pd.concat([clients, new], ignore_index=True)
    return extracts, clients
