// SPDX-License-Identifier: Apache-2.0
#include <horus/io/dump_all.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <climits>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/base/symbols.hpp>
#include <horus/base/thread_look.hpp>
#include <horus/io/loop/operation.hpp>
#include <horus/io/reactor.hpp>
#include <horus/task/chain_snapshot.hpp>

namespace horus::HORUS_ABI::io {
namespace {

constexpr int kStackTries = 10;                    // each up to 20 ms: a busy machine has other things to do
constexpr std::size_t kLineBytes = 32UL * 1024UL;  // the log keeps 64 KiB of a line

struct ListedReactor {
  Reactor* reactor;
  pid_t thread;
};

struct DumpAnswer {
  std::mutex mutex;
  std::condition_variable came;
  bool here = false;
  std::string text;
};

// What the handler on a blocked thread writes into. Never freed: one may come late.
struct HandlerRoom {
  horus::detail::Stack stack;
  horus::detail::ChainSnapshots tasks;
};

struct DumpRegistry {
  std::mutex mutex;  // of the list
  std::vector<ListedReactor> reactors;
  std::mutex turn;  // one dump at a time
  bool signal_taken = false;
};

// Leaked: the thread that waits for the signal outlives static objects.
DumpRegistry& dump_registry() {
  static auto* const it = new DumpRegistry;
  return *it;
}

HandlerRoom& handler_room() {
  static auto* const it = new HandlerRoom;
  return *it;
}

std::string thread_name(pid_t thread) {
  char name[32] = {};
  if (std::FILE* file = std::fopen(fmt::format("/proc/self/task/{}/comm", thread).c_str(), "re")) {
    const std::size_t size = std::fread(name, 1, sizeof name - 1, file);
    name[size > 0 ? size - 1 : 0] = '\0';  // without the end of the line
    std::fclose(file);
  }
  return name;
}

int descriptor_of(const Waiter& waiter) noexcept {
  return waiter.kind->cancel == &Operation::cancel ? static_cast<const Operation&>(waiter).fd : -1;
}

std::string blocked_loop(const ListedReactor& listed, Duration waited) {
  HandlerRoom& room = handler_room();
  const horus::detail::AlsoInHandler tasks{
      [](void* into) noexcept {
        horus::detail::take_snapshots(*static_cast<horus::detail::ChainSnapshots*>(into), &descriptor_of);
      },
      &room.tasks};
  const horus::detail::ThreadStatus status = horus::detail::status_of(listed.thread);
  std::string text = fmt::format("has not answered for {} ms: its thread {}",
                                 std::chrono::duration_cast<std::chrono::milliseconds>(waited).count(),
                                 status.state == 'R' ? "computes" : "sleeps in a call");
  if (status.stopped()) text += " (stopped by a signal or a debugger)";
  bool taken = horus::detail::prepare_stacks();
  if (!taken) return text + "; no stack: the program uses SIGURG itself\n";
  for (int tries = 0; tries < kStackTries; ++tries) {
    taken = horus::detail::take_stack(listed.thread, room.stack, tasks);
    if (taken) break;
  }
  if (!taken) return text + "; no stack: it takes no signal\n";
  text += horus::detail::describe(room.stack);
  const std::string waiting = horus::detail::describe(room.tasks);
  return text + "\n" + (waiting.empty() ? "no tasks\n" : waiting);
}

// Posts the question; false when the reactor is gone or takes nothing.
bool ask_for_dump(const ListedReactor& listed, const std::shared_ptr<DumpAnswer>& answer) {
  DumpRegistry& all = dump_registry();
  const std::lock_guard lock(all.mutex);
  const bool there = std::any_of(all.reactors.begin(), all.reactors.end(), [&](const ListedReactor& other) {
    return other.reactor == listed.reactor && other.thread == listed.thread;
  });
  if (!there) return false;
  return listed.reactor->post([answer] {
    std::string text = dump_tasks();
    const std::lock_guard told(answer->mutex);
    answer->text = std::move(text);
    answer->here = true;
    answer->came.notify_all();
  });
}

// --- The signal -------------------------------------------------------------------------------------------------------

std::atomic<std::uint32_t> dumps_wanted{0};  // futex

void want_dump(int) noexcept {
  const int saved = errno;
  dumps_wanted.fetch_add(1, std::memory_order_release);
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&dumps_wanted), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr,
            nullptr, 0);
  errno = saved;
}

