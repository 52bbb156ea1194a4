// SPDX-License-Identifier: Apache-2.0
// How nodes begin and end when an init() or a shutdown() takes long. In virtual time.
#include <doctest/doctest.h>

#include <horus/sched/data/absence.hpp>
#include <horus/task/event.hpp>
#include <horus/task/shield.hpp>

#include "virtual_time.hpp"

using horus::Task;
using namespace horus::literals;

namespace {

Task<> pause_3_ms() { co_await horus::sleep(3ms); }

// Its init() and shutdown() take so long.
class Slow : public horus::Node {
 public:
  Slow(horus::Duration init, horus::Duration shutdown) : init_(init), shutdown_(shutdown) {}
  Task<> init() override { co_await horus::sleep(init_); }
  Task<> tick() override { co_return; }
  Task<> shutdown() override { co_await horus::sleep(shutdown_); }

 private:
  horus::Duration init_, shutdown_;
};

virtual_time::Run run_with(horus::Duration init, horus::Duration shutdown, horus::Duration length,
                           const std::function<void(horus::SchedulerConfig&)>& change = {}) {
  virtual_time::Plan plan;
  plan.length = length;
  if (change) change(plan.config);
  plan.build = [=](horus::Scheduler& scheduler) {
    scheduler.add<Slow>(init, shutdown).rate(100_hz);
    scheduler.add("motor", [] {}).rate(100_hz).watchdog(300ms).critical();
  };
  return virtual_time::run(plan);
}

}  // namespace

TEST_CASE(
    "an init() that awaits is named after 5 s; the others begin after 10 s, and it joins when it has ended") {
  const auto run = run_with(12s, 0s, 15s);
  CHECK(run.code == 0);
  CHECK(run.lines_with("slow: its init() has not ended after 5 s") == 1);
  CHECK(run.lines_with("slow: its init() has not ended after 10 s; the others begin without it") == 1);
  CHECK(run.lines_with("waits for a timer") >= 1);
  CHECK(run.nodes.at("motor").total_ticks >= 499);
  CHECK(run.nodes.at("motor").total_ticks <= 501);
  CHECK(run.nodes.at("slow").total_ticks >= 299);
  CHECK(run.nodes.at("slow").total_ticks <= 301);
  // Whoever waits for another's start is not watched yet.
  CHECK(run.nodes.at("motor").watchdog_expirations == 0);
  CHECK_FALSE(run.emergency);
}

TEST_CASE("a short init() is not worth a line") {
  const auto run = run_with(4s, 0s, 5s);
  CHECK(run.lines_with("its init()") == 0);
  CHECK(run.nodes.at("motor").total_ticks >= 99);
}

TEST_CASE("run_for ends in time although an init() awaits for ever") {
  const auto run = run_with(1h, 0s, 2s);
  CHECK(run.code == 0);
  CHECK(run.length < 2100ms);
  CHECK(run.nodes.at("slow").total_ticks == 0);
  CHECK(run.lines_with("slow: the run ends before its init() has:") == 1);
}

TEST_CASE("init_limit: an init() that awaits longer counts as failed") {
  const auto limit = [](horus::SchedulerConfig& config) { config.init_limit = 500ms; };
  const auto fails = run_with(1h, 0s, 10s, limit);
  CHECK(fails.code == 1);
  CHECK(fails.lines_with("slow: init failed: init (its limit is 500 ms: init_limit)") == 1);
  const auto passes = run_with(400ms, 0s, 1s, limit);
  CHECK(passes.code == 0);
}

TEST_CASE("init_limit: time in which somebody else held the loop is not the init()'s") {
  class TwoSteps : public horus::Node {
   public:
    Task<> init() override {
      co_await horus::sleep(200ms);
      co_await horus::sleep(200ms);
    }
    Task<> tick() override { co_return; }
  };
  virtual_time::Plan plan;
  plan.length = 5s;
  plan.config.init_limit = 500ms;
  plan.build = [](horus::Scheduler& scheduler) { scheduler.add<TwoSteps>().rate(100_hz); };
  plan.cost = {{"something else", 2s}};
  plan.beside = [](horus::Scheduler&) -> Task<> {
    co_await horus::sleep(100ms);
    horus::io::Reactor::current()->clock().spend("something else");
  };
  const auto run = virtual_time::run(plan);
  CHECK(run.code == 0);
  CHECK(run.lines_with("init failed") == 0);
}

