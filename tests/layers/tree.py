# SPDX-License-Identifier: Apache-2.0
"""The files of the source tree, as the checks of this folder see them."""

import subprocess
from pathlib import Path

CXX_SUFFIXES = {".h", ".cpp"}
CODE_SUFFIXES = CXX_SUFFIXES | {".py", ".cmake", ".sh", ".toml", ".yml", ".yaml", ".in"}
# Inputs and golden files are data: their bytes are the test.
DATA_FOLDERS = ("tests/vectors", "tests/fuzz/corpus", "qemu-patches")


def tree_files(root: Path) -> list[Path]:
    """Every file that git tracks or would track, or every file when root is no git checkout."""
    if (root / ".git").exists():
        listing = subprocess.run(
            ["git", "-c", "safe.directory=*", "ls-files", "-z", "-c", "-o", "--exclude-standard"],
            cwd=root, check=True, capture_output=True, text=True,
        ).stdout
        names = [Path(name) for name in listing.split("\0") if name]
    else:
        names = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
        names = [name for name in names if name.parts[0] != "build"]
    return sorted(name for name in names if (root / name).is_file())


def is_data(name: Path) -> bool:
    return any(name.is_relative_to(folder) for folder in DATA_FOLDERS)


def is_script(root: Path, name: Path) -> bool:
    if name.suffix:
        return False
    with open(root / name, "rb") as file:
        return file.read(2) == b"#!"


def is_code(root: Path, name: Path) -> bool:
    if is_data(name):
        return False
    known = name.suffix in CODE_SUFFIXES or name.name == "CMakeLists.txt"
    return known or is_script(root, name)


def report(problems: list[str], what: str, checked_count: int) -> int:
    """Prints the problems, or one line that all is well; the exit status."""
    for problem in problems:
        print(problem)
    if problems:
        print(f"{what}: {len(problems)} problems in {checked_count} files")
        return 1
    print(f"{what}: ok ({checked_count} files)")
    return 0
