# SPDX-License-Identifier: Apache-2.0
"""Recordings read by @mcap/core, the reader of the format's authors: whole ones by their index and as a stream, cut ones
as a stream, recovered ones by the new index. Its version is that of bag/package.json."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import List

HERE = Path(__file__).resolve().parent / "bag"
FILES = ("package.json", "package-lock.json", "read.mjs")
SECONDS_MOST = 300
TOPICS = {"/left": 2000, "/right": 1000, "/raw": 300}
CUTS = 24


class Check:
    def __init__(self, folder: Path, horus: Path) -> None:
        self.folder = folder
        self.horus = horus
        self.count = 0
        self.problems: List[str] = []

    def expect(self, what: str, expected: object, found: object) -> None:
        self.count += 1
        if expected != found:
            self.problems.append(f"bag: {what}: {found!r} instead of {expected!r}")

    def foreign(self, path: Path) -> dict:
        command = ["node", "read.mjs", path]
        read = subprocess.run(command, cwd=self.folder, capture_output=True, timeout=SECONDS_MOST, check=True)
        return json.loads(read.stdout)

    def whole(self, path: Path) -> None:
        found = self.foreign(path)
        by_index = found["indexed"]
        name = path.name
        self.expect(f"{name}: error", None, by_index.get("error"))
        self.expect(f"{name}: messages by topic", TOPICS, by_index.get("topics"))
        self.expect(f"{name}: statistics", sum(TOPICS.values()), by_index.get("messages"))
        self.expect(f"{name}: in the order of time", True, by_index.get("ordered"))
        self.expect(f"{name}: messages that differ", 0, by_index.get("bad"))
        self.expect(f"{name}: profile", "ros2", by_index.get("profile"))
        self.expect(f"{name}: metadata", {"horus.clock": {"source": "test"}}, by_index.get("metadata"))
        self.expect(f"{name}: attachments", {"rover.toml": "rate = 50\n"}, by_index.get("attachments"))
        self.expect(f"{name}: as a stream", {"messages": sum(TOPICS.values()), "error": None}, found["streamed"])

    def bag(self, *arguments: object) -> str:
        done = subprocess.run([self.horus, "bag", *map(str, arguments)], capture_output=True, text=True, timeout=SECONDS_MOST)
        return done.stdout

    def cut(self, path: Path, size: int) -> None:
        torn, mended = self.folder / "torn.mcap", self.folder / "mended.mcap"
        torn.write_bytes(path.read_bytes()[:size])
        found = self.foreign(torn)
        self.expect(f"{path.name} cut at {size}: the index", True, "error" in found["indexed"])
        ours = json.loads(self.bag("info", "--json", torn))["messages"]
        self.expect(f"{path.name} cut at {size}: messages", found["streamed"]["messages"], ours)
        self.bag("recover", torn, "-o", mended, "--overwrite")
        self.bag("recover", torn, "--inplace")
        for recovered in (mended, torn):
            again = self.foreign(recovered)
            self.expect(f"{path.name} cut at {size}, {recovered.name}: error", None, again["indexed"].get("error"))
            self.expect(f"{path.name} cut at {size}, {recovered.name}", ours, sum(again["indexed"].get("topics", {}).values()))
            self.expect(f"{path.name} cut at {size}, {recovered.name}: stream", ours, again["streamed"]["messages"])


def run(build: Path, logs: Path) -> bool:
    """True: all is well. Prints why not."""
    program, horus = build / "tests/foreign/write_recording", build / "horus/cli/horus"
    for tool in ("npm", "node"):
        if shutil.which(tool) is None:
            print(f"bag: not run, there is no {tool} (apt-get install nodejs npm)")
            return False
    for path in (program, horus):
        if not path.exists():
            print(f"bag: not run, {path} is not built (./dev test --foreign builds it)")
            return False
    folder = logs / "bag"
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copy(HERE / name, folder / name)
    install = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    with open(folder / "npm.log", "w", encoding="utf-8") as log:
        installed = subprocess.run(install, cwd=folder, stdout=log, stderr=log, timeout=SECONDS_MOST, check=False)
    if installed.returncode != 0:
        print(f"bag: npm could not install its packages: {folder / 'npm.log'}")
        return False
    check = Check(folder, horus)
    for compression in ("zstd", "none"):
        path = folder / f"{compression}.mcap"
        subprocess.run([program, path, compression], timeout=SECONDS_MOST, check=True)
        check.whole(path)
        size = path.stat().st_size
        for part in range(1, CUTS // 2):
            check.cut(path, size * part * 2 // CUTS - part)
    merged = folder / "filtered.mcap"
    check.bag("filter", folder / "zstd.mcap", "-o", merged, "--overwrite", "-t", "/right")
    check.expect("a filtered file", {"/right": 1000}, check.foreign(merged)["indexed"].get("topics"))
    print("\n".join(check.problems[:20] + [f"bag: {check.count} checks by @mcap/core, {len(check.problems)} failed"]))
    return not check.problems