void log_in_parts(std::string_view text) {
  while (!text.empty()) {
    std::size_t end = text.size();
    if (end > kLineBytes) {
      const std::size_t line = text.rfind('\n', kLineBytes);
      end = line == std::string_view::npos ? kLineBytes : line + 1;
    }
    std::string_view part = text.substr(0, end);
    if (part.ends_with('\n')) part.remove_suffix(1);
    log_warning(part);
    text.remove_prefix(end);
  }
}

void serve_dumps(int number) noexcept {
  ::pthread_setname_np(::pthread_self(), "horus-dump");
  sigset_t mine;
  ::sigemptyset(&mine);
  ::sigaddset(&mine, number);
  ::pthread_sigmask(SIG_UNBLOCK, &mine, nullptr);
  std::uint32_t seen = 0;
  while (true) {
    const std::uint32_t wanted = dumps_wanted.load(std::memory_order_acquire);
    if (wanted == seen) {
      ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&dumps_wanted), FUTEX_WAIT_PRIVATE, seen, nullptr,
                nullptr, 0);
      continue;
    }
    seen = wanted;
    try {
      log_in_parts("tasks of all loops (HORUS_DUMP_SIGNAL):\n" + dump_all_tasks());
    } catch (const std::exception& error) {
      log_error(std::string("the dump of all tasks failed: ") + error.what());
    }
  }
}

// With the registry's lock. Once per process; what is wrong is said once.
void take_signal() {
  const char* wish = std::getenv("HORUS_DUMP_SIGNAL");
  if (wish == nullptr || *wish == '\0') return;
  const int number = detail::signal_number(wish);
  if (number == 0) {
    log_warning(
        fmt::format("HORUS_DUMP_SIGNAL: \"{}\" is no signal for it (use USR1, USR2 or RTMIN+3)", wish));
    return;
  }
  struct sigaction now{};
  if (::sigaction(number, nullptr, &now) != 0 || (now.sa_handler != SIG_DFL && now.sa_handler != SIG_IGN)) {
    log_warning(fmt::format("HORUS_DUMP_SIGNAL: the program uses {} itself; choose another signal", wish));
    return;
  }
  static_cast<void>(horus::detail::prepare_stacks());
  struct sigaction handler{};
  handler.sa_handler = &want_dump;
  handler.sa_flags = SA_RESTART;
  ::sigaction(number, &handler, nullptr);
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    std::thread([number] { serve_dumps(number); }).detach();
  } catch (const std::exception& error) {
    log_warning(std::string("HORUS_DUMP_SIGNAL: no thread for it: ") + error.what());
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// The helper's thread is the one that takes it, whatever this one is blocked in.
void leave_signal_to_helper() noexcept {
  const char* wish = std::getenv("HORUS_DUMP_SIGNAL");
  const int number = wish == nullptr ? 0 : detail::signal_number(wish);
  struct sigaction now{};
  if (number == 0 || ::sigaction(number, nullptr, &now) != 0 || now.sa_handler != &want_dump) return;
  sigset_t mine;
  ::sigemptyset(&mine);
  ::sigaddset(&mine, number);
  ::pthread_sigmask(SIG_BLOCK, &mine, nullptr);
}

// The child has neither the thread nor the loops.
void forget_reactors() noexcept {
  DumpRegistry& all = dump_registry();
  all.reactors.clear();
  all.signal_taken = false;
  all.mutex.unlock();
  all.turn.unlock();
}

}  // namespace

