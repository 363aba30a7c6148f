"""Imports point only downwards, also those inside functions, and nothing happens at import."""

import ast
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"
STEPS = {"ingestion", "training", "scoring", "promotion", "deployment", "reporting"}
# What each module may import. Support modules are not all equal: what a model or a release is
# rests on what config and artifacts say, so they form short stairs of their own.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    # Paths of files here, and addresses of files in object stores, which lists hold alike.
    "addresses": set(),
    "config": {"errors", "addresses"},
    # What config.json says becomes a Config: what cannot be right is refused on the way.
    "configchecks": {"errors", "addresses", "config"},
    "configfile": {"errors", "addresses", "config", "configchecks"},
    # Files: written whole and to last; found where others put them; named, and found again.
    "durable": {"errors"},
    "inbox": {"errors"},
    "artifacts": {"errors", "durable"},
    # The records in three: what is in them, how they are opened, what is asked of them.
    "tables": set(),
    "storage": {"errors", "tables", "migrations"},
    "database": {"errors", "tables", "storage"},
    "filebook": {"tables", "database"},
    "states": {"tables", "database"},
    "traffic": {"tables", "database"},
    "model": {"errors", "config", "configchecks"},
    # Whether the other engine is chosen, and there.
    "engines": {"errors", "config"},
    # Test data is compared on this machine, so that of an object store is brought to it.
    "testrows": {"addresses", "config", "dataset", "engines", "findings", "sparkstore"},
    # Stairs from a cell to a file to a table, so that each rule has one home and can be read, or
    # made faster, without the others.
    "cells": {"config", "model"},
    "findings": set(),
    "reading": {"errors", "config", "cells", "findings", "inbox"},
    # Large files and tables, at once instead of row by row; each with the same result.
    "lines": set(),
    "columns": {"config", "model", "cells", "reading", "lines"},
    "bulk": {"config", "findings", "reading", "lines", "columns", "canonical"},
    "duplicates": set(),
    "fields": {"lines", "reading", "columns"},
    "canonical": {"config", "duplicates", "lines", "reading", "fields"},
    "stack": set(),
    "sieve": {"duplicates", "stack"},
    "shelf": {"canonical", "stack"},
    "capacity": {"config"},
    "spelling": set(),
    "dataset": {"errors", "config", "cells", "model", "findings", "reading", "inbox"} | {"bulk"},
    "linewise": {"errors", "config", "bulk", "columns", "dataset", "findings", "reading", "inbox"}
    | {"spelling", "canonical", "shelf", "sieve"},
    "inference": {"errors", "config", "configchecks", "cells", "dataset", "findings", "reading"},
    "release": {"errors", "artifacts", "model", "durable"},
    "evaluation": {"errors", "dataset", "model"},
    # What is fitted and how, below the step, which reads, writes and checks.
    "newton": set(),
    "gains": set(),
    "calibration": {"gains", "model"},
    "regression": {"config", "dataset", "newton"},
    "forms": {"config", "gains", "regression"},
    "thresholds": {"config", "model", "regression"},
    "fitting": {"calibration", "config", "errors", "forms", "gains", "regression", "thresholds"},
    "bands": {"config", "model"},
    "explanation": {"model"},
    "ranking": {"bands", "config", "model"},
    "safecsv": set(),
    "clientcontract": set(),
    "outcomes": {"model"},
    # The decision itself, below the step, because the simulation of gates takes it as well.
    "gate": {"config", "evaluation"},
    "withdrawals": {"errors", "artifacts", "model", "durable"},
    # The same for very many rows, in passes over chunks.
    "rowstore": {"config"},
    "spread": {"model", "reference"},
    "passes": {"errors", "config", "rowstore", "spread"},
    "design": {"passes", "regression", "rowstore", "spread"},
    "manyrows": {
        "errors",
        "config",
        "calibration",
        "design",
        "fitting",
        "gains",
        "newton",
        "passes",
    }
    | {"passes", "rowstore"},
    "digest": {
        "errors",
        "config",
        "bulk",
        "canonical",
        "dataset",
        "duplicates",
        "model",
        "reading",
        "inbox",
    }
    | {"reference", "passes", "rowstore", "spread"},
    "modelfacts": {"digest", "model", "reference", "passes", "rowstore", "spread"},
    # From a dataset to a candidate: the rows held out, the plain numbers of a fit, both together.
    "holdout": {"errors", "config", "dataset"},
    "plainmodel": {"errors", "config", "dataset", "model", "regression"},
    "candidates": {
        "config",
        "dataset",
        "digest",
        "evaluation",
        "fitting",
        "holdout",
        "manyrows",
        "model",
        "modelfacts",
        "passes",
        "plainmodel",
        "reference",
    },
    # What training keeps of a dataset, and what is later compared with it.
    "reference": {"errors", "config", "dataset", "duplicates", "model"},
    "contrast": set(),
    "decline": set(),
    "samples": {"config", "contrast", "dataset", "model", "reference"},
    "drift": {"config", "contrast", "dataset", "model", "reference", "samples"},
    # Who may ask the service; apicalls, which asks it, reads its token there.
    "tokens": {"errors", "config"},
}
# What the service is made of, from what travels in it to the server that carries it. The steps
# and the full process know nothing of it.
SERVICE: dict[str, set[str]] = {
    "answers": set(),
    "contract": {"bands"},
    "sessions": {"tokens"},
    "access": {"answers", "config", "sessions", "tokens"},
    "accesslog": set(),
    "metrics": set(),
    # Asks the records from a thread of its own, and imports them there.
    "predictionlog": {"errors", "config", "storage", "traffic"},
    # Made with a release, aside, and used by every request.
    "express": {"config", "model"},
    "live": {
        "errors", "config", "configfile", "artifacts", "release", "answers", "model", "express"
    },
    "payload": {"config", "model", "answers", "contract"},
    "bodies": {"config", "answers", "contract", "payload"},
    "predicting": {
        "model", "release", "answers", "bands", "config", "contract", "express", "live", "payload",
        "bodies", "predictionlog",
    },
    "frontdoor": {
        "answers", "access", "accesslog", "live", "metrics", "predicting", "predictionlog",
        "tokens",
    },
    "openapi": {"config", "model", "answers", "contract", "bodies", "tokens"},
    "recall": {"errors", "config", "answers", "contract", "live", "storage", "database"},
    "views": {
        "config", "artifacts", "answers", "contract", "live", "metrics", "predicting", "tokens",
        "frontdoor", "openapi", "recall", "clientcontract", "clientviews", "handouts",
        "predictionlog",
    },
    "clientviews": {
        "errors", "answers", "clientcontract", "frontdoor", "live", "openapi", "recall", "bands",
        "callsheet", "dossier", "aftermath", "callwords",
    },
    "patience": set(),
    "server": {"errors", "config", "answers", "live", "frontdoor", "patience"},
    "processes": set(),
}  # fmt: skip
# The pages for people, on what the service answers programs. The schedule is asked when a page
# wants it, and then brings the cron tool.
PAGES: dict[str, set[str]] = {
    "pagewords": set(),
    "pages": {"answers", "frontdoor", "live", "pagewords"},
    "nextrun": {"errors", "backends", "jobs", "schedules"},
    "overview": {"config", "database", "states", "callsheet", "aftermath"},
    "overviewpage": {"answers", "frontdoor", "live", "clientviews", "views", "pages", "nextrun"}
    | {"overview"},
    "loginpage": {"answers", "access", "frontdoor", "live", "sessions", "pages"},
    "sparkline": set(),
    "effects": {"model"},
    "handouts": {"artifacts", "answers", "gallery"},
    "clientpages": {"answers", "frontdoor", "live", "clientviews", "pages", "sparkline"},
    "runstory": {"database", "filebook", "tables"},
    "runpages": {"answers", "contract", "frontdoor", "live", "recall", "clientviews", "pages"}
    | {"runstory"},
    "modelpages": {"answers", "frontdoor", "live", "clientviews", "pages", "sparkline"}
    | {"effects", "gallery", "handouts", "database", "overview", "runstory"},
    # Reads as strictly as a run does, and publishes; the only page that writes anything.
    "uploads": {"errors", "config", "artifacts", "findings", "reading", "durable"},
    "uploadpages": {
        "errors",
        "addresses",
        "config",
        "answers",
        "cells",
        "clientcontract",
        "findings",
        "frontdoor",
        "live",
        "pages",
        "tokens",
        "uploads",
        "callsheet",
        "callwords",
    },
    "dashboard": {
        "tokens",
        "views",
        "overviewpage",
        "loginpage",
        "clientpages",
        "runpages",
        "modelpages",
        "uploadpages",
    },
}
SERVICE |= PAGES
ALLOWED |= SERVICE
SUPPORT = set(ALLOWED) - set(SERVICE) - {"tokens"}
# What the cron tool rests on, from schedules to its command line. A run never imports it.
CRON_TOOL: dict[str, set[str]] = {
    "schedules": {"errors"},
    "ticks": {"schedules"},
    "calendars": {"schedules"},
    "jobs": {"errors"},
    "crontab": {"errors", "jobs"},
    "cron": {"errors", "artifacts", "ticks", "jobs", "crontab", "durable"},
    "systemd": {"errors", "calendars", "jobs", "durable"},
    "backends": {"errors", "jobs", "cron", "systemd"},
    "logbook": {"errors"},
    "liveness": {"database"},
    "wording": {
        "errors", "artifacts", "database", "schedules", "ticks", "jobs", "backends", "liveness",
    },
    "verbs": {"errors", "configfile", "console", "schedules", "jobs", "backends"},
}  # fmt: skip
ALLOWED |= CRON_TOOL
# Tells a monitor that a run starts and ends.
ALLOWED["heartbeat"] = set()
# A run from its start to its end: what it finds, how long it may take, what it records.
RUN: dict[str, set[str]] = {
    "snapshot": {
        "errors",
        "config",
        "addresses",
        "database",
        "engines",
        "filebook",
        "durable",
        "inbox",
    }
    | {"sparkstore"},
    # What imports need not do: look for garbage, and work out help.
    "garbage": set(),
    "deadline": {"errors", "garbage"},
    "running": {"errors", "config", "database", "deadline", "filebook", "snapshot"},
    "history": {"errors", "config", "artifacts", "console", "database", "filebook", "snapshot"},
}
ALLOWED |= RUN
# What people do with the records now and then. `database` starts it, and only as a program.
ALLOWED |= {
    "legacy": {"errors", "artifacts"},
    "upkeep": {
        "errors",
        "config",
        "artifacts",
        "storage",
        "database",
        "filebook",
        "legacy",
        "durable",
    },
    "upkeep_program": {"console", "upkeep"},
}
ALLOWED["database"] |= {"upkeep_program"}
# Whom to call: the records of clients, and what is told of them, which the service and the command
# line share. Neither brings pandas.
CLIENTS: dict[str, set[str]] = {
    "clients": {"errors", "tables", "database"},
    "clientparts": {
        "errors", "config", "model", "database", "explanation", "outcomes", "clients",
        "clientcontract",
    },
    "callsheet": {
        "config", "model", "database", "outcomes", "ranking", "clients", "clientcontract",
        "clientparts",
    },
    "dossier": {"config", "model", "explanation", "clients", "clientcontract", "clientparts"},
    "aftermath": {
        "config", "database", "outcomes", "clients", "clientcontract", "clientparts",
    },
    "callwords": {"bands", "clientcontract", "clientparts", "console", "safecsv"},
}  # fmt: skip
ALLOWED |= CLIENTS
# The part of a run that scores today's clients.
ALLOWED["joining"] = {"bands", "config", "database", "dataset", "reference"}
ALLOWED["clientscoring"] = {
    "errors", "config", "artifacts", "clients", "database", "dataset", "engines", "evaluation",
    "joining", "model", "ranking", "release", "sparkclients", "testrows",
}  # fmt: skip
ALLOWED["worklist"] = {
    "errors", "config", "cells", "console", "database", "findings", "model", "reading", "release",
    "inbox",
} | set(CLIENTS) | {"clientcontract"}  # fmt: skip
RECORDS = {"tables", "storage", "database", "filebook", "states", "traffic"}
# The pictures: the folder that the service reads without drawing anything, what the records tell
# them, and how they are drawn.
PICTURES: dict[str, set[str]] = {
    "gallery": {"durable"},
    "past": {"database", "tables", "runstory", "states"},
    # Charts are drawn on matplotlib's axes for dots and for rare letters, else on a sketch, by a
    # pen for SVG or for PDF.
    "pens": set(),
    "sketch": {"pens"},
    "paper": {"pens"},
    "canvas": {"gallery", "pens", "sketch"},
    "charts": {"config", "evaluation", "model", "canvas", "sketch"},
    "curves": {"evaluation", "outcomes", "canvas"},
    "effectchart": {"effects", "model", "canvas"},
    "timelines": {"database", "canvas", "past"},
    "columnhistory": {"database", "canvas", "past", "timelines"},
    "marks": {"canvas"},
    "embedding": {"canvas", "marks"},
    "printing": {"canvas", "marks", "paper", "pens", "sketch", "embedding"},
    "sheets": {"canvas", "marks", "printing"},
    "bulletin": {"database", "evaluation", "release", "canvas", "charts", "past", "sheets"},
}
ALLOWED |= PICTURES
ALLOWED["console"] = {"errors", "config", "configfile", "durable"}
# Going back and listing what has served are questions to the records, and entries in them.
ALLOWED["rollback"] = {
    "errors", "config", "artifacts", "model", "release", "withdrawals", "console", "database"
}  # fmt: skip
# The other engine: reading, training and scoring on a Spark cluster, by the rules of the modules
# above. A step imports them only where config.json says so, since they bring PySpark.
ON_CLUSTER: dict[str, set[str]] = {
    "cluster": {"errors", "config"},
    "ranges": {"config", "bulk", "columns", "findings", "reading", "inbox"},
    # What tasks read: pieces of files at paths, or contents that Spark reads in an object store;
    # and the two things that are made of either, rows and texts.
    "sparkpieces": {"findings", "ranges", "reading", "cluster", "durable", "inbox"},
    "sparkstore": {"errors", "addresses", "filebook", "cluster", "durable", "inbox"},
    "sparkcontents": {"addresses", "sparkparts"},
    "sparkstored": {
        "addresses", "findings", "ranges", "reading", "sparkcontents", "sparkpieces", "sparkstore",
    },
    "sparkfiles": {"config", "bulk", "columns", "findings", "ranges", "reading", "sparkpieces"},
    "sparktexts": {"config", "bulk", "findings", "reading", "sparkpieces"},
    "sparkreading": {
        "errors", "config", "cells", "dataset", "findings", "cluster", "sparkfiles",
        "sparkpieces", "sparkstored",
    },
    "sparkparts": {"errors", "config", "cluster", "durable"},
    "sparkdata": {
        "errors", "config", "artifacts", "dataset", "duplicates", "reference", "cluster",
        "sparkparts", "durable"},
    "sparkintake": {
        "config", "artifacts", "findings", "cluster", "sparkdata", "sparkreading",
    },
    "sparkstatistics": {"config", "dataset", "model", "reference", "cluster", "sparkdata"},
    "sparkfeatures": {"config", "dataset", "model", "regression", "sparkstatistics"},
    "sparkfitting": {
        "errors", "config", "dataset", "evaluation", "fitting", "forms", "model", "newton",
        "cluster", "sparkdata", "sparkfeatures", "sparkstatistics",
    },
    "sparktraining": {
        "config", "model", "cluster", "sparkdata", "sparkfeatures", "sparkfitting",
        "sparkstatistics",
    },
    "sparkscoring": {
        "config", "dataset", "evaluation", "findings", "model", "cluster", "sparkdata",
        "sparkreading",
    },
    "sparkdrift": {
        "config", "drift", "driftparts", "model", "spread", "cluster", "sparkdata",
        "sparkstatistics",
    },
    "sparkinference": {
        "errors", "config", "cells", "findings", "inference", "cluster", "sparkpieces",
        "sparkstored", "sparktexts",
    },
    "sparkclients": {"config", "joining", "cluster", "sparkdata"},
}  # fmt: skip
ALLOWED |= ON_CLUSTER
for step in STEPS:
    ALLOWED[step] = (SUPPORT - RECORDS) | {"console"}
