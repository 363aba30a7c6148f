"""The run context: test data and release loaded once, and again after a change."""

import msgspec
import pytest

from scripts import deployment
from scripts.core.config import Config, EngineSettings
from scripts.core.errors import ReleaseError
from scripts.data import dataset
from scripts.engine.pandas_engine import PandasEngine
from scripts.production import release
from scripts.production.run_context import RunContext


def test_the_test_data_is_read_once_for_each_schema(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = RunContext(config)
    other = msgspec.structs.replace(config.schema, numeric=config.schema.numeric[:2])
    tables = [context.test_data.read(schema)[0] for schema in (config.schema, other)]
    monkeypatch.setattr(dataset, "read_test_table", None)

    again = [context.test_data.read(schema)[0] for schema in (config.schema, other)]

    assert [kept is table for kept, table in zip(again, tables, strict=True)] == [True, True]
    assert list(tables[0].columns) != list(tables[1].columns)


def test_test_data_that_memory_is_too_small_for_is_not_kept(config: Config) -> None:
    engine = EngineSettings(memory_limit_gb=0.000001)
    context = RunContext(msgspec.structs.replace(config, engine=engine))

    first, _ = context.test_data.read(config.schema)
    second, _ = context.test_data.read(config.schema)

    assert first is not second
    assert first.equals(second)


def test_before_the_first_release_there_is_none(config: Config) -> None:
    assert RunContext(config).current_release() is None


def test_the_release_is_loaded_again_only_after_another_one_began_to_serve(
    deployed: Config,
) -> None:
    context = RunContext(deployed)
    first = context.current_release()
    assert context.current_release() is first

    made = deployment.main(deployed)

    second = context.current_release()
    assert first is not None
    assert second is not None
    assert second.name == made.name != first.name


def test_a_release_that_was_just_deployed_is_not_loaded_again(
    deployed: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = RunContext(deployed)
    made = deployment.main(deployed, context=context)
    monkeypatch.setattr(release, "load_release", None)

    current = context.current_release()
    assert current is not None
    assert current.name == made.name


def test_a_damaged_release_is_refused_each_time(deployed: Config) -> None:
    (deployed.prod_deployment_path / "current" / release.MODEL).write_text("{}")
    context = RunContext(deployed)

    for _ in range(2):
        with pytest.raises(ReleaseError, match="damaged"):
            context.current_release()


def test_the_engine_is_chosen_once(config: Config) -> None:
    context = RunContext(config)

    assert isinstance(context.engine, PandasEngine)
    assert context.engine is context.engine
