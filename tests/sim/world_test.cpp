// SPDX-License-Identifier: Apache-2.0
// Programs as users write them, in virtual time.
#include <horus/sim/world.hpp>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>
#include <horus/horus.hpp>

using horus::Error;
using horus::Scope;
using horus::Task;
using horus::io::TcpListener;
using horus::io::TcpStream;
using horus::io::UdpSocket;
using horus::sim::Faults;
using horus::sim::Report;
using horus::sim::World;
using namespace horus::literals;

namespace {

// Keeps a test's expected warnings off the screen.
struct Silence {
  horus::LogSink before = horus::set_log_sink([](horus::LogLevel, std::string_view) {});
  ~Silence() { horus::set_log_sink(before); }
};

}  // namespace

TEST_CASE("ten minutes of sleeping take no time, and the clock is the world's") {
  World world(1);
  int steps = 0;
  horus::Duration slept{0};
  world.process("sleeper", [&]() -> Task<int> {
    return [](int& count, horus::Duration& total) -> Task<int> {
      const std::int64_t start = horus::now_ns();
      for (; count < 600; ++count) co_await horus::sleep(1s);
      total = horus::Duration(horus::now_ns() - start);
      co_return 0;
    }(steps, slept);
  });
  const Report report = world.run_for(11min);
  CHECK_MESSAGE(report.passed, report.to_string());
  CHECK(steps == 600);
  CHECK(slept >= 600s);
  CHECK(slept < 601s);
  CHECK(report.virtual_time >= 600s);
  CHECK(report.real_time < 10s);
}

namespace {

Task<> echo(TcpStream stream) {
  while (true) {
    auto line = co_await stream.read_line();
    if (!line) co_return;
    auto written = co_await stream.write_all(*line + "\n");
    if (!written) co_return;
  }
}

// Asks `count` times and counts the right answers.
Task<int> ask(const char* address, int count, int& right) {
  auto connecting = TcpStream::connect(address);
  auto stream = (co_await connecting).or_throw();
  for (int i = 0; i < count; ++i) {
    const std::string question = "question " + std::to_string(i);
    auto written = co_await stream.write_all(question + "\n");
    std::move(written).or_throw();
    auto answer = co_await stream.read_line();
    if (std::move(answer).or_throw() == question) ++right;
    co_await horus::sleep(10ms);
  }
  co_return 0;
}

Report echo_world(std::uint64_t seed, const Faults& faults, int& right) {
  World world(seed);
  world.tcp_peer("10.0.0.2:7000", echo);
  world.process("client", [&right] { return ask("10.0.0.2:7000", 200, right); });
  world.faults(faults);
  return world.run_for(10min);
}

}  // namespace

TEST_CASE("two processes talk over TCP, whatever the kernel and the network do") {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    horus::sim::Random random(seed);
    int right = 0;
    const Report report = echo_world(seed, Faults::swarm(random), right);
    CHECK_MESSAGE(report.passed, report.to_string());
    CHECK(right == 200);
  }
}

TEST_CASE("the same seed gives the same run, another seed another") {
  std::set<std::uint64_t> hashes;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    horus::sim::Random random(seed);
    const Faults faults = Faults::swarm(random);
    int right = 0;
    const Report once = echo_world(seed, faults, right);
    const Report again = echo_world(seed, faults, right);
    CHECK(once.trace_hash == again.trace_hash);
    CHECK(once.turns == again.turns);
    hashes.insert(once.trace_hash);
  }
  CHECK(hashes.size() == 10);
}

TEST_CASE("nobody listens: the connection is refused; nobody is there: no route") {
  World world(3);
  int refused = 0;
  int unreachable = 0;
  world.tcp_peer("10.0.0.2:7000", echo);
  world.process("client", [&]() -> Task<int> {
    return [](int& first, int& second) -> Task<int> {
      auto wrong_port = co_await TcpStream::connect("10.0.0.2:7001");
      first = static_cast<int>(wrong_port.code());
      auto wrong_host = co_await TcpStream::connect("10.9.9.9:7000");
      second = static_cast<int>(wrong_host.code());
      co_return 0;
    }(refused, unreachable);
  });
  const Report report = world.run_for(10s);
  CHECK_MESSAGE(report.passed, report.to_string());
  CHECK(refused == ECONNREFUSED);
  CHECK(unreachable == EHOSTUNREACH);
}

