// SPDX-License-Identifier: Apache-2.0
#include <horus/io/signals.hpp>

#include <atomic>
#include <csignal>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/task/event.hpp>

#include "../support/real_kernel.hpp"

using horus::Result;
using horus::Task;
using namespace horus::literals;
namespace io = horus::io;

namespace {

bool blocked(int number) {
  sigset_t mask;
  ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  return ::sigismember(&mask, number) == 1;
}

}  // namespace

TEST_CASE("a signal that was sent before or during the wait is delivered with its sender") {
  auto body = []() -> Task<> {
    io::SignalSet signals{SIGUSR1, SIGTERM};
    REQUIRE(io::send_signal(io::process_id(), SIGUSR1).ok());
    auto early = co_await signals.next();
    REQUIRE(early.ok());
    CHECK(early->number == SIGUSR1);
    CHECK(early->pid == io::process_id());
    if (!horus::testing::simulated()) CHECK(early->uid == ::getuid());

    horus::Scope scope;
    auto waiting = scope.spawn(signals.next());
    co_await horus::sleep(1ms);
    CHECK_FALSE(waiting.done());
    REQUIRE(io::send_signal(io::process_id(), SIGTERM).ok());
    auto late = co_await waiting;
    REQUIRE(late.ok());
    CHECK(late->number == SIGTERM);
    co_await scope.join();
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a signal arrives although a thread that was started before does not block it") {
  NEEDS_REAL_KERNEL("another thread");
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  // Not a futex of std::atomic: ThreadSanitizer holds signals back from a thread that it does not see waiting.
  std::thread other([&] {
    char byte;
    static_cast<void>(!::read(ends[0], &byte, 1));
  });
  auto body = []() -> Task<> {
    io::SignalSet signals{SIGUSR2, SIGRTMIN};
    for (int i = 0; i < 3; ++i) {
      REQUIRE(::kill(::getpid(), SIGUSR2) == 0);
      auto signal = co_await signals.next();
      REQUIRE(signal.ok());
      CHECK(signal->number == SIGUSR2);
      CHECK(signal->pid == ::getpid());
    }
    sigval value{};
    value.sival_int = 7;
    REQUIRE(::sigqueue(::getpid(), SIGRTMIN, value) == 0);
    auto queued = co_await signals.next();
    REQUIRE(queued.ok());
    CHECK(queued->value == 7);
  };
  io::run(body());
  ::close(ends[1]);
  other.join();
  ::close(ends[0]);
}

TEST_CASE("a value that was sent along comes along") {
  auto body = []() -> Task<> {
    io::SignalSet signals{SIGRTMIN};
    REQUIRE(io::send_signal(io::process_id(), SIGRTMIN, 42).ok());
    auto signal = co_await signals.next();
    REQUIRE(signal.ok());
    CHECK(signal->value == 42);
    CHECK(io::send_signal(io::process_id(), 0).ok());  // only asks
    CHECK(io::send_signal(io::process_id(), 99).code() == EINVAL);
  };
  io::run(body());
}

TEST_CASE("the thread's mask is as before when the set has died") {
  NEEDS_REAL_KERNEL("a thread and its mask");
  auto body = []() -> Task<> {
    sigset_t already;
    ::sigemptyset(&already);
    ::sigaddset(&already, SIGUSR2);
    ::pthread_sigmask(SIG_BLOCK, &already, nullptr);
    {
      io::SignalSet signals{SIGUSR1, SIGUSR2};
      CHECK(blocked(SIGUSR1));
      CHECK(blocked(SIGUSR2));
    }
    CHECK_FALSE(blocked(SIGUSR1));
    CHECK(blocked(SIGUSR2));  // somebody else's wish
    ::pthread_sigmask(SIG_UNBLOCK, &already, nullptr);
    co_return;
  };
  io::run(body());
}

TEST_CASE("a reactor alone blocks no signal and changes no disposition but those of SIGPIPE and SIGXFSZ") {
  const auto disposition = [](int number) {
    struct sigaction action{};
    REQUIRE(::sigaction(number, nullptr, &action) == 0);
    return action.sa_handler;
  };
  const std::vector<int> numbers{SIGINT, SIGTERM, SIGCHLD, SIGHUP, SIGUSR1, SIGALRM};
  std::vector<void (*)(int)> before;
  for (const int number : numbers) before.push_back(disposition(number));
  io::Reactor reactor;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    CAPTURE(numbers[i]);
    CHECK_FALSE(blocked(numbers[i]));
    const bool untouched = disposition(numbers[i]) == before[i];
    CHECK(untouched);
  }
  for (const int number : {SIGPIPE, SIGXFSZ}) {
    CAPTURE(number);
    const bool ignored = disposition(number) == SIG_IGN;
    CHECK(ignored);
  }
}

TEST_CASE("a second set on the same signal is refused by name, and possible when the first has died") {
  auto body = []() -> Task<> {
    {
      io::SignalSet signals{SIGUSR1};
      bool refused = false;
      try {
        io::SignalSet overlap{SIGUSR2, SIGUSR1};
      } catch (const horus::Error& error) {
        refused = true;
        CHECK(error.code() == EBUSY);
        CHECK(error.message().find("SIGUSR1") != std::string::npos);
      }
      CHECK(refused);
      CHECK_FALSE(blocked(SIGUSR2));
      io::SignalSet other{SIGUSR2, SIGUSR2};  // named twice, refused set gave it back
    }
    io::SignalSet again{SIGUSR1, SIGUSR2};
    co_return;
  };
  io::run(body());
}

TEST_CASE("signals that cannot be waited for are refused") {
  auto body = []() -> Task<> {
    for (const int number : {SIGKILL, SIGSTOP, 0, -1, 65, 1000}) {
      CAPTURE(number);
      CHECK_THROWS_AS(io::SignalSet{number}, horus::Error);
    }
    co_return;
  };
  io::run(body());
}

TEST_CASE("a cancelled wait loses no signal") {
  auto body = []() -> Task<> {
    io::SignalSet signals{SIGUSR1};
    auto late = co_await horus::with_timeout(1ms, signals.next());
    CHECK(late.code() == ETIMEDOUT);
    REQUIRE(io::send_signal(io::process_id(), SIGUSR1).ok());
    auto signal = co_await signals.next();
    CHECK(signal.ok());
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a signal that nobody read does what it would have done once the set has died") {
  NEEDS_REAL_KERNEL("a forked child");
#ifdef HORUS_TSAN
  MESSAGE("left out: ThreadSanitizer's own thread makes a forked child's signals unreliable");
  return;
#endif
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::signal(SIGUSR1, SIG_DFL);
    {
      io::Reactor reactor;
      io::SignalSet signals{SIGUSR1};
      ::kill(::getpid(), SIGUSR1);
    }
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGUSR1);
}

TEST_CASE("signals have names") {
  CHECK(io::signal_name(SIGTERM) == "SIGTERM");
  CHECK(io::signal_name(SIGPIPE) == "SIGPIPE");
  CHECK(io::signal_name(63) == "signal 63");
}
