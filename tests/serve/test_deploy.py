"""The Helm chart and the unit of systemd: whole, and in agreement with the image and the service's settings.

Rendering needs helm. What it makes of the chart is in the repository, with a digest of what it was made from: where
there is no helm, a chart that has been changed and not rendered again is found by that.
"""

from __future__ import annotations

import configparser
import importlib.util
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
import yaml
from typer.main import get_command

from lexhound.serve.cli.app import command_line
from lexhound.serve.settings import Settings, load_settings


@pytest.fixture(scope="module")
def chart(root: Path) -> Path:
    return root / "deploy" / "helm" / "lexhound"


@pytest.fixture(scope="module")
def tool(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("render_chart", root / "tools" / "render_chart.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def manifests(chart: Path) -> dict[str, dict[str, Any]]:
    """What helm has made of the chart, by kind."""
    text = (chart.parent / "rendered.yaml").read_text("utf-8")
    return {each["kind"]: each for each in yaml.safe_load_all(text) if each}


def test_what_is_rendered_is_of_this_chart(chart: Path, tool: ModuleType) -> None:
    rendered = (chart.parent / "rendered.yaml").read_text("utf-8")
    assert rendered.startswith(f"# Rendered by tools/render_chart.py from a chart of the digest {tool.digest()}."), (
        "the chart has changed: run tools/render_chart.py"
    )
    helm = shutil.which("helm")
    if helm is None:
        return
    assert tool.render(helm) == rendered
    linted = [helm, "lint", "--strict", str(chart), "--set"]
    subprocess.run([*linted, "auth.insecure=true"], check=True, capture_output=True)
    for flags, says in (
        ((), "needs a key"),
        (("--set", "auth.apiKey=short"), "apiKey"),
        (("--set", "auth.insecure=true", "--set", "settings.workers=2"), "workers"),
        (("--set", "auth.insecure=true", "--set", "imagine=2"), "imagine"),
    ):
        done = subprocess.run([helm, "template", "my", str(chart), *flags], capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert says in done.stderr


def test_values_fit_their_schema_and_the_templates(chart: Path) -> None:
    values = yaml.safe_load((chart / "values.yaml").read_text("utf-8"))
    schema = json.loads((chart / "values.schema.json").read_text("utf-8"))
    jsonschema.validate(values, schema)
    for wrong in ({"auth": {"apiKey": "short"}}, {"settings": {"workers": 2}}, {"service": {"port": 0}}, {"other": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(values | wrong, schema)
    used = set()
    for template in (chart / "templates").iterdir():
        text = template.read_text("utf-8")
        assert text.count("{{") == text.count("}}")
        used |= set(re.findall(r"\.Values\.([A-Za-z_.]+)", text))
    for path in used:
        place = values
        for name in path.split("."):
            assert name in place, f"templates use {path}, which values.yaml has not"
            place = place[name]
    assert {path.split(".")[0] for path in used} == set(values), "every value is used"


def test_the_chart_agrees_with_the_image_and_the_service(
    root: Path, chart: Path, manifests: dict[str, dict[str, Any]]
) -> None:
    assert set(manifests) == {"StatefulSet", "Service", "Ingress"}
    stateful, service, ingress = (manifests[kind] for kind in ("StatefulSet", "Service", "Ingress"))
    pod = stateful["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    image = (root / "Dockerfile").read_text("utf-8")
    assert stateful["spec"]["replicas"] == 1
    for selector in (stateful["spec"]["selector"]["matchLabels"], service["spec"]["selector"]):
        assert selector.items() <= pod["metadata"]["labels"].items()
    port = container["ports"][0]
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    assert f"EXPOSE {port['containerPort']}" in image
    (rule,) = ingress["spec"]["rules"]
    assert rule["http"]["paths"][0]["backend"]["service"]["name"] == service["metadata"]["name"]
    assert f"USER {pod['spec']['securityContext']['runAsUser']}:" in image
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    mounted = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    volumes = json.loads(str(re.search(r"^VOLUME (.*)$", image, re.MULTILINE)[1]))  # type: ignore[index]
    assert set(volumes) == set(mounted) - {"/tmp"}  # noqa: S108
    claimed = {each["metadata"]["name"] for each in stateful["spec"]["volumeClaimTemplates"]}
    assert claimed | {each["name"] for each in pod["spec"]["volumes"]} == set(mounted.values())
    environment = {each["name"].removeprefix("LEXHOUND_").lower() for each in container["env"]}
    assert environment <= set(Settings.model_fields)
    assert environment >= {"api_key", "search_threads", "open_metrics"}
    command = get_command(command_line()).commands["serve"]  # type: ignore[attr-defined]
    given = command.make_context("serve", container["args"][1:]).params
    assert (given["data"], given["port"]) == ("/data", port["containerPort"])
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in ("/readyz", "/healthz")
    version = yaml.safe_load((chart / "Chart.yaml").read_text("utf-8"))["appVersion"]
    assert f'version = "{version}"' in (root / "pyproject.toml").read_text("utf-8")


def test_the_unit_of_systemd(root: Path, tmp_path: Path) -> None:
    folder = root / "deploy" / "systemd"
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(folder / "lexhound.service")
    words = shlex.split(unit["Service"]["ExecStart"])
    command = get_command(command_line()).commands["serve"]  # type: ignore[attr-defined]
    given = command.make_context("serve", words[2:]).params
    assert given["config"] == Path("/etc/lexhound/lexhound.toml")
    settings = load_settings({}, folder / "lexhound.toml")
    homes = [f"/var/lib/{name}" for name in unit["Service"]["StateDirectory"].split()]
    assert str(settings.data) in homes
    assert str(settings.backups) in homes
    assert settings.is_local
    assert int(unit["Service"]["TimeoutStopSec"]) > settings.shutdown_seconds
    for name, value in (each.split("=") for each in unit["Service"]["Environment"].split()):
        assert name == "PYTHONUNBUFFERED" or value.startswith("/var/cache/lexhound/")
    analyze = shutil.which("systemd-analyze")
    if analyze is not None:  # the command itself is not at its place here
        checked = tmp_path / "lexhound.service"
        text = (folder / "lexhound.service").read_text("utf-8")
        checked.write_text(text.replace("/opt/lexhound/bin/lexhound", "/bin/true"))
        done = subprocess.run([analyze, "verify", str(checked)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
