"""Made-up churn tables with the traps of real ones: telecom, bank, wireless, employees, web shop.

Each table is a dict of column name to cells as in a CSV file. Exits follow a logistic relation in
part, other effects in part (middle ages, too many products), and to a large degree chance.
"""

import csv
import io
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

Table = dict[str, list[str]]
Floats = NDArray[np.float64]
STATES = [a + b for a in "ACDFGHIKLMNOPSTUVW" for b in "AEKY"][:51]
SERVICES = ("OnlineSecurity", "OnlineBackup", "TechSupport", "StreamingTV", "StreamingMovies")


def leavers(random: np.random.Generator, log_odds: Floats, share: float) -> NDArray[np.bool_]:
    """Draw exits with about the given share."""
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        if (1 / (1 + np.exp(-(log_odds + middle)))).mean() < share:
            low = middle
        else:
            high = middle
    return random.random(len(log_odds)) < 1 / (1 + np.exp(-(log_odds + low)))


def fixed(values: NDArray[np.floating], digits: int) -> list[str]:
    """Format numbers with a fixed number of decimal places."""
    return [f"{value:.{digits}f}" for value in values]


def blank_some(random: np.random.Generator, cells: list[str], share: float) -> list[str]:
    """Blank a share of the cells, with up to two spaces in place of the value."""
    gone = random.random(len(cells)) < share
    return [" " * int(random.integers(0, 3)) if g else c for g, c in zip(gone, cells, strict=True)]


def to_words(flags: NDArray[np.bool_], yes: str = "Yes", no: str = "No") -> list[str]:
    """Format flags as a pair of words."""
    return [yes if flag else no for flag in flags]


def make_telecom(n_rows: int, seed: int) -> Table:
    """Return a table of fixed-line clients: text labels, nested services, a blank total."""
    random = np.random.default_rng([seed, 1])
    tenure = np.floor(72 * random.beta(0.7, 0.9, n_rows))
    contract = random.choice(3, n_rows, p=[0.55, 0.21, 0.24])
    internet = random.choice(3, n_rows, p=[0.34, 0.44, 0.22])
    phone = random.random(n_rows) < 0.9
    senior, partner = random.random(n_rows) < 0.16, random.random(n_rows) < 0.48
    has = {name: (random.random(n_rows) < 0.4) & (internet < 2) for name in SERVICES}
    monthly = 20 + 25 * (internet == 0) + 50 * (internet == 1) + 5 * sum(has.values())
    monthly = monthly + random.normal(0, 2, n_rows)
    payment = random.choice(4, n_rows, p=[0.34, 0.23, 0.22, 0.21])
    paperless = random.random(n_rows) < 0.59
    region = random.choice(9, n_rows, p=[0.4, 0.3, 0.2, 0.08, 0.01, 0.004, 0.003, 0.002, 0.001])
    log_odds = (
        -0.045 * tenure - 1.3 * contract + 0.9 * (internet == 1) - 0.7 * (internet == 2)
        - 0.5 * has["OnlineSecurity"] - 0.4 * has["TechSupport"] + 0.5 * (payment == 0)
        + 0.3 * senior + 0.4 * paperless + 1.2 * (tenure < 3)
    )  # fmt: skip
    left = leavers(random, log_odds, 0.265)
    total = tenure * monthly * random.normal(1, 0.03, n_rows)
    table: Table = {
        "customerID": [f"{i:04d}-{chr(65 + i % 26)}{chr(65 + i % 7)}XQ" for i in range(n_rows)],
        "gender": to_words(random.random(n_rows) < 0.5, "Female", "Male"),
        "SeniorCitizen": to_words(senior, "1", "0"),
        "Partner": to_words(partner),
        "tenure": fixed(tenure, 0),
        "PhoneService": to_words(phone),
        "InternetService": [("DSL", "Fiber optic", "No")[i] for i in internet],
    }
    for name, flags in has.items():
        table[name] = [
            "No internet service" if i == 2 else ("Yes" if flag else "No")
            for i, flag in zip(internet, flags, strict=True)
        ]
    return table | {
        "Contract": [("Month-to-month", "One year", "Two year")[i] for i in contract],
        "PaperlessBilling": to_words(paperless),
        "PaymentMethod": [
            ("Electronic check", "Mailed check", "Bank transfer (automatic)", "Credit card")[i]
            for i in payment
        ],
        "Region": [f"Region {i}" for i in region],
        "Country": ["United States"] * n_rows,
        "MonthlyCharges": fixed(monthly, 2),
        "TotalCharges": [
            " " if months == 0 else f"{charge:.2f}"
            for months, charge in zip(tenure, total, strict=True)
        ],
        "ChurnReason": [
            ("Moved", "Price", "Service")[i % 3] if flag else "" for i, flag in enumerate(left)
        ],
        "Churn": to_words(left),
    }  # fmt: skip


