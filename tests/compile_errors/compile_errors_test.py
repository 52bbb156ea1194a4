#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What must not compile does not, and the compiler says in one line what to use instead."""

import subprocess
import sys
import unittest

ROOT, *COMPILER = sys.argv[1:]

# One file for all, since reading the headers is what costs. Each mistake stands in a line of its own.
MISTAKES = """
#include <horus/horus.hpp>
#include <optional>
#include <string_view>
struct Pose { double x; const char* frame; };
struct Inner { double x; Pose* pose; };
struct Outer { char name[40]; Inner inner; };
struct View { int id; std::string_view text; };
struct Maybe { int id; std::optional<int*> pointer; };
struct Text { int id; std::string text; };
struct Reference { int& count; };
struct Described { double x; const char* frame; };
HORUS_MESSAGE(Described, x, frame);  // MISTAKE: Described::frame holds a pointer
struct Tailed { int id; using Tail = const char*; };
struct Node : horus::PlainNode {
  void tick() override {
    advertise<Pose>("p");                      // MISTAKE: a message holds a pointer
    advertise<Outer>("p");                     // MISTAKE: a message holds a pointer
    advertise<View>("p");                      // MISTAKE: a message holds a pointer
    subscribe<Maybe>("p");                     // MISTAKE: a message holds a pointer
    advertise<Text>("p");                      // MISTAKE: this type cannot be copied as such
    advertise<Reference>("p");                 // MISTAKE: a message holds a reference
    advertise<int*>("p");                      // MISTAKE: a message holds a pointer
    advertise<Tailed>("p");                    // MISTAKE: a message holds a pointer
    advertise<std::vector<std::string>>("p");  // MISTAKE: this type cannot be copied as such
  }
};
int main() {
  horus::Scheduler s;
  s.add("task", []() -> horus::Task<int> { co_return 5; });         // MISTAKE: a Task of it would never run; keep
  s.add("value", [] { return 5; });                                 // MISTAKE: a Task of it would never run; keep
  s.add("result", []() -> horus::Result<int> { return 5; });        // MISTAKE: a Task of it would never run; keep
}
"""

# The same shapes, allowed.
SOUND = """
#include <array>
#include <chrono>
#include <optional>
#include <horus/horus.hpp>
enum class Mode { slow };
struct Inner { double x; std::optional<int> limit; };
struct Sound { char name[40]; std::array<char, 32> text; Inner inner[3]; std::chrono::milliseconds age; Mode mode; };
struct Overlaid { union { float all[3]; int count; }; };
struct Base { int id; };
struct Derived : Base { double x; };
struct Made { Made() = default; explicit Made(int value) : id(value) {} int id = 0; };
struct Described { Sound sound; double more; };
HORUS_MESSAGE(Described, sound, more);
struct Tailed { int id; using Tail = float; };
template <class... T> constexpr bool all = (horus::Message<T> && ...);
static_assert(all<Sound, Overlaid, Derived, Made, Described, Tailed, std::string, std::vector<float>, int>);
int main() {
  horus::Scheduler s;
  s.add("nothing", [] {});
  s.add("result", []() -> horus::Result<> { return {}; });
  s.add("task", []() -> horus::Task<> { co_return; });
  s.add("both", []() -> horus::Task<horus::Result<>> { co_return horus::Result<>(); });
}
"""


def compile_it(text):
    no_limit = "-fmax-errors=0" if "g++" in COMPILER[-1] and "clang" not in COMPILER[-1] else "-ferror-limit=0"
    return subprocess.run(
        [*COMPILER, "-std=c++20", "-fsyntax-only", "-DHORUS_ALLOW_OLD_GCC", no_limit, "-I", ROOT, "-x", "c++", "-"],
        input=text,
        text=True,
        capture_output=True,
    )


class CompileErrors(unittest.TestCase):
    def test_each_mistake_is_one_error_that_says_what_to_use(self):
        wanted = [line.split("// MISTAKE: ")[1] for line in MISTAKES.splitlines() if "// MISTAKE" in line]
        process = compile_it(MISTAKES)
        self.assertNotEqual(process.returncode, 0)
        errors = [line for line in process.stderr.splitlines() if "error:" in line]
        for words in set(wanted):
            found = [line for line in errors if words in line]
            self.assertEqual(len(found), wanted.count(words), f"{words}:\n" + "\n".join(errors))
        self.assertEqual(len(errors), len(wanted), "\n".join(errors))

    def test_what_looks_alike_compiles(self):
        process = compile_it(SOUND)
        self.assertEqual(process.returncode, 0, process.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
