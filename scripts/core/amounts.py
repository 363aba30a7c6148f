"""Formats amounts of money for people, without a currency."""

# From here on nobody reads the decimals.
LARGE = 100


def format_amount(amount: float | None, missing: str = "") -> str:
    """Format an amount: whole from a hundred on, else with two decimals unless whole."""
    if amount is None:
        return missing
    is_whole = abs(amount) >= LARGE or amount == round(amount)
    return f"{amount:,.0f}" if is_whole else f"{amount:,.2f}"
