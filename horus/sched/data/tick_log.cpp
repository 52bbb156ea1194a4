// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/data/tick_log.hpp>

#include <algorithm>
#include <utility>

namespace horus::HORUS_ABI::detail {
namespace {

constexpr std::size_t kAtOnce =
    32;  // entries whose memory is fetched together: 30 KiB, which the first cache holds

std::uint64_t response_of(const TickEntry& entry) noexcept {
  return entry.lateness_ns + entry.execution_ns + entry.suspended_ns;
}

template <class Each>
void for_each_histogram(NodeStatistics& account, const TickEntry& entry, Each each) {
  each(account.release_lateness, entry.lateness_ns);
  each(account.execution, entry.execution_ns);
  each(account.suspended, entry.suspended_ns);
  each(account.response, response_of(entry));
}

void count_tick(NodeStatistics& account, const TickEntry& entry) {
  ++account.grid_points;
  ++account.total_ticks;
  ++account.outcomes[static_cast<std::size_t>(entry.outcome)];
  account.last_tick_ns = static_cast<std::int64_t>(entry.execution_ns);
  switch (entry.outcome) {
    case TickOutcome::ok:
      ++account.successful_ticks;
      account.on_time_ticks += entry.on_time ? 1 : 0;
      break;
    case TickOutcome::failed: ++account.failed_ticks; break;
    default: ++account.cancelled_ticks; break;
  }
  for_each_histogram(account, entry, [](Histogram& histogram, std::uint64_t ns) { histogram.record(ns); });
}

void fetch(const NodeStatistics& account) noexcept {
  const char* const begin = reinterpret_cast<const char*>(&account.grid_points);
  const char* const end = reinterpret_cast<const char*>(&account.awaits);
  for (const char* line = begin; line < end; line += 64) __builtin_prefetch(line, 1);
}

}  // namespace

void TickLog::serve(std::vector<NodeStatistics*> accounts) {
  fold();
  accounts_ = std::move(accounts);
}

void TickLog::fold() {
  const std::size_t size = std::exchange(size_, 0);
  for (std::size_t first = 0; first < size; first += kAtOnce) {
    const TickEntry* const begin = &entries_[first];
    const TickEntry* const end = begin + std::min(kAtOnce, size - first);
    for (const TickEntry* entry = begin; entry != end; ++entry) fetch(*accounts_[entry->slot]);
    for (const TickEntry* entry = begin; entry != end; ++entry)
      for_each_histogram(*accounts_[entry->slot], *entry,
                         [](Histogram& into, std::uint64_t ns) { into.fetch_row(ns); });
    for (const TickEntry* entry = begin; entry != end; ++entry)
      for_each_histogram(*accounts_[entry->slot], *entry,
                         [](Histogram& into, std::uint64_t ns) { into.fetch_bucket(ns); });
    for (const TickEntry* entry = begin; entry != end; ++entry) count_tick(*accounts_[entry->slot], *entry);
  }
}

}  // namespace horus::HORUS_ABI::detail
