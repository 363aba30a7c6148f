"""Schedules for the full process in cron or systemd, and their supervision."""
