// SPDX-License-Identifier: Apache-2.0
// A program of a simulated world, played by a coroutine: what a child process runs. Plain values; the world's thread.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include <horus/io/pipe.hpp>
#include <horus/task/task.hpp>

namespace horus::sim {

/// What a program is started with. Its standard streams are wherever the parent's Redirects lead; closing one early is
/// how a program hangs up.
struct Launch {
  Launch() {}

  std::vector<std::string> arguments;  ///< as the parent wrote them, the program's name first
  std::map<std::string, std::string> environment;
  std::string directory;
  io::PipeReader in;
  io::PipeWriter out;
  io::PipeWriter err;
};

/// Plays a program; gives its exit code. It is a process like any other: horus::io and horus::now() are its own.
using Program = std::function<Task<int>(Launch)>;

}  // namespace horus::sim
