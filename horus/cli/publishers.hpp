// SPDX-License-Identifier: Apache-2.0
// The publishers of running programs that a command is about. The main thread.
#pragma once

#include <string>
#include <vector>

#include <horus/base/result.hpp>
#include <horus/cli/visits.hpp>
#include <horus/msg/inspect.hpp>

namespace horus::cli {

struct ChosenTopics {
  std::vector<std::string> topics;  ///< empty: all
  std::string hub;                  ///< empty: any
};

struct Publisher {
  inspect::Process process;
  inspect::Topic topic;
};

/// What all visits tell now, by topic, program and publisher. A program that has ended meanwhile is left out, and its visit is
/// over.
Result<std::vector<Publisher>> publishers_of(std::vector<Visit>& visits);
bool is_meant(const ChosenTopics& chosen, const Publisher& publisher);
/// Says on standard error which of the named topics nobody publishes; true when there are such.
bool complain_of_missing(const ChosenTopics& chosen, const VisitArguments& visit,
                         const std::vector<Publisher>& publishers);

}  // namespace horus::cli
