// SPDX-License-Identifier: Apache-2.0
// A publisher without its type: slots to write into, and a link for each subscriber. One thread, except attach(),
// send() of a copy and the queries.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <horus/base/clock.hpp>
#include <horus/base/error.hpp>
#include <horus/base/export.hpp>
#include <horus/base/quiet_log.hpp>
#include <horus/base/result.hpp>
#include <horus/io/loop/lookout.hpp>
#include <horus/msg/layout.hpp>
#include <horus/msg/link/inbox.hpp>
#include <horus/msg/link/outlet.hpp>
#include <horus/msg/link/publisher_state.hpp>
#include <horus/msg/link/slot_pool.hpp>
#include <horus/msg/options.hpp>
#include <horus/task/event.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI {

/// What a publisher has done so far. For each subscriber, always: sent = delivered + dropped + queued + in_flight.
struct PublisherMetrics {
  std::uint64_t published = 0;      ///< messages handed to send or publish
  std::uint64_t bytes = 0;          ///< of them
  std::int64_t last_ns = 0;         ///< when the last of them was, on the monotonic clock; 0: never
  std::uint64_t send_failures = 0;  ///< sends that a subscriber had no room for, or that could not be made
  std::uint32_t subscribers = 0;    ///< connected now
  // Over all subscribers that there ever were:
  std::uint64_t sent = 0;       ///< messages times subscribers
  std::uint64_t delivered = 0;  ///< taken by their subscriber
  std::uint64_t dropped = 0;    ///< for want of room, or because the subscriber went
  std::uint64_t queued = 0;     ///< waiting to be taken
  std::uint64_t in_flight = 0;  ///< on their way to another process, or waiting to be taken there
};

}  // namespace horus::HORUS_ABI

namespace horus::HORUS_ABI::io {
class Journal;
}

namespace horus::HORUS_ABI::msg {

class Arena;

class HORUS_API Outbox final : public std::enable_shared_from_this<Outbox> {
 public:
  /// Its slots are in `shared`, so that other processes can read them, or in memory of its own. Errors: EINVAL for options
  /// out of range; ENOMEM, EMFILE for the memory.
  static Result<std::shared_ptr<Outbox>> create(std::string topic, const Layout& layout,
                                                const AdvertiseOptions& options,
                                                std::shared_ptr<Arena> shared = nullptr);
  Outbox(std::string topic, const Layout& layout, const AdvertiseOptions& options, SlotPool pool);
  Outbox(const Outbox&) = delete;
  Outbox& operator=(const Outbox&) = delete;
  ~Outbox();

  // --- The owner's thread
  /// A slot of which `bytes` can be written, or SlotPool::kNone: why_no_loan() tells.
  [[nodiscard]] std::uint32_t loan(std::size_t bytes) noexcept;
  /// Why the last loan() gave nothing. ENOBUFS when `max_loans` are out; ENOSPC, ENOMEM with the name of the limit when
  /// there is no memory for it.
  [[nodiscard]] Error why_no_loan() const;
  /// The last message or loan had no memory.
  [[nodiscard]] bool lacks_memory() const noexcept { return no_memory_.has_value(); }
  [[nodiscard]] std::byte* data(std::uint32_t slot) const noexcept { return pool_.data(slot); }
  /// Sends what was written. False when a subscriber refused it.
  bool publish(std::uint32_t slot, std::uint32_t tail_bytes) noexcept;
  /// The same for a message that was published elsewhere, at `stamp_ns` of this machine's clock (0: not known; its age
  /// counts from here).
  bool forward(std::uint32_t slot, std::uint32_t tail_bytes, std::int64_t stamp_ns) noexcept;
  /// Messages travel in the links' entries.
  [[nodiscard]] bool is_inline() const noexcept { return is_inline_; }
  /// The same for a message that is_inline() and is somewhere else.
  void forward_copy(const std::byte* message, std::int64_t stamp_ns) noexcept;
  /// Gives a loan back unused.
  void give_back(std::uint32_t slot) noexcept;
  /// Its port is closed: whoever waits for room is told. Its links end here, or with the last loan that comes back,
  /// whoever else refers to it.
  static void let_go(std::shared_ptr<Outbox> outbox) noexcept;
  /// True when every subscriber has room for one more without losing any.
  [[nodiscard]] bool has_room();
  /// Waits for that. Errors: ECANCELED; EPIPE when its port is closed.
  Task<Result<>> wait_for_room();
  /// Wakes wait_for_room() to look again.
  void room_may_have_come() noexcept { room_.set(); }
  /// Takes back the slots of subscribers that have gone or given samples back, without waiting for the next message.
  void look_after_links() noexcept;
  /// One has gone, and holds nothing any more.
  [[nodiscard]] bool some_subscriber_left() const noexcept;
  /// Has `bell` rung when a subscriber takes something, once after each ask_for_room(). Before the first attach().
  void watch_room(std::shared_ptr<Bell> bell) noexcept { bell_ = std::move(bell); }
  void ask_for_room() noexcept;
  /// Gives the pages of all slots back, while nobody has one. False where that cannot be.
  bool forget_pages() noexcept { return pool_.forget_pages(); }
  /// `messages` were lost on their way to this publisher: its subscribers count them.
  void count_lost(std::uint64_t messages) noexcept;

