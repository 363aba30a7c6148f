"""Makes CSV files of mostly right rows, with hostile ones among them."""

import random

from scripts.core.config import Schema

SCHEMA = Schema()
HEADER = "corporation,lastmonth_activity,lastyear_activity,number_of_employees,exited"
MIXED = Schema(
    ids=("id",), numeric=("n", "x"), categorical=("kind",), target="left", positive="yes"
)
EUROPEAN = Schema(ids=("id",), numeric=("n", "x"), target="left", decimal=",", minimum={"n": -5})
FORMATS = [
    (SCHEMA, HEADER, ","),
    (MIXED, "kind,id,other,x,left,n", ","),
    (EUROPEAN, "id;n;x;left", ";"),
    (MIXED, "kind,id,,x,left,n,,", ","),
    (MIXED, "left\tkind\tid\tx\tn", "\t"),
    (Schema(ids=(), numeric=("n", "x"), target="left"), "left\tn\tx", "\t"),
    (Schema(ids=("id",), numeric=("n",), target="left", thousands="'"), "id|n|left", "|"),
]
NUMBERS = [
    "", "1", "0", "12", "+7", "-0", "-5", "2.5", "2,5", "1e5", "1e00001", "1e-00001", "1e99999",
    "1E+5", "1e999", "1e-400", "nan", "NaN", "inf", "-Infinity", "0x10", "1_0", " 3", "3 ", "\t4",
    "", " ", "9007199254740992", "9007199254740993", "12345678901234567890", "1.", ".5", ".", "--1",
    "1 2", "\u00a05", "\uff11", "1'234", "1,234.5", "0.1", "-0.0", "5%", "1.2.3", '"5"', "1e", "e1",
]  # fmt: skip
TEXTS = [
    "a", "Acme Ltd", " a", "a ", "\u00e9clair", "\u2003a", "a\u3000", "", " ", '"a,b"', '"a', 'a"b',
    '"a""b"', "a\x00", "a\tb", "a\x1c", "\x85a", "7e12345", "7e+123456", "\ufeffa", "=1+1", "株",
]  # fmt: skip
LABELS = [
    "1",
    "0",
    "1.0",
    "yes",
    "no",
    "YES",
    " 1",
    "2",
    "",
    "maybe",
    "true",
    "01",
    "1e0",
    "\uff11",
]
ENDS = ["\n\t\t\n", "\n", "\n", "\n", "\r\n", "\n\n", "\r", "\n \n", "\r\r\n", ""]


def make_file(draw: random.Random, header: str, separator: str) -> bytes:
    """Make a file of mostly right rows, some of them hostile."""
    hostility = draw.choice([0.0, 0.02, 0.3])
    lines = [header + draw.choice(["\n", "\r\n"])]
    for _ in range(draw.randrange(30)):
        fields = [draw_cell(draw, name, hostility) for name in header.split(separator)]
        if draw.random() < hostility:
            fields = fields[:-1] if draw.random() < 0.5 else [*fields, "1"]
        end = draw.choice(ENDS) if draw.random() < hostility else "\n"
        lines.append(separator.join(fields) + end)
    content = "".join(lines).encode(errors="surrogatepass")
    if draw.random() < hostility:
        place = draw.randrange(len(content))
        content = content[:place] + draw.choice([b"\xff", b'"', b"\x7f", b"\r"]) + content[place:]
    return content


def draw_cell(draw: random.Random, name: str, hostility: float) -> str:
    """Draw a cell of a column, perhaps a hostile cell."""
    if name in ("exited", "left"):
        right, wrong = ["1", "0"] if name == "exited" else ["yes", "no", "1", "0"], LABELS
    elif name in ("corporation", "id", "kind", "other"):
        right, wrong = ["a", "b", "Acme Ltd", "x1"], TEXTS
    else:
        right, wrong = ["1", "25", "", "300"], NUMBERS
    return draw.choice(wrong if draw.random() < hostility else right)
