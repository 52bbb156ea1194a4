// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/node_record.hpp>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>
#include <horus/sched/scheduler.hpp>

namespace horus {

NodeBase::~NodeBase() = default;

std::shared_ptr<msg::Port> NodeBase::add_port(std::shared_ptr<msg::Port> port) {
  std::erase_if(ports_, [](const NodePort& other) { return other.port.expired(); });
  ports_.push_back({port->info().topic, port});
  if (scheduler_ != nullptr) scheduler_->open_port(*this, ports_.back());
  return port;
}
Task<> Node::init() { co_return; }
Task<> Node::shutdown() { co_return; }

namespace detail {

NodeRecord::NodeRecord(std::unique_ptr<NodeBase> owned, std::size_t position)
    : node(std::move(owned)),
      coroutine_node(dynamic_cast<Node*>(node.get())),
      plain_node(dynamic_cast<PlainNode*>(node.get())),
      index(position) {
  HORUS_ASSERT((coroutine_node == nullptr) != (plain_node == nullptr),
               "a node derives from Node or from PlainNode");
  ended.set();
}

void NodeRecord::set_name(const std::string& name) {
  node_name_ = name;
  statistics.name = name;
}

// --- Grid -------------------------------------------------------------------------------------------------------------

std::int64_t NodeRecord::grid_point(std::uint64_t k) const noexcept {
  return grid_start_ +
         static_cast<std::int64_t>(static_cast<long double>(k) * 1e9L / static_cast<long double>(rate.hz));
}

void NodeRecord::start_grid(std::int64_t start_ns) noexcept {
  grid_start_ = start_ns;
  grid_index_ = 0;
  next_release_ = start_ns;
}

std::int64_t NodeRecord::advance_grid(std::int64_t now_ns) noexcept {
  std::uint64_t k = grid_index_;
  if (grid_point(k + 1) <= now_ns) {
    const auto behind =
        static_cast<long double>(now_ns - grid_start_) * static_cast<long double>(rate.hz) / 1e9L;
    k = std::max(k, static_cast<std::uint64_t>(behind));
    while (grid_point(k + 1) <= now_ns) ++k;
    while (k > grid_index_ && grid_point(k) > now_ns) --k;
  }
  statistics.skipped_late += k - grid_index_;
  statistics.grid_points += k - grid_index_;
  grid_index_ = k + 1;
  next_release_ = grid_point(grid_index_);
  return grid_point(k);
}

// --- Ticks ------------------------------------------------------------------------------------------------------------

std::int64_t NodeRecord::release(std::int64_t grid_ns, std::int64_t now_ns) noexcept {
  ++statistics.grid_points;
  ++statistics.total_ticks;
  released_for_ = grid_ns;
  tick_start_ = now_ns;
  statistics.release_lateness.record(static_cast<std::uint64_t>(std::max<std::int64_t>(now_ns - grid_ns, 0)));
  io::Reactor::current()->spend(node_name_);
  if (plain_node != nullptr) {
    std::exception_ptr failure;
    try {
      plain_node->tick();
    } catch (...) {
      failure = std::current_exception();
    }
    const std::int64_t end = horus::now_ns();
    account(std::move(failure), end, end - now_ns);
    return end;
  }
  in_flight_ = true;
  ended.reset();
  reset_stop();
  execution_ns_ = 0;
  charge_to(&execution_ns_);
  thread_state.running_since_ns = now_ns;
  try {
    task_ = coroutine_node->tick();
  } catch (...) {  // a tick that is not itself a coroutine threw before it made one
    in_flight_ = false;
    ended.set();
    const std::int64_t end = horus::now_ns();
    account(std::current_exception(), end, end - now_ns);
    return end;
  }
  task_.start(*this);
  if (!in_flight_) {
    task_ = Task<>();
    return tick_start_;  // finished() left the time of the end here
  }
  list_root(*this);
  const std::int64_t suspended_at = horus::now_ns();
  execution_ns_ += suspended_at - now_ns;
  return suspended_at;
}

// The tick's root coroutine has ended: inside the start, or inside a later resumption by the loop.
std::coroutine_handle<> NodeRecord::finished() noexcept {
  const std::int64_t end = horus::now_ns();
  const std::int64_t execution = execution_ns_ + (end - thread_state.running_since_ns);
  ListHook<RootTag>::unlink();
  in_flight_ = false;
  account(task_.outcome().exception(), end, execution);
  tick_start_ = end;
  ended.set();
  return std::noop_coroutine();
}

void NodeRecord::account(std::exception_ptr failure, std::int64_t end_ns,
                         std::int64_t execution_ns) noexcept {
  const auto duration = [](std::int64_t ns) {
    return static_cast<std::uint64_t>(std::max<std::int64_t>(ns, 0));
  };
  const std::int64_t response = end_ns - released_for_;
  statistics.execution.record(duration(execution_ns));
  statistics.suspended.record(duration(end_ns - tick_start_ - execution_ns));
  statistics.response.record(duration(response));
  if (!failure) [[likely]] {
    ++statistics.successful_ticks;
    statistics.consecutive_failures = 0;
    if (periodic() && static_cast<double>(response) * rate.hz <= 1e9) ++statistics.on_time_ticks;
    return;
  }
  if (stop_requested() && is_cancellation(failure)) {
    ++statistics.cancelled_ticks;
    return;
  }
  ++statistics.failed_ticks;
  ++statistics.consecutive_failures;
  report_failure(failure);
}

// The first failure, then at most one line per second: a sensor that is gone must not flood the log.
void NodeRecord::report_failure(const std::exception_ptr& failure) noexcept {
  constexpr std::int64_t kQuiet = 1'000'000'000;
  try {
    std::string line;
    const bool expected = describe_failure(failure, line);
    statistics.last_error = line;
    const std::int64_t now = horus::now_ns();
    if (last_report_ns_ == INT64_MIN || now - last_report_ns_ >= kQuiet) {
      const std::string more =
          unreported_ == 0 ? std::string() : fmt::format(" ({} more since)", unreported_);
      if (expected) {
        log_warning(fmt::format("{}: tick failed: {}{}", node_name_, line, more));
      } else {
        log_error(fmt::format("{}: tick threw an exception: {}{}", node_name_, line, more));
      }
      last_report_ns_ = now;
      unreported_ = 0;
    } else {
      ++unreported_;
    }
    node->on_error(failure);
  } catch (const std::exception& error) {
    log_error(fmt::format("{}: on_error threw: {}", node_name_, error.what()));
  } catch (...) {
    log_error(node_name_ + ": on_error threw");
  }
}

bool describe_failure(const std::exception_ptr& failure, std::string& line) {
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    line = error.message();
    return true;
  } catch (const std::exception& error) {
    line = error.what();
  } catch (...) {
    line = "an exception that is not a std::exception";
  }
  return false;
}

bool is_cancellation(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    return error.cancelled();
  } catch (...) {
    return false;
  }
}

}  // namespace detail
}  // namespace horus
