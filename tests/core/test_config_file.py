"""Accepted settings in config.json, and errors for others."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.core import config_file
from scripts.core.config import Config, EngineSettings
from scripts.core.errors import ConfigError

ROOT = Path(__file__).parents[2]
PATHS = {
    "input_folder_path": "in",
    "output_folder_path": "out",
    "test_data_path": "test",
    "output_model_path": "models",
    "prod_deployment_path": "prod",
}
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a config.json with the five keys and more."""

    def write_settings(**settings: Any) -> Path:
        path = tmp_path / "config.json"
        path.write_text(json.dumps(PATHS | settings))
        return path

    return write_settings


def test_the_shipped_config_is_right() -> None:
    shipped = config_file.read_config(ROOT / "config.json")

    assert shipped.input_folder_path == ROOT / "practicedata"
    assert shipped.output_model_path == ROOT / "practicemodels"


def test_the_five_keys_are_enough(write: Write, tmp_path: Path) -> None:
    config = config_file.read_config(write())

    assert config.input_folder_path == tmp_path / "in"
    assert config.database_url == f"sqlite:///{tmp_path}/adras.db"
    assert config.api_url == "http://127.0.0.1:8000"
    assert config.schema.columns == (
        "corporation", "lastmonth_activity", "lastyear_activity", "number_of_employees", "exited",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given_path", "expected"),
    [
        ("in", "{folder}/in"),
        ("./in/", "{folder}/in"),
        ("a/../in", "{folder}/in"),
        ("../in", "{parent}/in"),
        ("/data/in", "/data/in"),
        ("in é/1%", "{folder}/in é/1%"),
    ],
)
def test_relative_paths_start_at_the_folder_of_the_file(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given_path: str, expected: str
) -> None:
    write(input_folder_path=given_path)
    monkeypatch.chdir(tmp_path.parent)

    config = config_file.read_config(Path(tmp_path.name) / "config.json")

    wanted = expected.format(folder=tmp_path, parent=tmp_path.parent)
    assert str(config.input_folder_path) == wanted


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///runs.db", "sqlite:///{folder}/runs.db"),
        ("sqlite:////var/runs.db", "sqlite:////var/runs.db"),
        ("sqlite://", "sqlite://"),
        ("postgresql+psycopg://host/runs", "postgresql+psycopg://host/runs"),
    ],
)
def test_the_database_of_a_file_starts_there_too(
    write: Write, tmp_path: Path, url: str, expected: str
) -> None:
    config = config_file.read_config(write(database_url=url))

    assert config.database_url == expected.format(folder=tmp_path)


@pytest.mark.parametrize("key", PATHS)
def test_each_of_the_five_keys_is_required(write: Write, key: str) -> None:
    path = write()
    path.write_text(json.dumps({name: value for name, value in PATHS.items() if name != key}))

    with pytest.raises(ConfigError, match=f"config.json: .*`{key}`"):
        config_file.read_config(path)


