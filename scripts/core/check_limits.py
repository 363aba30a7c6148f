"""The limits of the checks in `config.json`: their sensible ranges, and the checks that are off."""

from msgspec.structs import asdict

from scripts.core.config import CheckLimit, CheckSettings, Limit
from scripts.core.errors import ConfigError

# Beyond these a check could never find a problem. The others count clients, files or periods.
HIGHEST = {
    "leak": 1, "perfect_f1": 1, "shared_clients": 1, "rejected_rows": 1, "shrunk_list": 1,
    "changed_list": 1, "returned_clients": 1, "respelt_keys": 1, "changed_values": 1,
    "outcome_shares": 1, "one_band": 3,
}  # fmt: skip
EXPECTED = 'A check is a limit, "off", "refuse", or {"limit": 0.9, "refuse": true}.'


def is_off(settings: CheckSettings, name: str) -> bool:
    """Return whether a check is switched off, False for a check of another version."""
    return bool(getattr(settings, name, None) == "off")


def list_changed(settings: CheckSettings) -> dict[str, Limit]:
    """Return the limits other than the usual ones, without the checks that are switched off."""
    usual, declared = asdict(CheckSettings()), asdict(settings)
    return {name: limit for name, limit in declared.items() if limit not in (usual[name], "off")}


def check(settings: CheckSettings, place: str) -> None:
    """Refuse a limit that no finding could ever exceed, for example a percentage."""
    for name, highest in HIGHEST.items():
        declared = getattr(settings, name)
        limit = declared.limit if isinstance(declared, CheckLimit) else declared
        if isinstance(limit, str) or limit <= highest:
            continue
        unit = "bands" if name == "one_band" else "as a share of 1"
        raise ConfigError(
            f"{place}, checks.{name}: the limit {limit:g} could never be exceeded; expected at"
            f' most {highest} ({unit}), or "off" for no check.'
        )
