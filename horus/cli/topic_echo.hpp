// SPDX-License-Identifier: Apache-2.0
// `horus topic echo`: the messages of running programs.
#pragma once

#include <cstdint>

#include <horus/cli/publishers.hpp>
#include <horus/cli/visits.hpp>

namespace horus::cli {

struct EchoArguments {
  VisitArguments visit;
  ChosenTopics chosen;
  std::uint64_t count = 0;  ///< of messages; 0: without end
  bool in_full = false;
};

/// Gives the exit code.
int echo(const EchoArguments& arguments);

}  // namespace horus::cli
