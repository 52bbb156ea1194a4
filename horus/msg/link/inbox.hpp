// SPDX-License-Identifier: Apache-2.0
// A subscriber without its type: takes messages from its links in turn, and wakes whoever waits for one. One thread,
// except attach() and the queries.
#pragma once

#include <horus/base/compiler.hpp>

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <horus/base/counter.hpp>
#include <horus/base/export.hpp>
#include <horus/base/histogram.hpp>
#include <horus/base/result.hpp>
#include <horus/io/loop/lookout.hpp>
#include <horus/msg/layout.hpp>
#include <horus/msg/link/inlet.hpp>
#include <horus/msg/options.hpp>
#include <horus/task/event.hpp>

namespace horus::HORUS_ABI::io {
class Reactor;
}

namespace horus::HORUS_ABI {

/// What a subscriber has seen so far.
struct SubscriberMetrics {
  std::uint64_t received = 0;         ///< messages taken
  std::uint64_t bytes = 0;            ///< of them
  std::uint64_t dropped = 0;          ///< lost on the way for want of room, or with a peer
  std::uint64_t queued = 0;           ///< now
  std::uint64_t high_water = 0;       ///< the longest queue it has met, of those of its publishers
  std::uint64_t publishers_died = 0;  ///< processes that ended without a word
  std::uint32_t publishers = 0;       ///< connected now
  Histogram latency;                  ///< publish → take, nanoseconds, of every 16th message
};

}  // namespace horus::HORUS_ABI

namespace horus::HORUS_ABI::msg {

/// Which thread a port belongs to: that of its reactor, or the thread that made it where there is none.
class HORUS_API Owner {
 public:
  Owner() noexcept;
  [[nodiscard]] bool here() const noexcept {
    const auto& here = horus::detail::thread_state;
    return here.reactor == reactor && here.number == thread;
  }
  friend bool operator==(const Owner& a, const Owner& b) noexcept {
    return a.reactor == b.reactor && a.thread == b.thread;
  }

  io::Reactor* reactor;
  std::uint64_t thread;
  std::shared_ptr<io::Waker> waker;  // null without a reactor
};

class HORUS_API Inbox final : public io::Lookout, public std::enable_shared_from_this<Inbox> {
 public:
  /// With a `bell` it belongs to no thread: whoever holds its maker's lock polls it (take, has_message, listen, missed,
  /// close, giving back samples), nobody awaits it, and the bell tells what a reactor's turn would show.
  Inbox(std::string topic, const Layout& layout, const SubscribeOptions& options,
        std::shared_ptr<Bell> bell = nullptr);
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;
  ~Inbox();

  /// Takes the small messages of neighbours on the spot, while it goes on waiting.
  class Onward {
   public:
    virtual ~Onward() = default;
    /// False: it cannot, and whoever waits is given the message. It may end the wait meanwhile.
    virtual bool pass(const std::byte* message, std::int64_t stamp_ns) noexcept = 0;
  };

  /// Somebody who waits for a message. It is given one, or stays in line.
  struct Waiting : horus::detail::QueuedWaiter {
    /// `storage` is for a message that travels in its entry; see LinkShape::inline_bytes.
    Waiting(const WaitKind& kind, Inbox& inbox, std::byte* room) noexcept
        : QueuedWaiter(kind), storage(room), inbox_(inbox) {}
    Waiting(const Waiting&) = delete;
    ~Waiting() {
      if (arrival.inlet != nullptr) arrival.give_back();
      if (counted_) inbox_.left();
    }
    bool await_ready() { return !inbox_.is_dry() && inbox_.take(arrival, failure, storage); }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> awaiting) {
      counted_ = true;
      ++inbox_.waiting_;
      if (!suspend(awaiting)) return refuse();
      inbox_.wait(*this);
    }
    Arrival arrival;
    std::byte* const storage;
    Onward* onward = nullptr;
    int failure = 0;  // EPIPE: the inbox was closed

   protected:
    Inbox& inbox_;  // lives until it is left, closed or not

   private:
    bool counted_ = false;
  };

  /// The next message, links in turn; a small one's bytes go to `storage`. False: there is none. True with `failure` set:
  /// there is one, and it cannot be had (ENOBUFS: too many samples are held).
  bool take(Arrival& arrival, int& failure, std::byte* storage);
  /// True when take() finds nothing, and that without a look at any link: neighbours tell what they send.
  [[nodiscard]] bool is_dry() const noexcept { return dry_ && !changed_.load(std::memory_order_acquire); }
  /// True when take() would find something.
  [[nodiscard]] bool has_message();
  /// What is queued now is passed over, and what `latest()` remembers is stale: nothing counts but what comes from here
  /// on. Counted as lost. Not with SubscribeOptions::keep_in_emergency.
  void discard() noexcept;
  /// Its node must not act: whoever waits is not given what came meanwhile, but ECANCELED. Not with keep_in_emergency.
  void hold(bool held) noexcept { held_ = held && !options_.keep_in_emergency; }
  [[nodiscard]] bool is_held() const noexcept { return held_; }
  /// When a sample was taken, for still_counts().
  struct Taken {
    const Inlet* inlet = nullptr;  // which may be gone
    std::uint64_t serial = 0;      // of the inlet
    std::uint32_t publisher = 0;   // PublisherWord
    std::uint32_t discards = 0;
    std::int64_t published_ns = 0;  // at most when it was taken, whatever its publisher says
  };
  /// For a sample that was just taken.
  [[nodiscard]] Taken now(const Arrival& arrival) const noexcept;
  /// False for a sample whose publisher has been muted or has gone since, for one from before a discard(), and for one
  /// that is older than SubscribeOptions::stale_after.
  [[nodiscard]] bool still_counts(const Taken& taken) const noexcept;
  /// The last of these alone.
  [[nodiscard]] bool is_stale(const Taken& taken) const noexcept;
  /// What `latest()` remembers counts although its publisher has gone.
  [[nodiscard]] bool outlives_publishers() const noexcept { return options_.keep_in_emergency; }
  /// The link of which too many samples were held when take() failed last.
  [[nodiscard]] const Inlet* full_link() const noexcept { return full_link_; }
  /// Has the bell rung for what comes next. True: something is here already.
  [[nodiscard]] bool listen();
  /// A neighbour has sent something.
  void arrived() noexcept;
  /// Somebody waits, and would take this neighbour's next message: it need not be queued.
  [[nodiscard]] bool waits_for(const Inlet& inlet) const noexcept {
    return !waiters_.empty() && !changed_.load(std::memory_order_relaxed) && inlet.empty();
  }
  /// Then: gives them a small one.
  void hand_over(Inlet& inlet, const void* message, std::uint32_t bytes, std::int64_t stamp_ns) noexcept;
  void look() noexcept override;
  bool before_sleep() noexcept override;

