// SPDX-License-Identifier: Apache-2.0
// Connecting to one of several addresses, in virtual time (RFC 8305).
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include <horus/io/tcp.hpp>
#include <horus/io/time.hpp>
#include <horus/sim/world.hpp>

using horus::Duration;
using horus::Task;
using horus::io::ConnectOptions;
using horus::io::TcpStream;
using horus::sim::World;
using namespace horus::literals;

namespace {

Task<> greet(TcpStream stream) {
  auto sent = co_await stream.write_all("hello\n");
  static_cast<void>(sent);
  auto end = co_await stream.read_line();
  static_cast<void>(end);
}

struct Outcome {
  std::string peer;
  std::string error;
  Duration took{0};
};

Task<int> connect(std::string to, ConnectOptions options, Outcome& outcome) {
  const std::int64_t start = horus::now_ns();
  auto connecting = TcpStream::connect(std::move(to), std::move(options));
  auto stream = co_await connecting;
  outcome.took = Duration(horus::now_ns() - start);
  if (stream) {
    outcome.peer = stream->peer_address().to_string();
  } else {
    outcome.error = stream.error().message();
  }
  co_return 0;
}

// A robot with an IPv6 and an IPv4 address, of which `silent` says nothing at all.
Outcome run(std::uint64_t seed, const std::string& silent, const ConnectOptions& options) {
  Outcome outcome;
  World world(seed);
  world.tcp_peer("[fd00::7]:7000", greet).tcp_peer("10.0.0.7:7000", greet);
  world.name("robot", "fd00::7").name("robot", "10.0.0.7");
  world.process("client", [&] { return connect("robot:7000", options, outcome); });
  if (!silent.empty()) world.at(0s).partition("client", silent, 1h);
  const auto& report = world.run_for(1min);
  CHECK_MESSAGE(report.passed, report.to_string());
  return outcome;
}

}  // namespace

TEST_CASE("when all is well the first address wins and nobody waits") {
  const Outcome outcome = run(1, "", {});
  CHECK(outcome.peer == "[fd00::7]:7000");
  CHECK(outcome.took < 100_ms);
}

TEST_CASE("an address that says nothing costs a quarter of a second, not its whole timeout") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const Outcome outcome = run(seed, "fd00::7", {});
    CHECK(outcome.peer == "10.0.0.7:7000");
    CHECK(outcome.took >= 250_ms);
    CHECK(outcome.took < 400_ms);
  }
}

TEST_CASE("the head start is an option") {
  const Outcome outcome = run(1, "fd00::7", ConnectOptions().with_attempt_delay(2s));
  CHECK(outcome.peer == "10.0.0.7:7000");
  CHECK(outcome.took >= 2s);
  CHECK(outcome.took < 3s);
}

TEST_CASE("an address that refuses gives its turn to the next at once") {
  Outcome outcome;
  World world(1);
  world.tcp_peer("[fd00::7]:9999", greet).tcp_peer("10.0.0.7:7000", greet);
  world.name("robot", "fd00::7").name("robot", "10.0.0.7");
  world.process("client", [&] { return connect("robot:7000", {}, outcome); });
  const auto& report = world.run_for(1min);
  CHECK_MESSAGE(report.passed, report.to_string());
  CHECK(outcome.peer == "10.0.0.7:7000");
  CHECK(outcome.took < 100_ms);
}

TEST_CASE("when nobody answers, the limit for everything holds and the error names what was asked for") {
  Outcome outcome;
  World world(1);
  world.tcp_peer("[fd00::7]:7000", greet).tcp_peer("10.0.0.7:7000", greet);
  world.name("robot", "fd00::7").name("robot", "10.0.0.7");
  world.process("client", [&] { return connect("robot:7000", ConnectOptions().with_timeout(3s), outcome); });
  world.at(0s).partition("client", "fd00::7", 1h).partition("client", "10.0.0.7", 1h);
  const auto& report = world.run_for(1min);
  CHECK_MESSAGE(report.passed, report.to_string());
  CHECK(outcome.error == "connect robot:7000: timed out after 3 s");
  CHECK(outcome.took >= 3s);
  CHECK(outcome.took < 3100_ms);
}
