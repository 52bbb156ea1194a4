// SPDX-License-Identifier: Apache-2.0
// A reactor belongs to its thread, a loop may be run on one and closed on another. Whoever cannot end a reactor leaves it
// here for its thread, which ends it with its next loop; those of threads that are gone stay.
#include <horus/py/loop/loop_reactor.hpp>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include <pthread.h>
#include <unistd.h>

#include <horus/base/error.hpp>
#include <horus/base/log.hpp>

namespace horus::python {
namespace {

std::atomic<int> process_number{0};

std::mutex retired_mutex;
std::multimap<std::uint64_t, std::unique_ptr<io::Reactor>>& retired() {
  static auto& reactors = *new std::multimap<std::uint64_t, std::unique_ptr<io::Reactor>>;
  return reactors;
}

// Outside of run() no reactor of a loop is the thread's current one.
void end_here(std::unique_ptr<io::Reactor> reactor) {
  const io::CurrentReactor here(reactor.get());
  reactor.reset();
}

}  // namespace

// getpid() is a system call, and each turn asks. The number changes in the child of a fork() alone.
int this_process() noexcept {
  const int known = process_number.load(std::memory_order_relaxed);
  if (known != 0) [[likely]]
    return known;
  static const int watched =
      ::pthread_atfork(nullptr, nullptr, [] { process_number.store(0, std::memory_order_relaxed); });
  const int number = ::getpid();
  if (watched == 0) process_number.store(number, std::memory_order_relaxed);
  return number;
}

void end_retired() {
  while (true) {
    std::unique_ptr<io::Reactor> reactor;
    {
      const std::lock_guard lock(retired_mutex);
      const auto found = retired().find(horus::detail::thread_state.number);
      if (found == retired().end()) return;
      reactor = std::move(found->second);
      retired().erase(found);
    }
    end_here(std::move(reactor));
  }
}

void retire(LoopState& state) {
  if (!state.reactor) return;
  if (state.process != this_process()) {  // the parent's: nothing of it may be touched here
    static_cast<void>(state.reactor.release());
    return;
  }
  if (state.thread == horus::detail::thread_state.number) return end_here(std::move(state.reactor));
  state.watches.leave_reactor();
  if (state.in_flight > 0) {
    log_error(
        "an event loop was closed on another thread than it ran on, with operations under way: they are "
        "leaked");
    static_cast<void>(state.reactor.release());
    return;
  }
  const std::lock_guard lock(retired_mutex);
  retired().emplace(state.thread, std::move(state.reactor));
}

// False with an exception set: a fork has taken it to a child.
bool is_ours(LoopCore* self) {
  if (self->state->process == this_process()) [[likely]]
    return true;
  PyErr_SetString(PyExc_RuntimeError,
                  "this event loop belongs to the parent process; make a new one after fork()");
  return false;
}

// The reactor of this thread for this loop. False with an exception set.
bool make_reactor(LoopCore* self) {
  LoopState& state = *self->state;
  if (!is_ours(self)) return false;
  if (state.reactor && state.thread == horus::detail::thread_state.number && state.thread != 0) return true;
  if (state.reactor) {
    if (state.in_flight > 0) {
      PyErr_Format(
          PyExc_RuntimeError,
          "%zu operations that were begun on another thread are under way: let the loop run there until they "
          "have ended",
          state.in_flight);
      return false;
    }
    retire(state);
  }
  end_retired();
  if (!state.watches.open()) {
    PyErr_SetFromErrno(PyExc_OSError);
    return false;
  }
  try {
    io::Reactor* before = io::Reactor::current();
    const io::CurrentReactor keep(before);  // a new reactor makes itself the current one
    state.reactor = std::make_unique<io::Reactor>();
    state.thread = horus::detail::thread_state.number;
  } catch (const Error& error) {
    PyErr_SetString(PyExc_OSError, error.message().c_str());
    return false;
  }
  return true;
}

}  // namespace horus::python