ALLOWED["deployment"] |= {"rollback", "database"}
ALLOWED["ingestion"] |= {"sparkintake", "sparkinference", "sparkstore"}
# No garbage is looked for until everything is imported.
ALLOWED["training"] |= {"sparktraining", "garbage"}
ALLOWED["scoring"] |= {"sparkscoring", "sparkstore"}
# Replays ingestion and training many times, as diagnostics times them.
ALLOWED["simulation"] = {
    "errors", "config", "candidates", "dataset", "evaluation", "gate", "inference", "ingestion",
    "model",
}  # fmt: skip
# What happened over the runs is a question to the records.
ALLOWED["reporting"] |= set(PICTURES) | {"database"}
# Its last decision is a question to the records.
ALLOWED["promotion"] |= {"database", "simulation"}
# Its questions are no traffic, which it says in the words of the prediction log.
ALLOWED["apicalls"] = ALLOWED["scoring"] | {"tokens", "predictionlog"}
# The newest dataset against production's, of very many rows in parts.
ALLOWED["driftparts"] = {
    "config", "contrast", "digest", "drift", "model", "passes", "reference", "samples", "spread",
}  # fmt: skip
ALLOWED["monitoring"] = ALLOWED["scoring"] | {"driftparts", "sparkdrift"}
# What production is asked is in the records.
ALLOWED["livedrift"] = {
    "artifacts",
    "config",
    "database",
    "drift",
    "monitoring",
    "release",
    "traffic",
    "durable",
}
ALLOWED["timing"] = {
    "errors", "config", "candidates", "dataset", "engines", "ingestion", "training", "inbox",
}  # fmt: skip
ALLOWED["diagnostics"] = ALLOWED["scoring"] | {
    "timing",
    "monitoring",
    "livedrift",
    "database",
}
ALLOWED["alerts"] = set()
# The part of a run that watches: what was found goes to the records, and from there to people.
ALLOWED["notices"] = {
    "config",
    "database",
    "states",
    "traffic",
    "alerts",
    "monitoring",
    "livedrift",
}
ALLOWED["suggest"] = {
    "errors", "config", "cells", "findings", "inference", "reading", "console", "durable",
    "inbox",
}  # fmt: skip
ALLOWED["app"] = {"errors", "config", "configfile", "artifacts", "console", "tokens"} | set(SERVICE)
# What a run with work does, and brings: pandas, scikit-learn, matplotlib.
ALLOWED["steps"] = (
    SUPPORT
    | {"running", "snapshot"}
    | STEPS
    | {"diagnostics", "apicalls", "notices", "clientscoring"}
)
ALLOWED["fullprocess"] = (
    SUPPORT | set(RUN) | {"steps", "console", "heartbeat", "notices", "gallery"}
)
ALLOWED["automate"] = set(CRON_TOOL) | {"errors", "configfile", "artifacts", "database"}


