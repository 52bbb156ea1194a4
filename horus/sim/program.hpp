// SPDX-License-Identifier: Apache-2.0
// A program of a simulated world, which a child process runs. A coroutine plays it. Plain values; the world's thread.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include <horus/io/pipe.hpp>
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

/// Plays a program and gives its exit code. It is a process like any other: it has a horus::io and a horus::now() of
/// its own.
using Program = std::function<Task<int>(Launch)>;

}  // namespace horus::HORUS_ABI::sim
