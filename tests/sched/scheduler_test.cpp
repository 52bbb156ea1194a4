// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/scheduler.hpp>

#include <csignal>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>
#include <horus/io/time.hpp>
#include <horus/task/event.hpp>

#include "../support/captured_log.hpp"

using horus::Node;
using horus::PlainNode;
using horus::Scheduler;
using horus::Task;
using horus::TickOutcome;
using horus::testing::CapturedLog;
using namespace horus::literals;

namespace {

class ImuReader : public Node {
 public:
  Task<> tick() override { co_return; }
};

class Recorder : public Node {
 public:
  Recorder(std::string name, std::vector<std::string>& events) : Node(std::move(name)), events_(events) {}
  Task<> init() override {
    events_.push_back(name() + " init");
    co_return;
  }
  Task<> tick() override {
    events_.push_back(name() + " tick");
    co_return;
  }
  Task<> shutdown() override {
    co_await horus::yield();
    events_.push_back(name() + " shutdown");
  }

 private:
  std::vector<std::string>& events_;
};

class BrokenInit : public Node {
 public:
  Task<> init() override {
    throw horus::Error(ECONNREFUSED, "connect", "127.0.0.1:10110");
    co_return;
  }
  Task<> tick() override { co_return; }
};

}  // namespace

TEST_CASE("nodes start in order of addition, tick by priority and shut down in reverse order") {
  std::vector<std::string> events;
  {
    Scheduler scheduler;
    scheduler.add<Recorder>("late", events).priority(5);
    scheduler.add<Recorder>("early", events).priority(1);
    CHECK(scheduler.tick_once() == 0);
  }
  CHECK(events == std::vector<std::string>{"late init", "early init", "early tick", "late tick",
                                           "early shutdown", "late shutdown"});
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a node without a name gets its class in snake case, repeats are numbered") {
  Scheduler scheduler;
  scheduler.add<ImuReader>();
  scheduler.add<ImuReader>();
  scheduler.add("imu_reader", [] {});
  CHECK(scheduler.tick_once() == 0);
  CHECK(scheduler.node_list() == std::vector<std::string>{"imu_reader_2", "imu_reader_3", "imu_reader"});
}

TEST_CASE("two equal explicit names are an error that says so") {
  Scheduler scheduler;
  scheduler.add("control", [] {});
  CHECK_THROWS_WITH(scheduler.add("control", [] {}),
                    "add node \"control\" (give one of the two another name): file exists");
  CHECK_THROWS_AS(scheduler.add("x", [] {}).name("control"), horus::Error);
}

TEST_CASE("rates out of range are refused with the range") {
  Scheduler scheduler;
  CHECK_THROWS_WITH(scheduler.add("x", [] {}).rate(horus::Rate(0)),
                    "rate 0 Hz of node \"x\": above 0 up to 100000: invalid argument");
  CHECK_THROWS_AS(scheduler.tick_rate(horus::Rate(-1)), horus::Error);
}

TEST_CASE("a periodic node keeps its grid and accounts for every grid point") {
  Scheduler scheduler;
  int ticks = 0;
  scheduler
      .add("fast",
           [&] {
             if (++ticks == 50) scheduler.stop();
           })
      .rate(1000_hz);
  CHECK(scheduler.run() == 0);
  const auto node = scheduler.statistics("fast");
  REQUIRE(node);
  CHECK(node->successful_ticks == 50);
  CHECK(node->grid_points == node->successful_ticks + node->count(TickOutcome::skipped_late));
  CHECK(node->response.count() == 50);
  CHECK(node->release_lateness.count() == 50);
}

TEST_CASE("a tick that suspends holds nobody up and is not released again while in flight") {
  Scheduler scheduler;
  horus::Event finish;
  std::uint64_t fast = 0;
  scheduler.add("slow", [&]() -> Task<> { co_await finish.wait(); }).rate(1000_hz);
  scheduler
      .add("fast",
           [&] {
             if (++fast < 100) return;
             finish.set();
             scheduler.stop();
           })
      .rate(1000_hz);
  CHECK(scheduler.run() == 0);
  // Both have the same grid: what the loop came too late for, both skipped.
  const auto slow = scheduler.statistics("slow");
  CHECK(slow->total_ticks <= 2);
  CHECK(slow->count(TickOutcome::skipped_in_flight) >= fast - 2);
  CHECK(slow->grid_points == slow->successful_ticks + slow->cancelled_ticks +
                                 slow->count(TickOutcome::skipped_in_flight) +
                                 slow->count(TickOutcome::skipped_late));
  CHECK(slow->suspended.percentile(100) >= 90'000'000);
  CHECK(slow->execution.percentile(100) < slow->suspended.percentile(100) / 2);
}

