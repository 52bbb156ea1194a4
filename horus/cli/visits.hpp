// SPDX-License-Identifier: Apache-2.0
// The running programs that a command is about. The main thread.
#pragma once

#include <string>
#include <vector>

#include <horus/base/result.hpp>
#include <horus/msg/inspect.hpp>

namespace CLI {
class App;
}

namespace horus::cli {

/// What every command that looks into programs may be told.
struct VisitArguments {
  std::string process;  ///< its name or pid; empty: all of them
  double timeout_s = 1;
  bool json = false;

  [[nodiscard]] inspect::ClientOptions options() const;
};

/// -p, --timeout and --json.
void add_visit_options(CLI::App& command, VisitArguments& arguments);

struct Visit {
  inspect::Process process;
  inspect::Client client;
};

/// All that there are, or the one that is named. One that ends meanwhile is left out.
Result<std::vector<Visit>> visit(const VisitArguments& arguments);

/// "rover (4711)".
std::string name_of(const inspect::Process& process);
/// "there are: imu, scan, ...", at most 8.
std::string listed(const std::vector<std::string>& names);
/// True for an error that means: the program has ended.
bool has_ended(const Error& error) noexcept;

}  // namespace horus::cli
