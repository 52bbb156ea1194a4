// SPDX-License-Identifier: Apache-2.0
#include <horus/patterns/blocking_node.hpp>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

#include <horus/sched/scheduler.hpp>
#include <horus/sim/world.hpp>

#include "../support/real_kernel.hpp"
#include "virtual_time.hpp"

using horus::Result;
using horus::Scheduler;
using horus::Task;
using horus::io::ThreadPool;
using horus::testing::CapturedLog;
using horus::testing::now_ms;
using namespace horus::literals;

namespace {

// A driver that counts; 3 throws, 4 gives an Error.
class Driver : public horus::BlockingNode<int> {
 public:
  explicit Driver(bool fails) : BlockingNode("driver"), fails_(fails) {}
  std::vector<int> results;
  std::vector<std::int64_t> times;

 private:
  Result<int> work() override {
    ++calls_;
    if (fails_ && calls_ == 3) throw std::runtime_error("driver bug");
    if (fails_ && calls_ == 4) return horus::Error(EIO, "read", "/dev/lidar");
    return calls_;
  }
  void on_result(int result) override {
    results.push_back(result);
    times.push_back(now_ms());
  }
  bool fails_;
  int calls_ = 0;
};

// A driver that hangs until the test lets go of it.
class Hanging : public horus::BlockingNode<std::thread::id> {
 public:
  explicit Hanging(ThreadPool& pool) : BlockingNode("hanging", pool) {}
  std::vector<std::thread::id> results;
  int inside = 0;
  int most_inside = 0;

  void let_go() {
    const std::lock_guard lock(mutex_);
    free_ = true;
    changed_.notify_all();
  }

 private:
  Result<std::thread::id> work() override {
    std::unique_lock lock(mutex_);
    most_inside = std::max(most_inside, ++inside);
    changed_.wait(lock, [this] { return free_; });
    --inside;
    return std::this_thread::get_id();
  }
  void on_result(std::thread::id thread) override { results.push_back(thread); }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool free_ = false;
};

// Runs a driver at 100 Hz in a world where a call takes 25 ms.
void drive(bool fails, const std::function<void(const Driver&, const Scheduler&)>& check) {
  horus::sim::World world(1);
  horus::sim::Faults faults;
  faults.offload = horus::Duration(25ms);
  world.faults(faults);
  world.process("test", [&]() -> Task<int> {
    Scheduler scheduler;
    auto owned = std::make_unique<Driver>(fails);
    const Driver& driver = *owned;
    scheduler.add(std::move(owned)).rate(100_hz);
    const int code = co_await scheduler.run_main(300ms);
    check(driver, scheduler);
    co_return code;
  });
  const auto report = world.run_for(1h);
  CHECK_MESSAGE(report.passed, report.to_string());
}

}  // namespace

TEST_CASE("results come to the loop one by one; ticks during a call are skipped") {
  drive(false, [](const Driver& driver, const Scheduler& scheduler) {
    REQUIRE(driver.results.size() >= 10);
    for (std::size_t i = 1; i < driver.results.size(); ++i) {
      CHECK(driver.results[i] == driver.results[i - 1] + 1);
      CHECK(driver.times[i] - driver.times[i - 1] == 30);  // the next grid point behind 25 ms
    }
    const auto stats = driver.stats();
    CHECK(stats.calls == stats.results);
    CHECK_FALSE(stats.in_flight);
    CHECK(stats.longest_call_ns >= 25'000'000);
    CHECK(stats.longest_call_ns < 26'000'000);
    CHECK(scheduler.statistics("driver")->count(horus::TickOutcome::skipped_in_flight) >= 18);
  });
}

TEST_CASE("a call that fails is a failed tick, and the next one comes") {
  const CapturedLog log;
  drive(true, [](const Driver& driver, const Scheduler& scheduler) {
    REQUIRE(driver.results.size() >= 3);
    CHECK(driver.results[1] == 2);
    CHECK(driver.results[2] == 5);
    CHECK(driver.stats().failed == 2);
    CHECK(driver.stats().calls == driver.stats().results + 2);
    CHECK(scheduler.statistics("driver")->failed_ticks == 2);
  });
}

TEST_CASE("a driver that hangs holds nobody up, and is called once") {
  NEEDS_REAL_KERNEL("a thread that hangs");
  ThreadPool pool("driver", 2, 4);
  Scheduler scheduler;
  auto owned = std::make_unique<Hanging>(pool);
  Hanging& hanging = *owned;
  scheduler.add(std::move(owned)).rate(1000_hz);
  int ticks = 0;
  bool hung = false;
  scheduler
      .add("control",
           [&] {
             if (++ticks == 50) {
               const auto stats = hanging.stats();
               hung = stats.in_flight && stats.in_flight_ns > 0 && stats.calls == 1 && stats.results == 0;
               hanging.let_go();
             }
             if (!hanging.results.empty()) scheduler.stop();
           })
      .rate(1000_hz);
  CHECK(scheduler.run() == 0);
  CHECK(hung);
  CHECK(ticks >= 50);
  CHECK(hanging.most_inside == 1);
  CHECK(hanging.results.front() != std::this_thread::get_id());
  CHECK(scheduler.statistics("hanging")->count(horus::TickOutcome::skipped_in_flight) >= 20);
}

TEST_CASE("a call that waits for a thread is taken back at the end") {
  NEEDS_REAL_KERNEL("a thread that hangs");
  const CapturedLog log;
  ThreadPool pool("driver", 1, 4);
  Scheduler scheduler;
  auto first = std::make_unique<Hanging>(pool);
  auto second = std::make_unique<Hanging>(pool);
  Hanging& hanging = *first;
  Hanging& waiting = *second;
  waiting.let_go();
  scheduler.add(std::move(first)).name("first");  // event-driven
  scheduler.add(std::move(second)).name("second");
  std::atomic<bool> stopping{false};
  int ticks = 0;
  scheduler
      .add("control",
           [&] {
             if (++ticks < 20 || pool.queued() != 1 || stopping) return;
             CHECK(waiting.stats().in_flight);
             stopping = true;
             scheduler.stop();
           })
      .rate(1000_hz);
  std::thread releaser([&] {
    while (!stopping || pool.queued() != 0) std::this_thread::yield();
    hanging.let_go();  // the waiting call was taken back: the end comes only now
  });
  CHECK(scheduler.run() == 0);
  releaser.join();
  CHECK(waiting.results.empty());
  CHECK(hanging.results.size() == 1);  // the call that ran was awaited, and its value delivered
  CHECK(scheduler.statistics("second")->cancelled_ticks == 1);
}
