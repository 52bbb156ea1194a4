// SPDX-License-Identifier: Apache-2.0
// Chaos, as the seed chooses it. Each random number is a statement of its own, and each choice keeps its number: both are
// what makes a seed the same everywhere.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <horus/sim/world/world_state.hpp>

namespace horus::HORUS_ABI::sim {

using detail::seconds_of;

World& World::swarm(Duration until, std::vector<std::string> kills) {
  State& state = *state_;
  Random chance = state.engine.random().derived("swarm");
  const auto chosen = [&state](std::string what) {
    const auto number = static_cast<unsigned>(state.report.swarm.size());
    state.report.swarm.push_back(std::move(what));
    return std::find(state.without.begin(), state.without.end(), number) == state.without.end();
  };

  const Faults drawn = Faults::swarm(chance);
  Faults small = state.engine.faults();
  const auto choose = [&](const char* name, unsigned Faults::* rate) {
    if (drawn.*rate > 0 && chosen(fmt::format("{} {} times per thousand", name, drawn.*rate)))
      small.*rate = drawn.*rate;
  };
  choose("short transfers", &Faults::short_transfer);
  choose("early returns", &Faults::early_return);
  choose("datagrams lost", &Faults::datagram_loss);
  choose("datagrams twice", &Faults::datagram_duplicate);
  choose("datagrams late", &Faults::datagram_late);
  choose("segments lost once", &Faults::slow_segment);
  choose("disk errors", &Faults::disk_error);
  choose("disk full", &Faults::disk_full);
  choose("children not started", &Faults::spawn_failure);
  choose("children started late", &Faults::slow_start);
  choose("children killed", &Faults::child_death);
  choose("completions in another order", &Faults::completions_mixed);
  choose("completions late", &Faults::completion_late);
  choose("cancellations too late", &Faults::cancel_late);
  choose("multishots ended", &Faults::multishot_end);
  choose("no provided buffers", &Faults::no_buffers);
  choose("ready tasks in another order", &Faults::ready_mixed);
  const Faults kind = small.healed();
  state.engine.faults() = small;
  at(until).faults(kind);

  // Between any two hosts, and of any process that may be killed; over before `until`.
  const auto moment = [&](Duration latest) { return chance.between(Duration::zero(), latest); };
  std::vector<std::string> hosts;
  for (const auto& process : state.processes) {
    if (std::find(hosts.begin(), hosts.end(), process->host->address) == hosts.end())
      hosts.push_back(process->host->address);
  }
  const std::uint64_t events = hosts.size() < 2 ? 0 : chance.below(6);
  for (std::uint64_t i = 0; i < events; ++i) {
    const std::uint64_t first = chance.below(hosts.size());
    const std::uint64_t further = chance.below(hosts.size() - 1) + 1;
    const std::string& one = hosts[static_cast<std::size_t>(first)];
    const std::string& other = hosts[static_cast<std::size_t>((first + further) % hosts.size())];
    const Duration when = moment(until);
    const Duration length = chance.between(std::chrono::milliseconds(1), until - when);
    if (chance.chance(1, 2)) {
      if (chosen(fmt::format("reset between {} and {} at {}", one, other, seconds_of(when))))
        at(when).reset(one, other);
    } else {
      if (chosen(fmt::format("partition between {} and {} at {} for {}", one, other, seconds_of(when),
                             seconds_of(length))))
        at(when).partition(one, other, length);
    }
  }
  for (const std::string& name : kills) {
    const bool program = state.engine.processes().has_program(name);
    if (!program) static_cast<void>(state.find(name));
    const bool killed = chance.chance(1, 2);
    const Duration when = moment(until);
    const Duration again = chance.between(when, until);
    if (killed && program) {
      if (chosen(fmt::format("kill of {} at {}", name, seconds_of(when)))) at(when).signal(name, SIGKILL);
    } else if (killed && chosen(fmt::format("kill of {} at {}, again at {}", name, seconds_of(when),
                                            seconds_of(again)))) {
      at(when).kill(name);
      at(again).restart(name);
    }
  }
  return *this;
}

}  // namespace horus::HORUS_ABI::sim
