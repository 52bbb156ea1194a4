// SPDX-License-Identifier: Apache-2.0
// The two ends of Python's topics. A publisher lives on the hubs' thread, and its messages are handed over to it. A
// subscriber lives on no thread: whoever holds its lock takes from its queues, and those who wait have a Wakeup each.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <horus/msg/hub.hpp>
#include <horus/msg/link/outlet.hpp>
#include <horus/py/hub/hub_thread.hpp>

namespace horus::python {

/// What a hub's Python side adds to its metrics. Any thread; `round` and what is handed out belong to the hubs' thread.
struct HubCounters {
  std::atomic<std::uint64_t> waiting{0};        // handed over and not yet published
  std::atomic<std::uint64_t> waiting_bytes{0};  // of them
  std::atomic<std::uint64_t> refused{0};        // by a full hand-over queue
  std::atomic<std::uint64_t> malformed{0};      // received, and not understood
  std::atomic<std::uint64_t> round{0};  // odd while a message goes from here to the publisher's metrics
};

/// Ends a wait: an eventfd. It may be signalled from any thread.
class Wakeup {
 public:
  Wakeup();  // throws Error: EMFILE
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;
  ~Wakeup();
  void signal() noexcept;
  void clear() noexcept;
  [[nodiscard]] int fd() const noexcept { return fd_; }
  /// With the GIL, which is away meanwhile: until it is signalled, or `until_ns`, or for a while; look again then. Signals
  /// for Python are handled, and may throw. False when the time was over before.
  bool wait(std::int64_t until_ns);
  /// That of this thread, for a wait that blocks.
  static const std::shared_ptr<Wakeup>& of_this_thread();

 private:
  const int fd_;
};

/// Wakes all who wait at a subscriber; each looks for itself.
class WakeupBell final : public msg::Bell {
 public:
  void ring() noexcept override;
  void add(std::shared_ptr<Wakeup> wakeup);
  void remove(const Wakeup& wakeup) noexcept;

 private:
  std::mutex mutex_;
  std::vector<std::shared_ptr<Wakeup>> waiting_;
};

class InPort final : public HubPart {
 public:
  enum class Outcome : std::uint8_t { nothing, taken, too_many_held, closed };

  /// On the hubs' thread. Throws as msg::Port::open().
  static std::shared_ptr<InPort> open(const Hub& hub, msg::PortInfo info, std::shared_ptr<HubPart> home,
                                      std::shared_ptr<HubCounters> counters);
  explicit InPort(std::shared_ptr<HubCounters> counters) : counters_(std::move(counters)) {}

  /// The next message's bytes, tail included, and where and when it was taken. With the GIL.
  Outcome take(py::bytes& message, msg::Inbox::Taken& taken);
  /// As msg::Inbox::outlives_publishers(). Any thread.
  [[nodiscard]] bool outlives_publishers();
  /// As msg::Inbox::still_counts(). Any thread.
  [[nodiscard]] bool still_counts(const msg::Inbox::Taken& taken);
  /// The next message where it is, `size` bytes, a small one in `storage`; give_back() follows. Any thread.
  Outcome hold(msg::Arrival& arrival, std::size_t& size, msg::MessageStorage& storage);
  void give_back(const msg::Arrival& arrival) noexcept;
  /// True when take() would give something other than nothing; otherwise the bell rings when it does.
  [[nodiscard]] bool listen();
  [[nodiscard]] bool has_message();
  [[nodiscard]] std::uint64_t missed();
  [[nodiscard]] std::uint32_t publishers();
  [[nodiscard]] bool closed();
  [[nodiscard]] WakeupBell& bell() noexcept { return *bell_; }
  /// It was no message. True when that is worth a line in the log.
  bool count_malformed() noexcept;
  void close_here() noexcept override;

 private:
  Outcome next(msg::Arrival& arrival, std::size_t& size, msg::MessageStorage& storage);  // with the lock

