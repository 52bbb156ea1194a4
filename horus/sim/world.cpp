// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/world.hpp>

#include <algorithm>
#include <map>
#include <optional>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>

#include <horus/base/assert.hpp>
#include <horus/io/signals.hpp>
#include <horus/io/time.hpp>
#include <horus/sim/instance.hpp>
#include <horus/sim/timeline.hpp>
#include <horus/task/scope.hpp>

namespace horus::sim {

using detail::Engine;
using detail::Host;
using detail::Instance;

namespace {

constexpr Duration kEndLimit = std::chrono::seconds(60);  // for processes that were asked to stop
constexpr std::uint64_t kMostTurnsAtOnce = 100'000;       // of one process without time passing

std::string seconds_of(Duration time) {
  return fmt::format("{:.6f} s", static_cast<double>(time.count()) / 1e9);
}

Task<> play(const Conversation& conversation, io::TcpStream stream) {
  try {
    auto playing = conversation(std::move(stream));
    co_await playing;
  } catch (const Error&) {
    // Its peer is gone, or the world ends.
  }
}

Task<int> serve(std::string address, const Conversation& conversation) {
  auto listener = io::TcpListener::listen(address).or_throw();
  Scope scope(address);
  while (true) {
    auto accepting = listener.accept();
    auto stream = co_await accepting;
    if (!stream) break;
    static_cast<void>(scope.spawn(play(conversation, *std::move(stream)), address));
  }
  scope.cancel();
  co_await scope.join();
  co_return 0;
}

}  // namespace

Conversation repeat_lines(std::vector<std::string> lines, Duration interval) {
  return [lines = std::move(lines), interval](io::TcpStream stream) -> Task<> {
    return [](std::vector<std::string> what, Duration pause, io::TcpStream to) -> Task<> {
      while (true) {
        for (const std::string& line : what) {
          auto writing = to.write_all(line + "\n");
          auto written = co_await writing;
          if (!written) co_return;
          co_await sleep(pause);
        }
      }
    }(lines, interval, std::move(stream));
  };
}

// --- World ------------------------------------------------------------------------------------------------------------

struct World::State {
  struct Process {
    std::string name;
    std::function<Task<int>()> main;
    Host* host = nullptr;
    std::shared_ptr<std::string> output = std::make_shared<std::string>();
    bool peer = false;
    Instance* life = nullptr;  // the last one
    bool told = false;         // its end has been looked at
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
      lives.push_back(std::make_unique<Instance>(engine, lives.size() + 1, child, costs));
      running.push_back(lives.back().get());
      lives.back()->start(program);
    };
    engine.processes().on_kill = [this](detail::SimProcess& process) { killed(process); };
    engine.processes().on_frozen = [this](detail::SimProcess& process) {
      if (Instance* life = life_of(process)) life->wake();
    };
  }

  [[nodiscard]] Duration now() const noexcept { return Duration(engine.now() - begin); }
  void fail(std::string what);
  Process& find(const std::string& name);
  Host& host_named(const std::string& name);
  [[nodiscard]] Instance* life_of(const detail::SimProcess& process) noexcept;
  [[nodiscard]] std::vector<detail::SimProcess*> running_as(const std::string& name);
  void start(Process& process);
  void killed(detail::SimProcess& process);
  bool kill(Process& process);
  void check_ends();
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
  Engine engine;
  std::int64_t begin;
  std::vector<unsigned> without;  // numbers of swarm's choices
  Report report;
  Timeline timeline;
  std::vector<std::unique_ptr<Process>> processes;
  std::vector<std::unique_ptr<Instance>> lives;
  std::vector<Instance*> running;
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
};

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
  lives.push_back(std::make_unique<Instance>(engine, lives.size() + 1, record, costs));
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
    if (life->leaked_descriptors() > 0) {
      fail(fmt::format("{} left {} descriptors open", process->name, life->leaked_descriptors()));
    }
    for (const std::string& child : life->left_children())
      fail(fmt::format("{} left its child {} running", process->name, child));
  }
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

World::World(std::uint64_t seed, std::vector<unsigned> without)
    : state_(std::make_unique<State>(seed, std::move(without))) {}
World::~World() {
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

World& World::tcp_peer(std::string address, Conversation conversation) {
  const auto parsed = io::Address::parse(address);
  if (!parsed || !parsed->is_ip() || parsed->port() == 0 || !conversation) {
    throw std::invalid_argument(fmt::format("\"{}\" is not an address with a port for a peer", address));
  }
  auto playing = std::make_shared<Conversation>(std::move(conversation));
  process(address, [address, playing] { return serve(address, *playing); }, parsed->host());
  state_->processes.back()->peer = true;
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

World& World::cost(std::string node, Distribution time) {
  state_->costs.insert_or_assign(std::move(node), time);
  return *this;
}
World& World::faults(const Faults& faults) {
  state_->engine.faults() = faults;
  return *this;
}
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
World& World::always(std::string name, std::function<bool()> holds) {
  state_->promises.push_back({std::move(name), std::move(holds), std::nullopt});
  return *this;
}
World& World::eventually(std::string name, std::function<bool()> holds, Duration within) {
  state_->promises.push_back({std::move(name), std::move(holds), within});
  return *this;
}

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

const Report& World::run_for(Duration length) {
  State& state = *state_;
  if (state.ran) throw std::logic_error("a simulated world runs once");
  HORUS_ASSERT(io::Reactor::current() == nullptr, "a simulated world runs on a thread without a reactor");
  state.ran = true;
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
  const std::string* contents = state_->host_named(host).disk.contents(path);
  if (contents == nullptr) return std::nullopt;
  return *contents;
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

std::string Report::to_string() const {
  std::string text = fmt::format("seed {}: {}", seed, passed ? "passed" : "FAILED " + failure);
  text += fmt::format("\n  {} simulated in {} ({:.0f} times as fast), {} turns, trace {:016x}",
                      seconds_of(virtual_time), seconds_of(real_time), speed(), turns, trace_hash);
  for (const std::string& one : faults) text += "\n  " + one;
  if (faults_fired > faults.size()) text += fmt::format("\n  and {} more", faults_fired - faults.size());
  return text;
}

}  // namespace horus::sim