@pytest.mark.parametrize(
    ("settings", "wrong", "near"),
    [
        ({"input_folder": "in"}, "input_folder", "input_folder_path"),
        ({"INPUT_FOLDER_PATH": "in"}, "INPUT_FOLDER_PATH", ""),
        ({"apis": {}}, "apis", "api"),
        ({"training": {"c": 1}}, "c", ""),
        ({"training": {"random_sate": 1}}, "random_sate", "random_state"),
        ({"promotion": {"min_rows": 1}}, "min_rows", "min_test_rows"),
        ({"api": {"prot": 1}}, "prot", "port"),
        ({"schema": {"categoricals": []}}, "categoricals", "categorical"),
        ({"": 1}, "", ""),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(
    write: Write, settings: dict[str, Any], wrong: str, near: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        config_file.read_config(write(**settings))

    assert f"has the unknown key {wrong!r}; did you mean {near or ''}" in str(raised.value).replace(
        "mean '", "mean "
    )
    section = next(iter(settings))
    if isinstance(settings[section], dict) and settings[section]:
        assert f"config.json, {section}, has" in str(raised.value)


@pytest.mark.parametrize(
    ("twice", "key"),
    [
        ('"database_url": "sqlite:///a.db", "database_url": "sqlite:///b.db"', "database_url"),
        ('"api": {"port": 1, "host": "::1", "port": 2}', "port"),
        ('"api": {"port": 1}, "api": {"port": 2}', "api"),
        ('"schema": {"minimum": {"a": 0, "a": 1}}', "a"),
        ('"api": {"max_rows": 1, "max\\u005frows": 2}', "max_rows"),
    ],
)
def test_a_key_that_stands_twice_is_refused(write: Write, twice: str, key: str) -> None:
    path = write()
    path.write_text(path.read_text().rstrip().removesuffix("}") + f", {twice}}}")

    with pytest.raises(ConfigError, match=rf"has \['{key}'\] more than once in one object"):
        config_file.read_config(path)


def test_very_many_keys_are_counted_in_no_time(write: Write) -> None:
    path, started = write(), time.monotonic()
    many = ", ".join(f'"{number}": 0' for number in range(60_000))
    path.write_text(path.read_text().rstrip().removesuffix("}") + f', "schema": {{{many}}}}}')

    with pytest.raises(ConfigError, match="unknown key"):
        config_file.read_config(path)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("address", ["?password=x", "?sslmode=require&sslpassword=x"])
def test_a_password_in_the_query_of_database_url_is_refused(write: Write, address: str) -> None:
    with pytest.raises(ConfigError, match="database_url holds a password"):
        config_file.read_config(write(database_url=f"postgresql://user@host/database{address}"))


def test_a_very_long_number_is_no_reason_to_break(write: Write) -> None:
    path = write()
    path.write_text(
        path.read_text().rstrip().removesuffix("}") + f', "api": {{"port": {"9" * 5000}}}}}'
    )

    with pytest.raises(ConfigError):
        config_file.read_config(path)


ON_SPARK = {"name": "spark", "master": "spark://a:7077"}
COSTS = {"contact": 5, "offer": 40}
WRONG_VALUES: list[tuple[dict[str, Any], str]] = [
    ({"input_folder_path": 1}, "Expected .*got 1.*input_folder_path"),
    ({"input_folder_path": ""}, "Expected the path of a folder, got ''"),
    ({"input_folder_path": None}, "input_folder_path"),
    ({"input_folder_path": "a\0b"}, "Expected the path of a folder"),
    ({"output_folder_path": "in"}, "output_folder_path is the same folder as input_folder_path"),
    ({"output_folder_path": "./x/../in"}, "the same folder as input_folder_path"),
    ({"output_model_path": "test"}, "output_model_path is the same folder as test_data_path"),
    ({"prod_deployment_path": "in/"}, "prod_deployment_path is the same folder"),
    ({"training": {"C": 0}}, r"training\.C"),
    ({"training": {"C": "1"}}, r"training\.C"),
    ({"training": {"validation_fraction": 0}}, r"training\.validation_fraction"),
    ({"training": {"validation_fraction": 1}}, r"training\.validation_fraction"),
    ({"training": {"random_state": -1}}, r"training\.random_state"),
    ({"training": {"random_state": 2**32}}, r"training\.random_state"),
    ({"training": {"random_state": 1.5}}, r"training\.random_state"),
    ({"training": {"decision_threshold": "automatic"}}, r"training\.decision_threshold"),
    ({"training": {"decision_threshold": 1.1}}, r"training\.decision_threshold"),
    ({"training": []}, "training"),
    ({"promotion": {"min_probability": 2}}, r"promotion\.min_probability"),
    ({"promotion": {"min_test_rows": 0}}, r"promotion\.min_test_rows"),
    ({"ingestion": {"settle_s": -1}}, r"ingestion\.settle_s"),
    ({"api": {"port": 0}}, r"api\.port"),
    ({"api": {"port": 65536}}, r"api\.port"),
    ({"api": {"port": "8000"}}, r"api\.port"),
    ({"api": {"port": True}}, r"api\.port"),
    ({"api": {"max_rows": 0}}, r"api\.max_rows"),
    ({"api": {"timeout_s": 0}}, r"api\.timeout_s"),
    ({"retention": {"runs": 1}}, r"retention\.runs"),
    ({"retention": {"releases": 1}}, r"retention\.releases"),
    ({"retention": {"outcome_days": 89}}, r"retention\.outcome_days"),
    ({"engine": "abacus"}, r"engine\.name"),
    ({"engine": {"name": "polars"}}, r"engine\.name"),
    ({"engine": 1}, "engine"),
    ({"engine": {"memory_limit_gb": 0}}, r"engine\.memory_limit_gb"),
    ({"engine": {"memory_limit_gb": "1"}}, r"engine\.memory_limit_gb"),
    ({"engine": {"memory_limit_gb": 1e308}}, r"memory_limit_gb = 1e\+308: .*1048576 at most"),
    ({"engine": {"memory_limit_gb": 0.39}}, r"engine\.memory_limit_gb = 0\.39: .* give 0\.4"),
    ({"engine": "spark"}, 'spark needs the address of its cluster, such as "master"'),
    ({"engine": {"name": "spark", "master": ""}}, "spark needs the address"),
    ({"engine": {"name": "spark", "master": "localhost:7077"}}, r"engine\.master"),
    ({"engine": {"name": "spark", "master": "spark://a"}}, r"engine\.master"),
    ({"engine": {"dataset_address": "s3a://a/b"}}, "dataset_address has no meaning for pandas"),
    ({"input_folder_path": "s3a://a/b"}, "the pandas engine reads files of this machine only"),
    ({"engine": ON_SPARK, "output_model_path": "s3a://a/b"}, "only the dataset may be written"),
    ({"engine": ON_SPARK, "test_data_path": "s3a://me:secret@a"}, "keys of an object store"),
    ({"input_folder_path": "S3 ://a b"}, "or an address such as 's3a://bucket/folder'"),
    ({"engine": {"dataset_format": "csv"}}, "dataset_format has no meaning for pandas"),
    ({"engine": ON_SPARK | {"dataset_format": "xml"}}, r"engine\.dataset_format"),
    ({"engine": ON_SPARK | {"dataset_address": "lake/data"}}, r"engine\.dataset_address"),
    ({"engine": ON_SPARK | {"dataset_address": "s3a://me:secret@a"}}, "keys of an object store"),
    ({"engine": {"name": "spark", "master": "spark://a:1,b:2 "}}, r"engine\.master"),
    ({"engine": {"master": "spark://a:1"}}, r"engine\.master has no meaning for pandas"),
    (
        {"engine": {"name": "spark", "master": "spark://a:1", "memory_limit_gb": 1}},
        r"engine\.memory_limit_gb has no meaning for spark",
    ),
    ({"database_url": 5}, "database_url"),
    ({"worklist": {"value": "number_of_employees"}}, "value needs worklist.costs, such as"),
    ({"worklist": {"costs": COSTS}}, "costs needs worklist.value"),
    ({"promotion": {"metric": "auc"}}, r"promotion\.metric"),
    ({"promotion": {"metric": "expected_gain"}}, '"expected_gain" needs worklist.value'),
    ({"promotion": {"metric": "recall_at_capacity"}}, "needs worklist.capacity"),
    (
        {"promotion": {"metric": "log_loss", "rule": "not_worse"}},
        'metric "log_loss" belongs to promotion.rule "better"',
    ),
    ({"worklist": {"holdout_fraction": 0.6}}, r"worklist\.holdout_fraction"),
    ({"worklist": {"holdout_days": 6}}, r"worklist\.holdout_days"),
    (
        {"worklist": {"holdout_fraction": 0.1}, "schema": {"target": "gone"}},
        "holdout_fraction needs schema.ids",
    ),
    ({"worklist": {"value": "corporation", "costs": COSTS}}, "value, names 'corporation'"),
    ({"worklist": {"value": "revenue", "costs": COSTS}}, "value, names 'revenue'; expected a num"),
    ({"worklist": {"value": "", "costs": COSTS}}, "value, names ''"),
    ({"worklist": {"value": 0, "costs": COSTS}}, r"worklist\.value"),
    ({"worklist": {"value": 9, "costs": {"contact": 1}}}, "offer"),
    ({"worklist": {"value": 9, "costs": COSTS | {"contact": -1}}}, r"costs\.contact"),
    ({"worklist": {"value": 9, "costs": COSTS | {"save_rate": [6, 0]}}}, r"costs\.save_rate"),
    ({"worklist": {"value": 9, "costs": COSTS | {"takers_fraction": 2}}}, r"takers_fraction"),
    ({"worklist": {"value": 9, "costs": COSTS | {"ofer": 2}}}, "did you mean 'offer'"),
    ({"schema": {"ids": ["exited"]}}, r"names the columns \['exited'\] more than once"),
    ({"schema": {"numeric": ["a", "a"]}}, r"names the columns \['a'\] more than once"),
    ({"schema": {"numeric": []}}, "no numeric and no categorical column"),
    ({"schema": {"minimum": {"age": 0}}}, r"names \['age'\], which are not numeric columns"),
    ({"schema": {"positive": "gone"}}, "the opposite of positive = 'gone' is not known"),
    ({"schema": {"positive": 1, "negative": "1.0"}}, "the same label"),
    ({"schema": {"positive": "Gone", "negative": " gone"}}, "the same label"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "reason"), WRONG_VALUES)
def test_a_value_that_cannot_be_right_is_named(
    write: Write, settings: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigError, match=rf"config\.json.*{reason}"):
        config_file.read_config(write(**settings))


@pytest.mark.parametrize(
    "settings",
    [
        {"training": {"C": 1, "decision_threshold": 0}},
        {"training": {"decision_threshold": 1.0, "random_state": 2**32 - 1}},
        {"promotion": {"min_probability": 1, "min_test_rows": 1}},
        {"worklist": {"value": 1200, "costs": COSTS}},
        {"worklist": {"value": "number_of_employees", "costs": COSTS | {"save_rate": [1, 1]}}},
        {"worklist": {"value": "fee", "costs": COSTS}, "schema": {"target": "gone"}},
        {"ingestion": {"settle_s": 0}},
        {"api": {"port": 65535, "max_body_bytes": 1024}},
        {"engine": "pandas"},
        {"engine": {"memory_limit_gb": 0.4}},
        {"engine": {"name": "spark", "master": "spark://10.0.0.1:7077"}},
        {"engine": {"name": "spark", "master": "spark://a:7077,b:7077"}},
        {"engine": {"name": "spark", "master": "local[*]"}},
        {"engine": {"name": "spark", "master": "yarn"}},
        {"engine": ON_SPARK | {"dataset_format": "csv", "dataset_address": "s3a://a/b"}},
        {
            "schema": {
                "positive": "gone",
                "negative": "here",
                "numeric": ["a"],
                "minimum": {"a": -1},
            }
        },
        {"schema": {"positive": True}},
        {"schema": {"numeric": [], "categorical": ["a"], "ids": []}},
    ],
)
def test_the_limits_themselves_are_right(write: Write, settings: dict[str, Any]) -> None:
    assert isinstance(config_file.read_config(write(**settings)), Config)


@pytest.mark.parametrize("written", ["pandas", {"name": "pandas"}, {}])
def test_the_engine_is_pandas_also_as_it_was_once_written(write: Write, written: object) -> None:
    assert config_file.read_config(write(engine=written)).engine == EngineSettings(name="pandas")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"{'a': 1}", "is not JSON"),
        (b'{"a": 1,}', "is not JSON"),
        (b'{"a": NaN}', "is not JSON"),
        (b"\xff\xfe{\x00}\x00", "is not JSON"),
        (b'{"a": "\xe9"}', "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "holds list; expected an object"),
        (b"null", "holds NoneType; expected an object"),
        (b'"text"', "holds str; expected an object"),
    ],
)
def test_a_file_that_is_no_object_of_keys_is_refused(
    write: Write, content: bytes, reason: str
) -> None:
    path = write()
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=rf"config\.json {reason}"):
        config_file.read_config(path)


