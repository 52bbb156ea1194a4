# SPDX-License-Identifier: Apache-2.0
"""Builds wheels and source archives of `import horus` (PEP 517) with Meson, and with nothing but the standard library.

The wheel carries the package, the extension module and the library libhorus that it is linked with. HORUS_MESON_OPTIONS
adds options, CXX chooses the compiler, as for ./dev.
"""

import base64
import gzip
import hashlib
import importlib.util
import io
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import tomllib
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
LEFT_OUT = re.compile(r"^(build[^/]*|dist|\.git|subprojects/(?!packagefiles|[^/]*\.wrap$).*)(/|$)|__pycache__|\.egg-info")


def version():
    return re.search(r"^  version: '([^']+)'", (ROOT / "meson.build").read_text(encoding="utf-8"), re.MULTILINE)[1]


def metadata():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    readme = (ROOT / project["readme"]).read_text(encoding="utf-8")
    lines = [
        "Metadata-Version: 2.1", f"Name: {project['name']}", f"Version: {version()}",
        f"Summary: {project['description']}", f"License: {project['license']['text']}",
        f"Requires-Python: {project['requires-python']}", "Description-Content-Type: text/markdown", "", readme,
    ]
    return "\n".join(lines)


def run(*command, **environment):
    if shutil.which(command[0]) is None:
        sys.exit(f"horus: the program {command[0]} is missing (what has to be installed: docs/building.md)")
    process = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment})
    if process.returncode != 0:
        sys.exit(f"horus: {shlex.join(map(str, command))} failed (what has to be installed: docs/building.md)")


def install(stage):
    """Builds the package for the interpreter that runs this; gives the folder of `stage` that holds horus/."""
    build = ROOT / f"build-wheel-{sys.implementation.cache_tag}"
    options = [
        "--buildtype=release", "--prefix=/usr", "-Djumbo=true", "-Dtests=false", "-Dexamples=false", "-Dcli=disabled",
        "-Dtls=disabled", "-Dpython_module=enabled", f"-Dpython_interpreter={sys.executable}", "-Dpython_rpath=$ORIGIN",
        *shlex.split(os.environ.get("HORUS_MESON_OPTIONS", "")),
    ]
    # Where the first configuring failed there is nothing to wipe, and Meson says so.
    again = ["--wipe"] if (build / "meson-private" / "coredata.dat").exists() else []
    # pip's own folders would be looked through by Meson's Python too.
    path = {"PYTHONPATH": ""}
    if importlib.util.find_spec("distutils") is None:
        path["PYTHONPATH"] = str(pathlib.Path(__file__).parent / "old_meson")
    run("meson", "setup", *again, *options, str(build), **path)
    run("ninja", "-C", str(build), "python", "horus/libhorus.so." + version(), **path)
    run("meson", "install", "-C", str(build), "--no-rebuild", "--quiet", "--destdir", stage, **path)
    module = next(pathlib.Path(stage).rglob("horus/_core*.so"), None)
    if module is None:
        sys.exit("horus: Meson installed no horus/_core")
    return module.parent.parent


def tags():
    tag = sys.implementation.cache_tag.replace("cpython-", "cp")
    free_threaded = "t" if "t" in sys.abiflags else ""  # such an interpreter has modules of its own
    return f"{tag}-{tag}{free_threaded}-" + re.sub(r"[-.]", "_", sysconfig.get_platform())


def info_files():
    """The texts of the folder *.dist-info, by their names."""
    wheel = ("Wheel-Version: 1.0", "Generator: horus", "Root-Is-Purelib: false", f"Tag: {tags()}", "")
    licence = (ROOT / "LICENSE").read_text(encoding="utf-8")
    return {"METADATA": metadata(), "LICENSE": licence, "WHEEL": "\n".join(wheel)}


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    """Without it pip builds everything twice, once to learn the version."""
    info = pathlib.Path(metadata_directory) / f"horus-{version()}.dist-info"
    info.mkdir()
    for name, text in info_files().items():
        (info / name).write_text(text, encoding="utf-8")
    return info.name


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name = f"horus-{version()}-{tags()}.whl"
    info = f"horus-{version()}.dist-info"
    with tempfile.TemporaryDirectory() as stage:
        site = install(stage)
        files = {p.relative_to(site).as_posix(): p.read_bytes() for p in sorted(site.rglob("*")) if p.is_file()}
        library = next(p for p in pathlib.Path(stage).rglob("libhorus.so.0.1") if p.is_file())
        files["horus/libhorus.so.0.1"] = library.read_bytes()
    files.update({f"{info}/{name}": text.encode() for name, text in info_files().items()})
    record = ""
    for path, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(data)}\n"
    files[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    with zipfile.ZipFile(pathlib.Path(wheel_directory) / name, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, data in files.items():
            entry = zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if ".so" in path else 0o644) << 16
            wheel.writestr(entry, data)
    return name


def tree_files():
    """What belongs into a source archive: what git knows or would add, or everything that no build has made."""
    names = []
    if (ROOT / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        names = [name for name in listed.stdout.split("\0") if name]
    else:
        names = [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*")]
        names = [name for name in names if not LEFT_OUT.search(name)]
    return sorted(name for name in names if (ROOT / name).is_file())


def build_sdist(sdist_directory, config_settings=None):
    base = f"horus-{version()}"
    path = pathlib.Path(sdist_directory) / f"{base}.tar.gz"
    with gzip.GzipFile(path, "wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        text = metadata().encode()
        info = tarfile.TarInfo(f"{base}/PKG-INFO")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text))
        for name in tree_files():
            archive.add(ROOT / name, f"{base}/{name}", recursive=False)
    return path.name