TEST_CASE("a blocked loop skips the grid points it missed and does not catch up in a burst") {
  Scheduler scheduler;
  int ticks = 0;
  scheduler
      .add("blocks",
           [&] {
             ++ticks;
             if (ticks == 2) {
               const std::int64_t until = horus::now_ns() + 20'000'000;
               while (horus::now_ns() < until) {
               }
             }
             if (ticks == 4) scheduler.stop();
           })
      .rate(1000_hz);
  CHECK(scheduler.run() == 0);
  const auto node = scheduler.statistics("blocks");
  CHECK(node->count(TickOutcome::skipped_late) >= 18);
  CHECK(node->successful_ticks == 4);
  CHECK(node->grid_points == 4 + node->count(TickOutcome::skipped_late));
}

TEST_CASE("an event-driven node is released again when its tick has ended") {
  Scheduler scheduler;
  int ticks = 0;
  scheduler.add("events", [&]() -> Task<> {
    co_await horus::yield();
    if (++ticks == 500) scheduler.stop();
  });
  CHECK(scheduler.run() == 0);
  CHECK(ticks >= 500);
}

TEST_CASE("an init that fails ends the run with one line that says why") {
  CapturedLog log;
  std::vector<std::string> events;
  Scheduler scheduler;
  scheduler.add<Recorder>("first", events);
  scheduler.add<BrokenInit>();
  CHECK(scheduler.run() == 1);
  REQUIRE(log.lines().size() == 1);
  CHECK(log.last() ==
        "broken_init: init failed: connect 127.0.0.1:10110: connection refused (is the server running, and "
        "listening "
        "there?)");
  CHECK(events == std::vector<std::string>{"first init", "first shutdown"});
}

