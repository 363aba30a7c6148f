"""Errors, settings, files and the command line: the needs of every program."""