TEST_CASE("a partition delays a stream and loses datagrams; a reset breaks the connection") {
  World world(4);
  std::vector<std::int64_t> arrivals;
  int broken = 0;
  int datagrams = 0;
  world.tcp_peer("10.0.0.2:7000", horus::sim::repeat_lines({"tick"}, 100ms));
  world.process("receiver", [&]() -> Task<int> {
    return [](std::vector<std::int64_t>& times, int& code, int& count) -> Task<int> {
      Scope scope;
      auto listen = [](int& received) -> Task<> {
        auto socket = UdpSocket::bind("0.0.0.0:5000").or_throw();
        std::array<std::byte, 64> buffer{};
        while (true) {
          auto got = co_await socket.recv_from(buffer);
          if (!got) co_return;
          ++received;
        }
      };
      static_cast<void>(scope.spawn(listen(count)));
      auto stream = (co_await TcpStream::connect("10.0.0.2:7000")).or_throw();
      const std::int64_t start = horus::now_ns();
      while (true) {
        auto line = co_await stream.read_line();
        if (!line) {
          code = static_cast<int>(line.code());
          break;
        }
        times.push_back(horus::now_ns() - start);
      }
      scope.cancel();
      co_await scope.join();
      co_return 0;
    }(arrivals, broken, datagrams);
  });
  world.process("sender", []() -> Task<int> {
    auto socket = UdpSocket::bind("0.0.0.0:0").or_throw();
    const auto to = horus::io::Address::parse("10.0.1.2:5000").or_throw();
    const std::string text = "datagram";
    for (int i = 0; i < 100; ++i) {
      auto sent = co_await socket.send_to(text, to);
      std::move(sent).or_throw();
      co_await horus::sleep(100ms);
    }
    co_return 0;
  });
  world.at(2s).partition("receiver", "10.0.0.2", 3s);
  world.at(2s).partition("receiver", "sender", 3s);
  world.at(20s).reset("receiver", "10.0.0.2");
  const Report report = world.run_for(30s);
  CHECK_MESSAGE(report.passed, report.to_string());
  CHECK(broken == ECONNRESET);
  REQUIRE(arrivals.size() > 150);
  std::int64_t longest = 0;
  for (std::size_t i = 1; i < arrivals.size(); ++i)
    longest = std::max(longest, arrivals[i] - arrivals[i - 1]);
  CHECK(longest >= 2'900'000'000);
  CHECK(longest < 3'500'000'000);
  CHECK(datagrams >= 68);
  CHECK(datagrams <= 72);
  CHECK(report.faults_fired == 3);
}

TEST_CASE("a scheduler keeps its grid in virtual time, and what a node costs shows in its numbers") {
  World world(5);
  horus::NodeStatistics control;
  horus::NodeStatistics planner;
  const auto main = [&]() -> Task<int> {
    return [](horus::NodeStatistics& first, horus::NodeStatistics& second) -> Task<int> {
      horus::Scheduler scheduler(horus::SchedulerConfig::standard());
      scheduler.add("control", [] {}).rate(100_hz).priority(0);
      scheduler.add("planner", []() -> Task<> { co_await horus::sleep(2ms); }).rate(10_hz).priority(1);
      static_cast<void>(co_await horus::with_timeout(10s, scheduler.run_async()));
      first = *scheduler.statistics("control");
      second = *scheduler.statistics("planner");
      co_return 0;
    }(control, planner);
  };
  world.process("rover", main);
  world.cost("planner", horus::sim::normal(15ms, 2ms));
  const Report report = world.run_for(20s);
  CHECK_MESSAGE(report.passed, report.to_string());
  CHECK(planner.total_ticks >= 99);
  CHECK(planner.execution.percentile(50) > 14'000'000);
  CHECK(planner.execution.percentile(50) < 16'000'000);
  CHECK(planner.suspended.percentile(50) >= 1'990'000);
  // Each planner tick of 15 ms makes the 100 Hz controller late once.
  CHECK(control.release_lateness.percentile(95) > 3'000'000);
  CHECK(control.release_lateness.percentile(50) < 100'000);
  CHECK(control.count(horus::TickOutcome::skipped_late) == 0);
}

TEST_CASE("a process that is killed is gone at once for its peers, and may start again") {
  const Silence silence;
  World world(6);
  int connections = 0;
  int lines = 0;
  world.process(
      "server",
      [&]() -> Task<int> {
        return [](int& count) -> Task<int> {
          auto listener = TcpListener::listen("0.0.0.0:7000").or_throw();
          while (true) {
            auto stream = co_await listener.accept();
            if (!stream) co_return 0;
            ++count;
            while (true) {
              auto written = co_await stream->write_all("alive\n");
              if (!written) break;
              co_await horus::sleep(100ms);
            }
          }
        }(connections);
      },
      "10.0.0.9");
  world.process("client", [&]() -> Task<int> {
    return [](int& count) -> Task<int> {
      while (true) {
        auto stream = co_await TcpStream::connect("10.0.0.9:7000");
        while (stream) {
          auto line = co_await stream->read_line();
          if (!line) break;
          ++count;
        }
        co_await horus::sleep(500ms);
      }
    }(lines);
  });
  int alive_at = 0;
  world.eventually("lines come", [&] { return std::exchange(alive_at, lines) != lines; }, 2s);
  world.at(5s).kill("server");
  world.at(8s).restart("server");
  const Report report = world.run_for(20s);
  CHECK_MESSAGE(report.passed, report.to_string());
  CHECK(connections == 2);
  CHECK(lines > 150);
  CHECK(lines < 175);
  // The client reads and sleeps for ever: asked to stop at the end, it throws, which is as good an end as any.
  CHECK(report.faults_fired == 1);
}

TEST_CASE("promises: what must always hold, what must hold soon") {
  int value = 0;
  const auto count_to_ten = [&value]() -> Task<int> {
    return [](int& number) -> Task<int> {
      for (number = 0; number < 10; ++number) co_await horus::sleep(1s);
      co_return 0;
    }(value);
  };
  SUBCASE("always") {
    World world(7);
    world.process("counter", count_to_ten).always("below five", [&] { return value < 5; });
    const Report report = world.run_for(1min);
    CHECK_FALSE(report.passed);
    CHECK(report.failure.find("below five") != std::string::npos);
    CHECK(report.failure.find("at 5.0000") != std::string::npos);
  }
  SUBCASE("eventually") {
    World world(7);
    world.process("counter", count_to_ten).eventually("seven", [&] { return value == 7; }, 3s);
    const Report report = world.run_for(1min);
    CHECK_FALSE(report.passed);
    CHECK(report.failure.find("\"seven\" has not held for 3.000000 s") != std::string::npos);
  }
}

TEST_CASE("what goes wrong is named: an exception, a deadlock, a busy loop, a leaked descriptor") {
  const Silence silence;
  World world(8);
  SUBCASE("exception") {
    world.process("thrower", []() -> Task<int> {
      co_await horus::sleep(1s);
      throw std::runtime_error("planned");
    });
    const Report report = world.run_for(1min);
    CHECK(report.failure.find("thrower ended with 1: planned") != std::string::npos);
  }
  SUBCASE("deadlock") {
    world.process("waiter", []() -> Task<int> {
      horus::Event never;
      co_await never.wait();
      co_return 0;
    });
    const Report report = world.run_for(1min);
    CHECK(report.failure.find("deadlock") != std::string::npos);
    CHECK(report.failure.find("waiter") != std::string::npos);
  }
  SUBCASE("busy loop") {
    Faults faults;
    faults.turn_cost = horus::Duration::zero();
    world.faults(faults);
    world.process("spinner", []() -> Task<int> {
      while (true) {
        co_await horus::yield();
        const bool stop = co_await horus::stop_requested();
        if (stop) co_return 0;
      }
    });
    const Report report = world.run_for(1min);
    CHECK(report.failure.find("spinner goes round and round") != std::string::npos);
  }
}

TEST_CASE("pool work ends in an order that the seed chooses") {
  std::set<std::string> orders;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    World world(seed);
    std::string order;
    world.process("worker", [&]() -> Task<int> {
      return [](std::string& ended) -> Task<int> {
        Scope scope;
        for (char name = 'a'; name <= 'd'; ++name) {
          auto work = [](char which, std::string& list) -> Task<> {
            auto value = co_await horus::io::offload([](char c) { return c; }, which);
            list += std::move(value).or_throw();
          };
          static_cast<void>(scope.spawn(work(name, ended)));
        }
        co_await scope.join();
        co_return 0;
      }(order);
    });
    const Report report = world.run_for(1s);
    CHECK_MESSAGE(report.passed, report.to_string());
    CHECK(order.size() == 4);
    orders.insert(order);
  }
  CHECK(orders.size() > 5);
}