def make_bank(n_rows: int, seed: int) -> Table:
    """Return a table of a bank: numeric identifiers, surnames, a balance of zeros, 0/1 labels."""
    random = np.random.default_rng([seed, 2])
    age = np.clip(np.round(random.gamma(14, 2.8, n_rows)), 18, 92)
    geography = random.choice(3, n_rows, p=[0.5, 0.25, 0.25])
    balance = np.where(random.random(n_rows) < 0.36, 0, random.normal(120_000, 30_000, n_rows))
    products = 1 + random.choice(4, n_rows, p=[0.51, 0.46, 0.025, 0.005])
    active, card = random.random(n_rows) < 0.515, random.random(n_rows) < 0.705
    score = np.round(np.clip(random.normal(650, 97, n_rows), 350, 850)).astype(np.float64)
    female = random.random(n_rows) < 0.455
    points = random.gamma(2, 300, n_rows)
    log_odds = (
        0.075 * (age - 40) - 0.0018 * (age - 40) ** 2 + 0.8 * (geography == 1) - 0.9 * active
        + 0.5 * female - 1.1 * (products == 2) + 1.8 * (products > 2) - 0.0008 * (score - 650)
        + 0.3 * (balance > 0)
    )  # fmt: skip
    left = leavers(random, log_odds, 0.204)
    complained = np.where(random.random(n_rows) < 0.998, left, ~left)
    syllables = ["ba", "co", "di", "fu", "ga", "ho", "ki", "lo", "mi", "nu", "po", "ra", "so", "ti"]
    return {
        "RowNumber": [str(i + 1) for i in range(n_rows)],
        "CustomerId": [str(15_600_000 + 7 * i) for i in random.permutation(n_rows)],
        "Surname": ["".join(random.choice(syllables, 3)).title() for _ in range(n_rows)],
        "CreditScore": blank_some(random, fixed(score, 0), 0.03),
        "Geography": [("France", "Germany", "Spain")[i] for i in geography],
        "Gender": to_words(female, "Female", "Male"),
        "Age": fixed(age, 0),
        "Tenure": fixed(np.floor(random.random(n_rows) * 11), 0),
        "Balance": fixed(balance, 2),
        "NumOfProducts": fixed(products.astype(np.float64), 0),
        "HasCrCard": to_words(card, "1", "0"),
        "IsActiveMember": to_words(active, "1", "0"),
        "EstimatedSalary": fixed(random.random(n_rows) * 200_000, 2),
        "Currency": ["EUR"] * n_rows,
        "Complain": to_words(complained, "1", "0"),
        "CardType": random.choice(
            ["DIAMOND", "GOLD", "SILVER", "PLATINUM", "TEST", "STAFF"],
            n_rows, p=[0.25, 0.25, 0.25, 0.244, 0.003, 0.003],
        ).tolist(),
        "PointsEarned": fixed(points, 0),
        "Exited": to_words(left, "1", "0"),
    }  # fmt: skip


