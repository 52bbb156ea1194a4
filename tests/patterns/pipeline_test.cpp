// SPDX-License-Identifier: Apache-2.0
#include <horus/patterns/pipeline.hpp>

#include <cerrno>
#include <memory>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <horus/io/time.hpp>

#include "virtual_time.hpp"

using horus::Channel;
using horus::OnFailure;
using horus::Pipeline;
using horus::Result;
using horus::Scope;
using horus::StageOptions;
using horus::Task;
using horus::testing::CapturedLog;
using horus::testing::in_virtual_time;
using horus::testing::now_ms;
using namespace horus::literals;

namespace {

// 1 to `last`, then the end of the stream.
auto numbers(int last) {
  return [next = 1, last]() mutable -> Task<std::optional<int>> {
    if (next > last) co_return std::nullopt;
    co_return next++;
  };
}

Task<int> square(int value) {
  co_await horus::yield();
  co_return value* value;
}

StageOptions with(std::size_t workers, std::size_t queue_depth, OnFailure on_failure = OnFailure::skip) {
  StageOptions options;
  options.workers = workers;
  options.queue_depth = queue_depth;
  options.on_failure = on_failure;
  return options;
}

void check_accounts(const Pipeline& pipeline) {
  for (const auto& stage : pipeline.stats()) {
    CHECK(stage.in_work == 0);
    CHECK(stage.received == stage.processed + stage.failed + stage.cancelled);
  }
}

}  // namespace

TEST_CASE("items go through all stages in order, and the end of the stream after them") {
  in_virtual_time([]() -> Task<> {
    std::vector<std::string> out;
    Pipeline pipeline("squares");
    pipeline.source("numbers", numbers(4))
        .stage("square", square)
        .stage("words", [](int value) -> Task<std::string> { co_return std::to_string(value); })
        .sink("keep", [&](std::string word) -> Task<> {
          out.push_back(std::move(word));
          co_return;
        });
    auto done = co_await pipeline.run();
    CHECK(done.ok());
    CHECK(out == std::vector<std::string>{"1", "4", "9", "16"});
    const auto stats = pipeline.stats();
    CHECK(stats.size() == 4);
    CHECK(stats[0].name == "numbers");
    CHECK(stats[0].received == 4);
    CHECK(stats[3].processed == 4);
    check_accounts(pipeline);
  });
}

TEST_CASE("a slow stage slows down its source: no queue is ever longer than its limit") {
  in_virtual_time([]() -> Task<> {
    int produced = 0;
    int ahead = 0;
    int consumed = 0;
    auto produce = [&]() -> Task<std::optional<int>> {
      if (produced == 50) co_return std::nullopt;
      ++produced;
      ahead = std::max(ahead, produced - consumed);
      co_return produced;
    };
    auto consume = [&](int) -> Task<> {
      co_await horus::sleep(10ms);
      ++consumed;
    };
    Pipeline pipeline;
    pipeline.source("fast", produce).sink("slow", consume, with(1, 3));
    auto done = co_await pipeline.run();
    CHECK(done.ok());
    CHECK(consumed == 50);
    CHECK(ahead == 5);  // one in work, three in the queue, one that waits for room
    CHECK(pipeline.stats()[1].queue_high_water == 3);
    CHECK(pipeline.stats()[1].queue_limit == 3);
    CHECK(pipeline.stats()[1].queue_depth == 0);
  });
}

TEST_CASE("workers of a stage work side by side") {
  in_virtual_time([]() -> Task<> {
    int sum = 0;
    int at_once = 0;
    int most = 0;
    auto slow = [&](int value) -> Task<int> {
      most = std::max(most, ++at_once);
      co_await horus::sleep(10ms);
      --at_once;
      co_return value;
    };
    Pipeline pipeline;
    pipeline.source("numbers", numbers(40)).stage("slow", slow, with(4, 8)).sink("sum", [&](int n) -> Task<> {
      sum += n;
      co_return;
    });
    const std::int64_t start = now_ms();
    auto done = co_await pipeline.run();
    CHECK(done.ok());
    CHECK(now_ms() - start == 100);
    CHECK(most == 4);
    CHECK(sum == 40 * 41 / 2);
  });
}

