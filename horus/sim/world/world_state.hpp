// SPDX-License-Identifier: Apache-2.0
// What a World is made of: its processes, their lives, its promises, and how a run goes on. Internal; one thread, the
// world's.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <horus/sim/world.hpp>
#include <horus/sim/world/instance.hpp>
#include <horus/sim/world/timeline.hpp>

namespace horus::HORUS_ABI::sim {

namespace detail {
/// "1.500000 s".
[[nodiscard]] std::string seconds_of(Duration time);
}  // namespace detail

struct World::State {
  struct Process {
    std::string name;
    std::function<Task<int>()> main;
    BackendWrap wrap;
    detail::Host* host = nullptr;
    std::shared_ptr<std::string> output = std::make_shared<std::string>();
    bool peer = false;
    detail::Instance* life = nullptr;  // the last one
    bool told = false;                 // its end has been looked at
  };
  struct Promise {
    std::string name;
    std::function<bool()> holds;
    std::optional<Duration> within;  // none: always
    std::int64_t false_for_ns = 0;
  };

  State(std::uint64_t number, std::vector<unsigned> left_out)
      : seed(number), engine(number), begin(engine.now()), without(std::move(left_out)) {
    report.seed = number;
    engine.processes().on_start = [this](detail::SimProcess& child, const Program& program) {
      lives.push_back(std::make_unique<detail::Instance>(engine, lives.size() + 1, child, costs));
      running.push_back(lives.back().get());
      lives.back()->start(program);
    };
    engine.processes().on_kill = [this](detail::SimProcess& process) { killed(process); };
    engine.processes().on_frozen = [this](detail::SimProcess& process) {
      if (detail::Instance* life = life_of(process)) life->wake();
    };
  }

  [[nodiscard]] Duration now() const noexcept { return Duration(engine.now() - begin); }
  void fail(std::string what);
  Process& find(const std::string& name);
  detail::Host& host_named(const std::string& name);
  [[nodiscard]] detail::Instance* life_of(const detail::SimProcess& process) noexcept;
  [[nodiscard]] std::vector<detail::SimProcess*> running_as(const std::string& name);
  void start(Process& process);
  void killed(detail::SimProcess& process);
  bool kill(Process& process);
  void check_ends();
  void check_seam();
  void pass_time(std::int64_t until_ns);
  void check_promises(std::int64_t calm_ns);
  bool step(std::int64_t until_ns);
  void run_until(std::int64_t until_ns);
  void finish();
  [[nodiscard]] std::string waiting() const;
  // Peers wait for ever: a world in which only they are left has ended.
  [[nodiscard]] bool anybody_left() const noexcept {
    return std::any_of(processes.begin(), processes.end(), [](const auto& process) {
      return !process->peer && process->life != nullptr && !process->life->ended();
    });
  }
  [[nodiscard]] bool restarts_to_come() const noexcept {
    return engine.next_event() != kNever && disturbances > 0;
  }

  std::uint64_t seed;
  detail::Engine engine;
  std::int64_t begin;
  std::vector<unsigned> without;  // numbers of swarm's choices
  Report report;
  Timeline timeline;
  std::vector<std::unique_ptr<Process>> processes;
  std::vector<std::unique_ptr<detail::Instance>> lives;
  std::vector<detail::Instance*> running;
  std::map<std::string, Distribution, std::less<>> costs;
  std::vector<Promise> promises;
  int disturbances = 0;  // partitions and dead processes at this time
  std::uint64_t turns = 0;
  std::uint64_t turns_at_once = 0;
  std::string failure;
  bool recording = false;
  bool ran = false;
  bool ending = false;
  bool ending_children = false;
  bool seam_told = false;
};

}  // namespace horus::HORUS_ABI::sim
