"""Every failure the programs expect, and its exit code."""

import traceback
from pathlib import Path

N_PLACES = 5


def describe_bug(error: Exception) -> str:
    """Name an error that nobody expected and its places in the code, but no data of a client."""
    frames = traceback.extract_tb(error.__traceback__)[-N_PLACES:]
    places = " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    return f"{type(error).__name__} at {places}"


class PipelineError(Exception):
    """An expected failure: its message is for the user, its code for the caller's shell."""

    exit_code = 1


class ScheduleError(PipelineError):
    """A schedule on the command line, or in an installed line, is none that cron would keep."""

    exit_code = 2


class DatasetError(PipelineError):
    """A table or the files it comes from cannot be used as they are."""

    exit_code = 65


class InsufficientDataError(DatasetError):
    """The data is well formed, but too little of it to decide anything."""


class ModelError(PipelineError):
    """A model file is damaged, or does not fit what is asked of it."""

    exit_code = 65


class ReleaseError(PipelineError):
    """A release is damaged or incomplete."""

    exit_code = 65


class CrontabError(PipelineError):
    """A crontab, or the line for it, is not as it must be for a safe change."""

    exit_code = 65


class NotMadeYetError(PipelineError):
    """A file that an earlier step makes is not there."""

    exit_code = 66


class ServiceUnavailableError(PipelineError):
    """The API does not answer, or not as it should."""

    exit_code = 69


class NoServiceError(ServiceUnavailableError):
    """Nothing answers at the address of the API: the service may not have been started."""


class ClusterError(PipelineError):
    """The Spark cluster does not answer, or a task of ours failed there for good."""

    exit_code = 69


class SchedulerError(PipelineError):
    """Cron or systemd is not there, or refuses."""

    exit_code = 69


class RecordsError(PipelineError):
    """The database of runs cannot be read or written."""

    exit_code = 74


class BusyError(PipelineError):
    """Another program is writing; trying again later helps."""

    exit_code = 75


class ConfigError(PipelineError):
    """The configuration, or what the environment adds to it, cannot be right."""

    exit_code = 78


class RunTimeoutError(PipelineError):
    """A run took longer than `run.timeout_minutes`."""

    exit_code = 124
