"""The words of filters and orders of the worklist, in requests, links and forms."""

from scripts.clients.work_input import RESULTS

# Before the name of a column by which the list is ordered; a minus before it turns it round.
COLUMN = "column."
OPERATORS = (">=", "<=", "=")
MAX_FILTERS = 8
MAX_FILTER = 300
# Values of the filters by work.
NOBODY = "-"
CONTACTED, NOT_CONTACTED = "yes", "no"
CONTACTED_WORDS = ("", CONTACTED, NOT_CONTACTED, *RESULTS)
