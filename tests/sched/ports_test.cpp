// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/sched/scheduler.hpp>

#include "../support/captured_log.hpp"
#include "virtual_time.hpp"

namespace {

using namespace horus::literals;
using horus::Task;
using horus::testing::CapturedLog;

struct Reading {
  int number = 0;
};
struct Other {
  double value = 0;
};

class Sensor : public horus::PlainNode {
 public:
  void tick() override { out_.send({.number = ++count_}); }

 private:
  horus::Publisher<Reading> out_ = advertise<Reading>("imu");
  int count_ = 0;
};

class Listener : public horus::Node {
 public:
  Listener(std::vector<int>& seen, std::string topic)
      : in_(subscribe<Reading>(std::move(topic))), seen_(seen) {}
  Task<> tick() override {
    auto message = (co_await in_.recv()).or_throw();
    seen_.push_back(message->number);
  }

 private:
  horus::Subscriber<Reading> in_;
  std::vector<int>& seen_;
};

// Makes its port as late as it can.
class LateListener : public horus::Node {
 public:
  explicit LateListener(std::vector<int>& seen) : seen_(seen) {}
  Task<> init() override {
    in_ = subscribe<Reading>("in");
    co_return;
  }
  Task<> tick() override {
    auto message = (co_await in_.recv()).or_throw();
    seen_.push_back(message->number);
  }

 private:
  horus::Subscriber<Reading> in_;
  std::vector<int>& seen_;
};

TEST_SUITE("sched/ports") {
  TEST_CASE("nodes with the same topic meet in their scheduler") {
    const virtual_time::Alone here;
    std::vector<int> seen;
    horus::Scheduler scheduler;
    scheduler.add<Sensor>().rate(1000_hz);
    scheduler.add<Listener>(seen, "imu");
    CHECK(scheduler.run_for(50ms) == 0);
    REQUIRE(seen.size() > 3);
    for (std::size_t i = 0; i < seen.size(); ++i) CHECK(seen[i] == static_cast<int>(i) + 1);
    CHECK(scheduler.hub().metrics().messages_received == seen.size());
  }

  TEST_CASE("a second run opens the ports again") {
    const virtual_time::Alone here;
    std::vector<int> seen;
    horus::Scheduler scheduler;
    scheduler.add<Sensor>().rate(1000_hz);
    scheduler.add<Listener>(seen, "imu");
    CHECK(scheduler.run_for(10ms) == 0);
    const std::size_t first = seen.size();
    CHECK(scheduler.run_for(20ms) == 0);
    CHECK(seen.size() > first);
  }

  TEST_CASE("connect joins ports of other names, made in the constructor or in init") {
    const virtual_time::Alone here;
    std::vector<int> seen, late, stranger;
    horus::Scheduler scheduler;
    scheduler.add<Sensor>().rate(1000_hz).name("front");
    scheduler.add<Listener>(seen, "data").name("early");
    scheduler.add<LateListener>(late).name("late");
    scheduler.add<Listener>(stranger, "data").name("stranger");
    scheduler.connect("front", "imu", "early", "data").connect("front", "imu", "late", "in");
    CHECK(scheduler.run_for(30ms) == 0);
    CHECK(seen.size() > 2);
    CHECK(late.size() > 2);
    CHECK(stranger.empty());
  }

  TEST_CASE("connecting what is not there is an error that names it") {
    const virtual_time::Alone here;
    std::vector<int> seen;
    horus::Scheduler scheduler;
    scheduler.add<Sensor>();
    scheduler.add<Listener>(seen, "data");
    CHECK_THROWS_WITH(scheduler.connect("sensors", "imu", "listener", "data"),
                      doctest::Contains("node \"sensors\" (there are: sensor, listener)"));
    scheduler.connect("sensor", "imu", "listener", "dta");
    CapturedLog log;
    CHECK(scheduler.run_for(10ms) == 1);
    CHECK(log.has("(node \"listener\" subscribes to no \"dta\")"));
  }

  TEST_CASE("types are checked when ports are connected, and when they meet") {
    const virtual_time::Alone here;
    std::vector<int> seen;
    horus::Scheduler scheduler;
    auto out = scheduler.add("source", [] {}).node().advertise<Other>("out");
    scheduler.add<Listener>(seen, "data");
    CHECK_THROWS_WITH(scheduler.connect("source", "out", "listener", "data"),
                      doctest::Contains("message types differ"));
    auto wrong = scheduler.add("wrong", [] {}).node().advertise<Other>("data");
    CapturedLog log;
    CHECK(scheduler.run_for(10ms) == 1);
    CHECK(log.has("it carries"));
  }

  TEST_CASE("function nodes get their ports from their builder") {
    const virtual_time::Alone here;
    horus::Scheduler scheduler;
    horus::Publisher<Reading> out;
    horus::Subscriber<Reading> in;
    int last = 0;
    out = scheduler.add("source", [&] { out.send({.number = ++last}); })
              .rate(1000_hz)
              .node()
              .advertise<Reading>("x");
    int got = 0;
    auto sink = scheduler.add("sink", [&] {
      while (auto message = in.try_recv()) got = (*message)->number;
    });
    in = sink.rate(1000_hz).node().subscribe<Reading>("x");
    CHECK(scheduler.run_for(30ms) == 0);
    CHECK(got > 2);
  }
}

}  // namespace
