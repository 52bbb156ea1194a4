// SPDX-License-Identifier: Apache-2.0
// A program of a simulated world, which a child process runs. A coroutine plays it. Plain values; the world's thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <horus/io/pipe.hpp>
#include <horus/sim/base/program_type.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::sim {

/// The start of a program. Its standard streams lead wherever the parent's Redirects say. To hang up, the program
/// closes one of them early.
struct Launch {
  Launch() {}

  std::vector<std::string> arguments;  ///< as the parent wrote them, the program's name first
  std::map<std::string, std::string> environment;
  std::string directory;
  io::PipeReader in;
  io::PipeWriter out;
  io::PipeWriter err;
};

}  // namespace horus::HORUS_ABI::sim