def test_a_missing_file_or_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        config_file.read_config(tmp_path / "config.json")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        config_file.read_config(tmp_path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(key=st.sampled_from(Config.__struct_fields__), value=json_values)
def test_any_value_of_any_key_is_taken_or_refused_as_documented(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: object
) -> None:
    path = tmp_path_factory.mktemp("config") / "config.json"
    path.write_text(json.dumps(PATHS | {key: value}, default=str).replace("Infinity", "1e999"))

    try:
        config = config_file.read_config(path)
    except ConfigError:
        return

    assert config.input_folder_path.is_absolute()


def test_the_chosen_file_wins_over_the_environment_and_both_over_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ADRAS_CONFIG", raising=False)
    assert config_file.find_config_path(None) == ROOT / "config.json"
    monkeypatch.setenv("ADRAS_CONFIG", str(tmp_path / "env.json"))
    assert config_file.find_config_path(None) == tmp_path / "env.json"
    monkeypatch.chdir(tmp_path)
    assert config_file.find_config_path(Path("chosen.json")) == tmp_path / "chosen.json"
    monkeypatch.setenv("ADRAS_CONFIG", "")
    assert config_file.find_config_path(None) == ROOT / "config.json"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://127.0.0.1:8000"),
        ("::1", "http://[::1]:8000"),
        ("example.org", "http://example.org:8000"),
    ],
)
def test_programs_on_this_machine_reach_the_service(write: Write, host: str, url: str) -> None:
    assert config_file.read_config(write(api={"host": host})).api_url == url