  /// A publisher was found. Any thread.
  void attach(Inlet* inlet);
  /// A publisher has gone: whoever waits looks again, and links that are over end, whether or not somebody takes. Any
  /// thread.
  static void publisher_went(const std::shared_ptr<Inbox>& inbox);
  /// What waited for memory may be taken now. Any thread.
  static void look_again(const std::shared_ptr<Inbox>& inbox);
  /// Ends the links of publishers that have gone, as far as they are empty; of others, only the latest few stay to be
  /// taken from.
  void look_after_links() noexcept;
  /// True when it has no publisher, not even one that has gone and left messages.
  [[nodiscard]] bool is_alone() const noexcept {
    return links_.empty() && !changed_.load(std::memory_order_acquire);
  }
  /// Whoever waits is told (EPIPE), and keeps this inbox until it goes on; what was handed over already is its own.
  void close() noexcept;

  [[nodiscard]] const std::string& topic() const noexcept { return topic_; }
  [[nodiscard]] const Layout& layout() const noexcept { return layout_; }
  [[nodiscard]] const SubscribeOptions& options() const noexcept { return options_; }
  [[nodiscard]] const Owner& owner() const noexcept { return owner_; }
  /// Null where the owner's reactor looks by itself.
  [[nodiscard]] const std::shared_ptr<Bell>& bell() const noexcept { return bell_; }
  /// Has whoever waits look again. Any thread.
  void wake() const noexcept;
  /// Messages that were lost before they came here.
  [[nodiscard]] std::uint64_t missed() const noexcept;
  /// Any thread.
  [[nodiscard]] SubscriberMetrics metrics() const;
  /// Losses that happened before this process's links (on a network). The inbox's thread.
  void count_lost(std::uint64_t messages) noexcept;

 private:
  // Messages: a look at the clock costs as much as taking one.
  static constexpr std::uint64_t kLatencyEvery = 16;

  void wait(Waiting& waiting) noexcept;
  // Somebody who has waited goes on.
  void left() noexcept {
    if (--waiting_ > 0 || kept_ == nullptr) [[likely]]
      return;
    const std::shared_ptr<Inbox> last = std::move(kept_);
  }
  void announce_polling() noexcept;
  [[nodiscard]] bool next_comes_soon() noexcept;
  [[nodiscard]] bool something_came() const noexcept;
  void adopt();
  void drop_link(std::size_t index) noexcept;
  void record(const Arrival& arrival);
  // True when its way is to be measured.
  bool count_received(const Arrival& arrival) noexcept {
    horus::detail::count(received_);
    if (arrival.tail_bytes > 0) horus::detail::count(tail_bytes_, arrival.tail_bytes);
    // Below 0: not when it was published. A peer's invention must not overflow what follows either.
    return arrival.number % kLatencyEvery == 0 && arrival.stamp_ns > 0;
  }
  void record_latency(std::int64_t late_ns);
  [[nodiscard]] std::uint64_t stretch() const noexcept;
  void tell_room_later(Inlet& inlet) noexcept;
  void tell_room() noexcept;

  const std::string topic_;
  const Layout layout_;
  const SubscribeOptions options_;
  const Owner owner_;
  const std::shared_ptr<Bell> bell_;
  horus::detail::WaiterQueue waiters_;
  std::size_t waiting_ = 0;  // of them, and of those that have what they waited for and have not gone on yet
  std::shared_ptr<Inbox> kept_;  // itself, for them: closed
  std::uint32_t discards_ = 0;
  bool held_ = false;
  const Inlet* full_link_ = nullptr;
  std::size_t next_ = 0;     // whose turn it is
  std::size_t foreign_ = 0;  // links from other threads
  bool dry_ = false;  // the last take() found nothing, all links are neighbours', and none has sent since
  bool announced_ = false;  // that we sleep
  bool polling_ = false;    // that we look all the time
  bool owes_room_ = false;  // publishers are to be told of room at the end of this stretch
  bool streams_ = false;    // messages come so fast that the next one is worth a moment without sleep
  std::uint64_t received_by_wait_ = 0;  // before the last wait
  std::uint32_t awake_ = 0;             // waits since the last sleep, while the reactor polls
  std::atomic<std::uint64_t> received_{0};
  std::atomic<std::uint64_t> tail_bytes_{0};
  std::atomic<std::uint64_t> died_{0};
  std::atomic<std::uint64_t> lost_{0};  // on links that are gone, or before they came to us

  std::atomic<bool> changed_{false};
  mutable std::mutex mutex_;  // of what follows, and of links_ against metrics()
  std::vector<Inlet*> links_;
  std::vector<Inlet*> fresh_;
  Histogram latency_;
};

}  // namespace horus::HORUS_ABI::msg