std::string dump_all_tasks(Duration limit) {
  DumpRegistry& all = dump_registry();
  const std::lock_guard turn(all.turn);
  std::vector<ListedReactor> reactors;
  {
    const std::lock_guard lock(all.mutex);
    reactors = all.reactors;
  }
  std::vector<std::shared_ptr<DumpAnswer>> answers;
  for (const ListedReactor& listed : reactors) {
    auto answer = std::make_shared<DumpAnswer>();
    if (listed.thread == ::gettid()) {
      const CurrentReactor its(listed.reactor);
      answer->text = dump_tasks();
      answer->here = true;
    } else if (!ask_for_dump(listed, answer)) {
      answer = nullptr;
    }
    answers.push_back(std::move(answer));
  }
  const auto until = std::chrono::steady_clock::now() + limit;
  std::string text;
  for (std::size_t i = 0; i < reactors.size(); ++i) {
    const ListedReactor& listed = reactors[i];
    std::string tasks;
    bool here = false;
    if (answers[i] != nullptr) {
      std::unique_lock lock(answers[i]->mutex);
      here = answers[i]->came.wait_until(lock, until, [&] { return answers[i]->here; });
      tasks = std::move(answers[i]->text);
    }
    if (!here) {
      // While the list is held, the reactor and so its thread cannot go.
      const std::lock_guard lock(all.mutex);
      const bool there =
          std::any_of(all.reactors.begin(), all.reactors.end(),
                      [&](const ListedReactor& other) { return other.reactor == listed.reactor; });
      if (!there) continue;
      tasks = blocked_loop(listed, limit);
    } else if (tasks.empty()) {
      tasks = "no tasks\n";
    }
    fmt::format_to(std::back_inserter(text), "--- thread {} \"{}\"{}{}", listed.thread,
                   thread_name(listed.thread), here ? "\n" : ": ", tasks);
  }
  return text.empty() ? "no loops\n" : text;
}

namespace detail {

void list_reactor(Reactor& reactor) {
  DumpRegistry& all = dump_registry();
  static const int once = ::pthread_atfork(
      [] {
        dump_registry().turn.lock();
        dump_registry().mutex.lock();
      },
      [] {
        dump_registry().mutex.unlock();
        dump_registry().turn.unlock();
      },
      &forget_reactors);
  static_cast<void>(once);
  {
    const std::lock_guard lock(all.mutex);
    all.reactors.push_back({&reactor, ::gettid()});
    if (!std::exchange(all.signal_taken, true)) take_signal();
  }
  leave_signal_to_helper();
}

void unlist_reactor(Reactor& reactor) noexcept {
  DumpRegistry& all = dump_registry();
  const std::lock_guard lock(all.mutex);
  std::erase_if(all.reactors, [&](const ListedReactor& listed) { return listed.reactor == &reactor; });
}

int signal_number(std::string_view text) noexcept {
  const auto number_of = [](std::string_view digits) {
    int number = 0;
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    return read.ec == std::errc() && read.ptr == digits.data() + digits.size() && number >= 0 ? number : -1;
  };
  if (text.starts_with("SIG")) text.remove_prefix(3);
  int number = 0;
  if (text.starts_with("RTMIN")) {
    text.remove_prefix(5);
    const int more = text.empty() ? 0 : text.starts_with('+') ? number_of(text.substr(1)) : -1;
    number = more < 0 ? 0 : SIGRTMIN + more;
  } else if (const int given = number_of(text); given > 0) {
    number = given;
  } else {
    for (const int known : {SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH, SIGIO, SIGPWR, SIGPROF}) {
      if (text == ::sigabbrev_np(known)) number = known;
    }
  }
  const bool fits = number > 0 && number <= SIGRTMAX && number != SIGKILL && number != SIGSTOP &&
                    number != SIGURG && (number < 32 || number >= SIGRTMIN);
  return fits ? number : 0;
}

}  // namespace detail
}  // namespace horus::HORUS_ABI::io
