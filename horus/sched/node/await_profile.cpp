// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/node/await_profile.hpp>

#include <algorithm>

#include <fmt/format.h>

namespace horus::HORUS_ABI::detail {

std::vector<AwaitStatistics> AwaitProfile::list() const {
  std::vector<AwaitStatistics> all;
  for (std::size_t i = 0; i < used_; ++i) {
    const Place& place = places_[i];
    AwaitStatistics one;
    one.operation = place.kind == nullptr ? "others" : place.kind->name;
    if (place.file != nullptr && place.kind != nullptr)
      one.place = fmt::format("{}:{}", place.file, place.line);
    one.count = place.count;
    one.total_ns = place.total_ns;
    one.worst_ns = place.worst_ns;
    all.push_back(std::move(one));
  }
  std::sort(all.begin(), all.end(),
            [](const AwaitStatistics& a, const AwaitStatistics& b) { return a.total_ns > b.total_ns; });
  return all;
}

}  // namespace horus::HORUS_ABI::detail
