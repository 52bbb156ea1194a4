// SPDX-License-Identifier: Apache-2.0
// The ticks of one loop that have not been added to their nodes' accounts yet. Internal; the loop's thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <horus/sched/statistics.hpp>

namespace horus::HORUS_ABI::detail {

/// One tick that has ended. The grid point → end is the sum of the three times.
struct TickEntry {
  std::uint64_t lateness_ns;
  std::uint64_t execution_ns;
  std::uint64_t suspended_ns;
  std::uint32_t slot;  ///< of its node
  TickOutcome outcome;
  bool on_time;
};
static_assert(sizeof(TickEntry) == 32);

/// Why: four histograms and a dozen counters per node are a kilobyte each, so with many nodes every tick would wait for
/// memory a dozen times. A record of 32 bytes is written instead; 256 at a time are added up, and the memory that they need
/// is fetched beforehand, for all of them at once. Whoever reads an account folds first.
class TickLog {
 public:
  static constexpr std::size_t kSize = 256;

  /// Whose ticks `slot` counts from now on. Folds what there is.
  void serve(std::vector<NodeStatistics*> accounts);
  void add(const TickEntry& entry) {
    entries_[size_] = entry;
    if (++size_ == kSize) [[unlikely]]
      fold();
  }
  void fold();

 private:
  std::array<TickEntry, kSize> entries_;
  std::size_t size_ = 0;
  std::vector<NodeStatistics*> accounts_;
};

}  // namespace horus::HORUS_ABI::detail
