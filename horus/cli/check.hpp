// SPDX-License-Identifier: Apache-2.0
// What an examination of the machine found. Plain values; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace horus::cli {

enum class Verdict : std::uint8_t {
  ok,
  note,     ///< Horus works; it could do better, or a person should know
  problem,  ///< a part of Horus does not work here
};

/// One thing that was looked at.
struct Check {
  std::string name;
  Verdict verdict = Verdict::ok;
  std::string sentence;
  std::string remedy = {};  ///< a command, or what to do; empty: nothing is to be done
};

/// Everything, in the order in which it is told.
struct Diagnosis {
  std::vector<Check> checks;
  std::string backend;       ///< that Horus will use; empty: it cannot run here at all
  std::string summary = {};  ///< of a program: instead of what the backend says
};

}  // namespace horus::cli
