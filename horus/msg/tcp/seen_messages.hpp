// SPDX-License-Identifier: Apache-2.0
// How many messages of a publisher a subscriber knows of, from one connection to the next. One thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

namespace horus::HORUS_ABI::msg {

/// One publisher of one hub, and one subscriber of ours, across connections.
struct PairOfPorts {
  std::uint64_t instance = 0;
  std::uint64_t publisher = 0;
  std::uint64_t subscriber = 0;
  friend auto operator<=>(const PairOfPorts&, const PairOfPorts&) = default;
};

/// Keeps what matters when a hub connects again. One that started anew has another instance: what is kept of its lives
/// before is of no use, and the oldest goes first. A hub with very many pairs loses its own first.
class SeenMessages {
 public:
  static constexpr std::size_t kInstances = 64;
  static constexpr std::size_t kPairs = 4096;  // of all together

  void remember(const PairOfPorts& pair, std::uint64_t seen) {
    if (!hubs_.contains(pair.instance) && hubs_.size() >= kInstances) drop(oldest());
    Pairs& pairs = hubs_[pair.instance];
    pairs.remembered = ++remembered_;
    const auto [entry, fresh] = pairs.seen.try_emplace(key(pair), seen);
    entry->second = seen;
    if (!fresh || ++count_ <= kPairs) return;
    Pairs& most = largest()->second;
    most.seen.erase(most.seen.begin());
    --count_;
  }
  void forget(const PairOfPorts& pair) noexcept {
    const auto hub = hubs_.find(pair.instance);
    if (hub == hubs_.end()) return;
    count_ -= hub->second.seen.erase(key(pair));
    if (hub->second.seen.empty()) hubs_.erase(hub);
  }
  void forget_subscriber(std::uint64_t subscriber) noexcept {
    for (auto& [instance, pairs] : hubs_)
      count_ -= std::erase_if(pairs.seen, [&](const auto& one) { return one.first.second == subscriber; });
    std::erase_if(hubs_, [](const auto& hub) { return hub.second.seen.empty(); });
  }
  [[nodiscard]] std::optional<std::uint64_t> seen_of(const PairOfPorts& pair) const noexcept {
    const auto hub = hubs_.find(pair.instance);
    if (hub == hubs_.end()) return std::nullopt;
    const auto found = hub->second.seen.find(key(pair));
    return found == hub->second.seen.end() ? std::nullopt : std::optional(found->second);
  }
  /// Pairs that are kept.
  [[nodiscard]] std::size_t size() const noexcept { return count_; }

 private:
  using Key = std::pair<std::uint64_t, std::uint64_t>;  // publisher, subscriber
  struct Pairs {
    std::map<Key, std::uint64_t> seen;
    std::uint64_t remembered = 0;  // the last time, counted
  };
  using Hubs = std::map<std::uint64_t, Pairs>;  // by instance

  static Key key(const PairOfPorts& pair) noexcept { return {pair.publisher, pair.subscriber}; }
  [[nodiscard]] Hubs::iterator oldest() noexcept {
    return std::min_element(hubs_.begin(), hubs_.end(), [](const auto& one, const auto& other) {
      return one.second.remembered < other.second.remembered;
    });
  }
  [[nodiscard]] Hubs::iterator largest() noexcept {
    return std::max_element(hubs_.begin(), hubs_.end(), [](const auto& one, const auto& other) {
      return one.second.seen.size() < other.second.seen.size();
    });
  }
  void drop(Hubs::iterator hub) noexcept {
    count_ -= hub->second.seen.size();
    hubs_.erase(hub);
  }

  Hubs hubs_;
  std::size_t count_ = 0;
  std::uint64_t remembered_ = 0;
};

}  // namespace horus::HORUS_ABI::msg
