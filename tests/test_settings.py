"""service/settings.py: from strings to settings, or to a list of everything that is wrong with them."""

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from service.adapter.settings import Settings as AdapterSettings
from service.settings import Settings, SettingsError, read


def settings(**given: str) -> Settings:
    return read(Settings, {f"TFPOD_{name.upper()}": value for name, value in given.items()}, "TFPOD_")


def faults(**given: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        settings(**given)
    assert str(caught.value) == "; ".join(caught.value.faults)
    return caught.value.faults


def test_nothing_given_leaves_the_defaults_that_others_rely_on() -> None:
    found = settings()
    assert found == Settings()
    assert (found.host, found.port, found.admin_port, found.tokens_file) == ("", 8000, 9000, "")
    assert (found.request_timeout, found.drain_delay, found.drain_timeout) == (10.0, 5.0, 30.0)
    assert (found.max_body_bytes, found.max_inflight) == (8 << 20, 256)


def test_what_is_given_is_read_by_its_type() -> None:
    found = settings(port="0", request_timeout="1e-3", max_body_bytes="1048576", host="::1", log_level="DEBUG")
    assert (found.port, found.request_timeout, found.max_body_bytes) == (0, 0.001, 1048576)
    assert (found.host, found.log_level) == ("::1", "DEBUG")


def test_blanks_around_a_value_are_nothing() -> None:
    assert settings(port=" 1234\n", models="  ").port == 1234
    assert settings(models=" a=/x , b=/y ").model_paths() == {"a": Path("/x"), "b": Path("/y")}


def test_other_peoples_variables_are_left_alone() -> None:
    assert read(Settings, {"PATH": "/bin", "tfpod_port": "x", "XTFPOD_PORT": "x"}, "TFPOD_") == Settings()


def test_a_whole_number_may_be_written_in_any_manner_that_is_one() -> None:
    assert settings(max_inflight="1e3").max_inflight == 1000
    assert settings(max_inflight="512.0").max_inflight == 512


@pytest.mark.parametrize(
    "value", ["", "x", "1.5", "0x10", "1_000", "1,000", "true", "null", "nan", "[1]", "-1", "0", "\u0665"]
)
def test_what_is_no_positive_whole_number_is_refused(value: str) -> None:
    (fault,) = faults(max_inflight=value)
    assert fault.startswith("TFPOD_MAX_INFLIGHT: expected ")
    assert fault.endswith(f", got {value!r}")


@pytest.mark.parametrize("name", ["request_timeout", "header_timeout", "keep_alive"])
@pytest.mark.parametrize("value", ["", "x", "0", "-1", "nan", "NaN", "inf", "-inf", "Infinity", "1e400", "86401", "1s"])
def test_what_is_no_time_is_refused(name: str, value: str) -> None:
    assert len(faults(**{name: value})) == 1


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "3601"])
def test_a_drain_may_take_no_time_but_not_for_ever(value: str) -> None:
    assert settings(drain_delay="0", drain_timeout="0").drain_timeout == 0
    assert len(faults(drain_delay=value, drain_timeout=value)) == 2


@pytest.mark.parametrize("value", ["-1", "65536", "http", "99999999999999999999"])
def test_what_is_no_port_is_refused(value: str) -> None:
    assert len(faults(port=value)) == 1


@pytest.mark.parametrize("value", ["", "loud", "info\nx", "informed"])
def test_what_is_no_level_is_refused(value: str) -> None:
    assert "debug|info|warning|error|critical" in faults(log_level=value)[0]


def test_sizes_that_no_machine_has_are_refused() -> None:
    assert len(faults(max_batch_rows=str(10**30), max_body_bytes=str(2**31))) == 2


def test_every_fault_is_named_at_once() -> None:
    found = faults(
        port="x",
        max_inflight="0",
        modles="a=/x",
        models="a=/x,b",
        admin_port="8000",
        max_batch_rows="9",
        max_queue_rows="8",
    )
    assert found == [
        "TFPOD_MODLES: no such setting",
        "TFPOD_PORT: expected a whole number, got 'x'",
        "TFPOD_MAX_INFLIGHT: expected a whole number >= 1, got '0'",
        "TFPOD_MODELS: expected NAME=PATH, got 'b'",
        "TFPOD_ADMIN_PORT: 8000 is the API's port already",
        "TFPOD_MAX_QUEUE_ROWS: 8 is less than one batch of 9",
    ]


@pytest.mark.parametrize("name", ["max_body_bytes", "max_binary_bytes"])
def test_one_body_is_no_larger_than_all_together(name: str) -> None:
    assert faults(**{name: str(300 << 20)}) == [
        f"TFPOD_MAX_INFLIGHT_BYTES: {256 << 20} is less than one body of {300 << 20}"
    ]


def test_a_setting_that_does_not_exist_is_named_without_its_value() -> None:
    """It may be a secret that somebody took for a setting."""
    assert faults(token="s3cret") == ["TFPOD_TOKEN: no such setting"]


def test_sizes_of_batches_rise_up_to_the_largest() -> None:
    assert settings().batch_sizes() == ()
    assert settings(allowed_batch_sizes=" 1, 8,64").batch_sizes() == (1, 8, 64)
    assert settings(allowed_batch_sizes="5", max_batch_rows="5").batch_sizes() == (5,)


@pytest.mark.parametrize("sizes", ["8,4,64", "8,8,64", "1,2", "64,128"])
def test_sizes_of_batches_that_do_not_are_refused(sizes: str) -> None:
    assert faults(allowed_batch_sizes=sizes) == [
        "TFPOD_ALLOWED_BATCH_SIZES: expected numbers that rise to a batch's 64"
    ]


