"""Settings come from where they should, and a wrong one is named with its source and its cure."""

from __future__ import annotations

import csv
import io
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.cli.terminal import Terminal
from tracker_protocols import ALL
from tracker_server.cli import reference
from tracker_server.cli.config import plain, value_of
from tracker_server.config import ConfigError, Settings, load, sections

ROOT = Path(__file__).parents[2]
CERTIFICATE = {"tls_cert": __file__, "tls_key": __file__}


def refused(environment: dict[str, str] | None = None, file: Path | None = None, **flags: Any) -> str:
    with pytest.raises(ConfigError) as error:
        load(file or Path("/dev/null"), flags, {f"TRACKER_{n}": v for n, v in (environment or {}).items()})
    return str(error.value)


def from_file(folder: Path, text: str) -> str:
    (folder / "x.toml").write_text(text)
    return refused(file=folder / "x.toml").replace(str(folder), "…")


# ---------------------------------------------------------------------- precedence


def test_flags_before_environment_before_file_before_defaults(bare: Terminal) -> None:
    file = bare.folder / "mine.toml"
    file.write_text(
        'data_dir = "of-file"\n[api]\nport = 1111\nhost = "127.0.0.1"\n[listeners.gt06]\nport = 0\n'
    )
    bare.set(api__port=2222, data_dir="of-environment", log__level="warning")
    rows = {
        row["key"]: row for row in bare.json("config", "show", "--config", str(file), "--data-dir", "of-flag")
    }
    seen = {
        key: (rows[key]["value"], rows[key]["source"])
        for key in ("data_dir", "api.port", "api.host", "listeners.gt06.port", "log.level", "limits.idle_s")
    }
    assert seen == {
        "data_dir": ("of-flag", "flags"),
        "api.port": (2222, "environment"),
        "api.host": ("127.0.0.1", str(file)),
        "listeners.gt06.port": (0, str(file)),
        "log.level": ("warning", "environment"),
        "limits.idle_s": (1800.0, "default"),
    }
    assert rows["api.port"]["default"] == 8082
    assert rows["api.port"]["variable"] == "TRACKER_API__PORT"


def test_the_file_is_found_by_variable_and_by_place(bare: Terminal) -> None:
    def port() -> tuple[int, str]:
        (row,) = [row for row in bare.json("config", "show") if row["key"] == "api.port"]
        return row["value"], row["source"]

    assert port() == (8082, "default")
    (bare.folder / "config").mkdir()
    (bare.folder / "config" / "tracker-server.toml").write_text("[api]\nport = 1\n")
    assert port() == (1, "config/tracker-server.toml")
    (bare.folder / "other.toml").write_text("[api]\nport = 2\n")
    bare.set(config="other.toml")
    assert port() == (2, "other.toml")


def test_formats(bare: Terminal) -> None:
    rows = list(csv.DictReader(io.StringIO(bare.ok("config", "show", "--format", "csv"))))
    assert [row["key"] for row in rows] == [key.name for section in sections() for key in section.keys]
    assert "quarantine.rows_max" in bare.ok("config", "show")


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        ("postgresql://u:s3cret@h:5432/d?sslpassword=s3cret", "user=u password=*** dbname=d"),
        ("host=h password='s3cret with blank'", "password=*** host=h"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("s3cret is no dsn", "***"),
    ],
)
def test_passwords_are_not_shown(bare: Terminal, dsn: str, shown: str) -> None:
    bare.set(storage__dsn=dsn)
    for flags in (["--format", "json"], ["--format", "csv"], ["--format", "table"], ["--as-file"]):
        assert "s3cret" not in bare.ok("config", "show", *flags)
    (row,) = [row for row in bare.json("config", "show") if row["key"] == "storage.dsn"]
    assert row["value"].startswith(shown)


# ---------------------------------------------------------------------- as a file


def test_the_repositorys_file_is_written_from_the_code() -> None:
    assert (ROOT / "config" / "tracker-server.toml").read_text() == reference.settings_file(), (
        "it is not current: run `python -m tracker_server.cli.reference`"
    )


def test_the_file_has_every_key_with_its_default_and_its_meaning() -> None:
    text = reference.settings_file()
    loaded = load_text(text)
    assert loaded == Settings()
    written = tomllib.loads(text)
    for section in sections():
        for key in section.keys:
            node: Any = written
            for name in key.name.split("."):
                node = node[name]
            assert node == value_of(Settings(), key.name)
            assert key.meaning, f"{key.name} has no description"
            assert " ".join(key.meaning.replace("``", "`").split()) in text


def load_text(text: str) -> Settings:
    return msgspec.convert(
        tomllib.loads(text),
        Settings,
        dec_hook=lambda kind, value: kind(value),  # data_dir is a Path
    )


