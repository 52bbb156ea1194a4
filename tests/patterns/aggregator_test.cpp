// SPDX-License-Identifier: Apache-2.0
#include <horus/patterns/aggregator.hpp>

#include <cerrno>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <horus/io/time.hpp>

#include "virtual_time.hpp"

using horus::Aggregator;
using horus::Result;
using horus::Scope;
using horus::Task;
using horus::testing::in_virtual_time;
using horus::testing::now_ms;
using namespace horus::literals;

namespace {

Task<int> measure(int value, horus::Duration takes) {
  co_await horus::sleep(takes);
  co_return value;
}

Task<int> broken() {
  co_await horus::sleep(1ms);
  throw horus::Error(ENODEV, "measure", "/dev/lidar");
}

}  // namespace

TEST_CASE("results come under the names of their tasks, as long as the slowest takes") {
  in_virtual_time([]() -> Task<> {
    Aggregator<int> aggregator;
    CHECK(aggregator.all_completed());
    const std::int64_t start = now_ms();
    aggregator.add("slow", measure(1, 50ms));
    aggregator.add("fast", measure(2, 10ms));
    CHECK_FALSE(aggregator.all_completed());
    auto results = co_await aggregator.results();
    CHECK(now_ms() - start == 50);
    CHECK(results.complete());
    CHECK(results.values == std::map<std::string, int>{{"fast", 2}, {"slow", 1}});
    CHECK(aggregator.all_completed());
    auto again = co_await aggregator.results();
    CHECK(again.values.empty());  // each is given once
    co_await aggregator.close();
  });
}

TEST_CASE("a task that fails is named with its reason and stops no other") {
  in_virtual_time([]() -> Task<> {
    Aggregator<int> aggregator;
    aggregator.add("lidar", broken());
    aggregator.add("bug", []() -> Task<int> {
      co_await horus::yield();
      throw std::logic_error("a bug");
    });
    aggregator.add("gps", measure(7, 10ms));
    auto results = co_await aggregator.results();
    CHECK_FALSE(results.complete());
    CHECK(results.values.at("gps") == 7);
    CHECK(results.failures.size() == 2);
    CHECK(results.failures.at("lidar").code == ENODEV);
    CHECK(results.failures.at("lidar").text == "measure /dev/lidar: no such device");
    CHECK(results.failures.at("bug").code == 0);
    CHECK(results.failures.at("bug").text == "a bug");
    CHECK_THROWS_AS(static_cast<void>(results.failures.at("bug").or_rethrow()), std::logic_error);
    CHECK(aggregator.stats().failed == 2);
    CHECK(aggregator.stats().succeeded == 1);
    co_await aggregator.close();
  });
}

TEST_CASE("after the timeout there are the results so far; the rest goes on") {
  in_virtual_time([]() -> Task<> {
    Aggregator<int> aggregator;
    aggregator.add("a", measure(1, 10ms));
    aggregator.add("b", measure(2, 1h));
    aggregator.add("c", measure(3, 90ms));
    auto part = co_await aggregator.results(50ms);
    CHECK(part.values.size() == 1);
    CHECK(part.pending == std::vector<std::string>{"b", "c"});
    CHECK(aggregator.stats().timeouts == 1);
    co_await horus::sleep(50ms);
    const auto more = aggregator.take();
    CHECK(more.values.at("c") == 3);
    CHECK(more.pending == std::vector<std::string>{"b"});
    aggregator.cancel();
    auto last = co_await aggregator.results();
    CHECK(last.failures.at("b").cancelled());
    co_await aggregator.close();
  });
}