def make_wireless(n_rows: int, seed: int, *, crossed: bool = False) -> Table:
    """Return a table of a wireless operator: 51 states, charges proportional to minutes.

    With `crossed`, the effect of a column on the risk depends strongly on another column.
    """
    random = np.random.default_rng([seed, 3])
    minutes = {
        name: np.clip(random.normal(mean, 50, n_rows), 0, None)
        for name, mean in (("day", 180), ("eve", 200), ("night", 200))
    }
    international = random.random(n_rows) < 0.1
    mail = random.random(n_rows) < 0.28
    calls = random.poisson(1.56, n_rows)
    foreign = np.clip(random.normal(10.2, 2.8, n_rows), 0, None)
    income = random.choice(10, n_rows)
    price = random.choice([10, 30, 60, 80, 100, 130, 150, 200], n_rows).astype(float)
    log_odds = (
        0.013 * minutes["day"] + 0.006 * minutes["eve"] + 1.9 * international - 0.9 * mail
        + 0.45 * calls + 0.8 * (calls > 3) + 0.09 * foreign - 0.05 * income - 0.003 * price
    )  # fmt: skip
    if crossed:
        day = minutes["day"] - 180
        log_odds = log_odds - 0.012 * day * mail - 0.008 * day * (calls - 1.56)
        log_odds = log_odds + 0.6 * (foreign - 10.2) * international
    left = leavers(random, log_odds, 0.16)
    jobs = ["Professional", "Crafts", "Clerical", "Self", "Retired", "Student", "Homemaker"]
    table: Table = {
        "State": random.choice(STATES, n_rows).tolist(),
        "Account length": fixed(np.clip(random.normal(101, 40, n_rows), 1, None), 0),
        "Area code": random.choice(["408", "415", "510"], n_rows, p=[0.25, 0.5, 0.25]).tolist(),
        "Phone": [f"{300 + i // 9000}-{1000 + i % 9000}" for i in range(n_rows)],
        "International plan": to_words(international, "yes", "no"),
        "Voice mail plan": to_words(mail, "yes", "no"),
        "Number vmail messages": fixed(np.where(mail, random.integers(10, 50, n_rows), 0), 0),
    }
    for name, rate in (("day", 0.17), ("eve", 0.085), ("night", 0.045)):
        table[f"Total {name} minutes"] = fixed(minutes[name], 1)
        table[f"Total {name} calls"] = fixed(random.normal(100, 20, n_rows), 0)
        table[f"Total {name} charge"] = fixed(minutes[name] * rate, 2)
    return table | {
        "Total intl minutes": fixed(foreign, 1),
        "Customer service calls": fixed(calls.astype(float), 0),
        "HandsetPrice": blank_some(random, fixed(price, 0), 0.3),
        "IncomeGroup": blank_some(random, fixed(income.astype(float), 0), 0.008),
        "Occupation": random.choice(
            [*jobs, "Astronaut", "Mayor"], n_rows, p=[*[0.142] * 7, 0.003, 0.003]
        ).tolist(),
        "Network": ["GSM"] * n_rows,
        "Retention offer": to_words(left & (random.random(n_rows) < 0.99), "made", "none"),
        "Churn": to_words(left, "True.", "False."),
    }  # fmt: skip


