// SPDX-License-Identifier: Apache-2.0
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <horus/task/event.hpp>
#include <horus/task/run_ready.hpp>
#include <horus/task/when_all.hpp>
#include <horus/task/when_any.hpp>

using horus::sync_await;
using horus::Task;

namespace {

Task<int> give(int value) { co_return value; }
Task<int> give_later(int value, int turns) {
  for (int i = 0; i < turns; ++i) co_await horus::yield();
  co_return value;
}
Task<> nothing() { co_return; }
Task<int> hang(horus::Event& event, bool& unwound) {
  try {
    co_await event.wait();
  } catch (const horus::Error&) {
    unwound = true;
    throw;
  }
  co_return 0;
}
Task<int> fail(const char* message) {
  co_await horus::yield();
  throw std::runtime_error(message);
}

}  // namespace

TEST_CASE("when_all gives every value, whatever the order of the ends") {
  auto body = []() -> Task<> {
    auto [a, b, c] = co_await horus::when_all(give_later(1, 5), nothing(), give(3));
    static_cast<void>(b);
    CHECK(a == 1);
    CHECK(c == 3);
    std::vector<Task<int>> many;
    for (int i = 0; i < 100; ++i) many.push_back(give_later(i, 100 - i));
    auto values = co_await horus::when_all(std::move(many));
    for (int i = 0; i < 100; ++i) CHECK(values[static_cast<std::size_t>(i)] == i);
    auto empty = co_await horus::when_all(std::vector<Task<int>>{});
    CHECK(empty.empty());
  };
  sync_await(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("when_all stops the siblings of a branch that throws, awaits them, and rethrows") {
  horus::Event never;
  bool unwound = false;
  auto body = [&]() -> Task<> {
    static_cast<void>(co_await horus::when_all(hang(never, unwound), fail("branch")));
  };
  CHECK_THROWS_WITH(sync_await(body()), "branch");
  CHECK(unwound);
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("when_any names the winner and awaits the cancelled losers") {
  horus::Event never;
  bool unwound = false;
  auto body = [&]() -> Task<> {
    auto race = co_await horus::when_any(hang(never, unwound), give_later(8, 3));
    CHECK(race.index == 1);
    CHECK(std::get<1>(race.outcomes).value == 8);
    CHECK(unwound);
    CHECK(std::get<0>(race.outcomes).exception != nullptr);
  };
  sync_await(body());
}

TEST_CASE("when_any keeps the value of a loser that had also finished") {
  horus::Event event;
  auto wait = [&](int value) -> Task<int> {
    co_await event.wait();
    co_return value;
  };
  auto set = [&]() -> Task<int> {
    co_await horus::yield();
    event.set();
    co_await horus::yield();
    co_await horus::yield();
    co_return 3;
  };
  auto body = [&]() -> Task<> {
    auto race = co_await horus::when_any(wait(1), wait(2), set());
    CHECK(race.index == 0);
    CHECK(std::get<1>(race.outcomes).value == 2);
    CHECK(std::get<2>(race.outcomes).value == 3);
  };
  sync_await(body());
}

TEST_CASE("when_any with failures only says so and keeps each reason") {
  auto failed = [](int code) -> Task<horus::Result<int>> { co_return horus::Error(code, "read"); };
  auto body = [&]() -> Task<> {
    auto race = co_await horus::when_any(failed(EIO), failed(EPIPE));
    CHECK(race.all_failed());
    CHECK(race.index == horus::kNoWinner);
    CHECK(std::get<0>(race.outcomes).value->code() == EIO);
    CHECK(std::get<1>(race.outcomes).value->code() == EPIPE);
    std::vector<Task<int>> throwing;
    throwing.push_back(fail("a"));
    throwing.push_back(fail("b"));
    auto all = co_await horus::when_any(std::move(throwing));
    CHECK(all.all_failed());
    CHECK(all.outcomes.size() == 2);
  };
  sync_await(body());
}

TEST_CASE("a failed result does not win against a later success") {
  auto failed = []() -> Task<horus::Result<int>> { co_return horus::Error(EIO, "read"); };
  auto good = []() -> Task<horus::Result<int>> {
    co_await horus::yield();
    co_return 1;
  };
  auto body = [&]() -> Task<> {
    auto race = co_await horus::when_any(failed(), good());
    CHECK(race.index == 1);
  };
  sync_await(body());
}

TEST_CASE("cancelling a coroutine cancels and awaits the branches it waits for") {
  horus::ReadyScope ready;
  horus::Event never;
  bool first = false;
  bool second = false;
  auto body = [&]() -> Task<> {
    static_cast<void>(co_await horus::when_all(hang(never, first), hang(never, second)));
  };
  horus::RootChain<void> root(body());
  root.start();
  const std::string dump = horus::dump_tasks();
  CHECK(dump.find("main: waits for its branches") != std::string::npos);
  CHECK(dump.find("    branch: waits for an event") != std::string::npos);
  root.request_stop();
  ready.run_until_idle();
  CHECK(root.done());
  CHECK(first);
  CHECK(second);
  CHECK_THROWS_AS(root.take(), horus::Error);
}