@pytest.mark.parametrize("sizes", ["0,64", "1,x,64", "64,", ",64", "1,,64", "-1,64", "1.5,64", "1;64"])
def test_what_is_no_list_of_sizes_is_refused(sizes: str) -> None:
    assert len(faults(allowed_batch_sizes=sizes)) == 1


@pytest.mark.parametrize("origins", ["*", "https://example.com", "http://localhost:3000 , https://[::1]:8"])
def test_origins_are_told_apart(origins: str) -> None:
    assert settings(cors_origins=origins).origins() == [origin.strip() for origin in origins.split(",")]


@pytest.mark.parametrize("origins", ["example.com", "https://example.com/", "*,https://example.com", "ftp://a", "null"])
def test_what_is_no_origin_is_refused(origins: str) -> None:
    assert len(faults(cors_origins=origins)) == 1


def test_settings_of_batches_that_contradict_others_are_refused() -> None:
    found = faults(
        batching="false", batch_timeout="1", request_timeout="1", allowed_batch_sizes="64", max_queue_bytes="9"
    )
    assert found == [
        f"TFPOD_MAX_QUEUE_BYTES: 9 is less than one batch of {64 << 20}",
        "TFPOD_BATCH_TIMEOUT: 1 leaves nothing of a request's 1 s",
        "TFPOD_BATCH_TIMEOUT: of no use without batching",
        "TFPOD_ALLOWED_BATCH_SIZES: of no use without batching",
    ]


def test_one_setting_is_not_blamed_twice() -> None:
    assert len(faults(max_queue_rows="x", max_batch_rows="5000")) == 1


@pytest.mark.parametrize(
    ("models", "entries"),
    [
        ("a", ["a"]),
        ("a=", ["a="]),
        ("=/x", ["=/x"]),
        ("a=/x,", [""]),
        (",", ["", ""]),
        ("a=/x,,b=/y", [""]),
        ("a/b=/x", ["a/b=/x"]),
        (".=/x", [".=/x"]),
        ("a b=/x", ["a b=/x"]),
        ("a:b=/x, c", ["a:b=/x", "c"]),
        ("ä=/x", ["ä=/x"]),
    ],
)
def test_models_that_are_no_pairs_are_named_each(models: str, entries: list[str]) -> None:
    assert faults(models=models) == [f"TFPOD_MODELS: expected NAME=PATH, got {entry!r}" for entry in entries]


def test_a_model_named_twice_is_a_fault() -> None:
    assert faults(models="a=/x,b=/y,a=/z") == ["TFPOD_MODELS: 'a' is named twice"]


def test_a_path_may_hold_what_a_name_may_not() -> None:
    assert settings(models="Half_plus-2.0=/x y/ä=1").model_paths() == {"Half_plus-2.0": Path("/x y/ä=1")}


def test_labels_are_read_by_model() -> None:
    found = settings(models="a=/x,b=/y", version_labels=" a/stable=1 , a/canary=0012,b/stable=3")
    assert found.labels() == {"a": {"stable": 1, "canary": 12}, "b": {"stable": 3}}
    assert settings().labels() == {}
    assert settings(version_labels="digits/stable=1").labels() == {"digits": {"stable": 1}}


@pytest.mark.parametrize(
    "entry", ["a", "a/stable", "a/stable=", "a=1", "/stable=1", "a/=1", "a/b/c=1", "a/b:c=1", "a/s=-1", "a/s=v1", ""]
)
def test_what_is_no_label_of_a_version_is_refused(entry: str) -> None:
    assert faults(models="a=/x", version_labels=f"a/good=1,{entry}") == [
        f"TFPOD_VERSION_LABELS: expected MODEL/LABEL=VERSION, got {entry!r}"
    ]


def test_a_label_of_no_model_and_one_given_twice_are_refused() -> None:
    assert faults(models="a=/x", version_labels="b/s=1,a/s=1,a/s=2") == [
        "TFPOD_VERSION_LABELS: 'b/s=1' is about no model that is served",
        "TFPOD_VERSION_LABELS: 'a/s' is named twice",
    ]


def test_new_versions_need_not_be_looked_for() -> None:
    assert settings(reload_interval="0").reload_interval == 0
    assert len(faults(reload_interval="-1")) == 1


def test_without_models_the_bundled_ones_are_served() -> None:
    paths = settings().model_paths()
    assert "digits" in paths
    assert all(path.name == name and (path / "1" / "saved_model.pb").is_file() for name, path in paths.items())


def test_ports_chosen_by_the_system_do_not_collide() -> None:
    assert settings(port="0", admin_port="0").admin_port == 0


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        settings().port = 1  # type: ignore[misc]


def test_the_adapters_settings_are_read_alike() -> None:
    found = read(AdapterSettings, {"TFPOD_ADAPTER_PORT": "1"}, "TFPOD_ADAPTER_")
    assert (found.port, found.health_port) == (1, 8080)
    with pytest.raises(SettingsError, match="TFPOD_ADAPTER_NO: no such setting; TFPOD_ADAPTER_PORT: expected a whole"):
        read(AdapterSettings, {"TFPOD_ADAPTER_PORT": "x", "TFPOD_ADAPTER_NO": "x"}, "TFPOD_ADAPTER_")


def test_every_setting_says_what_it_is() -> None:
    fields = msgspec.structs.fields(Settings)
    assert not [field.name for field in fields if not any(isinstance(text, str) for text in get_args(field.type))]


@pytest.mark.parametrize("cls", [Settings, AdapterSettings])
def test_every_setting_has_a_default(cls: type[msgspec.Struct]) -> None:
    assert not [field.name for field in msgspec.structs.fields(cls) if field.required]
