#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Print the files below the current directory that match the given patterns, one per line, sorted.

Meson calls this while it configures (see the top meson.build). `**` descends into directories; a trailing
`/` lists directories. An argument `--exclude=PATTERN` leaves names out again.
"""

import fnmatch
import pathlib
import sys


def list_files(root, patterns, excludes):
    found = set()
    for pattern in patterns:
        for path in root.glob(pattern.rstrip("/")):
            name = path.relative_to(root).as_posix()
            wanted = path.is_dir() if pattern.endswith("/") else path.is_file()
            if wanted and not any(fnmatch.fnmatch(path.name, exclude) for exclude in excludes):
                found.add(name)
    return sorted(found)


def main(arguments):
    prefix = "--exclude="
    excludes = [a[len(prefix):] for a in arguments if a.startswith(prefix)]
    patterns = [a for a in arguments if not a.startswith(prefix)]
    for name in list_files(pathlib.Path.cwd(), patterns, excludes):
        print(name)


if __name__ == "__main__":
    main(sys.argv[1:])
