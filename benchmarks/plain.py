"""The plain way as scripts: a script per step with pandas, and ingestion with Polars."""

INGESTION = """
import sys
from pathlib import Path
import pandas as pd
files = sorted(Path(sys.argv[1]).glob("*.csv"))
table = pd.concat(map(pd.read_csv, files)).drop_duplicates()
table.to_csv("finaldata.csv", index=False)
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
pl.scan_csv(sys.argv[1] + "/*.csv").unique(maintain_order=True).sink_csv("polars.csv")
"""

STEPS = {
    "ingestion": INGESTION,
    "training": TRAINING,
    "scoring": SCORING,
    "deployment": DEPLOYMENT,
    "reporting": REPORTING,
    "diagnostics": DIAGNOSTICS,
}