def test_a_file_of_ones_own_settings(bare: Terminal) -> None:
    bare.set(api__port=1, listeners__gt06__host="::", log__level="debug", data_dir='with "quotes" \\ é')
    text = bare.ok("config", "show", "--as-file")
    settings = load_text(text)
    assert settings.api.port == 1
    assert settings.listeners["gt06"].host == "::"
    assert settings.log.level == "debug"
    assert str(settings.data_dir) == 'with "quotes" \\ é'


def test_secrets_are_left_out_of_the_file(bare: Terminal) -> None:
    bare.set(storage__dsn="postgresql://u@h/d")
    text = bare.ok("config", "show", "--as-file")
    assert "# dsn is set, but secrets are not written here" in text
    assert load_text(text).storage.dsn == ""


# ---------------------------------------------------------------------- check


def test_check_tells_how_many_are_set(bare: Terminal) -> None:
    assert "0 set (defaults only)" in bare.ok("config", "check")
    bare.set(api__port=1)
    assert "1 set (environment)" in bare.ok("config", "check")


def test_check_tells_what_is_wrong(bare: Terminal) -> None:
    bare.set(api__port="many")
    assert "api.port (from environment): 'many' does not fit" in bare.wrong("config", "check")
    bare.set(api__port=1, storage__dsn="nonsense")
    assert "storage.dsn: not a PostgreSQL URI or conninfo" in bare.refused("config", "check")


def test_every_command_tells_a_wrong_setting_before_it_does_anything(bare: Terminal) -> None:
    bare.set(api__port="many")
    for command in (["device", "list"], ["positions", "T1"], ["db", "dsn"], ["config", "show"], ["serve"]):
        assert "api.port (from environment): 'many' does not fit" in bare.wrong(*command)
    assert list(bare.folder.iterdir()) == []


# ---------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("API__PORT", "x", "api.port (from environment): 'x' does not fit; write a whole number from 0 to 65,535"),
        ("API__PORT", "65536", "'65536' does not fit; write a whole number from 0 to 65,535"),
        ("API__PORT", "-1", "'-1' does not fit; write a whole number from 0 to 65,535"),
        ("LISTENERS__GT06__PORT", "99999", "listeners.gt06.port (from environment): '99999' does not fit"),
        ("LISTENERS__GT06__PROXY_PROTOCOL", "maybe", "'maybe' does not fit; write true or false"),
        ("STORAGE__TIMESCALEDB", "on", "storage.timescaledb (from environment): 'on' does not fit; write \"auto\" or \"off\""),
        ("LOG__LEVEL", "loud", 'write "debug" or "info" or "warning" or "error"'),
        ("LIMITS__IDLE_S", "0", "limits.idle_s (from environment): '0' does not fit; write a number above 0"),
        ("LIMITS__CONNECTIONS_MAX", "0", "'0' does not fit; write a whole number from 1"),
        ("ALERTS__AGE_MAX_S", "604801", "alerts.age_max_s (from environment): '604801' does not fit; write a whole number from 1 to 604,800"),
        ("BILLING__CURRENCY", "eur", "billing.currency: 'eur' is not an ISO 4217 currency"),
        ("BILLING__ZONE", "Mars", "billing.zone: 'Mars' is no IANA time zone"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit(variable: str, value: str, sentence: str) -> None:
    assert sentence in refused({variable: value})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("api = 3", "api (from …/x.toml): 3 stands where a section should; known there: host, port"),
        ("[api]\nporrt = 2", "api.porrt (from …/x.toml): there is no such setting; did you mean 'port'?"),
        ("zzz = 2", "zzz (from …/x.toml): there is no such setting; known here: data_dir, workers"),
        ("[listeners.gt99]\nport = 1", "listeners.gt99 (from …/x.toml): no such protocol"),
        ("[listeners.teltonica]\nhost = ''", "no such protocol; did you mean 'teltonika'?"),
        ("[listeners]\ngt06 = 3", "listeners.gt06 (from …/x.toml): 3 stands where a section should"),
        ("listeners = 3", "listeners (from …/x.toml): 3 stands where a section should; known there: "),
        ("[listeners.gt06]\nport = 'a'", "listeners.gt06.port (from …/x.toml): 'a' does not fit"),
        (
            "[listeners.gt06]\nprot = 1",
            "listeners.gt06.prot (from …/x.toml): there is no such setting; did you",
        ),
        ("[api]\nport = 1.5", "api.port (from …/x.toml): 1.5 does not fit"),
        ("[api]\nhost = 1", "api.host (from …/x.toml): 1 does not fit; write text"),
        ("data_dir = 3", "data_dir (from …/x.toml): 3 does not fit; write a path"),
        ("a = [", "…/x.toml: cannot be read as TOML: "),
        ("[api]\n[api]", "that section is there already, put the keys into it"),
    ],
)
def test_a_file_that_does_not_fit(tmp_path: Path, text: str, sentence: str) -> None:
    assert sentence in from_file(tmp_path, text)


