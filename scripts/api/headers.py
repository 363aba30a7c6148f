"""Request headers that the service adds to those of HTTP."""

# A request with this header is not logged: tests, monitors, apicalls.
UNLOGGED = ("Adras-Log", "off")
