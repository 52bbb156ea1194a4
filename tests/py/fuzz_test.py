# SPDX-License-Identifier: Apache-2.0
"""Whatever several threads call, and in whatever order, no call ends the process, hangs, or raises what is no refusal.

A few seeds with the other tests; more of them by hand, and one alone to look at a failure:

    ./dev python tests/py/fuzz_test.py --seeds 200 --seconds 3
    ./dev python tests/py/fuzz_test.py --first 17 --seeds 1
"""

import argparse
import os
import subprocess
import sys
import unittest

PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fuzz_program.py")
SEEDS, SECONDS = 3, 1.5


def failure_of(seed, seconds):
    """What went wrong with this seed; empty when nothing did."""
    try:
        run = subprocess.run(
            [sys.executable, "-X", "faulthandler", PROGRAM, str(seed), str(seconds)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds + 60,
        )
    except subprocess.TimeoutExpired as expired:
        return f"seed {seed} hangs: {(expired.stderr or b'')[-4000:]!r}"
    if run.returncode == 0 and "ended" in run.stdout:
        return ""
    return f"seed {seed} gives {run.returncode}:\n{run.stderr[-12000:]}"


class AnyOrder(unittest.TestCase):
    def test_random_calls_by_several_threads_are_done_or_refused(self):
        for seed in range(1, SEEDS + 1):
            self.assertEqual(failure_of(seed, SECONDS), "")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seeds", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    options = parser.parse_args()
    failed = 0
    for seed in range(options.first, options.first + options.seeds):
        problem = failure_of(seed, options.seconds)
        failed += problem != ""
        if problem:
            print(problem, flush=True)
    print(f"{options.seeds} seeds, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1].startswith("--first") or "--seeds" in sys.argv:
        sys.exit(main())
    unittest.main()