  // --- Any thread
  /// Copies a message: the head of `layout.head_bytes`, and its tail. Off the owner's thread it goes through the
  /// reactor's mailbox, and false means that the mailbox was full. Throws Error(EMSGSIZE).
  bool send(const void* head, const void* tail, std::size_t tail_bytes);
  /// Slots beyond `max_queued`, for all observers together.
  static constexpr std::uint32_t kObserverSlots = 256;
  /// Whether a subscriber may queue and hold so many. Errors: ENOBUFS when all subscribers together may queue more than
  /// `max_queued`.
  Result<> has_places(std::uint32_t messages);
  /// Errors: as has_places; ENOMEM, EMFILE, EFBIG, with the name of the limit, when there are no addresses for what this
  /// one may queue and hold.
  Result<> attach(std::shared_ptr<Outlet> outlet);
  /// Has `bell` rung, on any thread, when there is memory that other processes have not been told of. Until it is gone.
  void tell_of_memory(const std::shared_ptr<Bell>& bell);
  /// Throws Error(EMSGSIZE) for a tail that is too long.
  void check_size(std::size_t tail_bytes) const {
    if (tail_bytes > max_tail_bytes_) [[unlikely]]
      throw_too_large(tail_bytes);
  }
  [[nodiscard]] PublisherMetrics metrics() const;
  /// Mute, it sends nothing: every message counts as a send failure, and `latest()` of its subscribers is empty.
  void mute(MuteReason reason, bool mute) noexcept;
  /// Mute while `emergency` is set, from that very moment; null: never. The owner's thread.
  void obey(std::shared_ptr<const std::atomic<bool>> emergency) noexcept {
    emergency_ = std::move(emergency);
  }

  [[nodiscard]] const std::string& topic() const noexcept { return topic_; }
  [[nodiscard]] const Layout& layout() const noexcept { return layout_; }
  [[nodiscard]] const AdvertiseOptions& options() const noexcept { return options_; }
  [[nodiscard]] const Owner& owner() const noexcept { return owner_; }
  [[nodiscard]] const SlotPool& pool() const noexcept { return pool_; }
  /// Most bytes of a tail.
  [[nodiscard]] std::size_t max_tail_bytes() const noexcept { return max_tail_bytes_; }
  /// What wakes this publisher when there is room.
  [[nodiscard]] const std::shared_ptr<Bell>& bell() const noexcept { return bell_; }

 private:
  // Looks for room while somebody waits for it: a loop that does not sleep need not be woken.
  class RoomLookout final : public io::Lookout {
   public:
    explicit RoomLookout(Outbox& outbox) noexcept : outbox_(outbox) {}
    void look() noexcept override;
    bool before_sleep() noexcept override;

   private:
    Outbox& outbox_;
  };

