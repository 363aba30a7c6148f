"""Defines the expected failures of the programs, with exit codes."""

import traceback
from pathlib import Path

N_PLACES = 5


def describe_bug(error: Exception) -> str:
    """Return the class and code places of an unexpected error, without data of clients."""
    frames = traceback.extract_tb(error.__traceback__)[-N_PLACES:]
    places = " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    return f"{type(error).__name__} at {places}"


class PipelineError(Exception):
    """Expected failure, with a message for the user and an exit code for the shell."""

    exit_code = 1


class ScheduleError(PipelineError):
    """Schedule on the command line or in the crontab is invalid for cron."""

    exit_code = 2


class DatasetError(PipelineError):
    """Table or input file is missing or invalid."""

    exit_code = 65


class WorkError(DatasetError):
    """Entry about the work with a client is invalid."""


class WorkConflictError(WorkError):
    """A client was changed by somebody since the sender looked."""


class InsufficientDataError(DatasetError):
    """Data is valid, but too small for a decision."""


class ModelError(PipelineError):
    """Model file is damaged, or does not fit the data."""

    exit_code = 65


class ReproductionError(PipelineError):
    """A model of an earlier run cannot be reproduced with the same bytes."""

    exit_code = 65


class ReleaseError(PipelineError):
    """Release is damaged or incomplete."""

    exit_code = 65


class CrontabError(PipelineError):
    """Crontab or job line cannot be changed safely."""

    exit_code = 65


class NotMadeYetError(PipelineError):
    """File of an earlier step is missing."""

    exit_code = 66


class ServiceUnavailableError(PipelineError):
    """API gives no answer, or an invalid answer."""

    exit_code = 69


class NoServiceError(ServiceUnavailableError):
    """No server answers at the address of the API: the service may be stopped."""


class NotInstalledError(PipelineError):
    """Package is missing, perhaps because the installation only serves."""

    exit_code = 69


class ClusterError(PipelineError):
    """Spark cluster gives no answer, or a task failed after all retries."""

    exit_code = 69


class SchedulerError(PipelineError):
    """Cron or systemd is missing, or refuses a command."""

    exit_code = 69


class RecordsError(PipelineError):
    """Database of runs cannot be read or written."""

    exit_code = 74


class ExpiredCursorError(PipelineError):
    """Cursor of a forgotten list."""

    exit_code = 65


class SelectionError(PipelineError):
    """Filter or order of the worklist names an unknown column or value."""

    exit_code = 65


class UnknownOrderError(PipelineError):
    """Order is unknown to the scoring of the list."""

    exit_code = 65


class BusyError(PipelineError):
    """Another program holds the lock. A later attempt may succeed."""

    exit_code = 75


class ConfigError(PipelineError):
    """Configuration, or an environment variable, is invalid."""

    exit_code = 78


class RunTimeoutError(PipelineError):
    """Run made no progress for `run.timeout_minutes`, or took longer than `run.limit_minutes`."""

    exit_code = 124


class MailError(PipelineError):
    """Mail was not sent, and the server has no copy."""

    exit_code = 69


class MailUnknownError(MailError):
    """Connection broke before the server confirmed the mail."""
