// SPDX-License-Identifier: Apache-2.0
// Where a node's time goes while it waits: count, total and worst wait per operation and place. The loop's thread.
// Internal.
#pragma once

#include <array>
#include <cstdint>
#include <source_location>
#include <vector>

#include <horus/sched/statistics.hpp>
#include <horus/task/chain.hpp>

namespace horus::HORUS_ABI::detail {

class AwaitProfile {
 public:
  void add(const WaitKind* kind, const char* file, std::uint32_t line, std::int64_t waited_ns) noexcept {
    const std::uint64_t waited = waited_ns > 0 ? static_cast<std::uint64_t>(waited_ns) : 0;
    Place& place = find(kind, file, line);
    ++place.count;
    place.total_ns += waited;
    if (waited > place.worst_ns) place.worst_ns = waited;
  }
  void clear() noexcept { used_ = 0; }
  /// The longest total first.
  [[nodiscard]] std::vector<AwaitStatistics> list() const;

 private:
  static constexpr std::size_t kPlaces = 16;  // the last one stands for all that did not fit
  struct Place {
    const WaitKind* kind = nullptr;
    const char* file = nullptr;
    std::uint32_t line = 0;
    std::uint64_t count = 0, total_ns = 0, worst_ns = 0;
  };
  Place& find(const WaitKind* kind, const char* file, std::uint32_t line) noexcept {
    for (std::size_t i = 0; i < used_; ++i) {
      Place& place = places_[i];
      if (place.kind == kind && place.line == line && place.file == file) return place;
    }
    if (used_ == kPlaces) {
      places_.back().kind = nullptr;
      return places_.back();
    }
    places_[used_] = Place{kind, file, line};
    return places_[used_++];
  }
  std::array<Place, kPlaces> places_;
  std::size_t used_ = 0;
};

}  // namespace horus::HORUS_ABI::detail
