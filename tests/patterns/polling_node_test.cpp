// SPDX-License-Identifier: Apache-2.0
#include <horus/patterns/polling_node.hpp>

#include <optional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <horus/sched/scheduler.hpp>

#include "virtual_time.hpp"

using horus::PollingOptions;
using horus::Scheduler;
using horus::Task;
using horus::testing::CapturedLog;
using horus::testing::in_virtual_time;
using horus::testing::now_ms;
using namespace horus::literals;

namespace {

// Something that has an item at certain milliseconds after the start.
class Mailbox : public horus::PollingNode<int> {
 public:
  explicit Mailbox(std::vector<int> arrivals)
      : PollingNode("mailbox", pauses()), arrivals_(std::move(arrivals)) {}
  std::vector<std::int64_t> polled;
  std::vector<std::pair<int, std::int64_t>> got;
  int fail_at = -1;
  bool at_once = false;

 private:
  static PollingOptions pauses() {
    PollingOptions options;
    options.first_pause = 10ms;
    options.longest_pause = 50ms;
    return options;
  }
  Task<> init() override {
    start_ = now_ms();
    co_return;
  }
  Task<std::optional<int>> poll() override {
    const auto now = now_ms() - start_;
    polled.push_back(now);
    if (static_cast<int>(polled.size()) == fail_at) throw horus::Error(EIO, "poll", "mailbox");
    if (next_ == arrivals_.size() || arrivals_[next_] > now) co_return std::nullopt;
    co_return arrivals_[next_++];
  }
  Task<> on_item(int item) override {
    at_once = at_once || in_work_;
    in_work_ = true;
    co_await horus::sleep(1ms);
    in_work_ = false;
    got.emplace_back(item, now_ms() - start_);
  }

  std::vector<int> arrivals_;
  std::size_t next_ = 0;
  std::int64_t start_ = 0;
  bool in_work_ = false;
};

}  // namespace

TEST_CASE("the pause doubles while nothing comes, and starts again when something came") {
  in_virtual_time([]() -> Task<> {
    Scheduler scheduler;
    auto owned = std::make_unique<Mailbox>(std::vector<int>{100, 101, 102});
    Mailbox& mailbox = *owned;
    scheduler.add(std::move(owned));
    const int code = co_await scheduler.run_main(250ms);
    CHECK(code == 0);
    // 10, 20, 40, 50 ms; three items of a millisecond each; and again.
    CHECK(mailbox.polled == std::vector<std::int64_t>{0, 10, 30, 70, 120, 121, 122, 123, 133, 153, 193, 243});
    CHECK(mailbox.got == std::vector<std::pair<int, std::int64_t>>{{100, 121}, {101, 122}, {102, 123}});
    CHECK_FALSE(mailbox.at_once);
    const auto stats = mailbox.stats();
    CHECK(stats.polls == 12);
    CHECK(stats.items == 3);
    CHECK(stats.empty == 9);
    CHECK(stats.failed == 0);
    CHECK(stats.pause == 50ms);
    CHECK(scheduler.statistics("mailbox")->cancelled_ticks == 1);  // the last pause
  });
}

TEST_CASE("a poll that throws is a failed tick, and is tried again") {
  const CapturedLog log;
  in_virtual_time([]() -> Task<> {
    Scheduler scheduler;
    auto owned = std::make_unique<Mailbox>(std::vector<int>{5});
    owned->fail_at = 1;
    Mailbox& mailbox = *owned;
    scheduler.add(std::move(owned));
    const int code = co_await scheduler.run_main(100ms);
    CHECK(code == 0);
    CHECK(mailbox.stats().failed == 1);
    CHECK(mailbox.stats().items == 1);
    CHECK(scheduler.statistics("mailbox")->failed_ticks == 1);
  });
}

TEST_CASE("pauses that cannot be are refused") {
  class Node : public horus::PollingNode<int> {
   public:
    explicit Node(PollingOptions options) : PollingNode("node", options) {}

   private:
    Task<std::optional<int>> poll() override { co_return 1; }
    Task<> on_item(int) override { co_return; }
  };
  PollingOptions options;
  options.first_pause = 0ms;
  CHECK_THROWS_WITH(
      static_cast<void>(Node(options)),
      "make a polling node node (first_pause: above 0; longest_pause: first_pause or longer): invalid "
      "argument");
  options.first_pause = 1s;
  CHECK_THROWS_AS(static_cast<void>(Node(options)), horus::Error);
}
