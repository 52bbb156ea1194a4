// SPDX-License-Identifier: Apache-2.0
// BatchProcessor<T>: collects items and processes them in batches, when a batch is full or its first item has waited
// long enough. One reactor's thread. It owns the items until a batch is processed, one timer, and the processing
// task.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <horus/base/assert.hpp>
#include <horus/base/log.hpp>
#include <horus/base/result.hpp>
#include <horus/io/reactor.hpp>
#include <horus/patterns/bounded_semaphore.hpp>
#include <horus/patterns/failure.hpp>
#include <horus/task/event.hpp>
#include <horus/task/scope.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI {

struct BatchProcessorOptions {
  std::string name = "batches";  ///< for errors and the log
  std::size_t batch_size = 100;  ///< 1 or more
  /// How long the first item waits for others; Duration::max(): until the batch is full.
  Duration flush_interval = std::chrono::seconds(1);
  std::size_t max_pending = 1000;  ///< items that are collected or being processed; batch_size or more
  std::size_t max_waiters = 256;   ///< tasks that may wait in add()
};

/// A snapshot of a BatchProcessor. Every item added is exactly one of pending, processed, failed, dropped.
struct BatchProcessorStatistics {
  std::uint64_t added = 0;
  std::uint64_t processed = 0;
  std::uint64_t failed = 0;   ///< items of batches that failed
  std::uint64_t dropped = 0;  ///< items left by a close() that was asked to stop
  std::uint64_t refused = 0;  ///< items that found no room, waited in vain, or came after close()
  std::size_t pending = 0;    ///< collected or being processed
  std::size_t pending_high_water = 0;
  std::uint64_t batches = 0;  ///< batches that were processed
  std::uint64_t failed_batches = 0;
  std::uint64_t full_batches = 0;  ///< batches that were processed because they were full
  std::string last_error;          ///< of the last batch that failed
};

/// Collects items for a function that costs less for many items at once: a database, a file, a radio.
///
/// Semantics: a batch is processed when there are `batch_size` items, when its first item is `flush_interval` old, by
/// `flush()` and by `close()`. One batch is processed at a time, in the order of addition. Meanwhile items collect,
/// up to `max_pending`; then `add` waits. A failed batch is counted, logged, and not tried again: only `process`
/// knows whether a retry is wise. Close the processor before it is destroyed, as you join a Scope: destroying one
/// while a batch is processed ends the program.
/// Errors: the constructor throws Error(EINVAL) for invalid sizes. `add`: EAGAIN (`max_waiters` wait already),
/// kChannelClosed, ECANCELED. `flush`, `close`: the error of the last batch that failed meanwhile, rethrown when it
/// was no horus::Error.
/// Thread safety: one reactor's thread.
/// Example: examples/batch_processor.
template <class T>
class BatchProcessor {
 public:
  using Process = std::function<Task<Result<>>(std::vector<T>)>;

  /// `process` takes a std::vector<T> and gives a Task<Result<>> or a Task<>; it is kept until the processor dies.
  template <class F>
    requires std::is_invocable_v<F&, std::vector<T>>
  explicit BatchProcessor(F process, BatchProcessorOptions options = {})
      : options_(std::move(options)),
        process_(with_result(std::move(process))),
        room_(options_.max_pending, options_.max_waiters) {
    if (options_.batch_size == 0) refuse("batch_size: 1 or more");
    if (options_.max_pending < options_.batch_size) refuse("max_pending: batch_size or more");
    if (options_.flush_interval <= Duration::zero()) refuse("flush_interval: above 0");
    timer_.processor = this;
    timer_.expired = [](io::Timer& timer) noexcept {
      auto& self = *static_cast<FlushTimer&>(timer).processor;
      self.due_ = self.collected_.size();
      self.start();
    };
  }
  BatchProcessor(const BatchProcessor&) = delete;
  BatchProcessor& operator=(const BatchProcessor&) = delete;
  ~BatchProcessor() {
    stop_timer();
    if (!collected_.empty() && !running_)
      log_warning(fmt::format("{}: {} items were never handed on (co_await close() first)", options_.name,
                              collected_.size()));
  }

  /// Adds an item, waiting for room.
  [[nodiscard]] Task<Result<>> add(T item) {
    auto room = co_await room_.acquire();
    if (!room) {
      ++statistics_.refused;
      const char* more = room.code() == EAGAIN ? " (as many wait already as may)" : "";
      co_return room.error().on("add to a batch", options_.name + more);
    }
    if (room_.closed()) {  // since the room was found
      room_.release();
      ++statistics_.refused;
      co_return Error(kChannelClosed, "add to a batch", options_.name);
    }
    collect(std::move(item));
    co_return Result<>();
  }
  /// Adds an item if there is room now. False when there is no room, or the processor is closed.
  [[nodiscard]] bool try_add(T item) {
    if (!room_.try_acquire()) {
      ++statistics_.refused;
      return false;
    }
    collect(std::move(item));
    return true;
  }
  /// Processes all items added so far, and waits until that is done.
  [[nodiscard]] Task<Result<>> flush() {
    const std::uint64_t failed_before = statistics_.failed_batches;
    const std::uint64_t dropped_before = statistics_.dropped;
    const std::uint64_t until = statistics_.added;
    due_ = collected_.size();
    start();
    while (settled_ < until) {
      bool stopped = false;
      try {
        co_await batch_ended_;
      } catch (const Error&) {
        stopped = true;
      }
      if (stopped) co_return Error(ECANCELED, "flush", options_.name);
    }
    if (statistics_.dropped > dropped_before) co_return Error(ECANCELED, "flush", options_.name);
    if (statistics_.failed_batches > failed_before) co_return last_failure_.or_rethrow();
    co_return Result<>();
  }
  /// Refuses further items, processes the collected ones, and waits for that. A close() that is asked to stop stops
  /// the running batch, awaits it, and drops the rest: ECANCELED.
  [[nodiscard]] Task<Result<>> close() {
    room_.close();
    auto flushing = flush();
    Result<> outcome;
    std::exception_ptr thrown;
    try {
      outcome = co_await flushing;
    } catch (...) {
      thrown = std::current_exception();
    }
    const bool stopping = co_await stop_requested();
    if (stopping) scope_.cancel();
    co_await scope_.join();
    drop_rest();
    if (thrown) std::rethrow_exception(thrown);
    co_return outcome;
  }

