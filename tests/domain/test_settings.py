from __future__ import annotations

from pathlib import Path

import pytest

from domain.settings import Settings, SettingsInvalid, get_settings, trainer_environment

GOOD = {
    "VADER_DATABASE_URL": "postgresql://vader:hunter2@db/vader",
    "VADER_REDIS_URL": "redis://:hunter2@queue:6379/0",
    "VADER_OBJECT_STORE": "s3://bucket/some/where",
}
PRODUCTION = {
    **GOOD,
    "VADER_ENVIRONMENT": "production",
    "VADER_SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "VADER_PUBLIC_URL": "https://vader.example.test",
    "VADER_WORK_DIR": "/var/lib/vader",
}


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*Settings.model_fields, "env_file"]:
        monkeypatch.delenv(f"VADER_{name.upper()}", raising=False)


def read(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> Settings:
    with monkeypatch.context() as environment:
        for name, value in variables.items():
            environment.setenv(name, value)
        get_settings.cache_clear()
        try:
            return get_settings()
        finally:
            get_settings.cache_clear()


def faults(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsInvalid) as refused:
        read(monkeypatch, variables)
    assert "hunter2" not in str(refused.value)
    return str(refused.value).splitlines()


def test_what_is_given_is_read_and_the_rest_has_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, {**GOOD, "VADER_LEASE_S": "90"})
    assert (settings.lease_s, settings.heartbeat_s, settings.environment) == (90, 10, "development")
    assert settings.store_place.bucket == "bucket"
    assert settings.store_place.prefix == "some/where/"


def test_a_folder_store_is_an_absolute_path(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, {**GOOD, "VADER_OBJECT_STORE": "folder:///srv/objects"})
    assert settings.store_place.folder == Path("/srv/objects")
    for wrong in ("folder://relative/path", "folder:///", "/srv/objects", "s3://", "http://a/b"):
        assert "VADER_OBJECT_STORE" in faults(monkeypatch, {**GOOD, "VADER_OBJECT_STORE": wrong})[0]


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, PRODUCTION)
    assert "hunter2" not in repr(settings)
    assert "0123456789abcdef" not in repr(settings)
    assert settings.database_url.get_secret_value() == GOOD["VADER_DATABASE_URL"]


def test_an_unknown_name_is_refused_with_what_it_resembles(monkeypatch: pytest.MonkeyPatch) -> None:
    assert faults(monkeypatch, {**GOOD, "VADER_LEASE_SECONDS": "60", "VADER_XYZ": "1"}) == [
        "VADER_LEASE_SECONDS: there is no such setting. Did you mean VADER_LEASE_S?",
        "VADER_XYZ: there is no such setting.",
    ]


def test_names_of_the_command_and_of_trainers_are_no_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    others = {"VADER_URL": "http://a", "VADER_API_KEY": "k", "VADER_DATA_DIR": "/d"}
    assert read(monkeypatch, {**GOOD, **others, "VADER_JOB_ID": "1", "VADER_ATTEMPT": "1"})


def test_all_faults_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told = faults(
        monkeypatch, {"VADER_LEASE_S": "-1", "VADER_CURRENCY": "dollars", "VADER_XYZ": ""}
    )
    for name in ("DATABASE_URL", "REDIS_URL", "OBJECT_STORE", "LEASE_S", "CURRENCY", "XYZ"):
        assert any(line.startswith(f"VADER_{name}:") for line in told)


@pytest.mark.parametrize("trusted", ["*", "proxy.example", "10.0.0.1/8", "10.0.0.0/8;10.1.0.1"])
def test_a_proxy_is_trusted_by_address_or_network_alone(
    monkeypatch: pytest.MonkeyPatch, trusted: str
) -> None:
    sound = "10.0.0.0/8, 192.0.2.1, 2001:db8::/32"
    assert read(monkeypatch, {**GOOD, "VADER_TRUSTED_PROXIES": sound}).trusted_proxies == sound
    told = faults(monkeypatch, {**GOOD, "VADER_TRUSTED_PROXIES": trusted})
    assert told == ["VADER_TRUSTED_PROXIES: give addresses or networks, comma separated"]


def test_a_worker_must_stop_before_its_lease_can_be_given_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = faults(monkeypatch, {**GOOD, "VADER_LEASE_S": "30"})
    assert "before the lease can be given away" in told[0]


def test_production_refuses_everything_unsafe_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, PRODUCTION).environment == "production"
    open_redis = {"VADER_REDIS_URL": "redis://queue:6379/0"}
    inner_webhooks = {"VADER_WEBHOOK_ALLOW_PRIVATE": "true"}
    unsafe = {**GOOD, **open_redis, **inner_webhooks, "VADER_ENVIRONMENT": "production"}
    told = faults(monkeypatch, unsafe)
    assert [line.partition(":")[0] for line in told] == [
        "VADER_SECRET_KEY",
        "VADER_PUBLIC_URL",
        "VADER_WORK_DIR",
        "VADER_WEBHOOK_ALLOW_PRIVATE",
        "VADER_REDIS_URL",
    ]


def test_a_short_secret_is_refused_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    told = faults(monkeypatch, {**PRODUCTION, "VADER_SECRET_KEY": "hunter2"})
    assert told == ["VADER_SECRET_KEY: production needs at least 32 characters"]


def test_a_file_can_hold_the_settings_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "settings.env"
    file.write_text("\n".join(f"{name}={value}" for name, value in GOOD.items()))
    settings = read(monkeypatch, {"VADER_ENV_FILE": str(file), "VADER_REDIS_URL": "unix:///r"})
    assert settings.redis_url.get_secret_value() == "unix:///r"
    assert settings.object_store == GOOD["VADER_OBJECT_STORE"]


def test_an_unknown_name_in_the_file_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "settings.env"
    file.write_text("VADER_XYZ=1\n")
    told = faults(monkeypatch, {**GOOD, "VADER_ENV_FILE": str(file)})
    assert told == ["VADER_XYZ: there is no such setting."]


def test_a_trainer_inherits_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setenv("VADER_SECRET_KEY", "hunter2")
    monkeypatch.setenv("HF_TOKEN", "hunter2")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    inherited = trainer_environment()
    assert "hunter2" not in inherited.values()
    assert inherited["CUDA_VISIBLE_DEVICES"] == "1"
    assert inherited["HF_HUB_OFFLINE"] == "1"
    assert "PATH" in inherited