def test_a_secret_that_does_not_fit_is_not_told(tmp_path: Path) -> None:
    said = from_file(tmp_path, "[storage]\ndsn = 1234")
    assert "storage.dsn (from …/x.toml): this value does not fit; write text" in said
    assert "1234" not in said


def test_a_file_that_is_not_there(bare: Terminal) -> None:
    assert "no.toml: there is no such file; --config and TRACKER_CONFIG name it" in bare.wrong(
        "config", "show", "--config", "no.toml"
    )
    bare.set(config="neither.toml")
    assert "neither.toml: there is no such file" in bare.wrong("device", "list")
    (bare.folder / "latin.toml").write_bytes(b"x = '\xe9'")
    assert "latin.toml: cannot be read as TOML" in bare.wrong("config", "show", "--config", "latin.toml")


# ---------------------------------------------------------------------- variables


@pytest.mark.parametrize(
    ("variable", "sentence"),
    [
        (
            "FOO",
            "TRACKER_FOO (from environment): there is no such setting; `tracker-server config show` lists",
        ),
        (
            "API__PROT",
            "TRACKER_API__PROT (from environment): there is no such setting; did you mean TRACKER_API__PORT?",
        ),
        ("API_PORT", "did you mean TRACKER_API__PORT?"),
        ("API", "TRACKER_API (from environment): there is no such setting"),
        (
            "LISTENERS__GT99__PORT",
            "TRACKER_LISTENERS__GT99__PORT (from environment): there is no such setting",
        ),
        ("data_dir", "TRACKER_data_dir (from environment): there is no such setting; "),
    ],
)
def test_a_variable_that_is_no_setting_is_refused_by_name(variable: str, sentence: str) -> None:
    """A misspelt variable must not do nothing."""
    assert sentence in refused({variable: "1"})


def test_variables_that_are_no_settings_but_ours() -> None:
    environment = {
        "TRACKER_TEST_REQUIRE_ALL": "1",
        "TRACKER_GOLDEN_DIR": "x",
        "PATH": "x",
        "MY_TRACKER_API": "1",
    }
    assert load(Path("/dev/null"), None, environment).origin == {}


def test_every_setting_has_its_variable() -> None:
    """Each by itself, with its default as text: what can be written in the file can be said in a variable."""
    for section in sections():
        for key in section.keys:
            value = str(key.default).lower() if isinstance(key.default, bool) else str(key.default)
            loaded = load(Path("/dev/null"), None, {f"TRACKER_{key.name.upper().replace('.', '__')}": value})
            assert loaded.origin == {key.name: "environment"}
            assert value_of(loaded.settings, key.name) == plain(key.default)


def test_passwords_are_marked_as_secrets() -> None:
    """What is not marked is printed by `config show`."""
    words = ("password", "secret", "token", "dsn", "messenger_url")
    names = [key for section in sections() for key in section.keys if key.name.endswith(words)]
    assert [key.name for key in names if not key.secret] == []
    assert len(names) >= 1


# ---------------------------------------------------------------------- together


def test_a_port_is_taken_once() -> None:
    said = refused({"API__PORT": str(ALL[0].port)})
    assert f"api.port: port {ALL[0].port} is taken by listeners.{ALL[0].name}.port already" in said
    off = {f"TRACKER_LISTENERS__{protocol.name.upper()}__PORT": "0" for protocol in ALL}
    load(Path("/dev/null"), None, off)


@pytest.mark.parametrize("section", ["api", "listeners.gt06"])
def test_certificate_and_key_go_together_and_are_there(section: str, tmp_path: Path) -> None:
    assert f"{section}: tls_cert and tls_key go together" in from_file(
        tmp_path, f"[{section}]\ntls_cert = 'x'"
    )
    both = f"[{section}]\ntls_cert = '/no/cert.pem'\ntls_key = '{__file__}'"
    assert f"{section}.tls_cert: /no/cert.pem: there is no such file" in from_file(tmp_path, both)


def test_proxy_header_and_tls_exclude_each_other(tmp_path: Path) -> None:
    lines = "".join(f"{name} = '{value}'\n" for name, value in CERTIFICATE.items())
    said = from_file(tmp_path, f"[listeners.gt06]\n{lines}proxy_protocol = true\n")
    assert "listeners.gt06.proxy_protocol (from …/x.toml): goes not together with tls_cert" in said
    assert "the PROXY header comes before the TLS handshake" in said
    (tmp_path / "x.toml").write_text(f"[listeners.gt06]\n{lines}")
    assert load(tmp_path / "x.toml", None, {}).settings.listeners["gt06"].tls_cert == __file__
