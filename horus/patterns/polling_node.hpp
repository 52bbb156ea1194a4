// SPDX-License-Identifier: Apache-2.0
// PollingNode<T>: a node that polls a source and passes on its items, with a back-off while the source has none.
// The scheduler's thread, which owns the node.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <horus/base/literals.hpp>
#include <horus/base/result.hpp>
#include <horus/io/time.hpp>
#include <horus/sched/node.hpp>

namespace horus::HORUS_ABI {

/// How long a PollingNode pauses after a poll that gave nothing: `first_pause`, then twice as long each time, up to
/// `longest_pause`. After an item it starts again with `first_pause`.
struct PollingOptions {
  Duration first_pause = std::chrono::milliseconds(1);
  Duration longest_pause = std::chrono::milliseconds(100);
};

/// A snapshot of a PollingNode: counts since its construction. Its ticks are in Scheduler::statistics().
struct PollingNodeStatistics {
  std::uint64_t polls = 0;
  std::uint64_t items = 0;   ///< polls that gave something
  std::uint64_t empty = 0;   ///< polls that gave nothing
  std::uint64_t failed = 0;  ///< polls that threw
  Duration pause{0};         ///< the present pause; 0 after a poll that gave something
};

/// A node for sources that must be polled: a register, another program's queue, a web service.
///
/// Semantics: event-driven, so give it no rate. One poll runs at a time: `poll()`, then `on_item()` with the item,
/// and at once the next poll. When a poll gives nothing, the node pauses; the pause doubles each time. An exception
/// of either is a failed tick, after which the scheduler pauses the node.
/// Errors: the constructor throws Error(EINVAL) for invalid pauses.
/// Thread safety: the scheduler's thread.
/// Example:
/// ```
/// class Orders : public horus::PollingNode<Order> {
///   horus::Task<std::optional<Order>> poll() override { return fetch_order(); }
///   horus::Task<> on_item(Order order) override { co_await carry_out(order); }
/// };
/// ```
template <class T>
class PollingNode : public Node {
 public:
  [[nodiscard]] PollingNodeStatistics stats() const noexcept { return statistics_; }

 protected:
  explicit PollingNode(std::string name = {}, PollingOptions options = {})
      : Node(std::move(name)), options_(options) {
    if (options.first_pause <= Duration::zero() || options.longest_pause < options.first_pause) {
      throw Error(EINVAL, "make a polling node",
                  this->name() + " (first_pause: above 0; longest_pause: first_pause or longer)");
    }
  }

  /// Polls once. An empty result means that there is nothing now.
  virtual Task<std::optional<T>> poll() = 0;
  virtual Task<> on_item(T item) = 0;

 private:
  Task<> tick() final {
    ++statistics_.polls;
    std::optional<T> item;
    try {
      auto polling = poll();
      item = co_await polling;
    } catch (...) {
      ++statistics_.failed;
      throw;
    }
    if (item) {
      ++statistics_.items;
      statistics_.pause = Duration::zero();
      auto handling = on_item(*std::move(item));
      co_await handling;
      co_return;
    }
    ++statistics_.empty;
    statistics_.pause = statistics_.pause == Duration::zero()
                            ? options_.first_pause
                            : std::min(statistics_.pause * 2, options_.longest_pause);
    co_await sleep(statistics_.pause);
  }

  PollingOptions options_;
  PollingNodeStatistics statistics_;
};

}  // namespace horus::HORUS_ABI
