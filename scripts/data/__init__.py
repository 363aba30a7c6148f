"""Client tables: read strictly, deduplicate, describe."""
