# SPDX-License-Identifier: Apache-2.0
"""Ready messages read by Foxglove's packages: rosmsg/check.mjs, with the versions that rosmsg/package.json names."""

import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent / "rosmsg"
FILES = ("package.json", "package-lock.json", "check.mjs")
SECONDS_MOST = 300


def run(build: Path, logs: Path) -> bool:
    """True: all is well. Prints why not."""
    program = build / "tests/foreign/write_messages"
    for tool in ("npm", "node"):
        if shutil.which(tool) is None:
            print(f"rosmsg: not run, there is no {tool} (apt-get install nodejs npm)")
            return False
    if not program.exists():
        print(f"rosmsg: not run, {program} is not built (./dev test --foreign builds it)")
        return False
    folder = logs / "rosmsg"
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copy(HERE / name, folder / name)
    install = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    with open(folder / "npm.log", "w", encoding="utf-8") as log:
        installed = subprocess.run(
            install, cwd=folder, stdout=log, stderr=log, timeout=SECONDS_MOST, check=False
        )
    if installed.returncode != 0:
        print(f"rosmsg: npm could not install its packages: {folder / 'npm.log'}")
        return False
    messages = folder / "messages.jsonl"
    with open(messages, "wb") as file:
        subprocess.run([program], stdout=file, timeout=SECONDS_MOST, check=True)
    with open(messages, "rb") as file:
        checked = subprocess.run(
            ["node", "check.mjs"], cwd=folder, stdin=file, timeout=SECONDS_MOST, check=False
        )
    return checked.returncode == 0
