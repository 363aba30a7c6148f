"""The table of the pages, and of what they are made of."""

from scripts import loginpage, overviewpage
from scripts.tokens import Role
from scripts.views import Route

PAGE = "text/html"
PAGES = (
    Route("GET", "/", overviewpage.overview, PAGE),
    Route("GET", "/login", loginpage.login, PAGE, None),
    Route("POST", "/login", loginpage.log_in, PAGE, None),
    Route("POST", "/logout", loginpage.log_out, PAGE, Role.READ),
)
