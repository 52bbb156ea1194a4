// SPDX-License-Identifier: Apache-2.0
// What a loop last said about its nodes, for whoever asks while it is blocked. Internal; plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <horus/sched/statistics.hpp>

namespace horus::HORUS_ABI::detail {

struct Snapshot {
  std::int64_t taken_ns = 0;
  bool fresh = true;  ///< it was made for the question that it answers
  std::string of;     ///< which thread's nodes these are, for people
  std::vector<std::pair<std::size_t, NodeStatistics>> nodes;  ///< by their index
  std::string shares;                                         ///< where the thread's time went
};

}  // namespace horus::HORUS_ABI::detail
