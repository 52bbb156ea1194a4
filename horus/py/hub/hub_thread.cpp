// SPDX-License-Identifier: Apache-2.0
#include <horus/py/hub/hub_thread.hpp>

#include <atomic>
#include <csignal>
#include <mutex>
#include <thread>

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <horus/base/clock.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>

namespace horus::python {
namespace {

constexpr Duration kLastMoment = std::chrono::seconds(1);  // at the end: for messages under way
constexpr std::size_t kFewParts = 64;

enum class State { unused, running, ended };

// Never destroyed: daemon threads may look at it until the process is gone.
struct Global {
  std::mutex mutex;
  State state = State::unused;
  HubThread* thread = nullptr;
  std::thread runner;
};
Global& global() {
  static auto* one = new Global();
  return *one;
}

std::atomic<bool> forked{false};
std::atomic<bool> at_end{false};

}  // namespace

bool HubThread::ours() noexcept { return !forked.load(std::memory_order_relaxed); }

bool HubThread::ended() noexcept { return at_end.load(std::memory_order_relaxed); }

void HubThread::check_fork() {
  if (ours()) return;
  throw std::runtime_error(
      "hubs do not survive fork(): make them in the child of a process that has none yet, or start the "
      "child with subprocess, or multiprocessing's \"spawn\"");
}

HubThread& HubThread::get() {
  check_fork();
  Global& all = global();
  const std::lock_guard lock(all.mutex);
  if (all.state == State::ended) throw std::runtime_error("the program ends: its hubs are closed");
  if (all.state == State::unused) {
    // Only now: a child of a process without hubs may have its own.
    static const int once = ::pthread_atfork(nullptr, nullptr, [] { forked.store(true); });
    static_cast<void>(once);
    auto thread = std::unique_ptr<HubThread>(new HubThread());
    thread->start();
    all.thread = thread.release();
    all.state = State::running;
  }
  return *all.thread;
}

HubThread& HubThread::get_running() noexcept { return *global().thread; }

void HubThread::start() {
  std::promise<void> started;
  auto ready = started.get_future();
  // Signals are for the threads that run Python.
  sigset_t every, before;
  ::sigfillset(&every);
  ::pthread_sigmask(SIG_SETMASK, &every, &before);
  global().runner = std::thread([this, &started] {
    ::pthread_setname_np(::pthread_self(), "horus-msg");
    std::unique_ptr<io::Reactor> reactor;
    try {
      reactor = std::make_unique<io::Reactor>();
      waker_ = reactor->waker();
    } catch (...) {
      return started.set_exception(std::current_exception());
    }
    started.set_value();
    reactor->run();
  });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  try {
    ready.get();
  } catch (...) {
    global().runner.join();
    throw;
  }
}

void HubThread::keep(const std::shared_ptr<HubPart>& part) {
  if (parts_.size() >= kFewParts && parts_.size() == parts_.capacity())
    std::erase_if(parts_, [](const auto& other) { return other.expired(); });
  parts_.push_back(part);
}

void HubThread::linger_for(std::vector<std::shared_ptr<msg::Transport>> transports) {
  std::erase_if(lingering_, [](const auto& other) { return !other->alive(); });
  for (auto& transport : transports) lingering_.push_back(std::move(transport));
}

Task<> HubThread::finish() {
  for (const auto& weak : std::exchange(parts_, {})) {
    if (const auto part = weak.lock()) part->close_here();
  }
  const std::int64_t until = now_ns() + kLastMoment.count();
  while (now_ns() < until) {
    std::erase_if(lingering_, [](const auto& transport) { return !transport->alive(); });
    if (lingering_.empty()) break;
    co_await sleep(std::chrono::milliseconds(1));
  }
  lingering_.clear();
  io::Reactor::current()->stop();
}

void HubThread::end() {
  Global& all = global();
  {
    const std::lock_guard lock(all.mutex);
    if (!ours() || all.state != State::running) return;
    all.state = State::ended;
    at_end.store(true);
  }
  HubThread* self = all.thread;
  {
    const py::gil_scoped_release away;
    self->waker_->hand_over(
        [self] { static_cast<void>(io::Reactor::current()->spawn(self->finish(), "hubs' end")); });
    all.runner.join();
  }
  const std::int64_t until = now_ns() + kLastMoment.count();
  while (Away::count() > 0 && now_ns() < until) {
    const py::gil_scoped_release away;
    ::poll(nullptr, 0, 1);
  }
}

}  // namespace horus::python