  [[noreturn]] void throw_too_large(std::size_t tail_bytes) const;
  [[nodiscard]] bool passes_over_somebody() const noexcept;
  [[nodiscard]] std::uint32_t take_slot(std::size_t bytes) noexcept;
  [[nodiscard]] bool is_mute() const noexcept {
    const bool mute = mute_.load(std::memory_order_relaxed) != 0 ||
                      (emergency_ != nullptr && emergency_->load(std::memory_order_relaxed));
    return journal_ == nullptr ? mute : mute_by_journal(mute);
  }
  [[nodiscard]] bool mute_by_journal(bool mute) const noexcept;
  void wait_for_observers() const noexcept;
  void lack_memory(const Error& error) noexcept;
  bool send_inline(const void* message) noexcept;
  bool send_here(const void* head, const void* tail, std::size_t tail_bytes) noexcept;
  [[nodiscard]] std::int64_t stamp_ns() const noexcept;
  [[nodiscard]] bool begin_message(std::size_t tail_bytes, std::int64_t stamp) noexcept;
  bool end_message(bool all) noexcept;
  bool distribute(const void* message, std::int64_t stamp_ns) noexcept;
  bool distribute(const SlotMessage& message) noexcept;
  [[nodiscard]] Result<> fits(std::uint32_t messages) const;  // under the lock
  [[nodiscard]] Result<> fits(const Outlet& outlet) const;    // the same
  [[nodiscard]] std::uint32_t& account_of(const Outlet& outlet) noexcept {
    return outlet.observes() ? observed_ : reserved_;
  }
  void adopt();
  void close_links() noexcept;
  void collect() noexcept;
  void end_link(std::size_t index) noexcept;
  void give_memory_back() noexcept;
  Result<> reserve_for_loans() noexcept;
  [[nodiscard]] std::uint32_t needed() const noexcept;

  const std::string topic_;
  const Layout layout_;
  const AdvertiseOptions options_;
  const Owner owner_;
  const std::size_t max_tail_bytes_;
  io::Journal* const journal_;  // of a run that is recorded or replayed exactly: others mute it
  const bool is_inline_;        // messages travel in the links' entries
  const bool collect_always_;   // large slots: use few of them again and again, rather than many
  SlotPool pool_;
  std::shared_ptr<Bell> bell_;
  std::uint32_t loans_ = 0;
  std::optional<Error> no_memory_;  // of the last slot that could not be had for want of it
  horus::detail::QuietLog no_memory_log_;
  bool closed_ = false;
  std::shared_ptr<Outbox> self_;  // closed, with loans out
  bool surplus_ = false;          // of memory: some of it may be given back
  bool some_closed_ = false;      // or holds back more than it may: look after the links
  Event room_;
  RoomLookout room_lookout_{*this};
  std::uint32_t waiting_for_room_ = 0;
  std::atomic<std::uint64_t> published_{0};
  std::atomic<std::int64_t> last_ns_{0};  // below 0: it came from elsewhere, without a time
  std::atomic<std::uint64_t> tail_bytes_{0};
  std::atomic<std::uint64_t> failures_{0};

  std::atomic<bool> changed_{false};
  std::atomic<std::uint8_t> mute_{0};  // MuteReasons
  std::shared_ptr<const std::atomic<bool>> emergency_;
  mutable std::mutex mutex_;  // of what follows, and of links_ against metrics()
  std::vector<std::shared_ptr<Outlet>> links_;
  std::vector<std::shared_ptr<Outlet>> fresh_;
  std::uint32_t reserved_ = 0;  // slots promised to links
  std::uint32_t observed_ = 0;  // slots promised to observers
  std::vector<std::weak_ptr<Bell>> memory_bells_;
  PublisherMetrics ended_;  // of links that are gone
};

/// While it lives, messages that its thread sends pass every mute: a safe-state hook tells the motor to stand still.
class HORUS_API MutePass {
 public:
  MutePass() noexcept;
  MutePass(const MutePass&) = delete;
  MutePass& operator=(const MutePass&) = delete;
  ~MutePass();

 private:
  const bool before_;
};

/// Wakes what waits on a reactor.
class ReactorBell final : public Bell {
 public:
  explicit ReactorBell(std::shared_ptr<io::Waker> waker) noexcept : waker_(std::move(waker)) {}
  void ring() noexcept override {
    if (waker_ != nullptr) waker_->wake();
  }

 private:
  std::shared_ptr<io::Waker> waker_;
};

}  // namespace horus::HORUS_ABI::msg
