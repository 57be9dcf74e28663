"""Generates the stubs in generated/ from proto/, and checks that what is committed is what would be generated.

Usage: ``python tools/protos.py generate`` or ``python tools/protos.py check``. The check also runs ``buf lint``,
``buf format`` and ``buf breaking`` against the committed image of the last release.
"""

from __future__ import annotations

import filecmp
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
THIRD_PARTY = ROOT / "third_party" / "proto"
GENERATED = ROOT / "generated"
IMAGE = ROOT / "proto" / "release.binpb"


def sources() -> list[str]:
    """Paths of the .proto files, relative to ``proto/`` or ``third_party/proto/``."""
    return sorted(str(path.relative_to(base)) for base in (PROTO, THIRD_PARTY) for path in base.rglob("*.proto"))


def generate(out: Path) -> None:
    """Write messages, gRPC stubs and their types below ``out``; raises SystemExit when protoc fails."""
    out.mkdir(parents=True, exist_ok=True)
    well_known = str(resources.files("grpc_tools") / "_proto")
    arguments = [
        "protoc",
        f"-I{PROTO}",
        f"-I{THIRD_PARTY}",
        f"-I{well_known}",
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        f"--mypy_out=quiet,readable_stubs:{out}",
        f"--mypy_grpc_out=quiet,readable_stubs:{out}",
        *sources(),
    ]
    if protoc.main(arguments) != 0:
        sys.exit("protoc failed")
    for stub in out.rglob("*_pb2_grpc.py"):
        if "\nclass " not in stub.read_text():  # protoc writes an empty service module for every file
            stub.unlink()
            stub.with_suffix(".pyi").unlink(missing_ok=True)
    for folder in {path.parent for path in out.rglob("*_pb2.py")}:
        for package in (folder, *folder.parents):
            if package == out:
                break
            (package / "__init__.py").touch()
            if package.parent == out:
                (package / "py.typed").touch()


def differences(ours: Path, theirs: Path) -> list[str]:
    """Names below both folders whose content differs or that only one has."""
    names = {
        str(path.relative_to(base))
        for base in (ours, theirs)
        for path in base.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return sorted(
        name
        for name in names
        if not ((ours / name).exists() and (theirs / name).exists())
        or not filecmp.cmp(ours / name, theirs / name, shallow=False)
    )


def check() -> None:
    """Lint, format and compatibility by buf, then regenerate and compare; exits non-zero on the first complaint."""
    commands = [["buf", "lint"], ["buf", "format", "-d", "--exit-code"]]
    if IMAGE.exists():
        commands.append(["buf", "breaking", "proto", "--against", str(IMAGE)])
    for command in commands:
        if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
            sys.exit(f"{' '.join(command)} failed")
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        if stale := differences(GENERATED, Path(folder)):
            sys.exit(f"generated/ is not what proto/ generates (run make generate): {', '.join(stale)}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["generate"]:
            generate(GENERATED)
        case ["check"]:
            check()
        case _:
            sys.exit(__doc__)
