"""The container files: valid, in agreement with each other and with the service, and their steps run without an engine.

Nothing here needs Docker or the network: the build's own command is run with its paths moved below a temporary folder,
pip kept offline, and the dependencies of this environment lent to the new one. Where `LEXHOUND_ONLINE` is set, pip
downloads them instead, by the very command that the image is built with.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from page_server import free_port

from lexhound.retrieval.engines.address import read_address
from lexhound.serve.engines import PREFIX as MILVUS_PREFIX
from lexhound.serve.engines import milvus_settings
from lexhound.serve.settings import Settings

yaml = pytest.importorskip("yaml")
ONLINE = "LEXHOUND_ONLINE"
CLUSTER = {"lexhound-milvus", "milvus", "etcd", "minio"}
KEY = "a-key-for-tests-of-containers-only"


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile, line ends joined, and the stage it belongs to (0 is before the first FROM)."""

    stage: int
    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """The JSON form's words."""
        return list(json.loads(self.text))


@pytest.fixture(scope="module")
def dockerfile(root: Path) -> list[Instruction]:
    lines = [line for line in (root / "Dockerfile").read_text("utf-8").splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    stage = 0
    instructions = []
    for line in filter(str.strip, joined.splitlines()):
        name, _, text = line.partition(" ")
        stage += name == "FROM"
        instructions.append(Instruction(stage, name, text.strip()))
    return instructions


def only(instructions: list[Instruction], name: str, stage: int) -> Instruction:
    (found,) = [one for one in instructions if one.name == name and one.stage == stage]
    return found


@pytest.fixture(scope="module")
def compose(root: Path) -> dict[str, Any]:
    """The file as it is when nothing is set: each `${NAME:-default}` is its default."""
    text = (root / "docker-compose.yml").read_text("utf-8")
    loaded = yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))
    assert isinstance(loaded, dict)
    return loaded


