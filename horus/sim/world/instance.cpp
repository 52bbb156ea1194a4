// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/world/instance.hpp>

#include <utility>

#include <horus/io/descriptor.hpp>
#include <horus/io/pipe.hpp>
#include <horus/sim/kernel/process_backend.hpp>
#include <horus/sim/program.hpp>

namespace horus::HORUS_ABI::sim::detail {

Instance::Instance(Engine& engine, std::uint64_t number, SimProcess& process,
                   const std::map<std::string, Distribution, std::less<>>& costs,
                   const std::function<io::Backend(io::Backend)>& wrap)
    : Context(engine, number, process.host, costs), name_(process.name), child_(process.parent != 0) {
  process_ = &process;
  io::ReactorConfig config;
  config.submission_entries = 64;
  config.completion_entries = 256;
  auto ring = std::make_shared<SimRing>(engine, *this, config);
  ring_ = ring.get();
  io::Backend seen = sim_backend(std::move(ring), engine, *this);
  if (wrap) seen = wrap(std::move(seen));
  io::Backend checked = process_backend(std::move(seen), engine, *this, ring_->kernel(), name_);
  const io::CurrentReactor nobody(nullptr);
  for (std::size_t i = 0; i < process.standard.size(); ++i) {
    Held& stream = process.standard[i];
    if (stream.object()) kernel().install(static_cast<int>(i), stream.object());
    stream.reset();
  }
  reactor_ = std::make_unique<io::Reactor>(std::move(checked), config);
}

void Instance::start(const std::function<Task<int>()>& main) {
  as_current([&] {
    scope_ = std::make_unique<Scope>(name_);
    main_ = scope_->spawn(main(), name_);
  });
  wake();
}

namespace {

Launch launch_of(const SimProcess& process) {
  Launch launch;
  launch.arguments = process.arguments;
  launch.directory = process.directory;
  for (const std::string& variable : process.environment) {
    const std::size_t equals = variable.find('=');
    launch.environment[variable.substr(0, equals)] = variable.substr(equals + 1);
  }
  return launch;
}

// The descriptors 0, 1 and 2 belong to the streams; a closed one gives a closed stream.
io::Descriptor standard(SimProvider& kernel, int fd) {
  return kernel.find(fd) == nullptr ? io::Descriptor() : io::Descriptor(fd);
}

}  // namespace

void Instance::start(const Program& program) {
  as_current([&] {
    Launch launch = launch_of(*process_);
    launch.in = io::PipeReader(standard(kernel(), 0), "standard input");
    launch.out = io::PipeWriter(standard(kernel(), 1), "standard output");
    launch.err = io::PipeWriter(standard(kernel(), 2), "standard error");
    scope_ = std::make_unique<Scope>(name_);
    main_ = scope_->spawn(program(std::move(launch)), name_);
  });
  wake();
}

bool Instance::has_work() noexcept {
  if (process_->frozen && !killed_) return false;
  return state_ != State::ended && (woken_ || reactor_->has_work() || kernel().has_candidates());
}

std::int64_t Instance::wake_time() noexcept {
  if (state_ == State::ended || (process_->frozen && !killed_)) return kNever;
  const std::int64_t deadline = reactor_->next_deadline();
  return deadline == kNever ? kNever : std::max(deadline, busy_until_);
}

void Instance::turn() {
  if (state_ == State::ended) return;
  woken_ = false;
  as_current([&] {
    const std::size_t resumed = reactor_->run_once();
    const Faults& faults = engine_.faults();
    if (resumed > 0) spend(faults.turn_cost + static_cast<std::int64_t>(resumed) * faults.resume_cost);
    engine_.trace(Trace::turn, number_, resumed);
  });
  if (main_.done() && state_ != State::ended) {
    if (scope_->running() == 0) {
      end();
    } else {
      as_current([&] { scope_->cancel(); });
    }
  }
}

void Instance::ask_to_stop() {
  if (state_ != State::running) return;
  state_ = State::stopping;
  as_current([&] { scope_->cancel(); });
  wake();
}

void Instance::kill() {
  if (state_ == State::ended) return;
  killed_ = true;
  engine_.processes().end(*process_, CLD_KILLED, SIGKILL);
  kernel().cut_off();
  kernel().close_all();
  state_ = State::running;
  ask_to_stop();
}

void Instance::end() {
  as_current([&] {
    try {
      exit_code_ = main_.take();
    } catch (const Error& error) {
      // Asked to stop, a task may end by the refusal of what it wanted to wait for.
      const bool stopped = state_ == State::stopping && error.cancelled();
      if (!stopped) failure_ = error.what();
      exit_code_ = stopped ? 0 : 1;
    } catch (const std::exception& error) {
      failure_ = error.what();
      exit_code_ = 1;
    }
    scope_.reset();
  });
  kernel().drain();
  {
    const io::CurrentReactor entered(reactor_.get());
    reactor_.reset();
  }
  ring_ = nullptr;
  alive_.reset();
  state_ = State::ended;
  for (const SimProcess* child : engine_.processes().children_of(*process_)) {
    if (!child->ended) left_children_.push_back(child->name);
  }
  engine_.processes().end(*process_, CLD_EXITED, exit_code_ & 0xff);
  engine_.trace(Trace::ended, number_, static_cast<std::uint32_t>(exit_code_));
}

void Instance::thaw() {
  if (process_->frozen) engine_.processes().deliver(*process_, SIGCONT, nullptr, nullptr);
}

Instance::~Instance() = default;

}  // namespace horus::HORUS_ABI::sim::detail
