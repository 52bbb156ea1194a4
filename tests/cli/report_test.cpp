// SPDX-License-Identifier: Apache-2.0
// A diagnosis as it is told.
#include <horus/cli/report.hpp>

#include <string>

#include <doctest/doctest.h>

#include <horus/base/version.hpp>

namespace {

using horus::cli::Check;
using horus::cli::Diagnosis;
using horus::cli::Verdict;

Diagnosis three() {
  return {
      {{"kernel", Verdict::ok, "Linux 6.1."},
       {"locked memory", Verdict::note, "mlockall is refused (the limit is 64 KiB).", "ulimit -l unlimited"},
       {"clock", Verdict::problem, "It says \"no\"."}},
      "uring"};
}

TEST_SUITE("cli/report") {
  TEST_CASE("names and sentences stand below each other; sentences are broken, remedies are not") {
    CHECK(to_text(three(), {.columns = 30}) ==
          "  ok       kernel         Linux 6.1.\n"
          "  note     locked memory  mlockall is refused (the limit\n"
          "                          is 64 KiB).\n"
          "                          → ulimit -l unlimited\n"
          "  problem  clock          It says \"no\".\n"
          "\n"
          "Horus runs here, on uring. 1 ok, 1 note, 1 problem.\n");
  }

  TEST_CASE("colour, and the last line of a machine on which nothing runs") {
    Diagnosis diagnosis = three();
    diagnosis.checks.resize(1);
    diagnosis.backend.clear();
    CHECK(to_text(diagnosis, {.colour = true}) ==
          "  \033[32mok     \033[0m  kernel  Linux 6.1.\n"
          "\n"
          "\033[1;31mHorus cannot run here.\033[0m 1 ok, no notes, no problems.\n");
  }

  TEST_CASE("JSON") {
    Diagnosis diagnosis = three();
    diagnosis.checks.erase(diagnosis.checks.begin(), diagnosis.checks.begin() + 2);
    diagnosis.checks[0].remedy = "a\\b\n";
    CHECK(to_json(diagnosis) ==
          std::string("{\n  \"version\": \"") + horus::version() +
              "\",\n  \"runs\": true,\n  \"backend\": \"uring\",\n  \"checks\": [\n"
              "    {\"name\": \"clock\", \"verdict\": \"problem\", "
              "\"sentence\": \"It says \\\"no\\\".\", \"remedy\": \"a\\\\b\\u000a\"}\n  ]\n}\n");
  }
}

}  // namespace
