// SPDX-License-Identifier: Apache-2.0
// BlockingNode<R>: a node for drivers that block. Its work runs on a thread pool; its results arrive on the loop.
// work() runs on a thread of the pool, everything else on the scheduler's thread, which owns the node.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

#include <horus/base/result.hpp>
#include <horus/io/base/thread_pool.hpp>
#include <horus/io/offload.hpp>
#include <horus/sched/node.hpp>

namespace horus::HORUS_ABI {

/// A snapshot of a BlockingNode: counts since its construction. Skipped ticks are in Scheduler::statistics().
struct BlockingNodeStatistics {
  std::uint64_t calls = 0;    ///< calls handed to the pool
  std::uint64_t results = 0;  ///< calls that gave a result
  std::uint64_t failed = 0;   ///< calls that threw, gave an Error, or found the pool's queue full
  bool in_flight = false;
  /// How long the present call has taken so far: a driver that hangs shows here.
  std::int64_t in_flight_ns = 0;
  std::int64_t longest_call_ns = 0;  ///< of the calls that ended, the wait for a thread included
};

/// A node whose `work()` may block; it delays neither the loop nor another node.
///
/// Semantics: a tick hands `work()` to the pool, and `on_result()` receives its result on the loop. One call runs at
/// a time: a tick that comes meanwhile is skipped (`skipped_in_flight`). Without a rate the next call follows at
/// once, for drivers that block until there is data. A call cannot be interrupted: the shutdown waits for a running
/// call as it does for a tick, and takes back one that has not started.
/// Errors: an exception or Error from `work()`, or an exception from `on_result()`, is a failed tick; `on_error()`
/// receives it.
/// Thread safety: `work()` runs on another thread, one call at a time; it sees everything that was written before the
/// call. While `stats().in_flight`, do not touch data that it uses. Everything else belongs to the scheduler's
/// thread.
/// Example:
/// ```
/// class Lidar : public horus::BlockingNode<Scan> {
///   horus::Result<Scan> work() override { return vendor_read_scan(); }    // blocks for 100 ms
///   void on_result(Scan scan) override { publisher_.publish(scan); }      // on the loop
/// };
/// ```
template <class R>
class BlockingNode : public Node {
  static_assert(!std::is_void_v<R> && !std::is_reference_v<R>,
                "a BlockingNode's work gives a value: a bool where there is nothing to say");

 public:
  [[nodiscard]] BlockingNodeStatistics stats() const noexcept {
    BlockingNodeStatistics statistics = statistics_;
    if (statistics.in_flight) statistics.in_flight_ns = now_ns() - called_ns_;
    return statistics;
  }

 protected:
  /// A driver that hangs occupies a thread of `pool`. For such a driver use a separate pool, which must outlive the
  /// node.
  explicit BlockingNode(std::string name = {}, io::ThreadPool& pool = io::ThreadPool::standard())
      : Node(std::move(name)), pool_(pool) {}

  /// The blocking work. Called on a thread of the pool.
  virtual Result<R> work() = 0;
  /// Receives the result of work(). Called on the loop.
  virtual void on_result(R result) = 0;

 private:
  static Result<R> call(BlockingNode* node) { return node->work(); }

  Task<> tick() final {
    ++statistics_.calls;
    statistics_.in_flight = true;
    called_ns_ = now_ns();
    Result<R> result = Error(ECANCELED, "work");
    try {
      result = co_await io::offload_on(pool_, &BlockingNode::call, this);
    } catch (...) {
      ended();
      ++statistics_.failed;
      throw;
    }
    ended();
    if (!result) {
      ++statistics_.failed;
      throw Error(result.error());
    }
    ++statistics_.results;
    on_result(*std::move(result));
  }
  void ended() noexcept {
    statistics_.in_flight = false;
    statistics_.longest_call_ns = std::max(statistics_.longest_call_ns, now_ns() - called_ns_);
  }

  io::ThreadPool& pool_;
  std::int64_t called_ns_ = 0;
  BlockingNodeStatistics statistics_;
};

}  // namespace horus::HORUS_ABI
