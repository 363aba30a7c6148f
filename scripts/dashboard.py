"""The table of the pages, and of what they are made of."""

from scripts import clientpages, loginpage, modelpages, overviewpage, runpages, uploadpages
from scripts.routing import Route
from scripts.tokens import Role

PAGE = "text/html"
PAGES = (
    Route("GET", "/", overviewpage.overview, PAGE),
    Route("GET", "/dashboard/worklist", clientpages.worklist, PAGE),
    Route("GET", "/dashboard/client", clientpages.client, PAGE),
    Route("GET", "/dashboard/outcomes", clientpages.outcomes, PAGE),
    Route("GET", "/dashboard/runs", runpages.runs, PAGE),
    Route("GET", "/dashboard/run", runpages.run, PAGE),
    Route("GET", "/dashboard/models", modelpages.models, PAGE),
    Route("GET", "/dashboard/data", modelpages.data, PAGE),
    Route("GET", "/dashboard/upload", uploadpages.upload, PAGE),
    Route("POST", "/dashboard/upload", uploadpages.add, PAGE, Role.ADMIN),
    Route("POST", "/dashboard/rank", uploadpages.rank, PAGE),
    Route("GET", "/charts/{file}", modelpages.chart, "image/svg+xml"),
    Route("GET", "/login", loginpage.login, PAGE, None),
    Route("POST", "/login", loginpage.log_in, PAGE, None),
    Route("POST", "/logout", loginpage.log_out, PAGE, Role.READ),
)
