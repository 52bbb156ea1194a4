// SPDX-License-Identifier: Apache-2.0
// One life of a simulated process: its reactor over a simulated kernel, its main task, its end.
// One thread, the world's. Owned by the World.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <horus/io/reactor.hpp>
#include <horus/sim/kernel/sim_backend.hpp>
#include <horus/task/scope.hpp>

namespace horus::HORUS_ABI::sim::detail {

/// One life of a process.
class Instance final : public Context {
 public:
  enum class State : std::uint8_t { running, stopping, ended };

  /// `process`: itself in the table of processes, which gives its name, its host and its standard streams.
  Instance(Engine& engine, std::uint64_t number, SimProcess& process,
           const std::map<std::string, Distribution, std::less<>>& costs,
           const std::function<io::Backend(io::Backend)>& wrap = {});
  /// Only when it has ended.
  ~Instance();

  /// Starts `main`; what it needs must live until the instance has ended.
  void start(const std::function<Task<int>()>& main);
  /// The same for a program that another process has started.
  void start(const Program& program);
  /// One turn of its loop.
  void turn();
  /// Asks the main task to stop.
  void ask_to_stop();
  /// As SIGKILL does, seen from outside: all descriptors close now. Inside, the tasks are asked to stop and everything
  /// they try is refused.
  void kill();
  /// Runs `action` as this process.
  template <class F>
  void as_current(F&& action) {
    const io::CurrentReactor current(reactor_.get());
    std::forward<F>(action)();
  }
  void enter(const std::function<void()>& action) override { as_current(action); }

  [[nodiscard]] bool ended() const noexcept { return state_ == State::ended; }
  [[nodiscard]] bool killed() const noexcept { return killed_; }
  /// Somebody's child: not under test.
  [[nodiscard]] bool is_child() const noexcept { return child_; }
  [[nodiscard]] const SimProcess& record() const noexcept { return *process_; }
  [[nodiscard]] bool has_work() noexcept;
  /// It has operations in flight.
  [[nodiscard]] bool waits_for_input() const noexcept { return reactor_->statistics().in_flight > 0; }
  /// When it has something to do without being woken; kNever.
  [[nodiscard]] std::int64_t wake_time() noexcept;
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  /// Where a timeline shows it: the lives of a program share a lane.
  [[nodiscard]] const std::string& lane() const noexcept { return child_ ? process_->program : name_; }
  [[nodiscard]] SimProvider& kernel() noexcept { return ring_->kernel(); }
  [[nodiscard]] std::int64_t busy_until() const noexcept { return busy_until_; }
  [[nodiscard]] int exit_code() const noexcept { return exit_code_; }
  /// What the main task threw, or failed with.
  [[nodiscard]] const std::string& failure() const noexcept { return failure_; }
  /// Children that ran when it ended by itself.
  [[nodiscard]] const std::vector<std::string>& left_children() const noexcept { return left_children_; }
  /// Ends what SIGSTOP began.
  void thaw();

 private:
  void end();

  const std::string name_;
  const bool child_;
  SimRing* ring_ = nullptr;  // the reactor's
  std::unique_ptr<io::Reactor> reactor_;
  std::unique_ptr<Scope> scope_;
  Spawned<int> main_;
  State state_ = State::running;
  bool killed_ = false;
  int exit_code_ = 0;
  std::string failure_;
  std::vector<std::string> left_children_;
};

}  // namespace horus::HORUS_ABI::sim::detail
