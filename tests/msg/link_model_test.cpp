// SPDX-License-Identifier: Apache-2.0
// Every interleaving of a publisher's and a subscriber's steps over one link, stores that arrive late included, with the
// very templates that run in a program; and a subscriber that writes anything anywhere. A publisher that dies in the middle
// of a message is one that makes no further step: it is among the interleavings, for every store.
//
// The two sides are functions of what their loads found. A state holds what each side's operations gave so far; a step runs
// one side again from its beginning over that record, lets it do one more operation, and leaves it by longjmp. So a state
// can be copied, and one that was seen before is not looked at again.
#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <unordered_set>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <horus/msg/link/inlet.hpp>
#include <horus/msg/link/link_protocol.hpp>
#include <horus/msg/link/outlet.hpp>

namespace {

using namespace horus::msg;

constexpr std::size_t kWords = 40;
constexpr std::size_t kOperations = 120;  // of one side
constexpr std::size_t kLate = 12;         // stores of one side that nobody sees yet

struct LateStore {
  std::uint8_t word = 0;
  bool release = false;       // nothing before it may come after it
  bool behind_fence = false;  // the same, for a store behind a release fence
  std::uint64_t value = 0;
};

struct Side {
  std::array<std::uint64_t, kOperations> results{};
  std::uint8_t operations = 0;
  std::array<LateStore, kLate> late{};
  std::uint8_t late_count = 0;
  bool fenced = false;
  bool ended = false;
};

struct State {
  std::array<std::uint64_t, kWords> memory{};
  std::array<Side, 2> sides;