def make_employees(n_rows: int, seed: int) -> Table:
    """Return a table of employees: thirty columns, mostly small whole numbers, constants."""
    random = np.random.default_rng([seed, 4])
    age = np.clip(np.round(random.normal(37, 9, n_rows)), 18, 60)
    worked = np.floor((age - 18) * random.beta(2, 1.5, n_rows))
    here = np.floor(worked * random.beta(1.2, 1.2, n_rows))
    level = np.clip(1 + np.floor(worked / 8 + random.normal(0, 0.7, n_rows)), 1, 5)
    income = np.round(level * 3100 + random.normal(0, 1100, n_rows) + 900)
    grades = {
        name: 1.0 + random.choice(4, n_rows, p=shares)
        for name, shares in (
            ("Workplace satisfaction", [0.19, 0.2, 0.31, 0.3]),
            ("Job satisfaction", [0.2, 0.19, 0.3, 0.31]),
            ("Involvement", [0.06, 0.25, 0.59, 0.1]),
            ("Team satisfaction", [0.19, 0.2, 0.31, 0.3]),
            ("Balance", [0.05, 0.24, 0.61, 0.1]),
        )
    }
    overtime, single = random.random(n_rows) < 0.28, random.random(n_rows) < 0.32
    travel = random.choice(3, n_rows, p=[0.1, 0.71, 0.19])
    role = random.choice(9, n_rows, p=[0.22, 0.2, 0.18, 0.1, 0.09, 0.07, 0.055, 0.05, 0.035])
    distance = np.floor(1 + 28 * random.beta(0.8, 1.6, n_rows))
    employers = random.poisson(2.7, n_rows).astype(np.float64)
    options = random.choice(4, n_rows, p=[0.43, 0.4, 0.11, 0.06])
    promoted = np.floor(here * random.beta(0.7, 1.8, n_rows))
    log_odds = (
        1.6 * overtime + 0.8 * single + 0.7 * travel - 0.03 * age - 0.00008 * income
        - 0.35 * grades["Workplace satisfaction"] - 0.35 * grades["Job satisfaction"]
        - 0.5 * grades["Involvement"] + 0.035 * distance + 0.15 * employers - 0.08 * here
        + 0.14 * promoted - 0.8 * (options == 1) + 0.8 * (role == 8) + 0.7 * (role == 2)
    )  # fmt: skip
    left = leavers(random, log_odds, 0.161)
    roles = ["Sales", "Research", "Laboratory", "Making", "Care", "Manager", "Agent", "Lead", "HR"]
    fields = ["Life sciences", "Medical", "Marketing", "Technical", "Other", "Human resources"]
    return {
        "Age": fixed(age, 0),
        "Left": to_words(left),
        "Travel": [("Never", "Rarely", "Often")[i] for i in travel],
        "Daily rate": fixed(random.integers(100, 1500, n_rows).astype(np.float64), 0),
        "Distance": fixed(distance, 0),
        "Education": fixed(1.0 + random.choice(5, n_rows, p=[0.12, 0.19, 0.39, 0.27, 0.03]), 0),
        "Field": random.choice(fields, n_rows, p=[0.41, 0.32, 0.11, 0.09, 0.05, 0.02]).tolist(),
        "Head count": ["1"] * n_rows,
        "Employee number": [str(2 * i + 1) for i in range(n_rows)],
        "Gender": to_words(random.random(n_rows) < 0.4, "Female", "Male"),
        "Hourly rate": fixed(random.integers(30, 101, n_rows).astype(np.float64), 0),
        "Level": fixed(level, 0),
        "Role": [roles[i] for i in role],
        "Marital status": [
            "Single" if alone else ("Married", "Divorced")[int(chance < 0.33)]
            for alone, chance in zip(single, random.random(n_rows), strict=True)
        ],
        "Monthly income": fixed(income, 0),
        "Employers": fixed(employers, 0),
        "Adult": ["Y"] * n_rows,
        "Overtime": to_words(overtime),
        "Raise": fixed(np.floor(11 + 14 * random.beta(1, 2, n_rows)), 0),
        "Rating": to_words(random.random(n_rows) < 0.15, "4", "3"),
        "Standard hours": ["80"] * n_rows,
        "Options": fixed(options.astype(np.float64), 0),
        "Years of work": fixed(worked, 0),
        "Trainings": fixed(random.poisson(2.8, n_rows).astype(np.float64), 0),
        "Years here": fixed(here, 0),
        "Years in role": fixed(np.floor(here * random.random(n_rows)), 0),
        "Years since promotion": fixed(promoted, 0),
        "Years under manager": fixed(np.floor(here * random.random(n_rows)), 0),
        **{name: fixed(values, 0) for name, values in grades.items()},
    }  # fmt: skip


