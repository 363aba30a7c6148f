"""Starts of the full process by cron or systemd."""
