// SPDX-License-Identifier: Apache-2.0
// How a run goes on, step by step, and how it ends.
#include <algorithm>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include <horus/sim/world/world_state.hpp>
#include <horus/task/scope.hpp>

namespace horus::HORUS_ABI::sim {

using detail::Host;
using detail::Instance;
using detail::seconds_of;

namespace {

constexpr Duration kEndLimit = std::chrono::seconds(60);  // for processes that were asked to stop
constexpr std::uint64_t kMostTurnsAtOnce = 100'000;       // of one process without time passing

}  // namespace

void World::State::fail(std::string what) {
  if (failure.empty()) timeline.failed(engine.now() - begin);
  if (failure.empty()) failure = fmt::format("at {}: {}", seconds_of(now()), what);
}

World::State::Process& World::State::find(const std::string& name) {
  for (const auto& process : processes) {
    if (process->name == name) return *process;
  }
  throw std::invalid_argument(fmt::format("the simulated world has no process \"{}\"", name));
}

Host& World::State::host_named(const std::string& name) {
  for (const auto& process : processes) {
    if (process->name == name) return *process->host;
  }
  if (Host* host = engine.find_host(name)) return *host;
  throw std::invalid_argument(fmt::format("the simulated world has no process or host \"{}\"", name));
}

Instance* World::State::life_of(const detail::SimProcess& process) noexcept {
  for (Instance* life : running) {
    if (&life->record() == &process) return life;
  }
  return nullptr;
}

// A process, or all who run a program.
std::vector<detail::SimProcess*> World::State::running_as(const std::string& name) {
  std::vector<detail::SimProcess*> found;
  const bool program = engine.processes().has_program(name);
  if (!program) static_cast<void>(find(name));
  for (detail::SimProcess* process : engine.processes().all()) {
    const bool meant = program ? process->program == name : process->parent == 0 && process->name == name;
    if (meant && !process->ended) found.push_back(process);
  }
  return found;
}

// By a signal, or by its own wish to end at once.
void World::State::killed(detail::SimProcess& ended) {
  for (const auto& process : processes) {
    const bool its = process->life != nullptr && &process->life->record() == &ended;
    if (!its) continue;
    if (ended.how == CLD_EXITED && ended.code != 0)
      fail(fmt::format("{} ended at once with {}", process->name, ended.code));
    static_cast<void>(kill(*process));
    return;
  }
  if (Instance* life = life_of(ended)) life->kill();
}

bool World::State::kill(Process& process) {
  if (process.life == nullptr || process.life->ended() || process.life->killed()) return false;
  process.life->kill();
  ++disturbances;
  return true;
}

void World::State::start(Process& process) {
  detail::SimProcess& record = engine.processes().add(*process.host, process.name);
  process.output->clear();
  for (const std::size_t stream : {1U, 2U})
    record.standard[stream] = detail::Held(detail::make_console(engine, process.output));
  lives.push_back(std::make_unique<Instance>(engine, lives.size() + 1, record, costs, process.wrap));
  process.life = lives.back().get();
  process.told = false;
  running.push_back(process.life);
  process.life->start(process.main);
}

void World::State::check_ends() {
  for (const auto& process : processes) {
    Instance* life = process->life;
    if (life == nullptr || process->told || !life->ended()) continue;
    process->told = true;
    if (life->killed() || process->peer) continue;
    if (life->exit_code() != 0) {
      const std::string why = life->failure().empty() ? "" : ": " + life->failure();
      fail(fmt::format("{} ended with {}{}", process->name, life->exit_code(), why));
    }
    if (life->leaked() > 0) {
      fail(fmt::format("{} left {} descriptors open", process->name, life->leaked()));
    }
    for (const std::string& child : life->left_children())
      fail(fmt::format("{} left its child {} running", process->name, child));
  }
}

// What is wrong at the seam is told even when it shows only while everything ends.
void World::State::check_seam() {
  if (engine.violation().empty() || seam_told) return;
  seam_told = true;
  fail(engine.violation());
}

// `calm_ns`: time that has passed since the last look without a disturbance; negative: with one.
void World::State::check_promises(std::int64_t calm_ns) {
  for (Promise& promise : promises) {
    if (promise.holds()) {
      promise.false_for_ns = 0;
      continue;
    }
    if (!promise.within) {
      fail(fmt::format("\"{}\" does not hold", promise.name));
      continue;
    }
    promise.false_for_ns = calm_ns < 0 ? 0 : promise.false_for_ns + calm_ns;
    if (promise.false_for_ns > promise.within->count()) {
      fail(fmt::format("\"{}\" has not held for {}", promise.name, seconds_of(*promise.within)));
    }
  }
}

std::string World::State::waiting() const {
  std::string text;
  for (Instance* life : running) {
    life->as_current([&] { text += fmt::format("\n{}:\n{}", life->name(), dump_tasks()); });
  }
  return text;
}

// One turn of one process, or the next moment at which something happens. False: nothing ever will, up to `until_ns`.
bool World::State::step(std::int64_t until_ns) {
  std::erase_if(running, [](const Instance* life) { return life->ended(); });
  const std::int64_t now = engine.now();
  std::int64_t next = engine.next_event();
  std::size_t able = 0;
  Instance* chosen = nullptr;
  for (Instance* life : running) {
    const std::int64_t due = life->has_work() ? life->busy_until() : life->wake_time();
    if (due > now) {
      next = std::min(next, due);
      continue;
    }
    // Whose turn it is is the seed's choice: each of the n that can run, with equal chance.
    ++able;
    if (able == 1 || engine.random().below(able) == 0) chosen = life;
  }
  if (chosen != nullptr) {
    ++turns;
    if (++turns_at_once > kMostTurnsAtOnce) {
      fail(fmt::format("{} goes round and round without time passing:{}", chosen->name(), waiting()));
      return false;
    }
    if (recording) timeline.active(chosen->lane(), engine.now() - begin);
    chosen->turn();
    check_ends();
    check_seam();
    check_promises(disturbances == 0 ? 0 : -1);
    return true;
  }
  if (next > until_ns) {
    if (next == kNever) {
      // Who waits for input may wait for ever; who waits for nothing outside itself should not.
      for (const Instance* life : running) {
        if (!life->waits_for_input())
          fail(fmt::format("deadlock of {}: nothing can ever wake it:{}", life->name(), waiting()));
      }
    }
    if (until_ns > now && !running.empty()) {
      pass_time(until_ns);
    }
    return false;
  }
  turns_at_once = 0;
  pass_time(next);
  return true;
}

void World::State::pass_time(std::int64_t until_ns) {
  const std::int64_t passed = disturbances == 0 ? until_ns - engine.now() : -1;
  engine.advance(until_ns);
  check_promises(passed);
}

void World::State::run_until(std::int64_t until_ns) {
  const auto goes_on = [this] {
    if (ending) {
      return std::any_of(running.begin(), running.end(), [this](const Instance* life) {
        return !life->ended() && (ending_children || !life->is_child());
      });
    }
    return failure.empty() && (anybody_left() || restarts_to_come());
  };
  while (goes_on() && step(until_ns)) {
  }
}

// Everything ends in an orderly way, whatever was found before: coroutines must not be torn down while they wait.
void World::State::finish() {
  const std::string found = std::exchange(failure, {});
  promises.clear();
  ending = true;
  turns_at_once = 0;
  engine.faults() = engine.faults().healed();
  // Children are their parents' business; who is left without one is killed.
  for (Instance* life : running) {
    life->thaw();
    if (!life->is_child()) life->ask_to_stop();
  }
  run_until(engine.now() + kEndLimit.count());
  ending_children = true;
  for (Instance* life : running) {
    if (life->is_child()) life->kill();
  }
  run_until(engine.now() + kEndLimit.count());
  std::erase_if(running, [](const Instance* life) { return life->ended(); });
  if (!running.empty() && failure.empty()) {
    fail(fmt::format("processes did not end within {} of being asked to stop:{}", seconds_of(kEndLimit),
                     waiting()));
  }
  if (!found.empty()) failure = found;
}

}  // namespace horus::HORUS_ABI::sim
