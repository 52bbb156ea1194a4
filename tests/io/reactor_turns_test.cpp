// SPDX-License-Identifier: Apache-2.0
// How the loop turns: enters per wake-up, posts and stops that race with sleeping, small rings, fork, thread end.
#include <atomic>
#include <csignal>
#include <memory>
#include <thread>
#include <vector>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/io/base/turn.hpp>
#include <horus/io/loop/awaiter.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/task/event.hpp>

#include "../support/real_kernel.hpp"

using horus::Task;
using horus::io::Reactor;
using horus::io::ReactorConfig;
using namespace horus::literals;

namespace {

struct Nop : horus::io::OperationAwaiter<Nop> {
  static constexpr const char* kName = "nop";
  void prepare(io_uring_sqe& entry) noexcept { entry.opcode = IORING_OP_NOP; }
  int await_resume() const noexcept { return result; }
};

Task<> nops(int count, int& ended) {
  for (int i = 0; i < count; ++i) {
    Nop nop;
    int result = co_await nop;
    if (result == 0) ++ended;
  }
}

Task<> many(int coroutines, int each, int& ended) {
  horus::Scope scope;
  for (int i = 0; i < coroutines; ++i) static_cast<void>(scope.spawn(nops(each, ended)));
  co_await scope.join();
}

// A round trip between a poster and a sleeping or busy reactor, `count` times.
Task<> answer_until(std::atomic<int>& answered, int count, horus::Event& arrived) {
  while (answered.load() < count) {
    co_await arrived.wait();
    arrived.reset();
  }
}

}  // namespace

TEST_CASE("one enter per turn: operations that complete at once cost one call each way") {
  Reactor reactor;
  int ended = 0;
  const auto before = reactor.statistics();
  reactor.run(nops(100, ended));
  const auto after = reactor.statistics();
  CHECK(ended == 100);
  CHECK(after.operations - before.operations <= 102);  // and the wake-up's read
  CHECK(after.enters - before.enters <= 102);
}

TEST_CASE("run returns at its task's end without waiting for anything else") {
  Reactor reactor;
  auto body = []() -> Task<> { co_await horus::yield(); };
  auto distant = []() -> Task<> { co_await horus::sleep(1h); };
  horus::RootChain<void> other(distant());
  other.start();
  const std::int64_t before = horus::now_ns();
  reactor.run(body());
  CHECK(horus::now_ns() - before < 60'000'000'000);
  other.request_stop();
  while (!other.done()) reactor.run_once();
  CHECK_THROWS_AS(other.take(), horus::Error);
}

TEST_CASE("run_once does not wait after a turn that did something") {
  Reactor reactor;
  bool fired = false;
  struct Flag : horus::io::Timer {
    bool* fired = nullptr;
  } timer;
  timer.fired = &fired;
  timer.expired = [](horus::io::Timer& self) noexcept { *static_cast<Flag&>(self).fired = true; };
  reactor.timers().insert(timer, horus::now_ns());
  reactor.run_once(1h);
  CHECK(fired);
  bool ran = false;
  REQUIRE(reactor.post([&] { ran = true; }));
  reactor.run_once(1h);
  CHECK(ran);
}

// The loop uses the time at which it woke, unless something has run since.
TEST_CASE("a timer that comes due while a post runs expires right after it") {
  NEEDS_REAL_KERNEL("time that passes while code runs");
  Reactor reactor;
  horus::Event posted;
  const std::int64_t due = horus::now_ns() + 20'000'000;
  std::uint64_t turn_of_timer = 0;
  std::uint64_t turn_of_post = 0;
  std::thread poster([&] {
    while (reactor.statistics().enters == 0) std::this_thread::yield();
    CHECK(reactor.post([&] {
      while (horus::now_ns() < due) {
      }
      posted.set();
    }));
  });
  auto timed = [&]() -> Task<> {
    co_await horus::sleep_until(horus::TimePoint(horus::Duration(due)));
    turn_of_timer = horus::io::current_turn.number;
  };
  reactor.run([&]() -> Task<> {
    horus::Scope scope;
    static_cast<void>(scope.spawn(timed()));
    co_await posted.wait();
    turn_of_post = horus::io::current_turn.number;
    co_await scope.join();
  });
  poster.join();
  CHECK(turn_of_timer == turn_of_post);
}

TEST_CASE("run_once(0) never waits") {
  Reactor reactor;
  auto body = []() -> Task<> { co_await horus::sleep(1h); };
  horus::RootChain<void> root(body());
  root.start();
  for (int i = 0; i < 100; ++i) reactor.run_once();
  CHECK_FALSE(root.done());
  root.request_stop();
  while (!root.done()) reactor.run_once();
  CHECK_THROWS_AS(root.take(), horus::Error);
}

TEST_CASE("no post is lost, from several threads, to a reactor that sleeps and wakes") {
  NEEDS_REAL_KERNEL("other threads");
  constexpr int kThreads = 4;
  constexpr int kEach = 2000;
  Reactor reactor;
  std::vector<int> seen(kThreads, 0);
  bool in_order = true;
  std::atomic<int> handled{0};
  std::vector<std::thread> posters;
  for (int t = 0; t < kThreads; ++t) {
    posters.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        const auto work = [&, t, i] {
          in_order = in_order && seen[t] == i;
          ++seen[t];
          if (handled.fetch_add(1) + 1 == kThreads * kEach) reactor.stop();
        };
        while (!reactor.post(work)) std::this_thread::yield();
        // Half of the time, until the reactor has nothing left and goes to sleep.
        if (i % 2 == 0) std::this_thread::yield();
      }
    });
  }
  reactor.run();
  for (auto& poster : posters) poster.join();
  CHECK(handled.load() == kThreads * kEach);
  CHECK(in_order);
  CHECK(reactor.statistics().posts == kThreads * kEach);
}