TEST_CASE("tasks may give a Result, nothing, or what cannot be copied") {
  in_virtual_time([]() -> Task<> {
    Aggregator<Result<int>> with_result;
    with_result.add("good", []() -> Task<Result<int>> { co_return 1; });
    with_result.add("bad", []() -> Task<Result<int>> { co_return horus::Error(EIO, "read"); });
    auto results = co_await with_result.results();
    CHECK(results.values.at("good") == 1);
    CHECK(results.failures.at("bad").code == EIO);

    Aggregator<void> without;
    without.add("nothing", []() -> Task<> { co_await horus::yield(); });
    auto done = co_await without.results();
    CHECK(done.values.contains("nothing"));

    Aggregator<Result<>> checks;
    checks.add("check", []() -> Task<Result<>> { co_return Result<>(); });
    auto checked = co_await checks.results();
    CHECK(checked.complete());

    Aggregator<std::unique_ptr<int>> moving;
    moving.add("pointer", []() -> Task<std::unique_ptr<int>> { co_return std::make_unique<int>(5); });
    auto moved = co_await moving.results();
    CHECK(*moved.values.at("pointer") == 5);
  });
}

TEST_CASE("names and places are bounded") {
  in_virtual_time([]() -> Task<> {
    Aggregator<int> aggregator(2, "start-up");
    aggregator.add("a", measure(1, 1ms));
    CHECK_THROWS_WITH(
        aggregator.add("a", measure(1, 1ms)),
        "aggregate \"a\" in start-up (give one of the two another name, or take results() first): "
        "file exists");
    CHECK_THROWS_AS(aggregator.add("", measure(1, 1ms)), horus::Error);
    aggregator.add("b", measure(2, 1ms));
    int code = 0;
    try {
      aggregator.add("c", measure(3, 1ms));
    } catch (const horus::Error& error) {
      code = error.code();
    }
    CHECK(code == EAGAIN);
    co_await horus::sleep(5ms);
    CHECK(aggregator.stats().held == 2);  // results that nobody takes count too
    CHECK_THROWS_AS(aggregator.add("c", measure(3, 1ms)), horus::Error);
    aggregator.clear();
    aggregator.add("a", measure(4, 1ms));
    auto results = co_await aggregator.results();
    CHECK(results.values.at("a") == 4);
    CHECK(aggregator.stats().high_water == 2);
    co_await aggregator.close();
    CHECK_THROWS_AS(aggregator.add("d", measure(1, 1ms)), horus::Error);
  });
  CHECK_THROWS_AS(Aggregator<int>(0), horus::Error);
}

TEST_CASE("a wait that is stopped takes nothing") {
  in_virtual_time([]() -> Task<> {
    Aggregator<int> aggregator;
    aggregator.add("a", measure(1, 10ms));
    aggregator.add("b", measure(2, 30ms));
    auto wait = [&](horus::Duration timeout) -> Task<int> {
      auto results = co_await aggregator.results(timeout);
      co_return static_cast<int>(results.values.size());
    };
    Scope scope;
    auto with_limit = scope.spawn(wait(1h));
    auto without = scope.spawn(wait(horus::Duration::max()));
    co_await horus::sleep(20ms);
    with_limit.cancel();
    without.cancel();
    co_await scope.join();
    CHECK_THROWS_AS(with_limit.take(), horus::Error);
    CHECK_THROWS_AS(without.take(), horus::Error);
    auto results = co_await aggregator.results();
    CHECK(results.values.size() == 2);
    CHECK(aggregator.stats().timeouts == 0);
    CHECK_THROWS_AS(static_cast<void>(aggregator.results(-1ms)), horus::Error);
  });
}

TEST_CASE("closing stops the tasks and awaits them; what they gave can still be taken") {
  in_virtual_time([]() -> Task<> {
    Aggregator<int> aggregator;
    aggregator.add("a", measure(1, 10ms));
    aggregator.add("b", measure(2, 1h));
    co_await horus::sleep(20ms);
    co_await aggregator.close();
    CHECK(aggregator.all_completed());
    const auto results = aggregator.take();
    CHECK(results.values.at("a") == 1);
    CHECK(results.failures.at("b").cancelled());
  });
}
