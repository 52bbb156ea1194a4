#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""compiled_files.py COMPILE_COMMANDS FILE...: print those of the files that have a compile command."""

import json
import pathlib
import sys


def main(database, names):
    known = set()
    for entry in json.loads(pathlib.Path(database).read_text(encoding="utf-8")):
        known.add((pathlib.Path(entry["directory"]) / entry["file"]).resolve())
    for name in names:
        if pathlib.Path(name).resolve() in known:
            print(name)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
