"""Image, compose file, systemd unit, dashboard and alerts are held to the code that they speak of."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.house.shown import shown
from tracker_protocols import ALL
from tracker_protocols.protocol import Transport
from tracker_server.config import Api, Limits, Mqtt, load
from tracker_server.listeners.server import DRAIN_S_MAX as ANSWER_S_MAX
from tracker_server.station import DRAIN_S_MAX as COMMIT_S_MAX

CHECKOUT = Path(__file__).parents[2]
CONFIG = CHECKOUT / "config"
DASHBOARDS = CONFIG / "grafana" / "dashboards"
STOP_S_MAX = COMMIT_S_MAX + ANSWER_S_MAX

WIRE_PORTS = {
    f"{protocol.port}/{'udp' if transport is Transport.UDP else 'tcp'}"
    for protocol in ALL
    for transport in protocol.transports
    if transport is not Transport.MQTT
} | {f"{Mqtt().port}/tcp"}
API_PORT = f"{Api().port}/tcp"


def words_of(instruction: str) -> Iterator[list[str]]:
    """The Dockerfile's instructions of one kind, as words; continued lines are one."""
    text = (CHECKOUT / "Dockerfile").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if line.startswith(f"{instruction} "):
            yield shlex.split(line)[1:]


def python_version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((CONFIG / "compose.yaml").read_text())


# ---------------------------------------------------------------------------------------------------- ports


