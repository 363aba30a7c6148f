"""The plain way as scripts: a script per step with pandas, and ingestion with Polars.

The scripts of ingestion are told the shape of the tables, and do what such tables need and no more.
"""

INGESTION = """
import sys
from pathlib import Path
import pandas as pd
files, shape = sorted(Path(sys.argv[1]).glob("*.csv")), sys.argv[3]
table = pd.concat(map(pd.read_csv, files))
if shape == "wrong":
    size = pd.to_numeric(table["number_of_employees"], errors="coerce")
    table = table.assign(number_of_employees=size).dropna()
if shape == "missing":
    table["corporation"] = table["corporation"].str.strip()
if "unlabelled" in shape:
    last = table.drop_duplicates("corporation", keep="last")
    todays, table = last[last["exited"].isna()], table.dropna(subset="exited")
table.drop_duplicates().to_csv("finaldata.csv", index=False)
Path("ingestedfiles.txt").write_text("".join(f"{name}\\n" for name in files))
"""

TRAINING = """
import pickle
from pathlib import Path
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
table = pd.read_csv("finaldata.csv")
X, y = table.drop(columns=["corporation", "exited"]), table["exited"]
X, _, y, _ = train_test_split(X, y, test_size=0.1, random_state=42)
Path("trainedmodel.pkl").write_bytes(pickle.dumps(LogisticRegression().fit(X, y)))
"""

SCORING = """
import pickle, sys
from pathlib import Path
import pandas as pd
from sklearn.metrics import f1_score
table = pd.concat(map(pd.read_csv, Path(sys.argv[2]).glob("*.csv")))
model = pickle.loads(Path("trainedmodel.pkl").read_bytes())
predicted = model.predict(table.drop(columns=["corporation", "exited"]))
Path("latestscore.txt").write_text(str(f1_score(table["exited"], predicted)))
"""

DEPLOYMENT = """
import shutil
from pathlib import Path
Path("production").mkdir(exist_ok=True)
for name in ("trainedmodel.pkl", "latestscore.txt", "ingestedfiles.txt"):
    shutil.copy(name, "production")
"""

REPORTING = """
import pickle, sys
from pathlib import Path
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from sklearn.metrics import confusion_matrix
table = pd.concat(map(pd.read_csv, Path(sys.argv[2]).glob("*.csv")))
model = pickle.loads(Path("production/trainedmodel.pkl").read_bytes())
predicted = model.predict(table.drop(columns=["corporation", "exited"]))
sns.heatmap(confusion_matrix(table["exited"], predicted), annot=True, fmt="d")
plt.savefig("confusionmatrix.png")
"""

DIAGNOSTICS = """
import subprocess, sys, time
from pathlib import Path
import pandas as pd
table = pd.read_csv("finaldata.csv")
missing = table.isna().mean()
command = [sys.executable, "-m", "pip", "list", "--outdated"]
outdated = subprocess.run(command, capture_output=True, text=True, check=False).stdout
Path("diagnostics.txt").write_text(f"{missing} {outdated}")
"""

POLARS_INGESTION = """
import sys
import polars as pl
shape = sys.argv[3]
rows = pl.scan_csv(sys.argv[1] + "/*.csv", infer_schema=shape != "wrong")
if shape == "wrong":
    numbers = pl.exclude("corporation").cast(pl.Int64, strict=False)
    rows = rows.with_columns(numbers).drop_nulls()
if shape == "missing":
    rows = rows.with_columns(pl.col("corporation").str.strip_chars())
if "unlabelled" in shape:
    last = rows.unique("corporation", keep="last", maintain_order=True)
    todays, rows = last.filter(pl.col("exited").is_null()).collect(), rows.drop_nulls("exited")
rows.unique(maintain_order=True).sink_csv("polars.csv")
"""

STEPS = {
    "ingestion": INGESTION,
    "training": TRAINING,
    "scoring": SCORING,
    "deployment": DEPLOYMENT,
    "reporting": REPORTING,
    "diagnostics": DIAGNOSTICS,
}