TEST_CASE("a throwing node is counted and logged, and stops nobody else") {
  CapturedLog log;
  Scheduler scheduler;
  int good = 0;
  scheduler
      .add("bad",
           []() -> Task<> {
             throw std::logic_error("bug");
             co_return;
           })
      .rate(1000_hz)
      .circuit_breaker(false);
  scheduler.add("plain bad", [] { throw horus::Error(EIO, "read", "/dev/imu"); })
      .rate(1000_hz)
      .circuit_breaker(false);
  scheduler
      .add("good",
           [&] {
             if (++good == 20) scheduler.stop();
           })
      .rate(1000_hz);
  CHECK(scheduler.run() == 0);
  const auto bad = scheduler.statistics("bad");
  CHECK(bad->failed_ticks >= 10);
  CHECK(bad->consecutive_failures == bad->failed_ticks);
  CHECK(bad->last_error == "bug");
  CHECK(scheduler.statistics("plain bad")->last_error == "read /dev/imu: input/output error");
  CHECK(log.lines().size() == 2);  // one line each, then silence for a second
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("background work of a node goes on across ticks and is stopped at the end") {
  class Camera : public Node {
   public:
    explicit Camera(Scheduler& scheduler) : scheduler_(scheduler) {}
    Task<> tick() override {
      if (!read_) read_ = spawn(frame());
      if (read_.done()) {
        frames_ += read_.take();
        if (frames_ == 3) scheduler_.stop();
      }
      co_return;
    }
    int frames_ = 0;

   private:
    Task<int> frame() {
      co_await horus::sleep(5ms);
      co_return 1;
    }
    Scheduler& scheduler_;
    horus::Spawned<int> read_;
  };
  Scheduler scheduler;
  auto camera = std::make_unique<Camera>(scheduler);
  const Camera& seen = *camera;
  scheduler.add(std::move(camera)).rate(1000_hz);
  CHECK(scheduler.run() == 0);
  CHECK(seen.frames_ == 3);
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("stop works from another thread and queries answer while running") {
  Scheduler scheduler;
  scheduler.add("idle", [] {}).rate(100_hz);
  scheduler.add("waits", []() -> Task<> { co_await horus::sleep(1h); });
  std::thread other([&] {
    while (true) {
      const auto node = scheduler.statistics("idle");
      if (node && node->total_ticks >= 3) break;
      std::this_thread::yield();
    }
    CHECK(scheduler.status().find("idle") != std::string::npos);
    scheduler.stop();
  });
  CHECK(scheduler.run() == 0);
  other.join();
}

TEST_CASE(
    "run_for ends by itself; a stop before the first run ends that at once, one after its end does nothing") {
  Scheduler scheduler;
  scheduler.add("x", [] {}).rate(1000_hz);
  scheduler.stop();
  CHECK(scheduler.run() == 0);
  scheduler.stop();
  CHECK(scheduler.run_for(20ms) == 0);
  CHECK(scheduler.statistics("x")->successful_ticks >= 2);
}

TEST_CASE("run_async lives inside somebody else's reactor") {
  horus::io::Reactor reactor;
  Scheduler scheduler;
  int ticks = 0;
  scheduler
      .add("node",
           [&] {
             if (++ticks == 5) scheduler.stop();
           })
      .rate(1000_hz);
  CHECK(reactor.run(scheduler.run_async()) == 0);
  CHECK(ticks == 5);
}

TEST_CASE("a periodic tick in flight may finish after a stop, an event-driven one is cancelled") {
  Scheduler scheduler;
  bool finished = false;
  bool cancelled = false;
  scheduler
      .add("periodic",
           [&]() -> Task<> {
             scheduler.stop();
             co_await horus::sleep(20ms);
             finished = true;
           })
      .rate(10_hz);
  scheduler.add("event", [&]() -> Task<> {
    try {
      co_await horus::sleep(1h);
    } catch (const horus::Error& error) {
      cancelled = error.cancelled();
      throw;
    }
  });
  CHECK(scheduler.run() == 0);
  CHECK(finished);
  CHECK(cancelled);
  CHECK(scheduler.statistics("event")->cancelled_ticks == 1);
  CHECK(scheduler.statistics("event")->failed_ticks == 0);
}

TEST_CASE("the first SIGINT or SIGTERM stops a run gracefully, and the signal mask is as before") {
  CapturedLog log;
  for (const int number : {SIGINT, SIGTERM}) {
    Scheduler scheduler;
    bool shut_down = false;
    class Polite : public PlainNode {
     public:
      Polite(bool& done, int signal) : done_(done), signal_(signal) {}
      void tick() override { ::kill(::getpid(), signal_); }
      void shutdown() override { done_ = true; }

     private:
      bool& done_;
      int signal_;
    };
    scheduler.add<Polite>(shut_down, number).rate(10_hz);
    CHECK(scheduler.run() == 0);
    CHECK(shut_down);
    sigset_t mask;
    ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    CHECK(::sigismember(&mask, number) == 0);
  }
  CHECK(log.lines().size() == 2);
}

TEST_CASE("the second signal goes through the safe states and out at once") {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    horus::set_log_level(horus::LogLevel::error);
    class Stubborn : public Node {
     public:
      Task<> tick() override {
        ::kill(::getpid(), SIGINT);
        while (true) {
          try {
            co_await horus::sleep(1ms);
          } catch (const horus::Error&) {
            ::kill(::getpid(), SIGINT);
          }
        }
      }
      void enter_safe_state() noexcept override { std::_Exit(77); }
    };
    Scheduler scheduler;
    scheduler.add<Stubborn>();
    std::_Exit(scheduler.run());
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 77);
}

TEST_CASE("an embedded run leaves the signals alone") {
  horus::io::Reactor reactor;
  Scheduler scheduler;
  sigset_t during;
  scheduler
      .add("node",
           [&] {
             ::pthread_sigmask(SIG_BLOCK, nullptr, &during);
             scheduler.stop();
           })
      .rate(100_hz);
  CHECK(reactor.run(scheduler.run_async()) == 0);
  CHECK(::sigismember(&during, SIGINT) == 0);
  CHECK(::sigismember(&during, SIGTERM) == 0);
}

TEST_CASE("a loop with more work than time still hears that its run is over") {
  Scheduler scheduler;
  scheduler
      .add("slow",
           [] {
             const std::int64_t until = horus::now_ns() + 5'000'000;
             while (horus::now_ns() < until) {
             }
           })
      .rate(1000_hz);
  const std::int64_t start = horus::monotonic_ns();
  CHECK(scheduler.run_for(20ms) == 0);
  CHECK(horus::monotonic_ns() - start < 1'000'000'000);  // not after hundreds of slow ticks
}

TEST_CASE("an event-driven node that awaits nothing still hears that its run is over") {
  CapturedLog log;
  Scheduler scheduler;
  scheduler.add("eager", []() -> Task<> { co_return; });
  CHECK(scheduler.run_for(5ms) == 0);
}