def make_shop(n_rows: int, seed: int) -> Table:
    """Return a table of a web shop: blanks in seven numeric columns, some informative."""
    random = np.random.default_rng([seed, 5])
    tenure = np.floor(random.gamma(1.2, 8.5, n_rows))
    complained, single = random.random(n_rows) < 0.28, random.random(n_rows) < 0.32
    category = random.choice(6, n_rows, p=[0.36, 0.23, 0.18, 0.15, 0.076, 0.004])
    warehouse = np.floor(5 + random.gamma(1.5, 7, n_rows))
    devices = 1.0 + random.binomial(5, 0.54, n_rows)
    addresses = 1.0 + random.poisson(3.2, n_rows)
    orders = 1.0 + random.poisson(random.gamma(1, 2, n_rows))
    silent = np.floor(random.gamma(1.6, 2.8, n_rows))
    satisfied = 1.0 + random.choice(5, n_rows, p=[0.2, 0.1, 0.3, 0.2, 0.2])
    cashback = np.round(120 + 30 * (category > 2) + 3 * orders + random.gamma(2, 16, n_rows), 2)
    unknown = random.random(n_rows) < 0.05
    log_odds = (
        -0.13 * tenure + 1.6 * complained + 0.8 * single + 0.7 * (category == 1)
        + 0.03 * warehouse + 0.35 * devices + 0.18 * addresses - 0.1 * silent + 0.22 * satisfied
        - 0.006 * cashback + 0.08 * orders + 1.0 * unknown
    )  # fmt: skip
    left = leavers(random, log_odds, 0.168)
    categories = ["Laptop", "Mobile", "Phone", "Fashion", "Grocery", "Garden"]
    payments = ["Debit card", "Credit card", "Wallet", "On delivery", "Cheque"]
    blanks = {
        "Warehouse distance": (fixed(warehouse, 0), 0.045),
        "Hours in app": (
            fixed(random.binomial(5, 0.58, n_rows).astype(np.float64), 0),
            0.045,
        ),
        "Rise of orders": (fixed(np.floor(11 + random.gamma(2, 2.4, n_rows)), 0), 0.047),
        "Coupons": (fixed(np.floor(orders * random.random(n_rows)), 0), 0.046),
        "Orders": (fixed(orders, 0), 0.046),
        "Days since order": (fixed(silent, 0), 0.055),
    }
    return {
        "ClientID": [str(50_001 + i) for i in range(n_rows)],
        "Churn": to_words(left, "1", "0"),
        "Tenure": ["" if u else cell for u, cell in zip(unknown, fixed(tenure, 0), strict=True)],
        "Device": random.choice(["Phone", "Computer"], n_rows, p=[0.71, 0.29]).tolist(),
        "City tier": fixed(1.0 + random.choice(3, n_rows, p=[0.65, 0.04, 0.31]), 0),
        "Payment": random.choice(payments, n_rows, p=[0.41, 0.31, 0.17, 0.107, 0.003]).tolist(),
        "Gender": to_words(random.random(n_rows) < 0.4, "Female", "Male"),
        "Devices": fixed(devices, 0),
        "Category": [categories[i] for i in category],
        "Satisfaction": fixed(satisfied, 0),
        "Marital status": to_words(single, "Single", "Married"),
        "Addresses": fixed(addresses, 0),
        "Complained": to_words(complained, "1", "0"),
        "Cashback": fixed(cashback, 2),
        **{name: blank_some(random, cells, share) for name, (cells, share) in blanks.items()},
    }  # fmt: skip


MAKERS: dict[str, Callable[[int, int], Table]] = {
    "telecom": make_telecom,
    "bank": make_bank,
    "wireless": make_wireless,
    "employees": make_employees,
    "shop": make_shop,
}


# Tables with strong products of columns, outside the measured limits.
CROSSED: dict[str, Callable[[int, int], Table]] = {
    name: partial(make_wireless, crossed=True) for name in ("crossed", "crossed10k")
}


def to_csv(table: Table, separator: str = ",") -> str:
    """Encode a table as CSV."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=separator, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return buffer.getvalue()


def split_rows(table: Table, n_first: int) -> tuple[Table, Table]:
    """Split a table with rows in random order into the first rows and the rest."""
    first = {name: cells[:n_first] for name, cells in table.items()}
    return first, {name: cells[n_first:] for name, cells in table.items()}