TEST_CASE("an init() that fails after the others began ends the run with its error") {
  virtual_time::Plan plan;
  plan.length = 20s;
  plan.build = [](horus::Scheduler& scheduler) {
    class FailsLate : public horus::Node {
     public:
      Task<> init() override {
        co_await horus::sleep(12s);
        throw horus::Error(ENODEV, "open", "/dev/arm");
      }
      Task<> tick() override { co_return; }
    };
    scheduler.add<FailsLate>();
    scheduler.add("motor", [] {}).rate(100_hz);
  };
  const auto run = virtual_time::run(plan);
  CHECK(run.code == 1);
  CHECK(run.length < 12100ms);
  CHECK(run.lines_with("fails_late: init failed: open /dev/arm") == 1);
}

TEST_CASE("a shutdown() beyond its limit names the limit and what it waits for, and the exit code is 75") {
  const auto run = run_with(0s, 1h, 1s);
  CHECK(run.code == 75);
  CHECK(run.lines_with("slow: its shutdown() has not ended within 1000 ms (shutdown_limit)") == 1);
  CHECK(run.lines_with("waits for a timer") == 1);
  CHECK(run.length < 2100ms);
  CHECK(run_with(0s, 900ms, 1s).code == 0);
}

TEST_CASE("a plain shutdown() that takes longer than its limit is told") {
  virtual_time::Plan plan;
  plan.config.shutdown_limit = 0ms;
  plan.build = [](horus::Scheduler& scheduler) { scheduler.add("quick", [] {}).rate(10_hz); };
  CHECK(virtual_time::run(plan).code == 0);  // no time is no longer than none
}

TEST_CASE("an absence is what a look is late by and the process did not use") {
  horus::detail::Absences absences;
  constexpr std::int64_t ms = 1'000'000;
  CHECK(absences.late(1000 * ms, 1090 * ms, 0) == 0);          // not late enough
  CHECK(absences.late(1000 * ms, 3000 * ms, 1950 * ms) == 0);  // it used what there was: it hangs
  CHECK(absences.late(1000 * ms, 5000 * ms, 20 * ms) == 3980 * ms);
  CHECK(absences.present(900 * ms, 5100 * ms) == 220 * ms);
  CHECK(absences.present(5000 * ms, 5100 * ms) == 100 * ms);
  CHECK(absences.present(4000 * ms, 4500 * ms) == 0);
  CHECK(absences.last_end_ns() == 5000 * ms);
  CHECK_FALSE(absences.add(5000 * ms, 5200 * ms));  // goes on
  CHECK(absences.add(6000 * ms, 6100 * ms));
  CHECK(absences.present(900 * ms, 7000 * ms) == 6100 * ms - 3980 * ms - 200 * ms - 100 * ms);
}

TEST_CASE(
    "an emergency stop that comes while nodes are shut down enters their safe states, and the run ends") {
  int at_once = 0;
  class Arm : public horus::Node {
   public:
    explicit Arm(int& at_once) : Node("arm"), at_once_(at_once) {}
    Task<> tick() override { co_return; }
    Task<> shutdown() override { co_await horus::sleep(500ms); }
    void enter_safe_state_at(horus::SafeStateCall call) noexcept override {
      if (call == horus::SafeStateCall::at_once) ++at_once_;
    }

   private:
    int& at_once_;
  };
  const auto run = virtual_time::run({
      .build =
          [&](horus::Scheduler& scheduler) {
            scheduler.add<Arm>(at_once).rate(100_hz);
            scheduler.add("other", [] {}).rate(100_hz);
          },
      .length = 1s,
      .beside = [](horus::Scheduler& scheduler) -> Task<> {
        co_await horus::sleep(1200ms);
        scheduler.emergency_stop();
        co_await horus::sleep(1s);
      },
  });
  CHECK(run.code == 0);
  CHECK(run.length < 1600ms);
  CHECK(at_once == 1);
}

TEST_CASE("an emergency stop that comes while the last ticks are waited for leaves nothing behind") {
  class Works : public horus::Node {
   public:
    Works() : Node("works") {}
    Task<> tick() override {
      if (!work_.valid()) {
        work_ = spawn([]() -> Task<> {
          while (true) {  // in pieces that must not be cut, so it does not end at once
            auto piece = pause_3_ms();
            co_await horus::shield(std::move(piece));
            co_await horus::sleep(0ms);
          }
        }());
      }
      co_return;
    }

   private:
    horus::Spawned<void> work_;
  };
  const auto run = virtual_time::run({
      .build =
          [](horus::Scheduler& scheduler) {
            scheduler.add<Works>().rate(100_hz);
            scheduler.add("slow", []() -> Task<> { co_await horus::sleep(400ms); }).rate(1_hz);
          },
      .length = 1200ms,
      .beside = [](horus::Scheduler& scheduler) -> Task<> {
        co_await horus::sleep(1300ms);
        scheduler.emergency_stop();
        co_await horus::sleep(1s);
      },
  });
  CHECK(run.code == 0);
  CHECK(run.length >= 1300ms);
  CHECK(run.length < 1400ms);
}
