// SPDX-License-Identifier: Apache-2.0
// The last events of one executor. Its thread alone. Internal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <horus/sched/timeline.hpp>

namespace horus::HORUS_ABI::detail {

class TimelineBuffer {
 public:
  /// Keeps the last `events`; 0: none. Allocates them now.
  void reserve(std::size_t events) {
    events_.assign(events, TimelineEvent{});
    written_ = 0;
  }
  void add(const TimelineEvent& event) noexcept {
    if (events_.empty()) return;
    events_[written_ % events_.size()] = event;
    ++written_;
  }
  [[nodiscard]] bool on() const noexcept { return !events_.empty(); }
  void append_to(Timeline& timeline) const {
    const std::uint64_t size = events_.size();
    const std::uint64_t first = written_ > size ? written_ - size : 0;
    for (std::uint64_t i = first; i < written_; ++i) timeline.events.push_back(events_[i % size]);
    timeline.lost += first;
  }

 private:
  std::vector<TimelineEvent> events_;
  std::uint64_t written_ = 0;
};

}  // namespace horus::HORUS_ABI::detail
