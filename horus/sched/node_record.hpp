// SPDX-License-Identifier: Apache-2.0
// One node as its scheduler sees it: settings, the tick in flight, the account. Internal; the scheduler's thread.
#pragma once

#include <coroutine>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>

#include <horus/sched/node.hpp>
#include <horus/sched/statistics.hpp>
#include <horus/task/chain.hpp>
#include <horus/task/event.hpp>
#include <horus/task/task.hpp>

namespace horus::detail {

class NodeRecord final : public Chain {
 public:
  NodeRecord(std::unique_ptr<NodeBase> node, std::size_t index);

  // --- Settings
  std::unique_ptr<NodeBase> node;
  Node* coroutine_node;  // exactly one of these two is set
  PlainNode* plain_node;
  std::size_t index;  // order of addition
  int priority = 100;
  Rate rate{};  // 0: event-driven, or the scheduler's default for a plain node
  NodeStatistics statistics;

  // --- The grid: start + k / rate, computed from k so that it never drifts
  void start_grid(std::int64_t start_ns) noexcept;
  [[nodiscard]] std::int64_t next_release() const noexcept { return next_release_; }
  /// Moves to the first grid point after the last one that has come by `now_ns`, which is returned; the ones between
  /// were missed by the loop.
  std::int64_t advance_grid(std::int64_t now_ns) noexcept;

  // --- Ticks
  [[nodiscard]] bool periodic() const noexcept { return rate.hz > 0; }
  [[nodiscard]] bool in_flight() const noexcept { return in_flight_; }
  /// Starts a tick that belongs to the instant `grid_ns`. Returns the time when it ended or first suspended.
  std::int64_t release(std::int64_t grid_ns, std::int64_t now_ns) noexcept;
  /// Runs `step` (init or shutdown), telling a failure apart from success.
  [[nodiscard]] bool last_tick_failed() const noexcept { return statistics.consecutive_failures > 0; }
  /// Set whenever no tick is in flight.
  Event ended;

  std::coroutine_handle<> finished() noexcept override;
  [[nodiscard]] std::string name() const override { return node_name_ + " tick"; }
  void set_name(const std::string& name);
  [[nodiscard]] const std::string& node_name() const noexcept { return node_name_; }
  /// Frees the frame of the last tick.
  void forget_tick() noexcept { task_ = Task<>(); }

 private:
  void account(std::exception_ptr failure, std::int64_t end_ns, std::int64_t execution_ns) noexcept;
  void report_failure(const std::exception_ptr& failure) noexcept;
  [[nodiscard]] std::int64_t grid_point(std::uint64_t k) const noexcept;

  std::string node_name_;
  Task<> task_;
  bool in_flight_ = false;
  std::int64_t grid_start_ = 0;
  std::uint64_t grid_index_ = 0;
  std::int64_t next_release_ = 0;
  std::int64_t released_for_ = 0;  // grid point of the tick in flight
  std::int64_t tick_start_ = 0;
  std::int64_t execution_ns_ = 0;  // of the tick in flight, filled by the loop
  std::int64_t last_report_ns_ = INT64_MIN;
  std::uint64_t unreported_ = 0;
};

/// One line for what `failure` holds; false when it is not a horus::Error but a bug.
bool describe_failure(const std::exception_ptr& failure, std::string& line);
bool is_cancellation(const std::exception_ptr& failure);

}  // namespace horus::detail
