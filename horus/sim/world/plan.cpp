// SPDX-License-Identifier: Apache-2.0
// What a scenario plans for certain times: World::at.
#include <stdexcept>
#include <string>
#include <utility>

#include <fmt/format.h>

#include <horus/io/signals.hpp>
#include <horus/sim/world/world_state.hpp>

namespace horus::HORUS_ABI::sim {

using detail::Host;
using detail::Instance;
using detail::seconds_of;

World::At World::at(Duration time) {
  if (time < Duration::zero() || time < now()) {
    throw std::invalid_argument(fmt::format("{} has passed in the simulated world", seconds_of(time)));
  }
  return {*this, time};
}

World::At& World::At::call(std::function<void()> action) {
  State& state = *world_.state_;
  state.engine.at(saturating_add(state.begin, time_.count()), std::move(action));
  return *this;
}
World::At& World::At::partition(std::string one, std::string other, Duration length) {
  State* state = world_.state_.get();
  return call([state, one, other, length] {
    const std::int64_t until = saturating_add(state->engine.now(), length.count());
    state->engine.partition(state->host_named(one), state->host_named(other), until);
    state->engine.fault(fmt::format("partition between {} and {} for {}", one, other, seconds_of(length)));
    ++state->disturbances;
    state->timeline.fault(fmt::format("partition {} | {}", one, other), state->now().count(),
                          until - state->begin);
    state->engine.at(until, [state] { --state->disturbances; });
  });
}
World::At& World::At::reset(std::string one, std::string other) {
  State* state = world_.state_.get();
  return call([state, one, other] {
    const std::size_t broken =
        state->engine.reset_connections(state->host_named(one), state->host_named(other));
    state->engine.fault(fmt::format("reset of {} connections between {} and {}", broken, one, other));
    state->timeline.fault(fmt::format("reset {} | {}", one, other), state->now().count(),
                          state->now().count());
  });
}
World::At& World::At::kill(std::string name) {
  State* state = world_.state_.get();
  return call([state, name] {
    if (!state->kill(state->find(name))) return;
    state->engine.fault("kill of " + name);
    state->timeline.fault("kill " + name, state->now().count(), state->now().count());
  });
}
World::At& World::At::signal(std::string name, int number) {
  State* state = world_.state_.get();
  return call([state, name, number] {
    for (detail::SimProcess* process : state->running_as(name)) {
      state->engine.fault(fmt::format("{} for {}", io::signal_name(number), process->name));
      state->timeline.fault(io::signal_name(number) + " " + name, state->now().count(), state->now().count());
      state->engine.processes().deliver(*process, number, nullptr, nullptr);
    }
  });
}
World::At& World::At::cut_power(std::string name) {
  State* state = world_.state_.get();
  return call([state, name] {
    Host& host = state->host_named(name);
    for (const auto& process : state->processes) {
      if (process->host == &host) state->kill(*process);
    }
    for (detail::SimProcess* process : state->engine.processes().all()) {
      if (&process->host == &host) state->engine.processes().deliver(*process, SIGKILL, nullptr, nullptr);
    }
    host.disk.cut_power(state->engine.fault_random());
    state->engine.fault("power cut of " + name);
    state->timeline.fault("power cut " + name, state->now().count(), state->now().count());
  });
}
World::At& World::At::restart(std::string name) {
  State* state = world_.state_.get();
  return call([state, name] {
    State::Process& process = state->find(name);
    if (process.life != nullptr && !process.life->ended() && !process.life->killed()) return;
    if (process.life != nullptr && process.life->killed()) --state->disturbances;
    state->start(process);
  });
}
World::At& World::At::stop(std::string name) {
  State* state = world_.state_.get();
  return call([state, name] {
    if (Instance* life = state->find(name).life) life->ask_to_stop();
  });
}
World::At& World::At::faults(const Faults& faults) {
  State* state = world_.state_.get();
  return call([state, faults] { state->engine.faults() = faults; });
}

}  // namespace horus::HORUS_ABI::sim