TEST_CASE("a reply wakes a sleeping reactor each time") {
  NEEDS_REAL_KERNEL("other threads");
  Reactor here;
  std::atomic<int> answered{0};
  horus::Event arrived;
  constexpr int kRounds = 300;
  std::thread other([&] {
    for (int i = 0; i < kRounds; ++i) {
      const auto work = [&] {
        answered.fetch_add(1);
        arrived.set();
      };
      while (!here.post(work)) std::this_thread::yield();
      while (answered.load() <= i) std::this_thread::yield();
    }
  });
  here.run(answer_until(answered, kRounds, arrived));
  other.join();
  CHECK(answered.load() == kRounds);
}

TEST_CASE("a polling reactor takes posts and completions without sleeping") {
  ReactorConfig config;
  config.busy_poll = 1h;
  Reactor reactor(config);
  int ended = 0;
  reactor.run(nops(10, ended));
  CHECK(ended == 10);
  auto body = []() -> Task<> { co_await horus::sleep(1ms); };
  reactor.run(body());
  if (horus::testing::simulated()) return;  // where nobody polls, and there are no other threads
  std::thread other([&] { CHECK(reactor.post([&] { reactor.stop(); })); });
  reactor.run();
  other.join();
  CHECK(reactor.statistics().asleep_ns == 0);
}

TEST_CASE("a spinning timer is never early") {
  ReactorConfig config;
  config.timer_spin = 100us;
  auto body = []() -> Task<int> {
    int early = 0;
    for (int i = 0; i < 20; ++i) {
      const std::int64_t due = horus::now_ns() + 300'000;
      auto sleeping = horus::sleep_until(horus::TimePoint(horus::Duration(due)));
      co_await sleeping;
      if (horus::now_ns() < due) ++early;
    }
    co_return early;
  };
  CHECK(horus::io::run(body(), config) == 0);
}

TEST_CASE("a submission ring of one entry and a completion ring of four are enough") {
  ReactorConfig config;
  config.submission_entries = 1;
  config.completion_entries = 4;
  config.max_in_flight = 2;
  Reactor reactor(config);
  int ended = 0;
  reactor.run(many(100, 5, ended));
  CHECK(ended == 500);
  CHECK(reactor.statistics().queued > 0);
  CHECK(reactor.statistics().in_flight <= 1);  // the wake-up's read
}

