"""A made-up SaaS company whose extracts come every month."""
