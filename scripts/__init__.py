"""Attrition risk from a folder of CSV files: the steps, the service and the programs that run them."""