TEST_CASE("more operations complete at once than the completion ring holds") {
  ReactorConfig config;
  config.submission_entries = 4;
  config.completion_entries = 4;
  Reactor reactor(config);
  int ended = 0;
  reactor.run(many(200, 3, ended));
  CHECK(ended == 600);
}

#ifndef HORUS_TSAN  // it holds a handler back until the thread calls an intercepted function, and a ring is entered raw
namespace {
Reactor* signalled = nullptr;
void stop_signalled(int) { signalled->stop(); }
}  // namespace

TEST_CASE("stop from a signal handler wakes the loop, whenever the signal comes") {
  NEEDS_REAL_KERNEL("signals of another thread");
  Reactor reactor;
  signalled = &reactor;
  struct sigaction action{};
  struct sigaction previous{};
  action.sa_handler = &stop_signalled;
  REQUIRE(::sigaction(SIGUSR1, &action, &previous) == 0);
  const pthread_t loop = ::pthread_self();
  for (int i = 0; i < 50; ++i) {
    std::thread other([&] { ::pthread_kill(loop, SIGUSR1); });
    reactor.run();
    other.join();
  }
  ::sigaction(SIGUSR1, &previous, nullptr);
  CHECK_FALSE(reactor.stopping());
}
#endif

TEST_CASE("a task that goes on after stop() is waited for asleep, not by spinning") {
  NEEDS_REAL_KERNEL("other threads");
  Reactor reactor;
  auto stubborn = []() -> Task<int> {
    try {
      co_await horus::sleep(1h);
    } catch (const horus::Error&) {
    }
    int turns = 0;
    for (; turns < 3; ++turns) {
      Nop nop;
      co_await nop;
    }
    co_return turns;
  };
  std::thread other([&] { reactor.stop(); });
  CHECK(reactor.run(stubborn()) == 3);
  other.join();
  CHECK_FALSE(reactor.stopping());
  CHECK(reactor.statistics().enters < 30);
}

TEST_CASE("after a fork the child makes its own reactor and the parent's is untouched") {
  auto reactor = std::make_unique<Reactor>();
  int ended = 0;
  reactor->run(nops(3, ended));
  const pid_t child = ::fork();
  if (child == 0) {
    bool right = Reactor::current() == nullptr;
    {
      Reactor own;
      int own_ended = 0;
      own.run(nops(5, own_ended));
      right = right && own_ended == 5;
    }
    reactor.reset();  // the parent's: leaves its ring alone
    ::_exit(right ? 0 : 1);
  }
  REQUIRE(child > 0);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  reactor->run(nops(3, ended));
  CHECK(ended == 6);
}

TEST_CASE("turning the parent's reactor in a forked child ends the child with a reason") {
  Reactor reactor;
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(STDERR_FILENO);
    ::signal(SIGABRT, SIG_DFL);
    reactor.run_once();
    ::_exit(0);
  }
  REQUIRE(child > 0);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFSIGNALED(status));
}

TEST_CASE("threads come and go with their reactors, frames and operations") {
  for (int i = 0; i < 8; ++i) {
    std::thread other([] {
      Reactor reactor;
      int ended = 0;
      reactor.run(many(20, 2, ended));
      CHECK(ended == 40);
    });
    other.join();
  }
  CHECK(Reactor::current() == nullptr);
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("the timer slack is the thread's again when the reactor is gone") {
  const int before = ::prctl(PR_GET_TIMERSLACK);
  {
    ReactorConfig config;
    config.timer_slack_ns = 1;
    const Reactor reactor(config);
    CHECK(::prctl(PR_GET_TIMERSLACK) == 1);
  }
  CHECK(::prctl(PR_GET_TIMERSLACK) == before);
}

TEST_CASE("statistics count what happened") {
  Reactor reactor;
  int ended = 0;
  reactor.run(nops(7, ended));
  auto body = []() -> Task<> { co_await horus::sleep(2ms); };
  reactor.run(body());
  const auto now = reactor.statistics();
  CHECK(now.completions >= 7);
  CHECK(now.operations >= 7);
  CHECK(now.resumes == 8);
  CHECK(now.timers == 1);
  CHECK(now.enters >= 2);
  CHECK(now.asleep_ns > 1'000'000);
}
