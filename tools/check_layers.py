#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Refuse an include that goes up: a layer may use only the layers below it, and within a layer a room only the rooms below
it (docs/architecture.md). A room has at most 16 parts, so that a reader can survey it.

A room is a folder of a layer. A public header lies flat in its layer, and belongs to the room where its source lies."""

import argparse
import pathlib
import re
import sys

BELOW = {
    "base": [],
    "config": ["base"],
    "task": ["base"],
    "io": ["task", "base"],
    "bag": ["io", "task", "base"],
    "msg": ["io", "task", "config", "base"],
    "record": ["bag", "msg", "io", "task", "config", "base"],
    "sched": ["record", "msg", "bag", "io", "task", "config", "base"],
    "patterns": ["sched", "record", "msg", "bag", "io", "task", "config", "base"],
    "tls": ["io", "task", "base"],
    "sim": ["sched", "record", "msg", "bag", "io", "task", "config", "base"],
    "cli": ["patterns", "sched", "record", "msg", "bag", "io", "task", "config", "base"],
    "py": ["patterns", "sched", "record", "msg", "bag", "io", "task", "config", "base"],
}

# The rooms of a layer, lowest first.
ROOMS = {
    "io": ["base", "seam", "replay", "loop", "stream", "file", "tls", "process"],
    "bag": ["format", "write", "read", "record", "edit"],
    "msg": ["format", "codec", "link", "session", "shm", "tcp", "door", "hub"],
    "sched": ["data", "node", "run", "report"],
    "sim": ["base", "files", "engine", "kernel", "world", "campaign"],
    "py": ["base", "loop", "hub", "sched", "package"],
}

# Public headers without a source.
FLAT = {
    "io": {"base": ["bytes", "process_options", "reactor_config", "remote"], "loop": ["descriptor", "event_fd"]},
    "bag": {"format": ["records"], "read": ["contents"], "edit": ["edit"]},
    "msg": {
        "format": ["fields", "messages", "more_messages", "options"],
        "link": ["sample"],
        "session": ["link", "publisher", "subscriber"],
        "shm": ["shm_options"],
    },
    "sched": {"data": ["node_settings", "statistics"]},
    "sim": {"base": ["faults", "program", "random"]},
    "py": {"base": ["asyncio", "awaited", "node"], "package": ["core"]},
}

MOST_PARTS = 16

INCLUDE = re.compile(r'^\s*#\s*include\s*(<horus/([^>]+)>|"([^"]+)")')


def room_of(root, layer, path):
    """The room of a file, given by its path below its layer; None in a layer without rooms."""
    if layer not in ROOMS:
        return None
    parts = pathlib.PurePosixPath(path).parts
    if len(parts) > 1:
        return parts[0] if parts[0] in ROOMS[layer] else None
    stem = pathlib.PurePosixPath(path).stem
    for room, stems in FLAT.get(layer, {}).items():
        if stem in stems:
            return room
    for room in ROOMS[layer]:
        if (root / "horus" / layer / room / f"{stem}.cpp").is_file():
            return room
    return None


def parts_of(stems):
    """What a reader counts: a header with its source, and what is named after it (tcp_session, tcp_session_frames)."""
    return {stem for stem in stems if not any(stem.startswith(f"{other}_") for other in stems)}


def check_text(layer, name, text, room=None, room_of_header=None):
    """Yield one message for each include of `text` (a file of `layer` and `room`) that is not allowed."""
    for number, line in enumerate(text.splitlines(), start=1):
        match = INCLUDE.match(line)
        if match is None:
            continue
        if match.group(3) is not None:
            yield f'{name}:{number}: write #include <horus/…>, not "{match.group(3)}"'
            continue
        target = match.group(2)
        if "/" not in target:
            yield f"{name}:{number}: {layer} includes the umbrella header horus/{target}"
            continue
        other = target.split("/", 1)[0]
        if other != layer and other not in BELOW[layer]:
            allowed = ", ".join(BELOW[layer]) or "nothing"
            yield f"{name}:{number}: {layer} includes horus/{target}, but may use only: {allowed}"
        elif other == layer and room is not None:
            theirs = room_of_header(target.split("/", 1)[1])
            order = ROOMS[layer]
            if theirs is not None and order.index(theirs) > order.index(room):
                yield f"{name}:{number}: the room {layer}/{room} includes horus/{target} of {layer}/{theirs}, which is above it"


OUTSIDE_THE_LIBRARY = {"cli", "py", "tls"}
NAMESPACE = re.compile(r"^namespace horus(?!::HORUS_ABI\b)[\w: ]*\{", re.MULTILINE)


def check_namespace(layer, name, text):
    """What the library defines has the version of its binary interface in its name."""
    if layer in OUTSIDE_THE_LIBRARY:
        return
    for found in NAMESPACE.finditer(text):
        number = text.count("\n", 0, found.start()) + 1
        yield f"{name}:{number}: write namespace horus::HORUS_ABI (horus/base/compiler.hpp), also for what is below it"


def check_tree(root):
    rooms = {}
    for path in sorted((root / "horus").glob("*/**/*")):
        if path.suffix not in (".hpp", ".cpp", ".h", ".c"):
            continue
        layer = path.relative_to(root / "horus").parts[0]
        name = path.relative_to(root).as_posix()
        if layer not in BELOW:
            yield f"{name}: unknown layer {layer}; name it and what lies below it in tools/check_layers.py"
            continue
        inside = path.relative_to(root / "horus" / layer).as_posix()
        room = room_of(root, layer, inside)
        if layer in ROOMS:
            if room is None:
                yield f"{name}: no room; move it into one, or name its room in tools/check_layers.py"
                continue
            rooms.setdefault((layer, room), set()).add(path.stem)
        text = path.read_text(encoding="utf-8")
        yield from check_namespace(layer, name, text)
        yield from check_text(layer, name, text, room, lambda header: room_of(root, layer, header))
    for (layer, room), stems in rooms.items():
        parts = parts_of(stems)
        if len(parts) > MOST_PARTS:
            yield f"horus/{layer}/{room}: {len(parts)} parts, more than {MOST_PARTS}: {', '.join(sorted(parts))}"


CMAKE_LAYERS = re.compile(r"foreach\(layer ([a-z ]+)\)")


def check_cmake(text):
    """CMake builds the same layers as Meson: of a new one it knows nothing by itself."""
    found = CMAKE_LAYERS.search(text)
    listed = set(found.group(1).split()) if found else set()
    for layer in sorted((set(BELOW) - OUTSIDE_THE_LIBRARY) ^ listed):
        yield f"CMakeLists.txt: foreach(layer …) and the layers of tools/check_layers.py differ in {layer}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).parent.parent)
    root = parser.parse_args().root
    problems = [*check_tree(root), *check_cmake((root / "CMakeLists.txt").read_text(encoding="utf-8"))]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
