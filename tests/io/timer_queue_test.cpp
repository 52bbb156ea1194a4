// SPDX-License-Identifier: Apache-2.0
// TimerQueue against a sorted map: exact order, never early, at every distance. One thread.
#include <horus/io/loop/timer_queue.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using horus::io::TimerEntry;
using horus::io::TimerQueue;

namespace {

constexpr int64_t kMicrosecond = 1'000;
constexpr int64_t kMillisecond = 1'000'000;
constexpr int64_t kSecond = 1'000'000'000;

// The queue beside what it should be: a map ordered by deadline, then by insertion.
class Twin {
 public:
  Twin(size_t entries, int64_t now_ns) : queue(now_ns), now_ns(now_ns), keys_(entries) {
    for (size_t i = 0; i < entries; ++i) entries_.push_back(std::make_unique<TimerEntry>());
  }
  ~Twin() { clear(); }

  void insert(size_t i, int64_t deadline_ns) {
    queue.insert(*entries_[i], deadline_ns);
    keys_[i] = {deadline_ns, sequence_++};
    model_.emplace(keys_[i], i);
  }
  void cancel(size_t i) {
    if (entries_[i]->pending()) model_.erase(keys_[i]);
    queue.cancel(*entries_[i]);
  }
  bool pending(size_t i) const { return entries_[i]->pending(); }
  int64_t expected_next() const { return model_.empty() ? TimerQueue::kNever : model_.begin()->first.first; }

  // Fires everything due; false at the first difference.
  bool fire() {
    while (TimerEntry* entry = queue.pop_due(now_ns)) {
      if (model_.empty()) return false;
      const auto [key, i] = *model_.begin();
      if (entry != entries_[i].get() || key.first > now_ns || entry->pending()) return false;
      model_.erase(model_.begin());
    }
    return model_.empty() || model_.begin()->first.first > now_ns;
  }
  bool agrees() { return queue.size() == model_.size() && queue.next_deadline() == expected_next(); }
  void clear() {
    for (size_t i = 0; i < entries_.size(); ++i) cancel(i);
  }

  TimerQueue queue;
  int64_t now_ns;

 private:
  using Key = std::pair<int64_t, uint64_t>;
  std::vector<std::unique_ptr<TimerEntry>> entries_;
  std::vector<Key> keys_;
  std::map<Key, size_t> model_;
  uint64_t sequence_ = 0;
};

// A distance that is likely to fall anywhere between nothing and `most`, on a logarithmic scale.
int64_t any_distance(std::mt19937_64& random, int most_bits) {
  const int bits = static_cast<int>(random() % static_cast<uint64_t>(most_bits + 1));
  return bits == 0 ? 0 : static_cast<int64_t>(random() >> (64 - bits));
}

}  // namespace

TEST_CASE("an empty queue has no deadline and fires nothing") {
  TimerQueue queue(5 * kSecond);
  CHECK(queue.size() == 0);
  CHECK(queue.next_deadline() == TimerQueue::kNever);
  CHECK(queue.pop_due(std::numeric_limits<int64_t>::max()) == nullptr);
}

TEST_CASE("a timer fires at its deadline and not a nanosecond before") {
  for (int64_t distance :
       {int64_t{1}, kMicrosecond, kMillisecond, 100 * kMillisecond, kSecond, 3600 * kSecond}) {
    TimerQueue queue(kSecond);
    TimerEntry entry;
    queue.insert(entry, kSecond + distance);
    CHECK(entry.pending());
    CHECK(queue.pop_due(kSecond + distance - 1) == nullptr);
    CHECK(queue.next_deadline() == kSecond + distance);
    CHECK(queue.pop_due(kSecond + distance) == &entry);
    CHECK_FALSE(entry.pending());
    CHECK(queue.size() == 0);
  }
}

