// SPDX-License-Identifier: Apache-2.0
#include <horus/patterns/batch_processor.hpp>

#include <cerrno>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <horus/io/time.hpp>
#include <horus/task/scope.hpp>

#include "virtual_time.hpp"

using horus::BatchProcessorOptions;
using horus::Result;
using horus::Scope;
using horus::Task;
using horus::testing::CapturedLog;
using horus::testing::in_virtual_time;
using horus::testing::now_ms;
using namespace horus::literals;

namespace {

using Batches = horus::BatchProcessor<int>;

struct Sink {
  std::vector<std::vector<int>> batches;
  std::vector<std::int64_t> times;
  horus::Duration takes{0};
  int in_work = 0;
  bool side_by_side = false;
  int fail_with = 0;

  Task<Result<>> store(std::vector<int> batch) {
    side_by_side = side_by_side || in_work > 0;
    ++in_work;
    times.push_back(now_ms());
    bool stopped = false;
    try {
      if (takes > 0ns) co_await horus::sleep(takes);
    } catch (const horus::Error&) {
      stopped = true;
    }
    --in_work;
    if (stopped) co_return horus::Error(ECANCELED, "store");
    if (fail_with != 0) co_return horus::Error(fail_with, "store", "disk");
    batches.push_back(std::move(batch));
    co_return Result<>();
  }
  auto process() {
    return [this](std::vector<int> batch) -> Task<Result<>> {
      auto storing = store(std::move(batch));
      co_return co_await storing;
    };
  }
};

BatchProcessorOptions of_size(std::size_t size, horus::Duration interval, std::size_t pending = 100) {
  BatchProcessorOptions options;
  options.name = "store";
  options.batch_size = size;
  options.flush_interval = interval;
  options.max_pending = pending;
  options.max_waiters = 2;
  return options;
}

void check_account(const Batches& batches) {
  const auto stats = batches.stats();
  CHECK(stats.added == stats.processed + stats.failed + stats.dropped + stats.pending);
}

}  // namespace

TEST_CASE("a batch goes when there are enough items, in their order") {
  in_virtual_time([]() -> Task<> {
    Sink sink;
    Batches batches(sink.process(), of_size(3, 1h));
    for (int i = 0; i < 7; ++i) {
      auto added = co_await batches.add(i);
      CHECK(added.ok());
    }
    co_await horus::sleep(1ms);
    CHECK(sink.batches == std::vector<std::vector<int>>{{0, 1, 2}, {3, 4, 5}});
    CHECK(batches.stats().pending == 1);
    CHECK(batches.stats().full_batches == 2);
    auto closed = co_await batches.close();
    CHECK(closed.ok());
    CHECK(sink.batches.back() == std::vector<int>{6});
    CHECK(batches.stats().processed == 7);
    CHECK(batches.stats().batches == 3);
    check_account(batches);
  });
}

TEST_CASE("a batch goes when its first item has waited long enough") {
  in_virtual_time([]() -> Task<> {
    Sink sink;
    Batches batches(sink.process(), of_size(100, 50ms));
    const std::int64_t start = now_ms();
    co_await horus::sleep(30ms);
    CHECK(batches.try_add(1));  // at 30: goes at 80
    co_await horus::sleep(40ms);
    CHECK(batches.try_add(2));  // at 70: goes with it
    co_await horus::sleep(20ms);
    CHECK(batches.try_add(3));  // at 90: goes at 140
    co_await horus::sleep(200ms);
    CHECK(sink.batches == std::vector<std::vector<int>>{{1, 2}, {3}});
    CHECK(sink.times == std::vector<std::int64_t>{start + 80, start + 140});
    auto closed = co_await batches.close();
    CHECK(closed.ok());
  });
}

TEST_CASE("one batch at a time; what collects meanwhile keeps its own time") {
  in_virtual_time([]() -> Task<> {
    Sink sink;
    sink.takes = 70ms;
    Batches batches(sink.process(), of_size(2, 50ms));
    const std::int64_t start = now_ms();
    for (int i = 0; i < 5; ++i) CHECK(batches.try_add(i));  // two full batches, and one item due at 50
    co_await horus::sleep(1s);
    CHECK(batches.try_add(5));
    co_await horus::sleep(30ms);
    CHECK(batches.try_add(6));  // full: goes at 1030
    co_await horus::sleep(40ms);
    CHECK(batches.try_add(7));  // while it is being processed, until 1100: goes at 1120
    co_await horus::sleep(500ms);
    CHECK(sink.batches == std::vector<std::vector<int>>{{0, 1}, {2, 3}, {4}, {5, 6}, {7}});
    CHECK(sink.times ==
          std::vector<std::int64_t>{start, start + 70, start + 140, start + 1030, start + 1120});
    CHECK_FALSE(sink.side_by_side);
    auto closed = co_await batches.close();
    CHECK(closed.ok());
  });
}

