"""Where ./install put things, and what is borrowed from ../spire: reporting, and processes that end whatever happens."""

import os
import re
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEPLOY = HERE.parents[2] / "deploy/kubernetes"
sys.path.insert(0, str(HERE.parent / "spire"))
from harness import BINARY, CACHE, VENV  # noqa: E402, F401

VERSION = re.search(r"\bk8s\.io/kubernetes v([\d.]+)", (HERE / "apiserver/go.mod").read_text())[1]
API_SERVER = CACHE / f"kubernetes-v{VERSION}" / "kube-apiserver"
ETCD = Path(shutil.which("etcd") or CACHE / "etcd")