TEST_CASE("equal deadlines fire in the order of insertion, near and far") {
  for (int64_t distance : {int64_t{0}, kMillisecond, 10 * kSecond, 100'000 * kSecond}) {
    TimerQueue queue(0);
    std::vector<TimerEntry> entries(1000);
    for (auto& entry : entries) queue.insert(entry, distance);
    for (auto& entry : entries) CHECK(queue.pop_due(distance) == &entry);
  }
}

TEST_CASE("a deadline in the past is due at once, in its order") {
  TimerQueue queue(10 * kSecond);
  TimerEntry now, before, long_before, at_the_beginning;
  queue.insert(now, 10 * kSecond);
  queue.insert(before, 9 * kSecond);
  queue.insert(long_before, -1);
  queue.insert(at_the_beginning, std::numeric_limits<int64_t>::min());
  CHECK(queue.next_deadline() == std::numeric_limits<int64_t>::min());
  CHECK(queue.pop_due(10 * kSecond) == &at_the_beginning);
  CHECK(queue.pop_due(10 * kSecond) == &long_before);
  CHECK(queue.pop_due(10 * kSecond) == &before);
  CHECK(queue.pop_due(10 * kSecond) == &now);
}

TEST_CASE("the farthest deadlines keep their order") {
  constexpr int64_t most = std::numeric_limits<int64_t>::max();
  TimerQueue queue(0);
  TimerEntry last, also_last, before_last, near;
  queue.insert(last, most);
  queue.insert(also_last, most);
  queue.insert(before_last, most - 1);
  queue.insert(near, kSecond);
  CHECK(queue.pop_due(kSecond) == &near);
  CHECK(queue.next_deadline() == most - 1);
  CHECK(queue.pop_due(most - 2) == nullptr);
  CHECK(queue.pop_due(most) == &before_last);
  CHECK(queue.pop_due(most) == &last);
  CHECK(queue.pop_due(most) == &also_last);
}

TEST_CASE("a timer inserted before one that was already looked at comes first") {
  TimerQueue queue(0);
  TimerEntry far, near, nearer;
  queue.insert(far, 1000 * kSecond);
  CHECK(queue.next_deadline() == 1000 * kSecond);
  queue.insert(near, 20 * kSecond);
  CHECK(queue.next_deadline() == 20 * kSecond);
  queue.insert(nearer, kMillisecond);
  CHECK(queue.next_deadline() == kMillisecond);
  queue.cancel(near);
  CHECK(queue.pop_due(2000 * kSecond) == &nearer);
  CHECK(queue.pop_due(2000 * kSecond) == &far);
}

TEST_CASE("cancelling twice, or what was never pending, does nothing") {
  TimerQueue queue(0);
  TimerEntry entry, other;
  queue.cancel(entry);
  queue.insert(entry, kSecond);
  queue.insert(other, kSecond);
  queue.cancel(entry);
  queue.cancel(entry);
  CHECK(queue.size() == 1);
  CHECK(queue.pop_due(kSecond) == &other);
}

TEST_CASE("an entry can be scheduled again, later or earlier, after it fired or was cancelled") {
  TimerQueue queue(0);
  TimerEntry entry;
  for (int64_t round = 1; round < 1000; ++round) {
    queue.insert(entry, round * kMillisecond + 5 * kSecond);
    queue.cancel(entry);
    queue.insert(entry, round * kMillisecond);
    CHECK(queue.next_deadline() == round * kMillisecond);
    CHECK(queue.pop_due(round * kMillisecond) == &entry);
  }
}

TEST_CASE("a lone far timer does not make many nearer ones wait or lose their order") {
  // The look at the far timer takes the wheel far ahead; the crowd then makes it move back.
  std::mt19937_64 random(7);
  Twin twin(20'001, 0);
  twin.insert(20'000, 100'000 * kSecond);
  REQUIRE(twin.agrees());
  for (size_t i = 0; i < 20'000; ++i) {
    twin.insert(i, static_cast<int64_t>(random() % (60 * kSecond)));
    if (i % 128 == 0) REQUIRE(twin.agrees());
    if (i % 3 == 0) twin.cancel(random() % (i + 1));
  }
  while (twin.expected_next() != TimerQueue::kNever) {
    twin.now_ns = twin.expected_next();
    REQUIRE(twin.fire());
    REQUIRE(twin.agrees());
  }
}

TEST_CASE("a crowd with one deadline is inserted below the tick without being placed anew each time") {
  TimerQueue queue(0);
  TimerEntry far;
  queue.insert(far, 100'000 * kSecond);
  CHECK(queue.next_deadline() == 100'000 * kSecond);
  std::vector<TimerEntry> crowd(200'000);  // quadratic work would not end in reasonable time
  for (auto& entry : crowd) queue.insert(entry, kSecond);
  for (auto& entry : crowd) REQUIRE(queue.pop_due(kSecond) == &entry);
  CHECK(queue.pop_due(100'000 * kSecond) == &far);
}

TEST_CASE("millions of random operations give exactly what a sorted map gives") {
  struct Mix {
    uint64_t seed;
    size_t entries;
    int distance_bits;  // deadlines up to 2^bits ns away
    int step_bits;      // time moves up to 2^bits ns at once
    int look_every;     // how often next_deadline() is asked for
  };
  for (const Mix& mix :
       {Mix{1, 50, 34, 28, 1}, Mix{2, 2000, 36, 27, 1}, Mix{3, 2000, 36, 30, 64}, Mix{4, 300, 22, 18, 3},
        Mix{5, 5000, 62, 55, 7}, Mix{6, 3000, 24, 16, 1000}, Mix{7, 1000, 40, 39, 5}}) {
    CAPTURE(mix.seed);
    std::mt19937_64 random(mix.seed);
    Twin twin(mix.entries, static_cast<int64_t>(random() >> 20));
    bool same = true;
    for (int step = 0; step < 400'000 && same; ++step) {
      const size_t i = random() % mix.entries;
      switch (random() % 8) {
        case 0:
        case 1:
        case 2:
        case 3: {
          if (twin.pending(i)) twin.cancel(i);
          int64_t distance = any_distance(random, mix.distance_bits);
          if (random() % 16 == 0) distance = -distance;
          if (random() % 8 == 0) distance &= ~int64_t{0xfffff};  // collide, and sit on slot borders
          const int64_t room = std::numeric_limits<int64_t>::max() - twin.now_ns;
          twin.insert(i, twin.now_ns + std::min(distance, room));
          break;
        }
        case 4:
        case 5: twin.cancel(i); break;
        case 6: {
          const int64_t room = std::numeric_limits<int64_t>::max() - twin.now_ns;
          twin.now_ns += std::min(any_distance(random, mix.step_bits), room);
          same = twin.fire();
          break;
        }
        default:
          if (random() % static_cast<uint64_t>(mix.look_every) == 0) same = twin.agrees();
      }
    }
    CHECK(same);
    twin.now_ns = std::numeric_limits<int64_t>::max();
    CHECK(twin.fire());
    CHECK(twin.queue.size() == 0);
  }
}