  // 128 bits: among a million states two are taken for one with a chance of 10^-27.
  struct Key {
    std::uint64_t first = 0xcbf29ce484222325, second = 0x9e3779b97f4a7c15;
    friend bool operator==(const Key&, const Key&) = default;
  };
  [[nodiscard]] Key key() const {
    Key key;
    const auto word = [&](std::uint64_t value) {
      key.first = (key.first ^ value) * 0x9fb21c651e98df25;
      key.first ^= key.first >> 29;
      key.second = (key.second + value) * 0xd6e8feb86659fd93;
      key.second ^= key.second >> 32;
    };
    for (const std::uint64_t value : memory) word(value);
    for (const Side& side : sides) {
      word(side.operations + 1000U * side.late_count + (side.fenced ? 100'000U : 0U));
      for (std::size_t i = 0; i < side.operations; ++i) word(side.results[i]);
      for (std::size_t i = 0; i < side.late_count; ++i) {
        word(side.late[i].word + (side.late[i].behind_fence ? 1000U : 0U));
        word(side.late[i].value);
      }
    }
    return key;
  }
};

// What runs now.
struct Running {
  State* state = nullptr;
  std::size_t side = 0;
  std::size_t at = 0;  // operation that comes next
  bool stepped = false;
  bool blocked = false;
  std::jmp_buf leave;
} running;

Side& me() { return running.state->sides[running.side]; }

// One operation: what the record says, or for the first time `perform`.
template <class Perform>
std::uint64_t operation(Perform perform) {
  Side& side = me();
  if (running.at < side.operations) return side.results[running.at++];
  if (running.stepped) std::longjmp(running.leave, 1);
  running.stepped = true;
  const std::uint64_t result = perform(side);
  if (running.blocked) std::longjmp(running.leave, 1);
  REQUIRE(side.operations < kOperations);
  side.results[side.operations++] = result;
  ++running.at;
  return result;
}

std::uint64_t seen_by(const Side& side, std::uint8_t word) {
  for (std::size_t i = side.late_count; i > 0; --i) {
    if (side.late[i - 1].word == word) return side.late[i - 1].value;
  }
  return running.state->memory[word];
}

struct Model {
  template <class T>
  struct Atomic {
    std::uint8_t word = 0;

    [[nodiscard]] T load(std::memory_order /*order*/) const noexcept {
      return operation([this](const Side& side) { return seen_by(side, word); });
    }
    void store(T value, std::memory_order order) noexcept {
      operation([&](Side& side) -> std::uint64_t {
        if (side.late_count == kLate) {
          running.blocked = true;
          return 0;
        }
        side.late[side.late_count++] = {word, order == std::memory_order_release,
                                        std::exchange(side.fenced, false), value};
        return 0;
      });
    }
    bool compare_exchange_strong(T& expected, T wanted, std::memory_order /*yes*/,
                                 std::memory_order /*no*/) noexcept {
      const std::uint64_t found = operation([&](const Side& side) -> std::uint64_t {
        if (side.late_count > 0) {  // what was before it comes first
          running.blocked = true;
          return 0;
        }
        std::uint64_t& value = running.state->memory[word];
        const std::uint64_t before = value;
        if (before == expected) value = wanted;
        return before;
      });
      const bool same = found == expected;
      expected = found;
      return same;
    }
  };
  static void release_fence() noexcept {
    operation([](Side& side) -> std::uint64_t { return side.fenced = true; });
  }
  static void acquire_fence() noexcept {}
  static void will_write(const void* /*where*/) noexcept {}
};
using Word = Model::Atomic<std::uint64_t>;

// The n-th late store of a side may be seen now.
bool may_arrive(const Side& side, std::size_t which) {
  for (std::size_t i = 0; i < which; ++i) {
    if (side.late[i].word == side.late[which].word) return false;
  }
  if (which == 0) return true;
  if (side.late[which].release) return false;
  for (std::size_t i = 1; i <= which; ++i) {
    if (side.late[i].behind_fence) return false;
  }
  return true;
}

struct Link {
  Link(std::uint64_t capacity, std::uint32_t inline_words) {
    for (std::size_t i = 0; i < kWords; ++i) words[i].word = static_cast<std::uint8_t>(i);
    view.taken = &words[0];
    view.dropped = &words[1];
    view.until = &words[2];
    view.pushed = &words[3];
    view.entries = &words[4];
    view.capacity = capacity;
    view.entry_words = 3;
    view.inline_words = inline_words;
    slots = &words[4 + capacity * 3];
    returned = slots + 6;
  }
  std::array<Word, kWords> words;
  LinkWords<Model> view;
  Word* slots;     // what a slot holds
  Word* returned;  // how often the subscriber has given it back
};

struct Found {
  std::uint64_t states = 0;
  std::uint64_t delivered = 0;  // messages, over all states in which nothing more can happen
  std::uint64_t dropped = 0;
  std::uint64_t broken = 0;
  std::uint64_t wrong = 0;  // messages that are not what was sent, or out of order
};

using Body = std::function<void()>;

struct ByFirst {
  std::size_t operator()(const State::Key& key) const noexcept { return key.first; }
};

class Checker {
 public:
  Checker(Body publisher, Body subscriber) : bodies_{std::move(publisher), std::move(subscriber)} {}

  // How many states there are.
  std::uint64_t run() {
    std::vector<State> open{State()};
    std::unordered_set<State::Key, ByFirst> seen;
    while (!open.empty()) {
      const State state = open.back();
      open.pop_back();
      const auto add = [&](State&& next) {
        if (seen.insert(next.key()).second) open.push_back(std::move(next));
      };
      for (std::size_t side = 0; side < 2; ++side) {
        State after = state;
        if (step(after, side)) add(std::move(after));
        for (std::size_t i = 0; i < state.sides[side].late_count; ++i) {
          if (!may_arrive(state.sides[side], i)) continue;
          State next = state;
          Side& late = next.sides[side];
          next.memory[late.late[i].word] = late.late[i].value;
          std::copy(late.late.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                    late.late.begin() + late.late_count, late.late.begin() + static_cast<std::ptrdiff_t>(i));
          --late.late_count;
          add(std::move(next));
        }
      }
    }
    return seen.size();
  }

 private:
  // One operation more. False when the side has ended or must wait for its own stores.
  bool step(State& state, std::size_t side) {
    running.state = &state;
    running.side = side;
    running.at = 0;
    running.stepped = running.blocked = false;
    if (setjmp(running.leave) == 0) bodies_[side]();
    return running.stepped && !running.blocked;
  }

  std::array<Body, 2> bodies_;
};

struct Scene {
  std::uint64_t capacity;
  std::uint64_t depth;
  bool drops_oldest;
  std::uint64_t messages;
  int takes;
};

std::uint64_t content_of(std::uint64_t number) { return 1000 + number; }

// What both bodies write to: they run again and again, so it may only grow.
Found found;

void deliver(std::uint64_t number, std::uint64_t& last, std::uint64_t first, std::uint64_t second) {
  if (first != content_of(number) || second != content_of(number) || (last != UINT64_MAX && number <= last))
    ++found.wrong;
  last = number;
  ++found.delivered;
}

Found check_inline(const Scene& scene) {
  static Link* link = nullptr;
  Link here(scene.capacity, 1);
  link = &here;
  found = {};
  Checker checker(
      [scene] {
        LinkWriter<Model> writer(link->view);
        for (std::uint64_t i = 0; i < scene.messages; ++i) {
          if (!scene.drops_oldest &&
              writer.pushed() - link->view.taken->load(std::memory_order_acquire) >= scene.depth)
            continue;
          const std::uint64_t content = content_of(writer.pushed());
          writer.push(&content, 8, static_cast<std::int64_t>(content));
        }
      },
      [scene] {
        LinkReader<Model> reader(link->view, scene.depth, scene.drops_oldest);
        std::uint64_t last = UINT64_MAX;
        for (int i = 0; i < scene.takes; ++i) {
          std::int64_t stamp = 0;
          std::uint64_t content = 0;
          const auto outcome =
              reader.take(reinterpret_cast<std::byte*>(&content), stamp, [](std::uint64_t) { return true; });
          if (outcome == LinkReader<Model>::Outcome::broken) ++found.broken;
          if (outcome != LinkReader<Model>::Outcome::taken) continue;
          deliver(reader.next() - 1, last, content, static_cast<std::uint64_t>(stamp));
          if (reader.taken() + reader.dropped() != reader.next()) ++found.wrong;
          found.dropped += reader.dropped();
        }
      });
  found.states = checker.run();
  return found;
}

// Messages in slots: as many as the queue and one hand hold, and one to write to.
Found check_slots(const Scene& scene) {
  static Link* link = nullptr;
  Link here(scene.capacity, 0);
  link = &here;
  found = {};
  Checker checker(
      [scene] {
        LinkWriter<Model> writer(link->view);
        const std::uint64_t slots = scene.depth + 2;
        std::array<bool, 6> free{};
        std::array<std::uint64_t, 6> given_back{};
        std::array<std::uint64_t, 16> queue{};
        std::fill_n(free.begin(), slots, true);
        for (std::uint64_t i = 0; i < scene.messages; ++i) {
          for (std::uint64_t slot = 0; slot < slots; ++slot) {
            if (free[slot]) continue;
            const std::uint64_t times = link->returned[slot].load(std::memory_order_acquire);
            if (times == given_back[slot]) continue;
            given_back[slot] = times;
            free[slot] = true;
          }
          const auto slot =
              static_cast<std::uint64_t>(std::find(free.begin(), free.end(), true) - free.begin());
          if (slot >= slots) {
            ++found.wrong;  // one was lost for ever
            return;
          }
          const std::uint64_t number = writer.pushed();
          free[slot] = false;
          queue[number % 16] = slot;
          link->slots[slot].store(content_of(number), std::memory_order_relaxed);
          if (number >= scene.depth && writer.revoke(number - scene.depth))
            free[queue[(number - scene.depth) % 16]] = true;
          writer.push(SlotMessage{static_cast<std::uint32_t>(slot), 0,
                                  static_cast<std::int64_t>(content_of(number))});
        }
      },
      [scene] {
        LinkReader<Model> reader(link->view, scene.depth, true);
        std::uint64_t last = UINT64_MAX;
        std::array<std::uint64_t, 6> times{};
        for (int i = 0; i < scene.takes; ++i) {
          SlotMessage message;
          const auto outcome =
              reader.take(message, [](std::uint64_t) { return true; }, [](std::uint32_t) { return true; });
          if (outcome == LinkReader<Model>::Outcome::broken) ++found.broken;
          if (outcome != LinkReader<Model>::Outcome::taken) continue;
          const std::uint64_t content = link->slots[message.slot].load(std::memory_order_relaxed);
          deliver(reader.next() - 1, last, content, static_cast<std::uint64_t>(message.stamp_ns));
          found.dropped += reader.dropped();
          link->returned[message.slot].store(++times[message.slot], std::memory_order_release);
        }
      });
  found.states = checker.run();
  return found;
}

class NoBell final : public Bell {
 public:
  void ring() noexcept override {}
};

TEST_SUITE("msg/link_model") {
  TEST_CASE("no interleaving tears, repeats or reorders a message that travels in its entry") {
    const Scene scenes[] = {
        {2, 1, true, 3, 3}, {4, 1, true, 5, 2},  {4, 2, true, 3, 3},
        {4, 2, true, 5, 2}, {2, 2, false, 4, 3}, {4, 4, false, 5, 3},
    };
    for (const Scene& scene : scenes) {
      CAPTURE(scene.capacity);
      CAPTURE(scene.drops_oldest);
      const Found result = check_inline(scene);
      CHECK(result.states > 1000);
      CHECK(result.wrong == 0);
      CHECK(result.broken == 0);
      CHECK(result.delivered > 0);
      CHECK((result.dropped > 0) == scene.drops_oldest);
    }
  }

  TEST_CASE("no interleaving loses a slot, or writes to one that the subscriber has") {
    const Scene scenes[] = {{2, 1, true, 3, 2}, {4, 2, true, 5, 1}};
    for (const Scene& scene : scenes) {
      CAPTURE(scene.capacity);
      const Found result = check_slots(scene);
      CHECK(result.states > 1000);
      CHECK(result.wrong == 0);
      CHECK(result.broken == 0);
      CHECK(result.delivered > 0);
      CHECK(result.dropped > 0);
    }
  }

  TEST_CASE(
      "whatever a subscriber writes, wherever and whenever, the account adds up and every slot comes back") {
    constexpr std::uint32_t kSlots = 8, kStride = 64, kDepth = 2, kSteps = 14;
    const auto bell = std::make_shared<NoBell>();
    std::uint64_t runs = 0;
    for (const bool is_inline : {true, false}) {
      for (const auto overflow : {horus::Overflow::drop_oldest, horus::Overflow::drop_newest}) {
        horus::Layout layout;
        layout.head_bytes = 8;
        layout.tail_offset = 8;
        layout.element_bytes = is_inline ? 0 : 8;
        const LinkShape shape = LinkShape::of(layout, kDepth, overflow, kSlots);
        const auto memory = Mapping::create(shape.bytes(), false, "link").or_throw();
        auto* words = reinterpret_cast<std::uint64_t*>(memory->data());
        const LinkMemory places = LinkMemory::over(memory, shape);
        const auto entry_word = [&](std::uint64_t number) {
          return static_cast<std::size_t>(reinterpret_cast<std::uint64_t*>(places.words.entries) - words) +
                 number * places.words.entry_words;
        };
        for (std::size_t word = 0; word < shape.bytes() / 8; ++word) {
          if (word >= entry_word(kSteps) && word < entry_word(places.words.capacity)) continue;  // not used
          for (const std::uint64_t lie :
               {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{3}, std::uint64_t{4},
                std::uint64_t{1} << 40, UINT64_MAX - 1, UINT64_MAX}) {
            for (std::uint32_t when = 0; when < kSteps; when += 3) {
              ++runs;
              std::memset(memory->data(), 0, memory->size());
              const LinkMemory link = LinkMemory::over(memory, shape);
              const auto slots = std::make_shared<SlotTable>(kSlots, kStride);
              SlotPool pool(slots);
              pool.reserve(kSlots).or_throw();
              pool.adopt();
              Outlet outlet(link, overflow, bell);
              outlet.reserved = kDepth + 2;
              auto* inlet = new Inlet(link, slots, 8, layout.element_bytes, 2, bell, false);
              bool closed = false;
              std::uint64_t delivered = 0;
              std::vector<Arrival> held;
              for (std::uint32_t step = 0; step < kSteps; ++step) {
                if (step == when) words[word] = lie;
                if (is_inline) {
                  const std::uint64_t message = step;
                  static_cast<void>(outlet.push(&message, 1));
                } else if (const std::uint32_t slot = closed ? SlotPool::kNone : pool.take();
                           slot != SlotPool::kNone) {
                  std::uint32_t victim = SlotPool::kNone;
                  if (outlet.push(SlotMessage{slot, 0, 1}, victim)) pool.add_user(slot);
                  if (victim != SlotPool::kNone) pool.drop_user(victim);
                  pool.drop_user(slot);
                }
                Arrival arrival;
                MessageStorage storage;
                if (step % 3 == 1 && inlet != nullptr) {
                  switch (inlet->take(arrival, storage.bytes)) {
                    case Inlet::Outcome::taken: held.push_back(arrival); break;
                    case Inlet::Outcome::broken:
                      inlet->let_go();
                      inlet = nullptr;
                      break;
                    default: break;
                  }
                }
                if (step % 4 == 3 && !held.empty()) {
                  held.back().give_back();
                  held.pop_back();
                }
                if (!closed && !outlet.collect([&](std::uint32_t slot) { pool.drop_user(slot); })) {
                  outlet.abandon([&](std::uint32_t slot) { pool.drop_user(slot); });
                  closed = true;
                }
                const Outlet::Account account = outlet.account();
                REQUIRE(account.sent ==
                        account.delivered + account.dropped + account.queued + account.in_flight);
                REQUIRE(account.queued <= kDepth);
                REQUIRE(account.delivered >= delivered);
                delivered = account.delivered;
              }
              if (!closed) outlet.abandon([&](std::uint32_t slot) { pool.drop_user(slot); });
              REQUIRE(pool.free_slots() == kSlots);
              for (const Arrival& arrival : held) arrival.give_back();
              if (inlet != nullptr) inlet->let_go();
            }
          }
        }
      }
    }
    CHECK(runs > 1000);
  }
}

}  // namespace
