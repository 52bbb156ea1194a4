// SPDX-License-Identifier: Apache-2.0
// How a message gets from a publisher to a subscriber through memory that both can write: the steps, and nothing else. One
// entry holds a message; its sequence number alone says which one, and whether it is whole. Neither side believes more
// than it can check. Templates over the kind of atomics, so that a test can run every interleaving of these very steps.
// Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace horus::HORUS_ABI::msg {

/// The atomics of a program; tests have others.
struct RealAtomics {
  template <class T>
  using Atomic = std::atomic<T>;
  static void release_fence() noexcept { std::atomic_thread_fence(std::memory_order_release); }
  static void acquire_fence() noexcept { std::atomic_thread_fence(std::memory_order_acquire); }
  static void will_write(const void* where) noexcept { __builtin_prefetch(where, 1); }
};

/// An entry's first word is 4 × the message's number + one of these. The numbers have 62 bits: they never come again.
namespace entry_state {
inline constexpr std::uint64_t kWriting = 0;
inline constexpr std::uint64_t kInline = 1;
inline constexpr std::uint64_t kSlot = 2;
inline constexpr std::uint64_t kClaimed = 3;  // a slot that one side has made its own
}  // namespace entry_state

inline constexpr std::uint32_t kEntryHead = 16;    // bytes: the sequence number, and a word for the message
inline constexpr std::uint32_t kMostInline = 240;  // bytes of a message that travels in its entry

/// Bytes of an entry for messages of `inline_bytes`; 0: those that travel in slots.
[[nodiscard]] constexpr std::uint32_t entry_bytes(std::uint32_t inline_bytes) noexcept {
  std::uint32_t bytes = 64;
  while (bytes - kEntryHead < inline_bytes) bytes *= 2;
  return bytes;
}

/// The shared words that a message passes. `pushed` is written by the publisher, the other three by the subscriber.
template <class Atomics>
struct LinkWords {
  using Word = typename Atomics::template Atomic<std::uint64_t>;
  Word* pushed = nullptr;   // messages that are whole
  Word* taken = nullptr;    // delivered
  Word* dropped = nullptr;  // passed over, because the publisher was faster
  Word* until = nullptr;    // end of the batch that is being taken
  Word* entries = nullptr;
  std::uint64_t capacity = 0;      // a power of two
  std::uint32_t entry_words = 0;   // 8 bytes each
  std::uint32_t inline_words = 0;  // of a message

  [[nodiscard]] Word* entry(std::uint64_t number) const noexcept {
    return entries + (number & (capacity - 1)) * entry_words;
  }
};

/// What a slot entry says: where the message is.
struct SlotMessage {
  std::uint32_t slot = 0;
  std::uint32_t tail_bytes = 0;
  std::int64_t stamp_ns = 0;
};

/// The publisher's steps. It reads nothing of the shared memory, but for the claims of its own slots.
template <class Atomics>
class LinkWriter {
 public:
  explicit LinkWriter(const LinkWords<Atomics>& words) noexcept : words_(words) {}

  [[nodiscard]] std::uint64_t pushed() const noexcept { return pushed_; }

  /// `message` has `bytes`, of which the last word need not be whole.
  void push(const void* message, std::uint32_t bytes, std::int64_t stamp_ns) noexcept {
    auto* entry = begin();
    entry[1].store(static_cast<std::uint64_t>(stamp_ns), std::memory_order_relaxed);
    const auto* from = static_cast<const std::byte*>(message);
    auto* to = entry + 2;
    for (std::uint32_t whole = bytes / 8; whole > 0; --whole, from += 8, ++to) {
      std::uint64_t word;
      std::memcpy(&word, from, 8);
      to->store(word, std::memory_order_relaxed);
    }
    if (bytes % 8 != 0) {
      std::uint64_t word = 0;
      std::memcpy(&word, from, bytes % 8);
      to->store(word, std::memory_order_relaxed);
    }
    end(entry, entry_state::kInline);
  }
  void push(const SlotMessage& message) noexcept {
    auto* entry = begin();
    entry[1].store(message.slot | std::uint64_t{message.tail_bytes} << 32, std::memory_order_relaxed);
    entry[2].store(static_cast<std::uint64_t>(message.stamp_ns), std::memory_order_relaxed);
    end(entry, entry_state::kSlot);
  }
  /// The next message reached its subscriber by another way.
  void pass() noexcept { words_.pushed->store(++pushed_, std::memory_order_release); }
  /// Takes the slot of message `number` back. False when the subscriber has claimed it.
  bool revoke(std::uint64_t number) noexcept {
    std::uint64_t expected = 4 * number + entry_state::kSlot;
    return words_.entry(number)->compare_exchange_strong(expected, expected + 1, std::memory_order_acq_rel,
                                                         std::memory_order_acquire);
  }

