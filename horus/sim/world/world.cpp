// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/world.hpp>

#include <optional>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include <horus/base/assert.hpp>
#include <horus/base/log.hpp>
#include <horus/sim/world/world_state.hpp>

namespace horus::HORUS_ABI::sim {

using detail::Instance;

World::World(std::uint64_t seed, std::vector<unsigned> without)
    : state_(std::make_unique<State>(seed, std::move(without))) {}
World::~World() {
  const horus::detail::LogAtOnce in_order;
  for (const auto& life : state_->lives) {
    HORUS_ASSERT(life->ended() || !state_->failure.empty(), "a simulated world died while it ran");
    if (!life->ended()) static_cast<void>(const_cast<std::unique_ptr<Instance>&>(life).release());
  }
}

World& World::process(std::string name, std::function<Task<int>()> main, std::string address) {
  if (name.empty() || !main) throw std::invalid_argument("a simulated process needs a name and a main task");
  for (const auto& other : state_->processes) {
    if (other->name == name)
      throw std::invalid_argument(fmt::format("the simulated world has a process \"{}\" already", name));
  }
  if (address.empty()) address = fmt::format("10.0.1.{}", state_->processes.size() + 1);
  if (!io::Address::ip(address, 0)) {
    throw std::invalid_argument(fmt::format("\"{}\" is not a numeric address without a port", address));
  }
  auto process = std::make_unique<State::Process>();
  process->name = std::move(name);
  process->main = std::move(main);
  process->host = &state_->engine.host(address);
  state_->engine.add_name(process->name, address);
  state_->processes.push_back(std::move(process));
  return *this;
}

World& World::program(const std::string& path, Program play) {
  if (!path.starts_with('/') || !play)
    throw std::invalid_argument(fmt::format("\"{}\" is not the absolute path of a program", path));
  state_->engine.processes().add_program(path, std::move(play));
  return *this;
}
World& World::name(const std::string& name, const std::string& address) {
  if (name.empty() || !io::Address::ip(address, 0))
    throw std::invalid_argument(fmt::format("\"{}\" needs a numeric address, not \"{}\"", name, address));
  state_->engine.add_name(name, address);
  return *this;
}
std::string World::output(const std::string& process) const { return *state_->find(process).output; }
World& World::backend(const std::string& process, BackendWrap wrap) {
  state_->find(process).wrap = std::move(wrap);
  return *this;
}

World& World::cost(std::string node, Distribution time) {
  state_->costs.insert_or_assign(std::move(node), time);
  return *this;
}
World& World::faults(const Faults& faults) {
  state_->engine.faults() = faults;
  return *this;
}
World& World::always(std::string name, std::function<bool()> holds) {
  state_->promises.push_back({std::move(name), std::move(holds), std::nullopt});
  return *this;
}
World& World::eventually(std::string name, std::function<bool()> holds, Duration within) {
  state_->promises.push_back({std::move(name), std::move(holds), within});
  return *this;
}

const Report& World::run_for(Duration length) {
  State& state = *state_;
  if (state.ran) throw std::logic_error("a simulated world runs once");
  HORUS_ASSERT(io::Reactor::current() == nullptr, "a simulated world runs on a thread without a reactor");
  state.ran = true;
  const horus::detail::LogAtOnce in_order;
  const std::int64_t started = monotonic_ns();
  const std::int64_t frames = live_frames();
  for (const auto& process : state.processes) state.start(*process);
  state.run_until(saturating_add(state.begin, length.count()));
  const Duration lasted = now();
  state.finish();
  if (state.failure.empty() && live_frames() != frames) {
    state.fail(fmt::format("{} coroutine frames are still alive", live_frames() - frames));
  }
  Report& report = state.report;
  report.passed = state.failure.empty();
  report.failure = state.failure;
  report.trace_hash = state.engine.trace_hash();
  report.virtual_time = lasted;
  report.real_time = Duration(monotonic_ns() - started);
  report.turns = state.turns;
  report.faults_fired = state.engine.faults_fired();
  report.faults = state.engine.fired();
  report.oddities = state.engine.oddities();
  return report;
}

const Report& World::report() const noexcept { return state_->report; }
World& World::record_timeline() {
  state_->recording = true;
  return *this;
}
bool World::write_timeline(const std::string& path) const {
  return state_->timeline.write(path, state_->report.virtual_time, state_->report.to_string());
}
Duration World::now() const noexcept { return state_->now(); }
std::int64_t World::now_ns() const noexcept { return state_->engine.now(); }
std::optional<std::string> World::file(const std::string& host, const std::string& path) {
  return state_->host_named(host).disk.contents(path);
}
World& World::file(const std::string& host, const std::string& path, const std::string& contents) {
  const int result = state_->host_named(host).disk.put(path, contents);
  if (result < 0) {
    throw std::invalid_argument(
        fmt::format("{} cannot be put on {}: {}", path, host, describe_code(-result)));
  }
  return *this;
}
Random& World::random() noexcept { return state_->engine.random(); }
std::uint64_t World::seed() const noexcept { return state_->seed; }

}  // namespace horus::HORUS_ABI::sim