def test_the_database_url_of_the_environment_comes_first(
    config_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADRAS_DATABASE_URL", "postgresql://u:secret@h/x")
    assert config_file.read_config(config_path).database_url == "postgresql://u:secret@h/x"

    monkeypatch.setenv("ADRAS_DATABASE_URL", "sqlite:///other.db")
    folder = config_path.parent
    assert config_file.read_config(config_path).database_url == f"sqlite:///{folder}/other.db"


@pytest.mark.parametrize("url", ["postgresql://u:canary@h/x", "postgresql://u@h/x?password=canary"])
def test_a_password_in_the_file_is_refused_and_not_shown(config_path: Path, url: str) -> None:
    written = json.loads(config_path.read_text())
    config_path.write_text(json.dumps(written | {"database_url": url}))

    with pytest.raises(ConfigError, match="ADRAS_DATABASE_URL") as caught:
        config_file.read_config(config_path)

    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "declared"),
    [
        ("shrunk_list", 50), ("leak", 1.01), ("rejected_rows", {"limit": 10}),
        ("changed_list", {"limit": 50, "refuse": True}), ("one_band", 4),
    ],
)  # fmt: skip
def test_a_limit_of_a_check_that_nothing_could_exceed_is_refused(
    write: Write, name: str, declared: Any
) -> None:
    with pytest.raises(ConfigError, match=rf'checks.{name}: .* never be exceeded; .* "off"'):
        config_file.read_config(write(checks={name: declared}))


@pytest.mark.parametrize(
    ("name", "declared"),
    [("shrunk_list", 1), ("old_test_data", 6), ("leak", "off"), ("repeated_rows", {"limit": 2})],
)
def test_other_limits_of_checks_are_taken(write: Write, name: str, declared: Any) -> None:
    checks = config_file.read_config(write(checks={name: declared})).checks

    expected = {"refuse": False} | declared if isinstance(declared, dict) else declared
    assert msgspec.to_builtins(getattr(checks, name)) == expected


@pytest.mark.parametrize("declared", [True, None, "never", -1, [0.9]])
def test_a_check_with_something_else_says_what_a_check_may_be(
    write: Write, declared: object
) -> None:
    with pytest.raises(ConfigError, match=r"checks\.leak.*\"off\", \"refuse\", or"):
        config_file.read_config(write(checks={"leak": declared}))


def test_an_unknown_key_of_a_check_is_named_with_its_place(write: Write) -> None:
    with pytest.raises(ConfigError, match="checks, leak, has the unknown key 'refus'"):
        config_file.read_config(write(checks={"leak": {"limit": 0.9, "refus": True}}))
