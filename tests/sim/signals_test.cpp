// SPDX-License-Identifier: Apache-2.0
// Signals between the processes of a simulated world, and from outside.
#include <csignal>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>
#include <horus/horus.hpp>
#include <horus/sim/world.hpp>

using horus::Task;
using horus::io::SignalSet;
using horus::sim::Report;
using horus::sim::World;
using namespace horus::literals;

namespace {

// Notes what arrives until SIGTERM.
Task<int> note_signals(std::vector<std::string>& noted) {
  SignalSet signals{SIGHUP, SIGUSR1, SIGTERM, SIGRTMIN};
  while (true) {
    auto signal = co_await signals.next();
    if (!signal) co_return 1;
    noted.push_back(horus::io::signal_name(signal->number) + " " + std::to_string(signal->value));
    if (signal->number == SIGTERM) co_return 0;
  }
}

Task<int> count(std::uint64_t& ticks) {
  while (true) {
    co_await horus::sleep(10ms);
    ++ticks;
  }
}

}  // namespace

TEST_CASE("planned signals reach who waits for them, in time") {
  World world(1);
  std::vector<std::string> noted;
  world.process("rover", [&] { return note_signals(noted); });
  world.at(1s).signal("rover", SIGHUP);
  world.at(2s).signal("rover", SIGUSR1).signal("rover", SIGUSR1);  // unread: counts once
  world.at(3s).signal("rover", SIGTERM);
  const Report report = world.run_for(10s);
  CHECK_MESSAGE(report.passed, report.to_string());
  CHECK(noted == std::vector<std::string>{"SIGHUP 0", "SIGUSR1 0", "SIGTERM 0"});
  CHECK(report.virtual_time == 3s);
}

TEST_CASE("nobody waits: SIGTERM kills, SIGCHLD and SIGWINCH do nothing, SIGSTOP freezes until SIGCONT") {
  struct Case {
    int number;
    std::uint64_t ticks;  // of ten milliseconds, until 2 s
  };
  for (const Case& one : {Case{SIGTERM, 99}, Case{SIGUSR1, 99}, Case{SIGKILL, 99}, Case{SIGCHLD, 199},
                          Case{SIGWINCH, 199}, Case{SIGSTOP, 149}}) {
    CAPTURE(one.number);
    World world(1);
    std::uint64_t ticks = 0;
    std::uint64_t by_then = 0;
    world.process("counter", [&] { return count(ticks); });
    world.at(1s).signal("counter", one.number);
    world.at(1500ms).signal("counter", SIGCONT);
    world.at(2s).call([&] { by_then = ticks; });
    world.at(2s).restart("counter");
    const Report report = world.run_for(3s);
    CHECK_MESSAGE(report.passed, report.to_string());
    CHECK(by_then <= one.ticks + 1);
    CHECK(by_then + 3 >= one.ticks);
  }
}

TEST_CASE("processes of one host signal each other, strangers of another host do not exist") {
  World world(1);
  std::vector<std::string> noted;
  pid_t pid = 0;
  world.process(
      "listener",
      [&] {
        return [](std::vector<std::string>& what, pid_t& mine) -> Task<int> {
          mine = horus::io::process_id();
          auto noting = note_signals(what);
          const int code = co_await noting;
          co_return code;
        }(noted, pid);
      },
      "10.0.0.1");
  world.process(
      "sender",
      [&] {
        return [](pid_t& to) -> Task<int> {
          co_await horus::sleep(10ms);
          CHECK(horus::io::send_signal(to, 0).ok());
          CHECK(horus::io::send_signal(to, SIGRTMIN, 1).ok());
          CHECK(horus::io::send_signal(to, SIGRTMIN, 2).ok());
          CHECK(horus::io::send_signal(to, SIGTERM).ok());
          CHECK(horus::io::send_signal(to, 99).code() == EINVAL);
          CHECK(horus::io::send_signal(4242, SIGTERM).code() == ESRCH);
          co_return 0;
        }(pid);
      },
      "10.0.0.1");
  world.process("stranger", [&] {
    return [](pid_t& to) -> Task<int> {
      co_await horus::sleep(5ms);
      co_return horus::io::send_signal(to, SIGKILL).code() == ESRCH ? 0 : 1;
    }(pid);
  });
  const Report report = world.run_for(10s);
  CHECK_MESSAGE(report.passed, report.to_string());
  CHECK(noted == std::vector<std::string>{"signal 34 1", "signal 34 2", "SIGTERM 0"});
}

TEST_CASE("a second set on one signal is refused; what nobody read does what it would have done") {
  World world(1);
  std::uint64_t after = 0;
  world.process("careless", [&] {
    return [](std::uint64_t& reached) -> Task<int> {
      {
        SignalSet signals{SIGUSR1};
        CHECK_THROWS_AS((SignalSet{SIGUSR2, SIGUSR1}), horus::Error);
        SignalSet other{SIGUSR2};
        CHECK(horus::io::send_signal(horus::io::process_id(), SIGUSR1).ok());
      }
      co_await horus::sleep(1s);
      ++reached;
      co_return 0;
    }(after);
  });
  const Report report = world.run_for(10s);
  CHECK_MESSAGE(report.passed, report.to_string());  // killed, not failed
  CHECK(after == 0);
}

TEST_CASE("SIGTERM stops a scheduler gracefully, and the second one at once") {
  for (const bool twice : {false, true}) {
    CAPTURE(twice);
    const auto before = horus::set_log_sink([](horus::LogLevel, std::string_view) {});
    World world(1);
    int shut_down = 0;
    struct Stubborn : horus::Node {
      int& ended;
      explicit Stubborn(int& counter) : Node("stubborn"), ended(counter) {}
      Task<> tick() override { co_await horus::sleep(10s); }
      Task<> shutdown() override {
        co_await horus::sleep(200ms);
        ++ended;
      }
    };
    world.process("rover", [&] {
      return [](int& ended) -> Task<int> {
        horus::Scheduler scheduler(horus::SchedulerConfig::standard());
        scheduler.add<Stubborn>(ended);
        auto running = scheduler.run_main();
        const int code = co_await running;
        co_return code;
      }(shut_down);
    });
    world.at(1s).signal("rover", SIGTERM);
    if (twice) world.at(1100ms).signal("rover", SIGTERM);
    const Report report = world.run_for(5s);
    CHECK(report.passed == !twice);
    if (twice) CHECK(report.failure.find("143") != std::string::npos);
    if (!twice) CHECK(shut_down == 1);
    horus::set_log_sink(before);
  }
}
