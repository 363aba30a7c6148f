"""Errors, settings, files and the command line, for every program."""