 private:
  using Word = typename LinkWords<Atomics>::Word;

  // Release, although the fence orders what follows: who sees this mark sees `pushed` as it was before.
  Word* begin() noexcept {
    Word* entry = words_.entry(pushed_);
    Atomics::will_write(words_.entry(pushed_ + 4));
    entry->store(4 * pushed_ + entry_state::kWriting, std::memory_order_release);
    Atomics::release_fence();
    return entry;
  }
  void end(Word* entry, std::uint64_t state) noexcept {
    entry->store(4 * pushed_ + state, std::memory_order_release);
    words_.pushed->store(++pushed_, std::memory_order_release);
  }

  LinkWords<Atomics> words_;
  std::uint64_t pushed_ = 0;
};

/// The subscriber's steps. It looks at the sequence number of its next entry. Where the publisher may overtake it, it looks
/// once for a batch at how far the publisher is, passes over what is older than `depth` messages, and takes the rest
/// without looking again: with a look for each message a fast publisher would starve it.
template <class Atomics>
class LinkReader {
 public:
  enum class Outcome : std::uint8_t {
    none,
    taken,
    broken,  ///< what is there cannot be
    later,   ///< the next one's slot is not here yet
  };

  LinkReader(const LinkWords<Atomics>& words, std::uint64_t depth, bool drops_oldest) noexcept
      : words_(words), depth_(depth), drops_oldest_(drops_oldest) {}

