# SPDX-License-Identifier: Apache-2.0
"""This folder holds the C++ sources of Horus. A Python that starts in the root of the repository
finds it first when asked for `horus`; this file then looks for the real package behind it, and says
what to do where there is none."""

import importlib.machinery
import importlib.util
import os
import sys

_root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_elsewhere = [p for p in sys.path if os.path.abspath(p or os.curdir) != _root]
_found = importlib.machinery.PathFinder.find_spec("horus", _elsewhere)
if _found is None or _found.loader is None:
    _built = os.path.join(_root, "build", "horus", "py")
    raise ImportError(
        f"{os.path.join(_root, 'horus')} holds C++ sources, not the Python package. Build it "
        f"(ninja -C build) and set PYTHONPATH={_built}, or install Horus: docs/python.md",
        name="horus",
    )
_package = importlib.util.module_from_spec(_found)
sys.modules["horus"] = _package
_found.loader.exec_module(_package)