TEST_CASE("flush waits until what was added before it has been processed") {
  in_virtual_time([]() -> Task<> {
    Sink sink;
    sink.takes = 10ms;
    Batches batches(sink.process(), of_size(10, 1h));
    auto nothing = co_await batches.flush();
    CHECK(nothing.ok());
    CHECK(sink.batches.empty());
    for (int i = 0; i < 25; ++i) CHECK(batches.try_add(i));
    auto flushed = co_await batches.flush();
    CHECK(flushed.ok());
    CHECK(sink.batches.size() == 3);
    CHECK(batches.stats().pending == 0);
    auto closed = co_await batches.close();
    CHECK(closed.ok());
  });
}

TEST_CASE("a full processor makes add wait, and refuses try_add and too many waiters") {
  in_virtual_time([]() -> Task<> {
    Sink sink;
    sink.takes = 10ms;
    Batches batches(sink.process(), of_size(2, 1h, 4));
    std::vector<int> added;
    auto add = [&](int value) -> Task<int> {
      auto done = co_await batches.add(value);
      if (done) added.push_back(value);
      co_return done.code();
    };
    for (int i = 0; i < 4; ++i) CHECK(batches.try_add(i));
    CHECK_FALSE(batches.try_add(4));
    Scope scope;
    auto first = scope.spawn(add(4));
    auto second = scope.spawn(add(5));
    co_await horus::sleep(1ms);
    auto refused = co_await batches.add(6);
    CHECK(refused.code() == EAGAIN);
    CHECK(added.empty());
    first.cancel();
    co_await scope.join();
    const int first_code = first.take();
    const int second_code = second.take();
    CHECK(first_code == ECANCELED);
    CHECK(second_code == 0);
    auto closed = co_await batches.close();
    CHECK(closed.ok());
    CHECK(sink.batches == std::vector<std::vector<int>>{{0, 1}, {2, 3}, {5}});
    CHECK(batches.stats().pending_high_water == 4);
    CHECK(batches.stats().refused == 3);
    check_account(batches);
  });
}

TEST_CASE("a batch that fails is counted, logged and told to flush; the next one goes on") {
  CapturedLog log;
  in_virtual_time([]() -> Task<> {
    Sink sink;
    sink.fail_with = ENOSPC;
    Batches batches(sink.process(), of_size(2, 1h));
    for (int i = 0; i < 4; ++i) CHECK(batches.try_add(i));
    auto flushed = co_await batches.flush();
    CHECK(flushed.code() == ENOSPC);
    CHECK(batches.stats().failed_batches == 2);
    CHECK(batches.stats().failed == 4);
    CHECK(batches.stats().last_error.find("store disk") == 0);
    sink.fail_with = 0;
    CHECK(batches.try_add(4));
    auto closed = co_await batches.close();
    CHECK(closed.ok());
    CHECK(sink.batches == std::vector<std::vector<int>>{{4}});
    check_account(batches);
  });
  CHECK(log.lines().size() == 1);  // the second failure came within the same second
  CHECK(log.last().find("store: a batch failed: store disk") == 0);
}

TEST_CASE("an exception of the process is rethrown by flush; a Task<> will do as well") {
  CapturedLog log;
  in_virtual_time([]() -> Task<> {
    auto process = [](std::vector<int> batch) -> Task<> {
      co_await horus::yield();
      if (batch.front() == 13) throw std::logic_error("thirteen");
    };
    Batches batches(process, of_size(10, 1h));
    CHECK(batches.try_add(13));
    bool thrown = false;
    try {
      auto flushed = co_await batches.flush();
      CHECK_FALSE(flushed.ok());
    } catch (const std::logic_error&) {
      thrown = true;
    }
    CHECK(thrown);
    CHECK(batches.try_add(14));
    auto closed = co_await batches.close();
    CHECK(closed.ok());
    CHECK(batches.stats().processed == 1);
  });
  CHECK(log.last() == "store: a batch failed: thirteen");
}

