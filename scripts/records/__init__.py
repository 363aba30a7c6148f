"""The database of runs: tables, connection, queries and backup."""
