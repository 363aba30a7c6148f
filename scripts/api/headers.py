"""Request headers of the service beside the headers of HTTP."""

# A request with this header is not logged: tests, monitors, apicalls.
UNLOGGED = ("Adras-Log", "off")