TEST_CASE("a closed processor takes nothing, and ends the waits in add") {
  in_virtual_time([]() -> Task<> {
    Sink sink;
    sink.takes = 10ms;
    Batches batches(sink.process(), of_size(1, 1h, 1));
    CHECK(batches.try_add(0));
    auto add = [&]() -> Task<int> {
      auto added = co_await batches.add(1);
      co_return added.code();
    };
    Scope scope;
    auto waiting = scope.spawn(add());
    co_await horus::yield();
    auto closed = co_await batches.close();
    CHECK(closed.ok());
    const int code = co_await waiting;
    CHECK(code == horus::kChannelClosed);
    CHECK_FALSE(batches.try_add(2));
    auto late = co_await batches.add(3);
    CHECK(late.code() == horus::kChannelClosed);
    CHECK(sink.batches == std::vector<std::vector<int>>{{0}});
    auto again = co_await batches.close();
    CHECK(again.ok());
    co_await scope.join();
  });
}

TEST_CASE("a close that is stopped stops the running batch, awaits it and drops the rest") {
  CapturedLog log;
  in_virtual_time([]() -> Task<> {
    Sink sink;
    sink.takes = 1h;
    Batches batches(sink.process(), of_size(2, 1h));
    for (int i = 0; i < 5; ++i) CHECK(batches.try_add(i));
    auto flush = [&]() -> Task<int> {
      auto flushed = co_await batches.flush();
      co_return flushed.code();
    };
    auto close = [&]() -> Task<Result<>> {
      auto closed = co_await batches.close();
      co_return closed;
    };
    Scope scope;
    auto flushing = scope.spawn(flush());
    const std::int64_t start = now_ms();
    auto closed = co_await horus::with_timeout(50ms, close());
    CHECK(closed.code() == ETIMEDOUT);
    CHECK(now_ms() - start == 50);
    const int code = co_await flushing;  // others that flush hear of it
    CHECK(code == ECANCELED);
    CHECK(sink.in_work == 0);
    CHECK(batches.stats().failed == 2);
    CHECK(batches.stats().dropped == 3);
    check_account(batches);
    co_await scope.join();
  });
}

TEST_CASE("a stopped flush leaves the batch alone") {
  in_virtual_time([]() -> Task<> {
    Sink sink;
    sink.takes = 20ms;
    Batches batches(sink.process(), of_size(10, 1h));
    CHECK(batches.try_add(1));
    auto late = co_await horus::with_timeout(5ms, batches.flush());
    CHECK(late.code() == ETIMEDOUT);
    auto closed = co_await batches.close();
    CHECK(closed.ok());
    CHECK(sink.batches == std::vector<std::vector<int>>{{1}});
  });
}

TEST_CASE("items that are never handed on are named in the log") {
  CapturedLog log;
  in_virtual_time([]() -> Task<> {
    Sink sink;
    {
      Batches batches(sink.process(), of_size(10, 1h));
      CHECK(batches.try_add(1));
    }
    co_await horus::yield();
  });
  CHECK(log.last() == "store: 1 items were never handed on (co_await close() first)");
}

TEST_CASE("sizes that cannot be are refused") {
  Sink sink;
  CHECK_THROWS_WITH(Batches(sink.process(), of_size(0, 1s)),
                    "make a batch processor store (batch_size: 1 or more): invalid argument");
  CHECK_THROWS_AS(Batches(sink.process(), of_size(10, 1s, 9)), horus::Error);
  CHECK_THROWS_AS(Batches(sink.process(), of_size(10, 0s)), horus::Error);
}

TEST_CASE("items need not be copyable") {
  in_virtual_time([]() -> Task<> {
    int sum = 0;
    auto process = [&](std::vector<std::unique_ptr<int>> batch) -> Task<> {
      for (const auto& item : batch) sum += *item;
      co_return;
    };
    horus::BatchProcessor<std::unique_ptr<int>> batches(process);
    auto added = co_await batches.add(std::make_unique<int>(40));
    CHECK(added.ok());
    CHECK(batches.try_add(std::make_unique<int>(2)));
    auto closed = co_await batches.close();
    CHECK(closed.ok());
    CHECK(sum == 42);
  });
}