  [[nodiscard]] std::uint64_t next() const noexcept { return next_; }
  [[nodiscard]] std::uint64_t taken() const noexcept { return taken_; }
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_; }
  [[nodiscard]] std::uint64_t until() const noexcept { return until_; }

  /// True when nothing waits.
  [[nodiscard]] bool empty() const noexcept {
    return words_.entry(next_)->load(std::memory_order_acquire) < 4 * next_ + entry_state::kInline;
  }
  /// The next take looks anew at how far the publisher is.
  void end_batch() noexcept {
    if (until_ == next_) return;
    until_ = next_;
    words_.until->store(until_, std::memory_order_release);
  }
  /// The publisher, on this very thread, has passed over the oldest message.
  void pass_over_one() noexcept {
    until_ = ++next_;
    words_.dropped->store(++dropped_, std::memory_order_release);
  }
  /// Message next() was given to the subscriber by another way.
  void pass_taken() noexcept {
    until_ = ++next_;
    words_.taken->store(++taken_, std::memory_order_release);
  }

  /// The next message that travels in its entry, its words to `into`. `plausible(pushed)` says whether a publisher may be
  /// that far.
  template <class Plausible>
  Outcome take(std::byte* into, std::int64_t& stamp_ns, Plausible&& plausible) noexcept {
    return next_entry(plausible, [&](auto* entry, std::uint64_t sequence) {
      if (sequence % 4 != entry_state::kInline) return Step::broken;
      stamp_ns = static_cast<std::int64_t>(entry[1].load(std::memory_order_relaxed));
      for (std::uint32_t i = 0; i < words_.inline_words; ++i) {
        const std::uint64_t word = entry[2 + i].load(std::memory_order_relaxed);
        std::memcpy(into + std::size_t{8} * i, &word, 8);
      }
      Atomics::acquire_fence();
      return entry->load(std::memory_order_relaxed) == sequence ? Step::taken : Step::overtaken;
    });
  }
  /// The next message that travels in a slot, which is the subscriber's then. One in a slot that is not `here(slot)` yet waits
  /// as if it had not come.
  template <class Plausible, class Here>
  Outcome take(SlotMessage& message, Plausible&& plausible, Here&& here) noexcept {
    return next_entry(plausible, [&](auto* entry, std::uint64_t sequence) {
      if (sequence % 4 == entry_state::kInline) return Step::broken;
      const std::uint64_t where = entry[1].load(std::memory_order_relaxed);
      message.stamp_ns = static_cast<std::int64_t>(entry[2].load(std::memory_order_relaxed));
      if (!here(static_cast<std::uint32_t>(where))) {
        Atomics::acquire_fence();
        return entry->load(std::memory_order_relaxed) == sequence ? Step::later : Step::overtaken;
      }
      if (!entry->compare_exchange_strong(sequence, sequence + 1, std::memory_order_acq_rel,
                                          std::memory_order_acquire))
        return Step::overtaken;
      message.slot = static_cast<std::uint32_t>(where);
      message.tail_bytes = static_cast<std::uint32_t>(where >> 32);
      return Step::taken;
    });
  }

 private:
  enum class Step : std::uint8_t { taken, overtaken, broken, later };
  static constexpr int kTries =
      64;  // against a publisher that overtakes each time: the next look finds a newer message

  template <class Plausible, class Read>
  Outcome next_entry(Plausible&& plausible, Read&& read) noexcept {
    for (int tries = 0; tries < kTries; ++tries) {
      auto* entry = words_.entry(next_);
      const bool fresh = next_ == until_;
      if (fresh && drops_oldest_ && (!ran_empty_ || depth_ == 1)) {
        if (!look(plausible, next_)) return Outcome::broken;
        if (next_ == until_) return none();
        entry = words_.entry(next_);
      }
      const std::uint64_t sequence = entry->load(std::memory_order_acquire);
      const std::uint64_t whole = 4 * next_ + entry_state::kInline;
      if (sequence < whole) {
        if (next_ < until_) return Outcome::broken;  // it was said to be whole
        return none();
      }
      if (sequence <= whole + 1) {
        // What the other side must not count as dropped any more.
        if (next_ >= until_ && drops_oldest_)
          words_.until->store(until_ = next_ + 1, std::memory_order_release);
        const Step step = read(entry, sequence);
        if (step == Step::broken) return Outcome::broken;
        if (step == Step::later) return Outcome::later;
        if (step == Step::taken) {
          ++next_;
          if (!drops_oldest_) until_ = next_;
          ran_empty_ = false;
          words_.taken->store(++taken_, std::memory_order_release);
          return Outcome::taken;
        }
      }
      // Overtaken: it was overwritten, or its slot was taken back.
      if (!drops_oldest_ || !look(plausible, next_ + 1)) return Outcome::broken;
    }
    return Outcome::none;
  }
  Outcome none() noexcept {
    ran_empty_ = true;
    return Outcome::none;
  }

  // A batch begins: what is older than the queue's depth, and what is before `least`, is passed over. False when the
  // publisher cannot be where it says it is.
  template <class Plausible>
  bool look(Plausible&& plausible, std::uint64_t least) noexcept {
    std::uint64_t pushed = words_.pushed->load(std::memory_order_acquire);
    // The entry that was taken last may have been whole before the publisher could say so.
    if (pushed + 1 == next_) pushed = next_;
    // An entry is taken back only when the queue is full behind it.
    if (pushed < least || (least > next_ && pushed - next_ < depth_) || !plausible(pushed)) return false;
    const std::uint64_t from = pushed - least > depth_ ? pushed - depth_ : least;
    if (from != next_) {
      dropped_ += from - next_;
      next_ = from;
      words_.dropped->store(dropped_, std::memory_order_release);
    }
    until_ = pushed;
    words_.until->store(until_, std::memory_order_release);
    return true;
  }

  LinkWords<Atomics> words_;
  const std::uint64_t depth_;
  const bool drops_oldest_;
  bool ran_empty_ = false;
  std::uint64_t next_ = 0;
  std::uint64_t taken_ = 0;
  std::uint64_t dropped_ = 0;
  std::uint64_t until_ = 0;
};

}  // namespace horus::HORUS_ABI::msg
