# SPDX-License-Identifier: Apache-2.0
"""The foreign test modules, and how one of them runs on one loop: in processes of its own, until
each of its tests has an outcome."""

import importlib.util
import json
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Set

HERE = Path(__file__).resolve().parent
MODULE_SECONDS_MOST = 600.0
RESTARTS_MOST = 20  # after crashes and hangs of one module
REPEATS_MOST = 50  # of one module's failed tests

# Windows' own, and the helpers beside the tests.
NOT_HERE = ("test_windows_events", "test_windows_utils", "test_proactor_events")
OWN_SUITES = ("aiohttp", "asyncpg", "pytest_asyncio")
WEIGHTS = {"test_tasks": 9, "test_events": 8, "test_sslproto": 8, "test_ssl": 8, "asyncpg": 7}


@dataclass(frozen=True)
class Module:
    """name: as in the table; path: what worker.py imports."""

    name: str
    path: str

    @property
    def weight(self) -> int:
        return WEIGHTS.get(self.name.rpartition("/")[2], 0)


@dataclass(frozen=True)
class Setting:
    package: Path  # where `import horus` finds it
    logs: Path
    limit: float  # seconds for one test


@dataclass
class Outcome:
    result: str  # passed, failed, skipped, crashed, hung
    text: str = ""
    seconds: float = 0.0
    with_loop: bool = False
    repeated: bool = False


@dataclass
class Outcomes:
    tests: Dict[str, Outcome] = field(default_factory=dict)
    problems: List[str] = field(default_factory=list)

    def count(self, result: str) -> int:
        return sum(outcome.result == result for outcome in self.tests.values())


def all_modules() -> List[Module]:
    found = []
    package = importlib.util.find_spec("test.test_asyncio")
    if package is not None:
        for entry in pkgutil.iter_modules(list(package.submodule_search_locations or [])):
            if entry.name.startswith("test_") and entry.name not in NOT_HERE:
                found.append(Module(f"asyncio/{entry.name}", f"test.test_asyncio.{entry.name}"))
    found += [Module(name, f"{name}_suite") for name in OWN_SUITES]
    return found


def choose(names: List[str]) -> List[Module]:
    there = all_modules()
    if not names:
        return there
    chosen: List[Module] = []
    for name in names:
        mine = [
            module for module in there if module.name == name or module.name.startswith(f"{name}/")
        ]
        if not mine:
            raise ValueError(
                f"no suite is named {name!r} (is its package installed? ./dev test --foreign does "
                "that); --list says what there is"
            )
        chosen += [module for module in mine if module not in chosen]
    return chosen


def _environment(setting: Setting) -> Dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(setting.package),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }


def loop_is_missing(name: str, setting: Setting) -> str:
    """Why this loop cannot be had; "" when it can."""
    code = f"import sys; sys.path.insert(0, {str(HERE)!r}); import loops; loops.loop_and_policy({name!r})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=_environment(setting),
        cwd=setting.logs,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    words = done.stderr.strip().splitlines()
    return (words[-1] if words else "it ended badly") if done.returncode else ""


def run(module: Module, loop: str, setting: Setting) -> Outcomes:
    """All tests of the module; those that fail once more, alone."""
    outcomes = Outcomes()
    log = setting.logs / f"{module.name.replace('/', '-')}-{loop}.log"
    with open(log, "wb") as file:
        for _ in range(RESTARTS_MOST):
            if _run_once(module, loop, setting, outcomes, file, set(), set(outcomes.tests)):
                break
        else:
            outcomes.problems.append(f"gave up after {RESTARTS_MOST} crashes and hangs")
        bad = [
            test
            for test, outcome in outcomes.tests.items()
            if outcome.result in ("failed", "crashed", "hung")
        ]
        for test in bad[:REPEATS_MOST]:
            first = outcomes.tests[test]
            again = Outcomes()
            _run_once(module, loop, setting, again, file, {test}, set())
            second = again.tests.get(test)
            if second is not None and second.result == "passed":
                outcomes.tests[test] = Outcome(
                    "passed", first.text, first.seconds, first.with_loop, True
                )
    return outcomes


def _run_once(
    module: Module,
    loop: str,
    setting: Setting,
    outcomes: Outcomes,
    log: object,
    only: Set[str],
    without: Set[str],
) -> bool:
    """One process. True when it came to its end; False when it died in a test, which then has an
    outcome."""
    with tempfile.TemporaryDirectory(prefix="horus-foreign-") as folder:
        command = [sys.executable, str(HERE / "worker.py"), "--loop", loop, "--module", module.path]
        command += ["--limit", str(setting.limit)]
        for option, names in (("--only", only), ("--without", without)):
            if names:
                path = Path(folder) / option.strip("-")
                path.write_text("\n".join(sorted(names)), encoding="utf-8")
                command += [option, str(path)]
        reading, writing = os.pipe()
        process = subprocess.Popen(
            [*command, "--report", str(writing)],
            env=_environment(setting),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,  # type: ignore[arg-type]
            stderr=subprocess.STDOUT,
            pass_fds=[writing],
            start_new_session=True,
        )
        os.close(writing)
        late = threading.Timer(MODULE_SECONDS_MOST, _end, [process])
        late.start()
        try:
            with open(reading, encoding="utf-8") as report:
                ended = _listen(report, outcomes)
            process.wait()
        finally:
            late.cancel()
            _end(process)
    return _judge(ended, process.returncode, outcomes)


class _Heard:
    begun = ""  # a test that has begun and not ended
    some = False
    done = False


def _listen(report: object, outcomes: Outcomes) -> _Heard:
    heard = _Heard()
    for line in report:  # type: ignore[attr-defined]
        said = json.loads(line)
        if "begun" in said:
            heard.begun, heard.some = said["begun"], True
        elif "ended" in said:
            heard.begun = ""
            outcomes.tests[said["ended"]] = Outcome(
                said["outcome"], said["text"], said["seconds"], said["with_loop"]
            )
        elif "fixture" in said:
            outcomes.problems.append(f"{said['fixture']}: {said['text'].strip().splitlines()[-1]}")
        elif "skipped" in said:
            outcomes.problems.append(f"skipped as a whole: {said['skipped']}")
        heard.done = heard.done or "done" in said or "skipped" in said
    return heard


def _judge(heard: _Heard, code: int, outcomes: Outcomes) -> bool:
    if heard.begun:
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        hung = code in (1, -signal.SIGKILL)  # faulthandler's end after the limit, and ours
        outcomes.tests[heard.begun] = Outcome("hung" if hung else "crashed", how)
        return False
    if not heard.done:
        outcomes.problems.append(f"ended outside of a test, exit code {code}; the log has more")
    elif code != 0:
        outcomes.problems.append(f"exit code {code} after the last test; the log has more")
    return True


def _end(process: "subprocess.Popen[bytes]") -> None:
    """The process and all that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