TEST_CASE("channels of the user's are joined at both ends") {
  in_virtual_time([]() -> Task<> {
    Channel<int> in(2);
    Channel<int> out(2);
    Pipeline pipeline;
    pipeline.from(in).stage("square", square).into(out);
    Scope scope;
    static_cast<void>(scope.spawn([&]() -> Task<> {
      for (int n = 1; n <= 5; ++n) {
        auto sent = co_await in.send(n);
        CHECK(sent.ok());
      }
      in.close();
    }));
    auto running = scope.spawn(pipeline.run());
    std::vector<int> values;
    while (true) {
      auto value = co_await out.recv();
      if (!value) break;
      values.push_back(*value);
    }
    auto done = co_await running;
    CHECK(done.ok());
    CHECK(values == std::vector<int>{1, 4, 9, 16, 25});
    CHECK(pipeline.stats()[0].queue_limit == 2);
    co_await scope.join();
  });
}

TEST_CASE("an item may end in a stage") {
  in_virtual_time([]() -> Task<> {
    std::vector<int> even;
    auto filter = [](int n) -> Task<std::optional<int>> {
      if (n % 2 != 0) co_return std::nullopt;
      co_return n;
    };
    Pipeline pipeline;
    pipeline.source("numbers", numbers(6)).stage("even", filter).sink("keep", [&](int n) -> Task<> {
      even.push_back(n);
      co_return;
    });
    auto done = co_await pipeline.run();
    CHECK(done.ok());
    CHECK(even == std::vector<int>{2, 4, 6});
    CHECK(pipeline.stats()[1].filtered == 3);
    CHECK(pipeline.stats()[1].processed == 6);
  });
}

TEST_CASE("an item that fails is counted, logged and skipped") {
  CapturedLog log;
  in_virtual_time([]() -> Task<> {
    std::vector<int> out;
    auto check = [](int n) -> Task<Result<int>> {
      if (n == 2) co_return horus::Error(EIO, "read", "frame");
      if (n == 3) throw std::runtime_error("bug");
      co_return n;
    };
    Pipeline pipeline("vision");
    pipeline.source("numbers", numbers(4)).stage("check", check).sink("keep", [&](int n) -> Task<Result<>> {
      if (n == 4) co_return horus::Error(ENOSPC, "write", "disk");
      out.push_back(n);
      co_return Result<>();
    });
    auto done = co_await pipeline.run();
    CHECK(done.ok());
    CHECK(out == std::vector<int>{1});
    CHECK(pipeline.stats()[1].failed == 2);
    CHECK(pipeline.stats()[1].last_error == "bug");
    CHECK(pipeline.stats()[2].failed == 1);
    check_accounts(pipeline);
  });
  CHECK(log.lines().size() == 2);  // one for each stage within a second
}

TEST_CASE("where it is to stop, a failure ends the pipeline and run() gives it") {
  CapturedLog log;
  in_virtual_time([]() -> Task<> {
    auto fails = [](int n) -> Task<int> {
      co_await horus::sleep(1ms);
      if (n == 3) throw horus::Error(EIO, "read", "frame");
      co_return n;
    };
    auto slow = [](int) -> Task<> { co_await horus::sleep(1h); };
    Channel<int> in(4);
    Pipeline pipeline;
    pipeline.from(in).stage("fails", fails, with(2, 1, OnFailure::stop)).sink("slow", slow, with(1, 8));
    auto feed = [&]() -> Task<int> {
      for (int n = 1;; ++n) {
        auto sent = co_await in.send(n);
        if (!sent) co_return sent.code();
      }
    };
    Scope scope;
    auto feeding = scope.spawn(feed());
    const std::int64_t start = now_ms();
    auto done = co_await pipeline.run();
    CHECK(done.code() == EIO);
    CHECK(now_ms() - start < 10);
    const int code = co_await feeding;
    CHECK(code == horus::kChannelClosed);
    CHECK(pipeline.stats()[0].failed == 1);
    CHECK(pipeline.stats()[1].cancelled == 1);
    check_accounts(pipeline);
    co_await scope.join();
  });
  CHECK(log.last() == "pipeline/fails: an item failed: read frame: input/output error");
}

