"""Render the Helm chart with the values of its tests into `deploy/helm/rendered.yaml`; needs helm on the path.

    python tools/render_chart.py [FILE]

A test compares the file with the chart: by a digest of it, and where there is helm by rendering it again.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

HELM = Path(__file__).resolve().parents[1] / "deploy" / "helm"
VALUES = (
    "auth.existingSecret=lexhound-key",
    "ingress.enabled=true",
    "ingress.className=nginx",
    "ingress.tlsSecret=lexhound-tls",
    "settings.search_threads=4",
    "data.storageClass=fast",
)


def digest() -> str:
    """Return a digest of the chart's files and of the values that it is rendered with."""
    total = hashlib.sha256("\n".join(VALUES).encode())
    for path in sorted(path for path in (HELM / "lexhound").rglob("*") if path.is_file()):
        total.update(f"{path.relative_to(HELM).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def render(helm: str) -> str:
    """Return the manifests, below a line with the digest of what they are rendered from.

    Raises:
        subprocess.CalledProcessError: the chart cannot be rendered.
    """
    flags = [word for value in VALUES for word in ("--set", value)]
    command = [helm, "template", "my", str(HELM / "lexhound"), "--namespace", "search", *flags]
    manifests = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return f"# Rendered by tools/render_chart.py from a chart of the digest {digest()}.\n{manifests.rstrip()}\n"


def main(target: Path) -> int:
    """Write the file; returns the exit code."""
    helm = shutil.which("helm")
    if helm is None:
        sys.stderr.write("there is no helm on the path\n")
        return 1
    target.write_text(render(helm), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else HELM / "rendered.yaml"))