def test_tables_are_what_the_registry_says() -> None:
    done = subprocess.run(
        [sys.executable, CHECKOUT / "scripts" / "tables.py", "--check"], capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_image_exposes_every_port() -> None:
    exposed = [port for words in words_of("EXPOSE") for port in words]
    assert sorted(exposed) == sorted(WIRE_PORTS | {API_PORT})


def test_compose_publishes_every_port_under_its_own_number(compose: dict[str, Any]) -> None:
    published: dict[str, str] = {}
    for port in compose["services"]["tracker-server"]["ports"]:
        outside, _, inside = port.rpartition(":")
        published[inside] = outside
    assert set(published) == WIRE_PORTS | {API_PORT}
    assert published.pop(API_PORT) == f"127.0.0.1:{Api().port}", "people come through a proxy"
    assert {inside.partition("/")[0] for inside in published} == set(published.values())


# ---------------------------------------------------------------------------------------------------- image


def test_the_image_copies_what_is_there_and_what_dockerignore_lets_through() -> None:
    ignored = (CHECKOUT / ".dockerignore").read_text().split()
    assert "*" in ignored
    let_through = {pattern[1:] for pattern in ignored if pattern.startswith("!")}
    copied = {name for words in words_of("COPY") if not words[0].startswith("--from") for name in words[:-1]}
    assert copied == let_through
    for name in copied:
        assert (CHECKOUT / name).exists(), f"the Dockerfile copies {name}"


def test_what_the_build_needs_is_copied() -> None:
    """Hatchling reads these while it makes the wheel."""
    project = (CHECKOUT / "pyproject.toml").read_text()
    named = set(re.findall(r'"(README\.md|LICENSE|src|protocols)', project)) | {"hatch_build.py", "web"}
    copied = {name for words in words_of("COPY") for name in words[:-1]}
    assert named >= {"README.md", "LICENSE", "src", "protocols"}
    assert named <= copied


def test_the_image_takes_the_lock_and_the_same_uv_as_the_makefile() -> None:
    dockerfile, makefile = (CHECKOUT / "Dockerfile").read_text(), (CHECKOUT / "Makefile").read_text()
    pinned = re.search(r"^UV_VERSION := (\S+)$", makefile, re.MULTILINE)
    assert pinned
    assert f"uv=={pinned[1]}" in dockerfile
    assert "--constraint requirements-dev.lock" in dockerfile


def test_the_image_has_a_python_that_the_project_allows() -> None:
    allowed = re.search(r'requires-python = ">=([\d.]+)"', (CHECKOUT / "pyproject.toml").read_text())
    used = {words[0] for words in words_of("FROM")}
    assert len(used) == 1, "both stages have the same Python, or the virtual environment does not fit"
    found = re.fullmatch(r"python:([\d.]+)-slim-\w+", used.pop())
    assert allowed
    assert found
    assert python_version(found[1]) >= python_version(allowed[1])


def test_the_image_does_not_run_as_root_and_owns_its_volume() -> None:
    (user,) = words_of("USER")
    (volume,) = words_of("VOLUME")
    (run,) = [words for words in words_of("RUN") if "useradd" in words]
    assert user == ["tracker"]
    assert volume == ["/data"]
    assert run[run.index("useradd") :][-1] == "/data"
    assert {"--owner=tracker", "--mode=0700", "/data"} <= set(
        run[run.index("install", run.index("useradd")) :]
    )
    kept = dict(word.split("=", 1) for words in words_of("ENV") for word in words)
    assert kept["TRACKER_DATA_DIR"] == "/data"


def test_the_images_settings_are_ones_that_the_server_knows() -> None:
    kept = dict(word.split("=", 1) for words in words_of("ENV") for word in words)
    ours = {name: value for name, value in kept.items() if name.startswith("TRACKER_")}
    settings = load(environment=ours).settings
    assert settings.data_dir == Path("/data")
    assert settings.log.format == "json"


def test_the_image_starts_the_server_and_tini_hands_it_the_signals() -> None:
    (entry,) = re.findall(r"^ENTRYPOINT (\[.*\])$", (CHECKOUT / "Dockerfile").read_text(), re.MULTILINE)
    (command,) = re.findall(r"^CMD (\[.*\])$", (CHECKOUT / "Dockerfile").read_text(), re.MULTILINE)
    assert json.loads(entry) == ["tini", "--", "tracker-server"]
    assert json.loads(command) == ["serve"]


def test_the_health_check_is_a_program_that_works(request: pytest.FixtureRequest) -> None:
    """Run as it stands, against a server that is there and one that is not."""
    text = (CHECKOUT / "Dockerfile").read_text()
    (check,) = re.findall(r"^HEALTHCHECK .*\\\n\s+CMD (\[.*\])$", text, re.MULTILINE)
    program, *arguments = json.loads(check)
    assert program == "python"
    running = request.getfixturevalue("server")(protocols=[])
    environment = {**os.environ, "TRACKER_API__PORT": running.api.rpartition(":")[2]}
    command = [sys.executable, *arguments]
    assert subprocess.run(command, env=environment, check=False).returncode == 0
    running.stop()
    gone = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert gone.returncode != 0


# ---------------------------------------------------------------------------------------------------- compose


def test_compose_pins_every_image(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if "build" in service:
            assert (CONFIG / service["build"]["context"] / "Dockerfile").exists()
        else:
            assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+(-[\w.]+)?", service["image"]), (
                f"{name} is not pinned"
            )


def test_compose_mounts_what_is_there(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (CONFIG / source).exists(), f"{name} mounts {source}"
            else:
                assert source in compose["volumes"], f"{name} names no volume {source}"
        for dependency in service.get("depends_on", []):
            assert dependency in compose["services"]
        for config in service.get("configs", []):
            assert config["source"] in compose["configs"]


def test_compose_sets_settings_that_the_server_knows(compose: dict[str, Any]) -> None:
    given = {
        name: re.sub(r"\$\{\w+:\?[^}]*\}", "secret", value)
        for name, value in compose["services"]["tracker-server"]["environment"].items()
    }
    dsn = load(environment=given).settings.storage.dsn
    assert dsn == "postgresql://tracker:secret@timescaledb:5432/tracker"
    database = compose["services"]["timescaledb"]["environment"]
    assert (database["POSTGRES_USER"], database["POSTGRES_DB"]) == ("tracker", "tracker")


def test_compose_keeps_no_password(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            if "PASSWORD" in variable:
                assert value.startswith("${") and ":?" in value, f"{name}: {variable}"  # noqa: PT018


def test_compose_gives_the_server_time_and_descriptors(compose: dict[str, Any]) -> None:
    service = compose["services"]["tracker-server"]
    assert int(service["stop_grace_period"].removesuffix("s")) > STOP_S_MAX
    assert service["ulimits"]["nofile"] > Limits().connections_max


def test_prometheus_scrapes_the_server(compose: dict[str, Any]) -> None:
    prometheus = yaml.safe_load((CONFIG / "prometheus.yml").read_text())
    (job,) = prometheus["scrape_configs"]
    assert job["job_name"] == "tracker-server"
    assert job["static_configs"] == [{"targets": [f"tracker-server:{Api().port}"]}]
    assert "metrics_path" not in job
    for name in prometheus["rule_files"]:
        assert f"./{name}:/etc/prometheus/{name}:ro" in compose["services"]["prometheus"]["volumes"]


def test_grafana_is_provisioned_with_what_is_mounted(compose: dict[str, Any]) -> None:
    provisioning = CONFIG / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "dashboards.yaml").read_text())["providers"]
    mounts = {mount.split(":")[1]: mount.split(":")[0] for mount in compose["services"]["grafana"]["volumes"]}
    assert source["url"] == "http://prometheus:9090"
    assert (CONFIG / mounts[provider["options"]["path"]]) == DASHBOARDS
    home = compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (DASHBOARDS / Path(home).name).exists()
    for file in DASHBOARDS.glob("*.json"):
        for panel in panels_of(file):
            assert panel["datasource"]["uid"] == source["uid"]


# ---------------------------------------------------------------------------------------------------- metrics


def panels_of(dashboard: Path) -> list[dict[str, Any]]:
    return [panel for panel in json.loads(dashboard.read_text())["panels"] if panel["type"] != "row"]


def series() -> dict[str, set[str]]:
    """Every series that the server can show, with its labels."""
    found: dict[str, set[str]] = {}
    for metric in shown():
        for name in metric.series:
            found[name] = {*metric.labels, "le"} if name.endswith("_bucket") else set(metric.labels)
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Where it stands, and the query."""
    for file in DASHBOARDS.glob("*.json"):
        for panel in panels_of(file):
            for target in panel["targets"]:
                yield f"{file.name}: {panel['title']}", target["expr"]
    for group in yaml.safe_load((CONFIG / "prometheus-rules.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield f"alert {rule['alert']}", rule["expr"]


@pytest.mark.parametrize(("where", "expression"), list(expressions()), ids=lambda text: text[:60])
def test_queries_ask_for_what_there_is(where: str, expression: str) -> None:
    known = series()
    named = set(re.findall(r"\btracker_\w+", expression))
    assert named or "up{" in expression
    assert named <= set(known), f"{where} asks for {named - set(known)}"
    for group in re.findall(r"by \(([^)]*)\)", expression):
        labels = {label.strip() for label in group.split(",")}
        for name in named:
            assert labels <= known[name], f"{where}: {name} has no label {labels - known[name]}"
    assert expression.count("(") == expression.count(")")


def test_legends_name_labels_that_are_left() -> None:
    for file in DASHBOARDS.glob("*.json"):
        for panel in panels_of(file):
            for target in panel["targets"]:
                left = {
                    label
                    for group in re.findall(r"by \(([^)]*)\)", target["expr"])
                    for label in group.split(", ")
                }
                assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= left, panel["title"]


def test_the_dashboard_shows_every_metric() -> None:
    shown = " ".join(expression for where, expression in expressions() if not where.startswith("alert"))
    names = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in series()}
    assert {name for name in names if name not in shown} == set()


def test_panels_neither_overlap_nor_share_an_id() -> None:
    for file in DASHBOARDS.glob("*.json"):
        taken: set[tuple[int, int]] = set()
        panels = json.loads(file.read_text())["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        for panel in panels:
            at = panel["gridPos"]
            cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
            assert not cells & taken, panel["title"]
            assert at["x"] + at["w"] <= 24
            taken |= cells


# ---------------------------------------------------------------------------------------------------- systemd


@pytest.fixture(scope="module")
def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # pyright: ignore[reportAttributeAccessIssue]
    parser.read(CONFIG / "tracker-server.service")
    return parser


def test_the_unit_starts_a_command_that_exists(unit: configparser.ConfigParser) -> None:
    program, *arguments = shlex.split(unit["Service"]["ExecStart"])
    assert program == "/opt/tracker-server/.venv/bin/tracker-server"
    ours = Path(sys.executable).with_name(Path(program).name)
    done = subprocess.run([ours, *arguments, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "SIGTERM" in done.stdout


def test_the_unit_lets_it_end_in_order(unit: configparser.ConfigParser) -> None:
    service = unit["Service"]
    assert service["KillMode"] == "mixed", "its database must not be told to stop at the same moment"
    assert int(service["TimeoutStopSec"]) > STOP_S_MAX
    assert int(service["LimitNOFILE"]) > Limits().connections_max
    assert service["User"] == "tracker"


def test_the_units_settings_are_ones_that_the_server_knows(unit: configparser.ConfigParser) -> None:
    name, _, value = unit["Service"]["Environment"].partition("=")
    assert (
        load(environment={name: value}).settings.data_dir
        == Path("/var/lib") / unit["Service"]["StateDirectory"]
    )


def test_the_unit_names_only_what_systemd_knows() -> None:
    """By systemd itself, where it is there."""
    try:
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", CONFIG / "tracker-server.service"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        known = {"Unit", "Service", "Install"}
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        parser.read(CONFIG / "tracker-server.service")
        assert set(parser.sections()) == known
        return
    complaints = [line for line in done.stderr.splitlines() if "is not executable" not in line]
    assert not complaints


# ---------------------------------------------------------------------------------------------------- installing


BUILT = "src/tracker_server/page/static/index.html"
UP_TO_DATE, TO_BE_MADE = 0, 1  # what `make --question` answers


@pytest.mark.parametrize(
    ("page", "skip", "answer"),
    [([BUILT], "", UP_TO_DATE), ([], "", TO_BE_MADE), ([], "1", UP_TO_DATE)],
    ids=["built", "lacking", "skipped"],
)
def test_installing_again_builds_the_page_that_lacks(
    tmp_path: Path, page: list[str], skip: str, answer: int
) -> None:
    """An upgrade replaces the sources, and the page that was built into them goes with them."""
    shutil.copy(CHECKOUT / "Makefile", tmp_path)
    needed = ("scripts/make-venv", "pyproject.toml", "requirements-dev.lock", "hatch_build.py", "web/page.ts")
    for name in (*needed, *page, ".venv/.made", ".venv/.runtime"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    environment = {"PATH": os.environ["PATH"], "SKIP_PAGE": skip}
    asked = subprocess.run(["make", "--question", "install"], cwd=tmp_path, env=environment, check=False)
    assert asked.returncode == answer