TEST_CASE("a bug that stops the pipeline is rethrown") {
  CapturedLog log;
  in_virtual_time([]() -> Task<> {
    auto source = []() -> Task<std::optional<int>> {
      co_await horus::yield();
      throw std::logic_error("bug");
    };
    Pipeline pipeline;
    pipeline.source("source", source).sink("none", [](int) -> Task<> { co_return; });
    bool thrown = false;
    try {
      auto done = co_await pipeline.run();
      CHECK_FALSE(done.ok());
    } catch (const std::logic_error&) {
      thrown = true;
    }
    CHECK(thrown);
  });
}

TEST_CASE("a pipeline that is stopped awaits its workers and closes its channels") {
  in_virtual_time([]() -> Task<> {
    Channel<int> in(1);
    Channel<int> out(1);
    int in_work = 0;
    auto slow = [&](int n) -> Task<int> {
      ++in_work;
      try {
        co_await horus::sleep(1h);
      } catch (...) {
        --in_work;
        throw;
      }
      co_return n;
    };
    Pipeline pipeline;
    pipeline.from(in).stage("slow", slow, with(2, 4)).into(out);
    for (int n = 0; n < 2; ++n) {
      auto late = in.try_send(n);
      if (n == 0) CHECK(late);
    }
    auto done = co_await horus::with_timeout(50ms, pipeline.run());
    CHECK(done.code() == ETIMEDOUT);
    CHECK(in_work == 0);
    CHECK(in.closed());
    CHECK(out.closed());
    CHECK(pipeline.stats()[0].cancelled == 1);
    check_accounts(pipeline);
  });
}

TEST_CASE("when nobody takes results any more, everything before ends") {
  in_virtual_time([]() -> Task<> {
    Channel<int> out(1);
    int produced = 0;
    auto endless = [&]() -> Task<std::optional<int>> {
      co_await horus::sleep(1ms);
      co_return ++produced;
    };
    Pipeline pipeline;
    pipeline.source("endless", endless).stage("square", square, with(3, 2)).into(out);
    Scope scope;
    auto running = scope.spawn(pipeline.run());
    for (int i = 0; i < 5; ++i) {
      auto value = co_await out.recv();
      CHECK(value.ok());
    }
    out.close();
    auto done = co_await running;
    CHECK(done.ok());
    CHECK(produced < 20);
    check_accounts(pipeline);
    co_await scope.join();
  });
}

TEST_CASE("items need not be copyable") {
  in_virtual_time([]() -> Task<> {
    int sum = 0;
    auto make = [n = 0]() mutable -> Task<std::optional<std::unique_ptr<int>>> {
      if (++n > 3) co_return std::nullopt;
      co_return std::make_unique<int>(n);
    };
    auto pass = [](std::unique_ptr<int> n) -> Task<std::unique_ptr<int>> { co_return std::move(n); };
    Pipeline pipeline;
    pipeline.source("make", make).stage("pass", pass).sink("sum", [&](std::unique_ptr<int> n) -> Task<> {
      sum += *n;
      co_return;
    });
    auto done = co_await pipeline.run();
    CHECK(done.ok());
    CHECK(sum == 6);
  });
}

TEST_CASE("mistakes in the structure say what to do") {
  in_virtual_time([]() -> Task<> {
    auto sink = [](int) -> Task<> { co_return; };
    Pipeline pipeline("vision");
    auto squares = pipeline.source("numbers", numbers(1)).stage("square", square);
    CHECK_THROWS_AS(squares.sink("", sink), horus::Error);
    CHECK_THROWS_WITH(squares.sink("none", sink, with(0, 1)),
                      "build pipeline vision, stage \"none\" (workers: 1 to 1024): invalid argument");
    CHECK_THROWS_AS(squares.sink("none", sink, with(1, 0)), horus::Error);
    std::string text;
    try {
      auto done = co_await pipeline.run();
      CHECK(done.ok());
    } catch (const horus::Error& error) {
      text = error.message();
    }
    CHECK(text ==
          "run pipeline vision (stage \"square\" leads nowhere: end the flow with sink() or into()): invalid "
          "argument");
    squares.sink("sink", sink);
    CHECK_THROWS_AS(squares.sink("again", sink), horus::Error);
    auto done = co_await pipeline.run();
    CHECK(done.ok());
    bool refused = false;
    try {
      auto twice = co_await pipeline.run();
      CHECK(twice.ok());
    } catch (const horus::Error&) {
      refused = true;
    }
    CHECK(refused);
    CHECK_THROWS_AS(static_cast<void>(pipeline.source("late", numbers(1))), horus::Error);
  });
}