def check_schema(path: Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("check_jsonschema", reason="needs the package check-jsonschema, which has Compose's schema")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


# docker-compose.yml


def test_compose_is_valid_by_its_own_schema(root: Path, tmp_path: Path) -> None:
    outcome = check_schema(root / "docker-compose.yml")
    assert outcome.returncode == 0, outcome.stdout
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text((root / "docker-compose.yml").read_text("utf-8").replace("read_only: true", "readonly: true"))
    assert check_schema(wrong).returncode != 0, "the schema notices a word that Compose does not know"


def test_the_compose_client_reads_it(root: Path) -> None:
    clients = (["docker", "compose"], ["docker-compose"])
    known = [
        c for c in clients if shutil.which(c[0]) and not subprocess.run([*c, "version"], capture_output=True).returncode
    ]
    if not known:
        pytest.skip("needs a Compose client (it needs no engine for this): docker compose or docker-compose")
    for profile, more in (("monitoring", {"prometheus"}), ("cluster", CLUSTER)):
        outcome = subprocess.run(
            [*known[0], "--profile", profile, "config"], cwd=root, capture_output=True, text=True, check=False
        )
        assert outcome.returncode == 0, outcome.stderr
        assert set(yaml.safe_load(outcome.stdout)["services"]) == {"lexhound"} | more


def test_nobody_but_this_machine_reaches_it_unless_told(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    for name in CLUSTER - {"lexhound-milvus"}:
        assert "ports" not in compose["services"][name]
        assert compose["services"][name]["networks"] == ["cluster"]
    assert compose["networks"]["cluster"]["internal"] is True


def test_it_is_confined(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert re.fullmatch(r"\d+[mg]", service["deploy"]["resources"]["limits"]["memory"])
        if name in CLUSTER - {"lexhound-milvus"}:  # others' images, as their makers run them
            continue
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]


def test_compose_sets_only_what_the_service_knows(compose: dict[str, Any]) -> None:
    for name in compose["services"]["lexhound"]["environment"]:
        assert name.removeprefix("LEXHOUND_").lower() in Settings.model_fields, name


def test_compose_agrees_with_the_image(compose: dict[str, Any], dockerfile: list[Instruction]) -> None:
    service = compose["services"]["lexhound"]
    port = only(dockerfile, "EXPOSE", 2).text
    assert service["ports"][0].endswith(f":{port}")
    assert int(port) == Settings.model_fields["port"].default
    mounted = dict(volume.split(":")[:2] for volume in service["volumes"])
    assert list(mounted.values()) == only(dockerfile, "VOLUME", 2).words
    used = {volume.split(":")[0] for one in compose["services"].values() for volume in one["volumes"]}
    assert {name for name in used if "/" not in name} == set(compose["volumes"])
    grace = int(service["stop_grace_period"].removesuffix("s"))
    assert grace > Settings.model_fields["shutdown_seconds"].default


def test_prometheus_is_optional_and_asks_the_service(compose: dict[str, Any], root: Path) -> None:
    prometheus = compose["services"]["prometheus"]
    assert prometheus["profiles"] == ["monitoring"]
    source = root / prometheus["volumes"][0].split(":")[0]
    (job,) = yaml.safe_load(source.read_text("utf-8"))["scrape_configs"]
    assert job["metrics_path"] == "/metrics"
    assert job["static_configs"] == [{"targets": ["lexhound:8080"]}]
    assert compose["services"]["lexhound"]["environment"]["LEXHOUND_OPEN_METRICS"] is True, "it has no key"


# The profile `cluster`


def test_the_cluster_profile_starts_nothing_unless_asked_and_all_of_it_then(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert {name for name, one in services.items() if one.get("profiles") == ["cluster"]} == CLUSTER
    waits = {name: set(services[name].get("depends_on", ())) for name in CLUSTER}
    assert waits == {"lexhound-milvus": {"milvus"}, "milvus": {"etcd", "minio"}, "etcd": set(), "minio": set()}
    for name, others in waits.items():
        for other in others:
            assert services[name]["depends_on"][other] == {"condition": "service_healthy"}
            check = services[other]["healthcheck"]  # without one it would be waited for in vain
            assert check["test"][0] == "CMD"
            assert set(services[name]["networks"]) & set(services[other]["networks"])
    for name in CLUSTER - {"lexhound-milvus"}:
        version = services[name]["image"].partition(":")[2]
        assert re.fullmatch(r"v\d+\.\d+\.\d+|RELEASE\.[\dTZ-]+", version), "pinned to one version"
        (volume,) = services[name]["volumes"]
        assert volume.split(":")[0] == name
        assert services[name]["restart"] == "unless-stopped"


def test_what_milvus_and_its_stores_call_each_other_fits(compose: dict[str, Any]) -> None:
    services = compose["services"]
    milvus = services["milvus"]["environment"]
    for variable in ("ETCD_ENDPOINTS", "MINIO_ADDRESS"):
        host, _, port = milvus[variable].partition(":")
        assert host in services
        assert port in {"ETCD_ENDPOINTS": {"2379"}, "MINIO_ADDRESS": {"9000"}}[variable]
    assert "--advertise-client-urls=http://etcd:2379" in services["etcd"]["command"]
    folder = services["etcd"]["volumes"][0].partition(":")[2]
    assert f"--data-dir={folder}" in services["etcd"]["command"]
    assert services["minio"]["command"] == ["server", services["minio"]["volumes"][0].partition(":")[2]]


def test_the_service_reads_what_the_cluster_profile_sets(compose: dict[str, Any]) -> None:
    """The real command, with the very environment of the container, prints the settings that it would run with."""
    service = compose["services"]["lexhound-milvus"]
    given = {name: str(value) for name, value in service["environment"].items() if value is not None}
    plain = {name: value for name, value in os.environ.items() if not name.startswith("LEXHOUND_")}
    command = [sys.executable, "-m", "lexhound", *service["command"], "--print-config"]
    outcome = subprocess.run(command, env=plain | given, capture_output=True, text=True, check=False, timeout=120)
    assert outcome.returncode == 0, outcome.stderr
    shown = json.loads(outcome.stdout)
    assert (shown["host"], shown["insecure"], shown["encoders"]) == ("0.0.0.0", True, ["lexhound-mini"])  # noqa: S104
    address = read_address(shown["data"])
    assert (address.host in CLUSTER, address.port, address.name) == (True, 19530, "my")
    for name in service["environment"]:
        if not name.startswith(MILVUS_PREFIX):
            assert name.removeprefix("LEXHOUND_").lower() in Settings.model_fields, name
    # Each variable of Milvus is one that is read; a wrong name would be an error here.
    values = {"TOKEN": "root:Milvus", "CONSISTENCY": "Bounded"}
    milvus = {
        name: str(value) if value is not None else values[name.removeprefix(MILVUS_PREFIX)]
        for name, value in service["environment"].items()
        if name.startswith(MILVUS_PREFIX)
    }
    settings = milvus_settings(milvus)
    assert (settings.token, settings.consistency, settings.timeout) == ("root:Milvus", "Bounded", 20.0)


def test_the_cluster_image_holds_what_the_service_needs(compose: dict[str, Any], root: Path) -> None:
    service = compose["services"]["lexhound-milvus"]
    assert service["build"]["context"] == compose["services"]["lexhound"]["build"]["context"]
    assert service["image"] != compose["services"]["lexhound"]["image"], "two images are built"
    extras = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    chosen = service["build"]["args"]["EXTRAS"].split(",")
    assert {"serve", "milvus"} <= set(chosen) <= set(extras)
    client = next(re.search(r"<(\d+\.\d+)", one) for one in extras["milvus"] if one.startswith("pymilvus"))
    assert client is not None
    server = re.search(r":v(\d+\.\d+)\.", compose["services"]["milvus"]["image"])
    assert server is not None
    major, minor = server[1].split(".")
    assert client[1] == f"{major}.{int(minor) + 1}", "the client is made for the server's line of versions"


# Dockerfile


def test_the_final_stage_is_bare(dockerfile: list[Instruction]) -> None:
    assert [one.text for one in dockerfile if one.name == "FROM"] == ["${BASE} AS build", "${BASE}"]
    final = [one for one in dockerfile if one.stage == 2]
    assert [one.text for one in final if one.name == "COPY"] == ["--from=build /opt/lexhound /opt/lexhound"]
    for one in final:
        assert not re.search(r"\b(apt|apt-get|gcc|g\+\+|make|build-essential|pip)\b", one.text), one
    uid, _, gid = only(dockerfile, "USER", 2).text.partition(":")
    assert int(uid) > 0
    assert int(gid) > 0
    names = [one.name for one in final]
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert "CMD" in only(dockerfile, "HEALTHCHECK", 2).text


def test_all_of_the_package_gets_into_the_build_and_nothing_else(dockerfile: list[Instruction], root: Path) -> None:
    rooms = {link.resolve().name for link in (root / "src" / "lexhound").iterdir() if link.is_symlink()}
    assert {"core", "retrieval"} <= rooms
    copied = {source for one in dockerfile if one.name == "COPY" and one.stage == 1 for source in one.text.split()[:-1]}
    assert copied == rooms | {"src", "pyproject.toml", "README.md", "LICENSE"}
    lines = [line for line in (root / ".dockerignore").read_text("utf-8").splitlines() if line and line[0] != "#"]
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line[0] == "!"} == copied


# The steps, without an engine


@dataclass(frozen=True)
class Built:
    """What the build stage leaves: the wheel, and the environment that the final stage copies."""

    wheel: Path
    environment: Path
    variables: dict[str, str]


@pytest.fixture(scope="module")
def built(dockerfile: list[Instruction], root: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Run the build stage's own command over the files that it copies."""
    folder = tmp_path_factory.mktemp("image")
    source, wheels, installed, lent = (folder / name for name in ("source", "wheels", "opt", "lent"))
    ignored = [line for line in (root / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("**/")]

    def leave_out(_: str, names: list[str]) -> set[str]:
        return {name for pattern in ignored for name in fnmatch.filter(names, pattern.removeprefix("**/"))}

    source.mkdir()
    for one in dockerfile:
        if one.name == "COPY" and one.stage == 1:
            for name in one.text.split()[:-1]:
                if (root / name).is_dir():
                    shutil.copytree(root / name, source / name, ignore=leave_out, symlinks=True)
                else:
                    shutil.copy2(root / name, source)
    command = only(dockerfile, "RUN", 1).text.replace("/wheels", str(wheels)).replace("/opt/lexhound", str(installed))
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("LEXHOUND_", "PYTHON"))}
    variables |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PIP_NO_CACHE_DIR": "1"}
    variables["EXTRAS"] = only(dockerfile, "ARG", 1).text.partition("=")[2]
    if not os.environ.get(ONLINE):
        command = command.replace("wheel --no-deps", "wheel --no-deps --no-build-isolation --no-index")
        command = command.replace("install --only-binary", "install --no-deps --no-index --only-binary")
        lend_dependencies(lent)
        variables["PYTHONPATH"] = str(lent)
    outcome = subprocess.run(
        ["sh", "-ec", command], cwd=source, env=variables, capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    (wheel,) = wheels.iterdir()
    return Built(wheel, installed, variables)


def lend_dependencies(folder: Path) -> None:
    """Links to everything that is installed beside this Lexhound, but not to Lexhound."""
    folder.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "lexhound" not in path.name and path.suffix != ".pth":
            (folder / path.name).symlink_to(path)


def test_the_wheel_holds_the_page(built: Built, root: Path) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        names = set(wheel.namelist())
    static = {f"lexhound/serve/page/static/{path.name}" for path in (root / "serve" / "page" / "static").iterdir()}
    assert len(static) > 10
    assert static <= names
    assert not [name for name in names if name.endswith((".c", ".so", ".pyd"))], "nothing compiled"


def test_the_environment_has_no_pip(built: Built) -> None:
    assert (built.environment / "bin" / "lexhound").is_file()
    assert not list((built.environment / "bin").glob("pip*"))


@pytest.fixture
def image_command(built: Built, dockerfile: list[Instruction], tmp_path: Path) -> tuple[list[str], dict[str, str]]:
    """ENTRYPOINT and CMD with the image's variables, its data below a temporary folder."""
    command = [*only(dockerfile, "ENTRYPOINT", 2).words, *only(dockerfile, "CMD", 2).words]
    data = tmp_path / "data"
    data.mkdir()
    assert command[:3] == ["lexhound", "serve", "/data"]
    command = [str(built.environment / "bin" / "lexhound"), "serve", str(data), *command[3:]]
    variables = dict(built.variables)
    for name, value in re.findall(r"(\w+)=(\S+)", only(dockerfile, "ENV", 2).text):
        variables[name] = value.replace("/var/cache/lexhound", str(tmp_path / "cache"))
    variables["PATH"] = f"{built.environment / 'bin'}:{os.environ['PATH']}"
    variables["LEXHOUND_PORT"] = str(free_port())
    return command, variables


def health(dockerfile: list[Instruction], variables: dict[str, str]) -> int:
    """What the image's health check says."""
    command = json.loads(only(dockerfile, "HEALTHCHECK", 2).text.partition("CMD ")[2])
    return subprocess.run(command, env=variables, capture_output=True, check=False).returncode


def test_it_does_not_open_itself_without_a_key(image_command: tuple[list[str], dict[str, str]]) -> None:
    command, variables = image_command
    outcome = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=False)
    assert outcome.returncode == 2
    assert "0.0.0.0" in outcome.stderr  # noqa: S104
    assert "key" in outcome.stderr


@pytest.mark.parametrize(
    "variable", [("LEXHOUND_API_KEY", KEY), ("LEXHOUND_INSECURE", "true")], ids=["key", "insecure"]
)
def test_it_starts_is_healthy_and_stops(
    image_command: tuple[list[str], dict[str, str]],
    dockerfile: list[Instruction],
    variable: tuple[str, str],
    tmp_path: Path,
) -> None:
    command, variables = image_command
    variables[variable[0]] = variable[1]
    assert health(dockerfile, variables) != 0, "nobody listens yet"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 120
            while health(dockerfile, variables) != 0:
                assert process.poll() is None, (tmp_path / "log").read_text("utf-8")
                assert time.monotonic() < deadline
                time.sleep(0.2)
            process.send_signal(getattr(signal, only(dockerfile, "STOPSIGNAL", 2).text))
            assert process.wait(60) == 0
        finally:
            process.kill()
            process.wait()
    assert any((tmp_path / "cache").rglob("*.nbi")), "kernels are kept in the cache's volume"


# The documentation


@pytest.fixture(scope="module")
def documentation(root: Path) -> str:
    return (root / "docs" / "containers.md").read_text("utf-8")


def test_every_variable_of_the_compose_file_is_documented(root: Path, documentation: str) -> None:
    text = (root / "docker-compose.yml").read_text("utf-8")
    names = set(re.findall(r"\$\{(\w+)", text)) | set(re.findall(r"^      (LEXHOUND_\w+):", text, re.MULTILINE))
    assert len(names) > 8
    assert not {name for name in names if f"`{name}`" not in documentation}


def test_examples_in_the_documentation_are_valid_compose(documentation: str, root: Path, tmp_path: Path) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", documentation, re.DOTALL)
    assert examples
    for number, example in enumerate(examples):
        path = tmp_path / f"{number}.yml"
        path.write_text(example, "utf-8")
        assert check_schema(path).returncode == 0, example
