"""Attrition risk from a folder of CSV files: steps, service and programs."""
