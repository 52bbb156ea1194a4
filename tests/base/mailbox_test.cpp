// SPDX-License-Identifier: Apache-2.0
// Mailbox: order, bounds, ownership, and many producers at once.
#include <horus/base/mailbox.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

using horus::Mailbox;

TEST_CASE("a new mailbox is empty") {
  Mailbox<int> mailbox(4);
  int value = 7;
  CHECK(mailbox.empty());
  CHECK(mailbox.capacity() == 4);
  CHECK_FALSE(mailbox.try_pop(value));
  CHECK(value == 7);
}

TEST_CASE("values come out in the order in which they went in, over many rounds of the ring") {
  Mailbox<uint64_t> mailbox(8);
  uint64_t pushed = 0, popped = 0;
  for (int round = 0; round < 1000; ++round) {
    for (int i = 0; i < 1 + round % 8; ++i) REQUIRE(mailbox.try_push(pushed++));
    for (uint64_t value; mailbox.try_pop(value);) REQUIRE(value == popped++);
    REQUIRE(mailbox.empty());
  }
  CHECK(pushed == popped);
}

TEST_CASE("a full mailbox refuses and leaves the value with the caller") {
  Mailbox<std::unique_ptr<int>> mailbox(2);
  CHECK(mailbox.try_push(std::make_unique<int>(1)));
  CHECK(mailbox.try_push(std::make_unique<int>(2)));
  auto third = std::make_unique<int>(3);
  CHECK_FALSE(mailbox.try_push(std::move(third)));
  REQUIRE(third != nullptr);
  std::unique_ptr<int> first;
  CHECK(mailbox.try_pop(first));
  CHECK(*first == 1);
  CHECK(mailbox.try_push(std::move(third)));
  CHECK(third == nullptr);
}

TEST_CASE("what is popped or left behind is destroyed exactly once") {
  auto counted = std::make_shared<int>(0);
  {
    Mailbox<std::shared_ptr<int>> mailbox(8);
    for (int i = 0; i < 6; ++i) CHECK(mailbox.try_push(counted));
    CHECK(counted.use_count() == 7);
    std::shared_ptr<int> out;
    CHECK(mailbox.try_pop(out));
    out.reset();
    CHECK(counted.use_count() == 6);
  }
  CHECK(counted.use_count() == 1);
}

TEST_CASE("many producers lose nothing, repeat nothing and keep their own order") {
  constexpr uint64_t kProducers = 4, kEach = 20'000;
  struct Letter {
    uint64_t from = 0, number = 0;
    std::unique_ptr<uint64_t> check;
  };
  Mailbox<Letter> mailbox(64);
  std::vector<std::thread> producers;
  producers.reserve(kProducers);
  for (uint64_t from = 0; from < kProducers; ++from) {
    producers.emplace_back([&mailbox, from] {
      for (uint64_t number = 0; number < kEach; ++number) {
        Letter letter{from, number, std::make_unique<uint64_t>(from * kEach + number)};
        // NOLINTNEXTLINE(bugprone-use-after-move): a refused push leaves the letter alone
        while (!mailbox.try_push(std::move(letter))) std::this_thread::yield();
      }
    });
  }
  uint64_t next[kProducers] = {};
  bool right = true;
  for (uint64_t received = 0; received < kProducers * kEach;) {
    Letter letter;
    if (!mailbox.try_pop(letter)) {
      std::this_thread::yield();
      continue;
    }
    ++received;
    right =
        right && letter.number == next[letter.from]++ && *letter.check == letter.from * kEach + letter.number;
  }
  for (auto& producer : producers) producer.join();
  CHECK(right);
  CHECK(mailbox.empty());
}

TEST_CASE("a consumer that announces its sleep is woken by every push that it might miss") {
  // The handshake from the header's "Sleeping" paragraph; it would hang here if a wake could be lost.
  constexpr uint64_t kMessages = 50'000;
  Mailbox<uint64_t> mailbox(16);
  std::atomic<uint32_t> asleep{0};
  std::thread producer([&] {
    for (uint64_t i = 0; i < kMessages; ++i) {
      while (!mailbox.try_push(i)) std::this_thread::yield();
      if (asleep.exchange(0, std::memory_order_seq_cst) == 1) asleep.notify_one();
    }
  });
  uint64_t expected = 0;
  while (expected < kMessages) {
    uint64_t value = 0;
    if (mailbox.try_pop(value)) {
      REQUIRE(value == expected++);
      continue;
    }
    asleep.exchange(1, std::memory_order_seq_cst);
    if (mailbox.empty()) asleep.wait(1);
    asleep.store(0, std::memory_order_relaxed);
  }
  producer.join();
  CHECK(mailbox.empty());
}
