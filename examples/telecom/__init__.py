"""A telecom operator's clients: twelve mixed columns, of which nothing but the target is said."""
