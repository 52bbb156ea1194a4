// SPDX-License-Identifier: Apache-2.0
// The scheduler's rules, one row after another, in virtual time.
#include <algorithm>
#include <limits>
#include <stdexcept>

#include <horus/task/event.hpp>
#include <horus/task/shield.hpp>

#include "virtual_time.hpp"

using horus::CircuitState;
using horus::Miss;
using horus::Node;
using horus::NodeState;
using horus::Overrun;
using horus::Scheduler;
using horus::SchedulerConfig;
using horus::Task;
using horus::TickOutcome;
using virtual_time::Plan;
using virtual_time::Run;
using namespace horus::literals;

namespace {

// Suspends for so long in each tick.
auto sleeper(horus::Duration time) {
  return [time]() -> Task<> { co_await horus::sleep(time); };
}

// Suspends long in some ticks, counted from 0, and shortly in the others.
auto slow_in(std::vector<int> slow, horus::Duration time) {
  return [slow = std::move(slow), time, tick = 0]() mutable -> Task<> {
    const bool now = std::find(slow.begin(), slow.end(), tick++) != slow.end();
    co_await horus::sleep(now ? time : 1ms);
  };
}

Task<> rest_a_second() { co_await horus::sleep(1s); }

class Fragile : public Node {
 public:
  struct Life {
    int inits = 0, ticks = 0, shutdowns = 0, safe_states = 0;
    int fail_ticks = 0;  // of these, from the first
    int fail_inits = 0;
    std::vector<std::int64_t> init_times;
  };
  explicit Fragile(Life& life) : Node("fragile"), life_(life) {}
  Task<> init() override {
    life_.init_times.push_back(horus::now_ns());
    if (life_.inits++ < life_.fail_inits) throw horus::Error(ECONNREFUSED, "connect", "10.0.0.9:1");
    co_return;
  }
  Task<> tick() override {
    co_await horus::yield();
    if (life_.ticks++ < life_.fail_ticks) throw horus::Error(EIO, "read", "/dev/imu");
  }
  Task<> shutdown() override {
    ++life_.shutdowns;
    co_return;
  }
  void enter_safe_state() noexcept override { ++life_.safe_states; }

 private:
  Life& life_;
};

// Waits for what never comes; the second kind does not even hear a cancellation.
class Hanging : public Node {
 public:
  Hanging(int* safe_states, bool deaf) : Node("hanging"), safe_states_(safe_states), deaf_(deaf) {}
  Task<> tick() override {
    if (ticks_++ == 0) co_return;
    if (deaf_) {
      const std::int64_t end = horus::now_ns() + 5'000'000'000;
      while (horus::now_ns() < end) {
        auto rest = rest_a_second();
        try {
          co_await horus::shield(std::move(rest));
        } catch (const horus::Error&) {
        }
      }
      co_return;
    }
    co_await never_.wait();
  }
  void enter_safe_state() noexcept override { ++*safe_states_; }

 private:
  horus::Event never_;
  int* safe_states_;
  bool deaf_;
  int ticks_ = 0;
};

}  // namespace

TEST_CASE("overrun: skip drops grid points, queue starts one late, cancel ends the old tick") {
  struct Row {
    Overrun overrun;
    std::uint64_t ok, cancelled, in_flight;
  };
  // A tick of 25 ms on a grid of 10 ms, for 1 s.
  for (const Row& row : {Row{Overrun::skip, 34, 0, 66}, Row{Overrun::queue, 40, 0, 60}}) {
    CAPTURE(to_string(row.overrun));
    const Run run = virtual_time::run(
        {[&](Scheduler& s) { s.add("slow", sleeper(25ms)).rate(100_hz).overrun(row.overrun); }, 995ms});
    const auto& node = run.nodes.at("slow");
    CHECK(node.successful_ticks + node.cancelled_ticks == doctest::Approx(row.ok).epsilon(0.06));
    CHECK(node.count(TickOutcome::skipped_in_flight) == doctest::Approx(row.in_flight).epsilon(0.06));
  }
  const Run run = virtual_time::run(
      {[&](Scheduler& s) { s.add("slow", sleeper(25ms)).rate(100_hz).overrun(Overrun::cancel); }, 995ms});
  const auto& node = run.nodes.at("slow");
  CHECK(node.count(TickOutcome::cancelled_overrun) >= 95);
  CHECK(node.successful_ticks <= 1);  // the last one may finish
  CHECK(node.total_failures == 0);    // not a failure unless miss_is_failure says so
}

