// SPDX-License-Identifier: Apache-2.0
// What the kernel leaves open, the seed decides: each liberty is really taken, and a program above the seam does not
// notice.
#include <array>
#include <functional>
#include <set>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>
#include <horus/horus.hpp>
#include <horus/io/chunk_stream.hpp>
#include <horus/sim/world.hpp>

using horus::Scope;
using horus::Task;
using horus::io::TcpListener;
using horus::io::TcpStream;
using horus::sim::Faults;
using horus::sim::Oddities;
using horus::sim::Report;
using horus::sim::World;
namespace io = horus::io;
using namespace horus::literals;

namespace {

constexpr int kClients = 4;
constexpr int kQuestions = 40;

// Echoes through provided buffers and a queue of chunks.
Task<> echo(TcpStream stream, io::BufferPool& pool) {
  io::ChunkReader reader(stream.fd(), pool);
  io::ChunkWriter writer(stream.fd());
  while (true) {
    auto chunk = co_await reader.next();
    if (!chunk) break;
    auto sent = co_await writer.send(*std::move(chunk));
    if (!sent) break;
  }
  static_cast<void>(co_await writer.flush());
}

Task<int> serve() {
  io::BufferPool pool(4, 64);
  auto listener = TcpListener::listen("0.0.0.0:7000").or_throw();
  Scope scope("server", horus::Failures::log);
  while (true) {
    auto stream = co_await listener.accept();
    if (!stream) break;
    static_cast<void>(scope.spawn(echo(*std::move(stream), pool)));
  }
  scope.cancel();
  co_await scope.join();
  co_return 0;
}

// Reads with little patience, so that cancellations and data meet.
Task<> ask(int client, int& right) {
  auto stream = (co_await TcpStream::connect("10.0.0.2:7000")).or_throw();
  for (int i = 0; i < kQuestions; ++i) {
    const std::string question = "question " + std::to_string(i) + " of " + std::to_string(client);
    auto written = co_await stream.write_all(question + "\n");
    std::move(written).or_throw();
    while (true) {
      auto answer = co_await horus::with_timeout(700us, stream.read_line());
      if (answer.code() == ETIMEDOUT) continue;
      if (std::move(answer).or_throw() == question) ++right;
      break;
    }
  }
}

Task<int> ask_all(int& right) {
  Scope scope;
  for (int client = 0; client < kClients; ++client) static_cast<void>(scope.spawn(ask(client, right)));
  co_await scope.join();
  co_return 0;
}

Report run(std::uint64_t seed, const Faults& faults, int& right) {
  World world(seed);
  world.process("server", serve, "10.0.0.2");
  world.process("client", [&right] { return ask_all(right); });
  world.faults(faults);
  return world.run_for(1min);
}

}  // namespace

TEST_CASE("each liberty of the kernel is taken when it is allowed, and only then, and nobody notices") {
  struct Row {
    unsigned Faults::* rate;
    std::uint64_t Oddities::* counter;
  };
  for (const Row& row : {
           Row{&Faults::short_transfer, &Oddities::short_transfers},
           Row{&Faults::early_return, &Oddities::early_returns},
           Row{&Faults::completions_mixed, &Oddities::mixed_batches},
           Row{&Faults::completion_late, &Oddities::late_completions},
           Row{&Faults::cancel_late, &Oddities::late_cancels},
           Row{&Faults::multishot_end, &Oddities::ended_multishots},
           Row{&Faults::no_buffers, &Oddities::missing_buffers},
           Row{&Faults::ready_mixed, &Oddities::mixed_turns},
       }) {
    for (const unsigned rate : {0U, 150U}) {
      std::uint64_t times = 0;
      for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        Faults faults;
        faults.*row.rate = rate;
        int right = 0;
        const Report report = run(seed, faults, right);
        CHECK_MESSAGE(report.passed, report.to_string());
        CHECK(right == kClients * kQuestions);
        times += report.oddities.*row.counter;
      }
      CHECK((times > 0) == (rate > 0));
    }
  }
}

TEST_CASE("all liberties at once are borne as well") {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    horus::sim::Random random(seed);
    int right = 0;
    const Report report = run(seed, Faults::unspecified(random), right);
    CHECK_MESSAGE(report.passed, report.to_string());
    CHECK(right == kClients * kQuestions);
  }
}

namespace {

// The order in which eight tasks go on that wait for the same event.
std::string order_of_waiters(std::uint64_t seed, const Faults& faults) {
  World world(seed);
  std::string order;
  world.faults(faults);
  world.process("waiters", [&order]() -> Task<int> {
    return [](std::string& woken) -> Task<int> {
      horus::Event go;
      Scope scope;
      for (char name = 'a'; name <= 'h'; ++name) {
        auto wait = [](horus::Event& event, char which, std::string& list) -> Task<> {
          co_await event.wait();
          list += which;
        };
        static_cast<void>(scope.spawn(wait(go, name, woken)));
      }
      co_await horus::sleep(1ms);
      go.set();
      co_await scope.join();
      co_return 0;
    }(order);
  });
  const Report report = world.run_for(1s);
  CHECK_MESSAGE(report.passed, report.to_string());
  return order;
}

// The order in which eight reads end whose bytes have been there before them.
std::string order_of_reads(std::uint64_t seed, const Faults& faults) {
  World world(seed);
  std::string order;
  world.faults(faults);
  world.process("reader", [&order]() -> Task<int> {
    return [](std::string& ended) -> Task<int> {
      Scope scope;
      for (char name = 'a'; name <= 'h'; ++name) {
        auto read = [](char which, std::string& list) -> Task<> {
          auto ends = io::make_pipe().or_throw();
          auto written = co_await ends.writer.write_all("x");
          std::move(written).or_throw();
          co_await horus::sleep_until(horus::TimePoint(1'001s));
          std::array<char, 1> byte{};
          auto got = co_await ends.reader.read(byte);
          if (got) list += which;
        };
        static_cast<void>(scope.spawn(read(name, ended)));
      }
      co_await scope.join();
      co_return 0;
    }(order);
  });
  const Report report = world.run_for(5s);
  CHECK_MESSAGE(report.passed, report.to_string());
  return order;
}

std::size_t orders(const std::function<std::string(std::uint64_t, const Faults&)>& run_once,
                   const Faults& faults) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    const std::string order = run_once(seed, faults);
    CHECK(order.size() == 8);
    CHECK(order == run_once(seed, faults));
    seen.insert(order);
  }
  return seen.size();
}

}  // namespace

TEST_CASE("tasks that are ready at the same time go on in an order that the seed chooses") {
  Faults faults;
  CHECK(orders(order_of_waiters, faults) == 1);
  faults.ready_mixed = 500;
  CHECK(orders(order_of_waiters, faults) > 15);
}

TEST_CASE("operations that end at the same time complete in an order that the seed chooses") {
  Faults faults;
  CHECK(orders(order_of_reads, faults) == 1);
  faults.completions_mixed = 1000;
  CHECK(orders(order_of_reads, faults) > 15);
  faults = Faults();
  faults.completion_late = 500;
  CHECK(orders(order_of_reads, faults) > 15);
}