  [[nodiscard]] BatchProcessorStatistics stats() const {
    BatchProcessorStatistics statistics = statistics_;
    statistics.pending = static_cast<std::size_t>(statistics_.added - settled_);
    statistics.last_error = failures_.last();
    return statistics;
  }

 private:
  struct FlushTimer : io::Timer {
    BatchProcessor* processor = nullptr;
  };
  struct Item {
    T value;
    std::int64_t added_ns;
  };

  template <class F>
  static Process with_result(F process) {
    using Returned = std::invoke_result_t<F&, std::vector<T>>;
    if constexpr (std::is_same_v<Returned, Task<>>) {
      return [process = std::move(process)](std::vector<T> batch) mutable -> Task<Result<>> {
        auto processing = process(std::move(batch));
        co_await processing;
        co_return Result<>();
      };
    } else {
      static_assert(std::is_same_v<Returned, Task<Result<>>>,
                    "a batch is processed by a function that gives a Task<> or a Task<Result<>>");
      return process;
    }
  }
  [[noreturn]] void refuse(const char* what) const {
    throw Error(EINVAL, "make a batch processor", fmt::format("{} ({})", options_.name, what));
  }

  void collect(T item) {
    collected_.push_back(Item{std::move(item), now_ns()});
    ++statistics_.added;
    statistics_.pending_high_water =
        std::max(statistics_.pending_high_water, static_cast<std::size_t>(statistics_.added - settled_));
    if (collected_.size() >= options_.batch_size) {
      start();
    } else if (!running_ && !timer_.pending()) {
      start_timer();
    }
  }
  [[nodiscard]] bool batch_is_due() const noexcept {
    return !collected_.empty() && (due_ > 0 || collected_.size() >= options_.batch_size);
  }
  void start() {
    if (running_ || !batch_is_due()) return;
    stop_timer();
    running_ = true;
    static_cast<void>(scope_.spawn(hand_on(), options_.name));
  }
  void start_timer() noexcept {
    io::Reactor* reactor = io::Reactor::current();
    HORUS_ASSERT(reactor != nullptr, "a BatchProcessor was used on a thread that runs no reactor");
    reactor->timers().insert(timer_,
                             saturating_add(collected_.front().added_ns, options_.flush_interval.count()));
  }
  void stop_timer() noexcept {
    if (timer_.pending()) io::Reactor::current()->timers().cancel(timer_);
  }
  Task<> hand_on() {
    while (batch_is_due()) {
      const bool stopping = co_await stop_requested();
      if (stopping) break;
      const std::size_t size = std::min(collected_.size(), options_.batch_size);
      std::vector<T> batch;
      batch.reserve(size);
      for (std::size_t i = 0; i < size; ++i) {
        batch.push_back(std::move(collected_.front().value));
        collected_.pop_front();
      }
      if (size == options_.batch_size) ++statistics_.full_batches;
      due_ -= std::min(due_, size);
      std::optional<Failure> failure;
      try {
        auto processing = process_(std::move(batch));
        auto processed = co_await processing;
        if (!processed) failure.emplace(processed.error());
      } catch (...) {
        failure.emplace(std::current_exception());
      }
      if (failure) {
        ++statistics_.failed_batches;
        statistics_.failed += size;
        failures_.report(options_.name, "a batch failed", *failure);
        last_failure_ = *std::move(failure);
      } else {
        ++statistics_.batches;
        statistics_.processed += size;
      }
      settled_ += size;
      room_.release(size);
      batch_ended_.set();
      batch_ended_.reset();
      // What the items that collected meanwhile are due for.
      if (!collected_.empty() && due_ == 0 &&
          saturating_add(collected_.front().added_ns, options_.flush_interval.count()) <= now_ns())
        due_ = collected_.size();
    }
    running_ = false;
    if (!collected_.empty() && !room_.closed()) start_timer();
  }
  void drop_rest() noexcept {
    const std::size_t left = collected_.size();
    collected_.clear();
    due_ = 0;
    statistics_.dropped += left;
    settled_ += left;
    batch_ended_.set();
    batch_ended_.reset();
  }

  BatchProcessorOptions options_;
  Process process_;
  detail::BoundedSemaphore room_;
  std::deque<Item> collected_;
  std::size_t due_ = 0;  // items at the front that are handed on even if they do not fill a batch
  bool running_ = false;
  std::uint64_t settled_ = 0;  // items that are no longer pending
  Event batch_ended_;
  Failure last_failure_;
  detail::FailureLog failures_;
  FlushTimer timer_;
  BatchProcessorStatistics statistics_;
  Scope scope_{"batch", Failures::log};
};

}  // namespace horus::HORUS_ABI