TEST_CASE("a missed deadline is seen while the tick is suspended, and each reaction does what it says") {
  const auto with = [](Miss miss, auto tick, horus::Duration length = 995ms) {
    return virtual_time::run(
        {[=](Scheduler& s) { s.add("slow", tick).rate(10_hz).deadline(20ms).on_miss(miss); }, length});
  };
  SUBCASE("warn") {
    const Run run = with(Miss::warn, slow_in({2, 3}, 50ms));
    CHECK(run.nodes.at("slow").deadline_misses == 2);
    CHECK(run.nodes.at("slow").successful_ticks == 10);
    CHECK(run.lines_with("slow: missed its deadline of 20 ms") == 1);  // the second within the same second
    CHECK(run.lines_with("awaiting a timer at semantics_test.cpp") == 1);
    for (const auto& event : run.timeline.events) {
      if (event.kind != horus::TimelineEvent::Kind::deadline_miss) continue;
      const std::int64_t late = (event.begin_ns - run.timeline.events.front().begin_ns) % 100'000'000;
      CHECK(late >= 20'000'000);
      CHECK(late < 20'300'000);  // at the deadline, not at the end of the tick
    }
  }
  SUBCASE("skip") {
    const Run run = with(Miss::skip, slow_in({2}, 50ms));
    CHECK(run.nodes.at("slow").count(TickOutcome::skipped_miss) == 1);
    CHECK(run.nodes.at("slow").successful_ticks == 9);
  }
  SUBCASE("cancel") {
    const Run run = with(Miss::cancel, slow_in({2, 5}, 50ms));
    CHECK(run.nodes.at("slow").count(TickOutcome::cancelled_deadline) == 2);
    CHECK(run.nodes.at("slow").successful_ticks == 8);
    CHECK(run.nodes.at("slow").consecutive_failures == 0);
    CHECK(run.nodes.at("slow").response.max() < 21'000'000);
  }
  SUBCASE("degrade") {
    // Three misses in a row halve the rate, and so on down to an eighth; fifty clean ticks give a step back.
    const Run run = with(Miss::degrade, slow_in({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, 50ms), 300s);
    const auto& node = run.nodes.at("slow");
    CHECK(run.lines_with("slowed down to 5 Hz") + run.lines_with("slowed down to 2.5 Hz") +
              run.lines_with("slowed down to 1.25 Hz") >=
          2);
    CHECK(run.lines_with("back to 10 Hz") == 1);
    CHECK(node.tick_rate_hz == 10);
    CHECK(node.deadline_misses == 12);
  }
  SUBCASE("stop") {
    const Run run = with(Miss::stop, slow_in({2}, 50ms), 10s);
    CHECK(run.length < 400ms);
    CHECK(run.code == 0);
  }
  SUBCASE("safe_mode") {
    Fragile::Life life;
    class Late : public Node {
     public:
      explicit Late(Fragile::Life& life) : Node("late"), life_(life) {}
      Task<> tick() override {
        const int tick = life_.ticks++;
        co_await horus::sleep(tick >= 2 && tick <= 4 ? 50ms : tick == 8 ? 50ms : 1ms);
      }
      void enter_safe_state() noexcept override { ++life_.safe_states; }

     private:
      Fragile::Life& life_;
    };
    const Run run = virtual_time::run(
        {[&](Scheduler& s) { s.add<Late>(life).rate(10_hz).deadline(20ms).on_miss(Miss::safe_mode); }, 1s});
    CHECK(life.safe_states == 2);  // once per episode, and it keeps ticking
    CHECK(run.nodes.at("late").deadline_misses == 4);
    CHECK(run.nodes.at("late").successful_ticks >= 10);
  }
}

TEST_CASE("the budget counts execution alone, and uses the same reactions") {
  const auto run =
      virtual_time::run({.build =
                             [](Scheduler& s) {
                               s.add("heavy", [] {}).rate(10_hz).budget(5ms).on_budget(Miss::skip);
                               s.add("waiting", sleeper(40ms)).rate(10_hz).budget(5ms);
                             },
                         .length = 995ms,
                         .cost = {{"heavy", 8ms}}});
  CHECK(run.nodes.at("heavy").budget_misses == 5);
  CHECK(run.nodes.at("heavy").count(TickOutcome::skipped_miss) == 5);
  CHECK(run.nodes.at("waiting").budget_misses == 0);
  CHECK(run.lines_with("heavy: ran for 8 ms, its budget is 5 ms") == 1);
}

TEST_CASE("deadline monitoring can be switched off, and a deadline set while running") {
  SchedulerConfig config;
  config.deadline_monitoring = false;
  auto run = virtual_time::run(
      {.build = [](Scheduler& s) { s.add("slow", sleeper(5ms)).rate(100_hz).deadline(1ms); },
       .config = config});
  CHECK(run.nodes.at("slow").deadline_misses == 0);
  run = virtual_time::run({.build = [](Scheduler& s) { s.add("slow", sleeper(5ms)).rate(100_hz); },
                           .length = 1s,
                           .beside = [](Scheduler& s) -> Task<> {
                             co_await horus::sleep(505ms);
                             s.set_node_deadline("slow", 1ms).or_throw();
                           }});
  CHECK(run.nodes.at("slow").deadline_misses >= 49);
  CHECK(run.nodes.at("slow").deadline_misses <= 51);
  CHECK(run.nodes.at("slow").deadline_ms == 1);
}

TEST_CASE("the circuit opens after consecutive failures, rests, probes, and closes after three successes") {
  Fragile::Life life;
  life.fail_ticks = 6;  // five open it, and the first probe fails too
  const Run run = virtual_time::run({[&](Scheduler& s) { s.add<Fragile>(life).rate(100_hz); }, 10s});
  const auto& node = run.nodes.at("fragile");
  CHECK(node.circuit_opens == 2);
  CHECK(node.circuit_state == CircuitState::closed);
  CHECK(node.failed_ticks == 6);
  CHECK(node.circuit_rejected == node.count(TickOutcome::skipped_circuit_open));
  // One second, then two; three more ticks until it closes.
  CHECK(node.count(TickOutcome::skipped_circuit_open) >= 295);
  CHECK(node.count(TickOutcome::skipped_circuit_open) <= 303);
  CHECK(node.circuit_open_ns > 3'000'000'000);
  CHECK(node.circuit_open_ns < 3'100'000'000);
  CHECK(node.consecutive_failures == 0);
  CHECK(node.last_error == "read /dev/imu: input/output error");
  CHECK(life.inits == 1);
  CHECK(run.lines_with("5 failures in a row; circuit open, tried again in 1000 ms") == 1);
  CHECK(run.lines_with("works again; circuit closed") == 1);
}

TEST_CASE("an open circuit leaves other nodes alone, and one can be opened and reset by hand") {
  int good = 0;
  const Run run = virtual_time::run(
      {.build =
           [&](Scheduler& s) {
             s.add("bad", [] { throw std::runtime_error("bug"); }).rate(100_hz);
             s.add("good", [&] { ++good; }).rate(100_hz);
             s.add("valve", [] {}).rate(100_hz);
             s.add("events", sleeper(10ms));
           },
       .length = 995ms,
       .beside = [](Scheduler& s) -> Task<> {
         co_await horus::sleep(205ms);
         s.open_circuit("valve").or_throw();
         s.open_circuit("events").or_throw();
         CHECK(s.statistics("valve")->circuit_open());
         co_await horus::sleep(500ms);
         s.reset_circuit("valve").or_throw();
         s.reset_circuit("events").or_throw();
         CHECK(s.open_circuit("vale").error().message().find("there are: bad, good") != std::string::npos);
       }});
  CHECK(good == 100);
  CHECK(run.nodes.at("valve").count(TickOutcome::skipped_circuit_open) == 50);
  CHECK(run.nodes.at("valve").successful_ticks == 50);
  CHECK(run.nodes.at("events").successful_ticks == doctest::Approx(50).epsilon(0.1));
}

TEST_CASE("auto_restart: shutdown, a pause that doubles, a fresh init, half open") {
  Fragile::Life life;
  life.fail_ticks = 6;
  const Run run =
      virtual_time::run({[&](Scheduler& s) { s.add<Fragile>(life).rate(100_hz).auto_restart(); }, 5s});
  const auto& node = run.nodes.at("fragile");
  CHECK(node.restarts == 2);
  CHECK(life.inits == 3);
  CHECK(life.shutdowns == 3);  // two restarts and the end
  CHECK(node.state == NodeState::stopped);
  CHECK(node.circuit_state == CircuitState::closed);
  REQUIRE(life.init_times.size() == 3);
  const double first = static_cast<double>(life.init_times[1] - life.init_times[0]) / 1e6;
  const double second = static_cast<double>(life.init_times[2] - life.init_times[1]) / 1e6;
  CHECK(first >= 40 + 90);  // five ticks, then 100 ms ± 10 %
  CHECK(first <= 41 + 111);
  CHECK(second >= 180);
  CHECK(second <= 235);
}

TEST_CASE("a node that fails again and again stays stopped; a critical one trips the emergency stop") {
  Fragile::Life life;
  life.fail_ticks = 1'000'000;
  Run run = virtual_time::run({[&](Scheduler& s) { s.add<Fragile>(life).rate(100_hz).auto_restart(); }, 90s});
  // 0.1 + 0.2 + 0.4 + 0.8 + 1.6 + 3.2 + 6.4 s, and then every 10 s until a minute is over.
  CHECK(run.nodes.at("fragile").restarts >= 11);
  CHECK(run.nodes.at("fragile").restarts <= 13);
  CHECK(run.nodes.at("fragile").state == NodeState::stopped);
  CHECK(run.lines_with("it stays stopped") == 1);
  CHECK_FALSE(run.emergency);
  life = {};
  life.fail_ticks = 1'000'000;
  run = virtual_time::run(
      {[&](Scheduler& s) { s.add<Fragile>(life).rate(100_hz).auto_restart().critical(); }, 90s});
  CHECK(run.emergency);
  CHECK(life.safe_states == 2);  // at once, and settled
}

TEST_CASE("an init that fails is tried again with auto_restart, and ends the run without") {
  Fragile::Life life;
  life.fail_inits = 2;
  Run run = virtual_time::run({[&](Scheduler& s) { s.add<Fragile>(life).rate(100_hz).auto_restart(); }, 2s});
  CHECK(run.code == 0);
  CHECK(life.inits == 3);
  CHECK(run.nodes.at("fragile").successful_ticks > 150);
  CHECK(life.shutdowns == 1);
  life = {};
  life.fail_inits = 1;
  run = virtual_time::run({[&](Scheduler& s) { s.add<Fragile>(life).rate(100_hz); }, 2s});
  CHECK(run.code == 1);
  CHECK(run.nodes.at("fragile").state == NodeState::failed);
}

TEST_CASE("a device that is unplugged for ten minutes comes back by itself") {
  std::int64_t plugged_in_at = 0, back_at = 0;
  int tries = 0;
  class Device : public Node {
   public:
    Device(std::int64_t& plugged_in_at, std::int64_t& back_at, int& tries)
        : Node("device"), plugged_in_at_(plugged_in_at), back_at_(back_at), tries_(tries) {}
    Task<> init() override {
      ++tries_;
      if (plugged_in_at_ == 0) plugged_in_at_ = horus::now_ns() + 600'000'000'000;
      if (horus::now_ns() < plugged_in_at_) throw horus::Error(ENOENT, "open", "/dev/ttyUSB0");
      back_at_ = horus::now_ns();
      co_return;
    }
    Task<> tick() override { co_return; }

   private:
    std::int64_t &plugged_in_at_, &back_at_;
    int& tries_;
  };
  horus::RestartConfig for_ever;
  for_ever.for_ever = true;
  for_ever.longest_delay = 1h;  // ten seconds all the same
  const Run run = virtual_time::run(
      {[&](Scheduler& s) { s.add<Device>(plugged_in_at, back_at, tries).rate(10_hz).restart(for_ever); },
       11min});
  CHECK(run.code == 0);
  CHECK(back_at > plugged_in_at);
  CHECK(back_at - plugged_in_at <= 11'000'000'000);
  CHECK(tries >= 55);
  CHECK(run.nodes.at("device").successful_ticks > 100);
}

TEST_CASE("the watchdog's ladder: warned once, unhealthy and cancelled, isolated; a success clears it") {
  int safe_states = 0;
  Run run = virtual_time::run(
      {[&](Scheduler& s) {
         s.add<Hanging>(&safe_states, false).rate(100_hz).watchdog(200ms).circuit_breaker(false);
       },
       2s});
  const auto& node = run.nodes.at("hanging");
  CHECK(node.count(TickOutcome::cancelled_watchdog) == 2);  // the next tick hangs too, until the next step
  CHECK(node.total_failures >= 1);
  CHECK(node.watchdog_expired);
  CHECK(node.watchdog_expirations == 1);
  CHECK(run.lines_with("hanging: watchdog expired: no successful tick for 2") == 1);
  CHECK(run.lines_with("awaiting an event at semantics_test.cpp") >= 2);
  CHECK(run.lines_with("hanging: unhealthy") == 1);
  CHECK(run.lines_with("hanging: isolated") == 1);
  CHECK(safe_states == 2);  // at once, and when the tick that was cancelled had ended
  CHECK_FALSE(run.emergency);
  std::vector<std::int64_t> steps;
  for (const auto& event : run.timeline.events) {
    if (event.kind == horus::TimelineEvent::Kind::watchdog) steps.push_back(event.begin_ns);
  }
  REQUIRE(steps.size() == 3);
  const std::int64_t start = run.timeline.events.front().begin_ns;
  CHECK(steps[0] - start >= 200'000'000);
  CHECK(steps[0] - start <= 260'000'000);  // 1.25 × timeout + 10 ms
  CHECK(steps[1] - start <= 460'000'000);
  CHECK(steps[2] - start <= 660'000'000);

  run = virtual_time::run(
      {[&](Scheduler& s) { s.add<Hanging>(&safe_states, false).rate(100_hz).watchdog(200ms).critical(); },
       2s});
  CHECK(run.emergency);
}

TEST_CASE("a node is isolated from its safe state on, and until a tick succeeds") {
  int safe_states = 0, looks = 0, too_early = 0;
  bool well = false;
  class Failing final : public horus::PlainNode {
   public:
    Failing(int& safe_states, const bool& well)
        : PlainNode("failing"), safe_states_(safe_states), well_(well) {}
    void tick() override {
      if (!well_) throw horus::Error(ENODEV, "open");
    }
    void enter_safe_state() noexcept override { ++safe_states_; }

   private:
    int& safe_states_;
    const bool& well_;
  };
  const Run run = virtual_time::run(
      {.build =
           [&](Scheduler& s) {
             s.add<Failing>(safe_states, well).rate(1000_hz).watchdog(50ms).circuit_breaker(false);
             s.add("looker", [&] {
                if (!s.is_isolated("failing")) return;
                ++looks;
                too_early += safe_states == 0 ? 1 : 0;
                well = looks > 20;
              }).rate(2000_hz);
           },
       .length = 1s,
       .beside = [&](Scheduler& s) -> Task<> {
         co_await horus::sleep(900ms);
         CHECK_FALSE(s.is_isolated("failing"));
         CHECK_FALSE(s.is_isolated("nobody"));
       }});
  CHECK(run.lines_with("failing: isolated") == 1);
  CHECK(looks > 20);
  CHECK(looks < 30);
  CHECK(too_early == 0);
}

TEST_CASE("a tick that does not heed its cancellation makes the node stuck until it ends") {
  int safe_states = 0;
  NodeState seen = NodeState::added;
  const Run run = virtual_time::run(
      {.build = [&](Scheduler& s) { s.add<Hanging>(&safe_states, true).rate(100_hz).watchdog(200ms); },
       .length = 8s,
       .beside = [&](Scheduler& s) -> Task<> {
         co_await horus::sleep(2s);
         seen = s.statistics("hanging")->state;
       }});
  CHECK(seen == NodeState::stuck);
  CHECK(run.lines_with("hanging: stuck") >= 1);
  CHECK(run.lines_with("has ended at last") >= 1);
  CHECK(run.nodes.at("hanging").count(TickOutcome::skipped_in_flight) > 400);
}

TEST_CASE("the watchdog's clock is frozen while a node is paused, open or restarting") {
  Fragile::Life life;
  life.fail_ticks = 5;
  const Run run = virtual_time::run({.build =
                                         [&](Scheduler& s) {
                                           s.add("paused", [] {}).rate(100_hz).watchdog(100ms);
                                           s.add<Fragile>(life).rate(100_hz).watchdog(100ms);
                                         },
                                     .length = 3s,
                                     .beside = [](Scheduler& s) -> Task<> {
                                       co_await horus::sleep(100ms);
                                       s.pause("paused").or_throw();
                                       co_await horus::sleep(2s);
                                       CHECK(s.statistics("paused")->state == NodeState::paused);
                                       CHECK(s.statistics("paused")->watchdog_time_since_feed_ms == 0);
                                       s.resume("paused").or_throw();
                                     }});
  CHECK(run.nodes.at("paused").watchdog_expirations == 0);
  CHECK(run.nodes.at("paused").count(TickOutcome::skipped_paused) == 200);
  CHECK(run.nodes.at("fragile").watchdog_expirations == 0);
}

TEST_CASE("while a run waits for its last tick, the watchdog watches that one alone") {
  const Run run = virtual_time::run({.build =
                                         [](Scheduler& s) {
                                           s.add("well", [] {}).rate(100_hz).watchdog(50ms);
                                           s.add("slow", sleeper(900ms)).rate(1_hz).watchdog(3s);
                                           s.add("late", sleeper(700ms)).rate(1_hz).watchdog(3s);
                                         },
                                     .length = 500ms});
  CHECK(run.length >= 900ms);
  CHECK(run.lines_with("watchdog") == 0);
  for (const char* node : {"well", "slow", "late"}) CHECK(run.nodes.at(node).watchdog_expirations == 0);
}

TEST_CASE("one node can be restarted by hand while the others go on") {
  Fragile::Life life;
  int good = 0;
  const Run run = virtual_time::run({.build =
                                         [&](Scheduler& s) {
                                           s.add<Fragile>(life).rate(100_hz);
                                           s.add("good", [&] { ++good; }).rate(100_hz);
                                         },
                                     .length = 995ms,
                                     .beside = [](Scheduler& s) -> Task<> {
                                       co_await horus::sleep(300ms);
                                       s.restart("fragile").or_throw();
                                     }});
  CHECK(life.inits == 2);
  CHECK(life.shutdowns == 2);
  CHECK(good == 100);
  CHECK(run.nodes.at("fragile").successful_ticks >= 98);
}

TEST_CASE("after stop() nothing is released, not even what is due at the same instant") {
  int others = 0;
  Scheduler* scheduler = nullptr;
  virtual_time::run({.build =
                         [&](Scheduler& s) {
                           scheduler = &s;
                           s.add("ender",
                                 [&, ticks = 0]() mutable {
                                   if (++ticks == 3) scheduler->stop();
                                 })
                               .rate(100_hz)
                               .priority(0);
                           s.add("other", [&] { ++others; }).rate(100_hz).priority(1);
                           s.add("slow", [] {}).rate(100_hz).priority(2);
                         },
                     .length = 10s,
                     .cost = {{"slow", 15ms}}});
  CHECK(others == 2);
}

TEST_CASE("policies order the starts of one instant") {
  const auto order = [](horus::Policy policy) {
    std::vector<std::string> started;
    SchedulerConfig config;
    config.policy = policy;
    virtual_time::run({.build =
                           [&](Scheduler& s) {
                             const auto note = [&](const char* name) {
                               return [&started, name] { started.push_back(name); };
                             };
                             s.add("first", note("first")).rate(10_hz).priority(0);
                             s.add("fast", note("fast")).rate(20_hz).priority(2);
                             s.add("urgent", note("urgent")).rate(10_hz).priority(1).deadline(5ms);
                           },
                       .length = 20ms,
                       .config = config});
    return started;
  };
  using Names = std::vector<std::string>;
  CHECK(order(horus::Policy::priority) == Names{"first", "urgent", "fast"});
  CHECK(order(horus::Policy::rate_monotonic) == Names{"fast", "first", "urgent"});
  CHECK(order(horus::Policy::edf) == Names{"urgent", "fast", "first"});
}

TEST_CASE("an emergency stop is latched: safe states by priority, no releases, reset by hand") {
  std::vector<std::string> entered;
  class Motor : public horus::PlainNode {
   public:
    Motor(std::string name, std::vector<std::string>& entered)
        : PlainNode(std::move(name)), entered_(entered) {}
    void tick() override {}
    void enter_safe_state() noexcept override { entered_.push_back(name()); }

   private:
    std::vector<std::string>& entered_;
  };
  const Run run = virtual_time::run({.build =
                                         [&](Scheduler& s) {
                                           s.add<Motor>("left", entered).rate(100_hz).priority(2);
                                           s.add<Motor>("brake", entered).rate(100_hz).priority(0);
                                           s.add("events", sleeper(10ms));
                                         },
                                     .length = 995ms,
                                     .beside = [](Scheduler& s) -> Task<> {
                                       co_await horus::sleep(205ms);
                                       s.emergency_stop();
                                       s.emergency_stop();
                                       co_await horus::sleep(500ms);
                                       CHECK(s.emergency_stopped());
                                       s.reset_emergency_stop();
                                     }});
  // At once, and again when what they did has ended.
  CHECK(entered == std::vector<std::string>{"brake", "left", "brake", "left"});
  CHECK(run.nodes.at("left").count(TickOutcome::skipped_emergency) == 50);
  CHECK(run.nodes.at("left").successful_ticks == 50);
  CHECK(run.nodes.at("events").successful_ticks >= 45);
  CHECK(run.nodes.at("events").successful_ticks <= 52);
  CHECK(run.nodes.at("left").safe_states == 1);
}

TEST_CASE("where the time goes: the planted bottleneck is on top of the node's awaits") {
  const Run run = virtual_time::run({[](Scheduler& s) {
                                       s.add("camera", []() -> Task<> {
                                          co_await horus::sleep(1ms);
                                          co_await horus::sleep(7ms);
                                        }).rate(100_hz);
                                     },
                                     995ms});
  const auto& awaits = run.nodes.at("camera").awaits;
  REQUIRE(awaits.size() == 2);
  CHECK(awaits[0].operation == "a timer");
  CHECK(awaits[0].count == 100);
  CHECK(awaits[0].total_ns >= 700'000'000);
  CHECK(awaits[0].total_ns < 705'000'000);
  CHECK(awaits[1].total_ns < 105'000'000);
  CHECK(awaits[0].place.find("semantics_test.cpp:") != std::string::npos);
  CHECK(awaits[0].worst_ns >= 7'000'000);
}

TEST_CASE("a report shows the node whose queue fills") {
  struct Number {
    int value = 0;
  };
  class Source : public horus::PlainNode {
   public:
    void tick() override {
      for (int i = 0; i < 3; ++i) out_.send({i});
    }

   private:
    horus::Publisher<Number> out_ = advertise<Number>("numbers");
  };
  class Sink : public horus::PlainNode {
   public:
    void tick() override {
      while (in_.try_recv()) {
      }
    }

   private:
    horus::Subscriber<Number> in_ = subscribe<Number>("numbers");
  };
  std::string report;
  const Run run = virtual_time::run({.build =
                                         [](Scheduler& s) {
                                           s.add<Source>().rate(100_hz).priority(0);
                                           s.add<Sink>().rate(25_hz).priority(1);
                                         },
                                     .length = 995ms,
                                     .beside = [&](Scheduler& s) -> Task<> {
                                       co_await horus::sleep(500ms);
                                       report = s.report(horus::Detail::awaits);
                                     }});
  CHECK(run.nodes.at("source").messages_sent == 300);
  CHECK(run.nodes.at("sink").messages_received >= 290);
  CHECK(run.nodes.at("sink").messages_high_water == 12);
  CHECK(report.find("queued most") != std::string::npos);
  CHECK(report.find("source") != std::string::npos);
}

TEST_CASE("budgets that do not fit are found before the run") {
  SchedulerConfig config;
  config.admission = horus::Admission::refuse;
  Scheduler scheduler(config);
  scheduler.add("a", [] {}).rate(100_hz).budget(6ms);
  scheduler.add("b", [] {}).rate(100_hz).budget(5ms);
  scheduler.add("c", [] {}).rate(1_hz);
  const auto check = scheduler.check();
  CHECK_FALSE(check.schedulable);
  REQUIRE(check.executors.size() == 1);
  CHECK(check.executors[0].utilisation == doctest::Approx(1.1));
  CHECK(check.executors[0].unknown == 1);
  CHECK(check.problem ==
        "the budgets of the scheduler's thread add up to 110 % of its time, and priority can keep up with "
        "100 %");
  CHECK(scheduler.run_for(1s) == 1);
}

TEST_CASE("settings out of range are refused with the range, before and while running") {
  const auto message = [](auto&& call) {
    try {
      call();
    } catch (const horus::Error& error) {
      return error.message();
    }
    return std::string("nothing");
  };
  Scheduler scheduler;
  auto node = scheduler.add("node", [] {});
  CHECK(message([&] { node.deadline(10'001ms); }) ==
        "deadline node \"node\" (10001 ms: 0 to 10000): invalid argument");
  CHECK(message([&] { node.watchdog(9ms); }) ==
        "watchdog node \"node\" (9 ms: 10 to 60000): invalid argument");
  CHECK(message([&] { node.watchdog(61s); }).find("10 to 60000") != std::string::npos);
  CHECK(message([&] { node.on_budget(Miss::cancel); }).find("suspension point") != std::string::npos);
  CHECK(message([&] { node.on_miss(Miss::cancel); }).find("suspension point") != std::string::npos);
  CHECK(message([&] { node.priority(-1); }) ==
        "priority node \"node\" (-1: 0 (first) to 1000000): invalid argument");
  for (const double hz : {0.0, -5.0, 1e6, std::numeric_limits<double>::quiet_NaN()})
    CHECK(message([&] { node.rate(horus::Rate(hz)); }).find("above 0 up to 100000") != std::string::npos);
  node.rate(10_hz);
  CHECK(scheduler.set_node_watchdog("node", true, 299ms).error().message().find("3 periods") !=
        std::string::npos);
  CHECK(scheduler.set_node_watchdog("node", true, 300ms).ok());
  CHECK(scheduler.set_node_deadline("node", 11s).error().message().find("0 to 10000") != std::string::npos);
  CHECK(scheduler.pause("nod").error().message() == "pause node \"nod\" (there are: node): invalid argument");
  // A watchdog shorter than three periods.
  Scheduler slow;
  slow.add("slow", [] {}).rate(10_hz).watchdog(100ms);
  CHECK(slow.run_for(1s) == 1);
  Scheduler lost;
  lost.add("lost", [] {}).executor("controll");
  CHECK(lost.run_for(1s) == 1);
}