def imports_of(path: Path) -> set[str]:
    """List the modules of this package that a file imports anywhere."""
    found = set()
    tree = ast.parse(path.read_text())
    if path.stem == "config":
        # Started as a program it hands over to `suggest`; that is no import of the module.
        tree.body = [node for node in tree.body if not isinstance(node, ast.If)]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "scripts":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scripts."):
            found.add((node.module or "").split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("scripts.")}
    return found


# How far a step has come is told from deep inside it.
for teller in (
    "reading",
    "bulk",
    "digest",
    "newton",
    "manyrows",
    "ingestion",
    "training",
    "simulation",
    "worklist",
):
    ALLOWED[teller] |= {"progress"}
ALLOWED["worklist"] |= {"artifacts"}
ALLOWED["digest"] |= {"artifacts"}
ALLOWED["progress"] = set()


MODULES = sorted(path.stem for path in SCRIPTS.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_what_stands_below_it(name: str) -> None:
    assert imports_of(SCRIPTS / f"{name}.py") <= ALLOWED[name]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_does_nothing_at_import(name: str) -> None:
    tree = ast.parse((SCRIPTS / f"{name}.py").read_text())
    calls = [
        n.value for n in tree.body if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)
    ]

    assert calls == []


FORBIDDEN_CALLS = {"eval", "exec", "print", "exit"}
FORBIDDEN_ATTRIBUTES = {
    ("pickle", "load"),
    ("pickle", "loads"),
    ("joblib", "load"),
    ("yaml", "load"),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_never_unpickles_evaluates_or_starts_a_shell(name: str) -> None:
    tree = ast.parse((SCRIPTS / f"{name}.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = {call.func.id for call in calls if isinstance(call.func, ast.Name)}
    attributes = {
        (call.func.value.id, call.func.attr)
        for call in calls
        if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name)
    }
    shells = [k for call in calls for k in call.keywords if k.arg == "shell"]

    assert not names & FORBIDDEN_CALLS
    assert not attributes & FORBIDDEN_ATTRIBUTES
    assert shells == []