  const std::shared_ptr<HubCounters> counters_;
  const std::shared_ptr<WakeupBell> bell_ = std::make_shared<WakeupBell>();
  std::shared_ptr<HubPart> home_;  // its hub, until it is closed; the hubs' thread
  std::atomic<std::uint64_t> malformed_{0};
  std::atomic<std::int64_t> told_ns_{0};
  std::mutex mutex_;  // of what follows; who has it does not wait for the GIL
  std::shared_ptr<msg::Port> port_;
  std::uint64_t missed_ = 0;  // when it was closed
};

class OutPort final : public HubPart, public std::enable_shared_from_this<OutPort> {
 public:
  static constexpr std::size_t kMostBytes = std::size_t{64} << 20;  // handed over and not yet published

  /// On the hubs' thread. Throws as msg::Port::open().
  static std::shared_ptr<OutPort> open(const Hub& hub, msg::PortInfo info, std::shared_ptr<HubPart> home,
                                       std::shared_ptr<HubCounters> counters);
  OutPort(std::shared_ptr<HubCounters> counters, const msg::PortInfo& info)
      : head_bytes_(info.layout->head_bytes),
        most_waiting_(info.advertise.max_queued),
        counters_(std::move(counters)) {}

  /// Hands over a head and its tail. False when too much waits already. Any thread.
  bool send(std::string message);
  /// The same for a loan, which is this publisher's no more when it is true.
  bool send(std::uint32_t slot, std::uint32_t tail_bytes);

  /// Memory for a message. It lives until it is sent or given back, also when the publisher is closed.
  struct Lent {
    msg::Outbox* outbox = nullptr;              // null: the publisher is closed
    std::uint32_t slot = msg::SlotPool::kNone;  // kNone: refused
    std::byte* data = nullptr;
    std::optional<Error> refused;  // why there is no slot
  };
  /// `bytes` to write. On the hubs' thread.
  [[nodiscard]] Lent lend(std::size_t bytes);
  /// Most bytes of a tail.
  [[nodiscard]] std::size_t max_tail_bytes() const noexcept { return max_tail_bytes_; }
  [[nodiscard]] std::size_t head_bytes() const noexcept { return head_bytes_; }
  [[nodiscard]] std::uint32_t subscribers();
  [[nodiscard]] bool closed() const noexcept { return closed_.load(std::memory_order_relaxed); }

  /// A message that waits until every subscriber has room.
  struct Patient {
    enum class State : std::uint8_t { waiting, sent, timed_out, closed, abandoned };
    std::string message;
    std::int64_t until_ns = 0;
    std::shared_ptr<Wakeup> wakeup;
    std::atomic<State> state{State::waiting};
  };
  /// Signals its wakeup when its state is no longer `waiting`. Any thread.
  void send_patiently(const std::shared_ptr<Patient>& patient);
  /// It is not sent any more, unless it was already.
  void abandon(const std::shared_ptr<Patient>& patient);

  void close_here() noexcept override;

 private:
  // A copy, or a loan.
  struct Message {
    std::string bytes;
    std::uint32_t slot = msg::SlotPool::kNone;
    std::uint32_t tail_bytes = 0;
    [[nodiscard]] std::size_t size() const noexcept { return bytes.size() + tail_bytes; }
  };
  bool hand_over(Message message);
  void drain() noexcept;
  void publish(msg::Outbox& outbox, const std::string& message) noexcept;
  // Whatever becomes of the task, who waits hears of its end.
  struct Keeper {
    explicit Keeper(std::shared_ptr<Patient> one) noexcept : patient(std::move(one)) {}
    Keeper(Keeper&&) noexcept = default;
    Keeper& operator=(Keeper&&) = delete;
    ~Keeper();
    std::shared_ptr<Patient> patient;
  };
  static Task<> wait_for_room(std::shared_ptr<OutPort> self, Keeper keeper);

  const std::size_t head_bytes_;
  const std::size_t most_waiting_;
  const std::shared_ptr<HubCounters> counters_;
  std::size_t max_tail_bytes_ = 0;
  std::shared_ptr<HubPart> home_;  // its hub, until it is closed; the hubs' thread
  std::shared_ptr<msg::Port> port_;
  std::atomic<bool> closed_{false};
  std::mutex mutex_;  // of what follows
  std::deque<Message> queue_;
  std::size_t waiting_ = 0;  // in the queue, and taken out of it but not published
  std::size_t waiting_bytes_ = 0;
  bool scheduled_ = false;
};

}  // namespace horus::python
