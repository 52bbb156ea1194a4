// SPDX-License-Identifier: Apache-2.0
// Random publishers and subscribers against a model of their queues: nothing is lost, doubled or reordered beyond what
// the overflow policy says, and the account holds after each step.
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include <horus/msg/hub.hpp>

namespace {

using horus::Hub;
using horus::Overflow;
using horus::SubscribeOptions;

struct Reading {
  std::uint64_t number = 0;
};

// What a subscriber ought to have, for each publisher.
struct Model {
  explicit Model(SubscribeOptions wanted) : options(wanted) {}
  SubscribeOptions options;
  std::deque<std::uint64_t> queue;
  std::uint64_t dropped = 0;

  bool push(std::uint64_t number) {
    const std::size_t depth = options.overflow == Overflow::latest ? 1 : options.depth;
    if (queue.size() == depth) {
      ++dropped;
      if (options.overflow == Overflow::drop_newest) return false;
      queue.pop_front();
    }
    queue.push_back(number);
    return true;
  }
};

struct Reader {
  explicit Reader(const Hub& hub, const SubscribeOptions& options)
      : in(hub.subscribe<Reading>("topic", options)), model(options) {}
  horus::Subscriber<Reading> in;
  Model model;
  std::vector<std::pair<horus::Sample<Reading>, std::uint64_t>> held;
};

void run(std::uint64_t seed) {
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const auto below = [&](std::uint64_t limit) { return random() % limit; };
  Hub hub;
  auto out =
      hub.advertise<Reading>("topic", horus::AdvertiseOptions().with_max_queued(256).with_max_loans(3));
  std::vector<std::unique_ptr<Reader>> readers;
  std::vector<horus::Loan<Reading>> loans;
  std::uint64_t next = 1;
  const auto sent = [&](std::uint64_t number) {
    bool all = true;
    for (auto& reader : readers) all = reader->model.push(number) && all;
    return all;
  };
  for (int step = 0; step < 2000; ++step) {
    switch (below(8)) {
      case 0:
        if (readers.size() < 5) {
          const auto depth = static_cast<std::uint32_t>(1 + below(6));
          const auto overflow = static_cast<Overflow>(below(3));
          const auto held = static_cast<std::uint32_t>(1 + below(4));
          readers.push_back(std::make_unique<Reader>(
              hub, SubscribeOptions().with_depth(depth).with_overflow(overflow).with_max_held(held)));
        }
        break;
      case 1:
        if (!readers.empty() && below(4) == 0) {
          const std::size_t which = below(readers.size());
          readers.erase(readers.begin() + static_cast<std::ptrdiff_t>(which));
        }
        break;
      case 2: {
        auto loan = out.loan();
        CHECK(loan.ok() == (loans.size() < 3));
        if (loan) loans.push_back(std::move(*loan));
        break;
      }
      case 3:
        if (!loans.empty()) {
          auto loan = std::move(loans.back());
          loans.pop_back();
          if (below(4) == 0) break;  // given back unused
          loan->number = next;
          const bool expected = sent(next++);
          CHECK(out.publish(std::move(loan)) == expected);
        }
        break;
      case 4:
      case 5: {
        const bool expected = sent(next);
        CHECK(out.send({.number = next++}) == expected);
        break;
      }
      default:
        if (readers.empty()) break;
        Reader& reader = *readers[below(readers.size())];
        if (reader.held.size() == reader.model.options.max_held) {
          CHECK(reader.held.back().first->number == reader.held.back().second);  // nobody wrote over it
          reader.held.erase(reader.held.begin() + static_cast<std::ptrdiff_t>(below(reader.held.size())));
        }
        CHECK(reader.in.has_msg() == !reader.model.queue.empty());
        auto message = reader.in.try_recv();
        REQUIRE(message.has_value() == !reader.model.queue.empty());
        if (!message) break;
        CHECK((*message)->number == reader.model.queue.front());
        if (below(3) == 0) reader.held.emplace_back(std::move(*message), reader.model.queue.front());
        reader.model.queue.pop_front();
        break;
    }
    const auto metrics = out.metrics();
    CHECK(metrics.sent == metrics.delivered + metrics.dropped + metrics.queued + metrics.in_flight);
    for (const auto& reader : readers) {
      CHECK(reader->in.missed() == reader->model.dropped);
      for (const auto& [sample, number] : reader->held) CHECK(sample->number == number);
    }
  }
  readers.clear();
  static_cast<void>(out.send({}));
  for (int i = 0; i < 64; ++i) out.send({});  // the publisher looks after its links now and then
  CHECK(out.metrics().subscribers == 0);
  CHECK(out.metrics().queued == 0);
}

TEST_SUITE("msg/account") {
  TEST_CASE("random use keeps every queue's promises and every account whole") {
    for (std::uint64_t seed = 1; seed <= 60; ++seed) run(seed);
  }
}

}  // namespace
