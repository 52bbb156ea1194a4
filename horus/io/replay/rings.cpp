// SPDX-License-Identifier: Apache-2.0
// The ring and the clock of an exact recording, and of its replay.
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <vector>

#include <unistd.h>

#include <fmt/format.h>

#include <horus/io/replay/operations.hpp>
#include <horus/io/replay/parts.hpp>
#include <horus/io/seam/entry.hpp>
#include <horus/io/seam/forwarding.hpp>

namespace horus::HORUS_ABI::io::replay {
namespace {

// Whoever spins for time or messages would write down each look at the clock.
constexpr Clock::Nature kNature{
    .through_seam = true, .only_asleep = false, .mixes_ready = false, .no_spinning = true};

// user_data of what nobody waits for: a cancellation, a wake-up.
constexpr std::uint64_t kNobody = 2;

std::uint32_t load(const std::uint32_t* word) noexcept {
  return std::atomic_ref(*const_cast<std::uint32_t*>(word)).load(std::memory_order_acquire);
}

class RecordingClock final : public ForwardingClock {
 public:
  RecordingClock(Journal& journal, std::shared_ptr<Clock> real)
      : ForwardingClock(std::move(real), kNature), journal_(journal) {}

  std::int64_t now_ns() noexcept override {
    if (!journal_.is_here()) return last_ns_;
    return note(Kind::clock, ForwardingClock::now_ns(), last_ns_);
  }
  std::int64_t wall_clock_ns() noexcept override {
    if (!journal_.is_here()) return last_ns_ + journal_.wall_clock_offset_ns();
    return note(Kind::wall_clock, ForwardingClock::wall_clock_ns(), last_wall_ns_);
  }

 private:
  std::int64_t note(Kind kind, std::int64_t now, std::int64_t& last) noexcept {
    journal_.write(journal_.blank(kind).signed_number(now - last));
    return last = now;
  }
  Journal& journal_;
  std::int64_t last_ns_ = 0;
  std::int64_t last_wall_ns_ = 0;
};

class ReplayingClock final : public Clock {
 public:
  explicit ReplayingClock(Journal& journal) noexcept : Clock(kNature), journal_(journal) {}

  std::int64_t now_ns() noexcept override { return read(Kind::clock, last_ns_); }
  std::int64_t wall_clock_ns() noexcept override {
    if (!journal_.is_here()) return last_ns_ + journal_.wall_clock_offset_ns();
    return read(Kind::wall_clock, last_wall_ns_);
  }

 private:
  std::int64_t read(Kind kind, std::int64_t& last) noexcept {
    if (journal_.is_here()) last += journal_.expect(kind, name_of(kind)).signed_number();
    return last;
  }
  Journal& journal_;
  std::int64_t last_ns_ = 0;
  std::int64_t last_wall_ns_ = 0;
};

void write_wish(Event& event, const Wish& wish) {
  event.number(wish.opcode).signed_number(wish.fd).number(wish.bytes).raw(&wish.sum, sizeof wish.sum);
}

Wish read_wish(Cursor& cursor) {
  Wish wish;
  wish.opcode = static_cast<std::uint8_t>(cursor.number());
  wish.fd = cursor.signed_number();
  wish.bytes = static_cast<std::uint32_t>(cursor.number());
  if (const auto sum = cursor.raw(sizeof wish.sum); sum.size() == sizeof wish.sum)
    std::memcpy(&wish.sum, sum.data(), sizeof wish.sum);
  return wish;
}

// --- Recording --------------------------------------------------------------------------------------------------------

// The reactor sees completions of its own ring, which get there inside of enter() alone.
class RecordingRing final : public ForwardingRing {
 public:
  RecordingRing(Journal& journal, std::shared_ptr<Ring> from)
      : ForwardingRing(std::move(from)), journal_(journal), completions_(real().rings().cq_entries) {
    const Rings& kernel = real().rings();
    rings_.cqes = completions_.data();
    rings_.cq_head = &head_;
    rings_.cq_tail = &tail_;
    rings_.sq_flags = &flags_;
    noted_ = *kernel.sq_tail;
    journal_.write(
        journal_.blank(Kind::ring).text(name()).number(kernel.sq_entries).number(kernel.cq_entries));
  }

  int enter(std::uint32_t to_submit, std::uint32_t min_complete, std::int64_t deadline_ns) noexcept override {
    if (journal_.is_over()) return pass_on(real().enter(to_submit, min_complete, deadline_ns), nullptr);
    operations_.look_at_groups();
    const Rings& kernel = real().rings();
    Event& event = event_;
    event.begin(Kind::enter);
    const std::uint32_t submitted = *kernel.sq_tail;
    const std::uint32_t consumed_before = load(kernel.sq_head);
    event.number(quiet_).number(submitted - noted_);
    const bool has_new = submitted != noted_;
    for (; noted_ != submitted; ++noted_) {
      const io_uring_sqe& entry = kernel.sqes[noted_ & (kernel.sq_entries - 1)];
      write_wish(event, operations_.wish(entry));
      operations_.add(entry);
    }
    const int result = real().enter(to_submit, min_complete, deadline_ns);
    const std::uint32_t consumed = load(kernel.sq_head) - consumed_before;
    const std::uint32_t flags = load(kernel.sq_flags) & IORING_SQ_CQ_OVERFLOW;
    const bool quiet = !has_new && consumed == 0 && flags == flags_ && result >= 0 &&
                       load(kernel.cq_tail) == *kernel.cq_head;
    if (quiet) {
      ++quiet_;
      return result;
    }
    event.signed_number(result).number(consumed).number(flags);
    quiet_ = 0;
    flags_ = flags;
    pass_on(result, &event);
    journal_.write(event);
    return result;
  }

  int register_buffer_ring(io_uring_buf_ring* ring, std::uint32_t entries,
                           std::uint16_t group) noexcept override {
    const int result = answer(ForwardingRing::register_buffer_ring(ring, entries, group));
    if (result >= 0) operations_.register_group(ring, entries, group);
    return result;
  }
  int unregister_buffer_ring(std::uint16_t group) noexcept override {
    operations_.unregister_group(group);
    return answer(ForwardingRing::unregister_buffer_ring(group));
  }
  int register_buffers(const iovec* buffers, unsigned count) noexcept override {
    return answer(ForwardingRing::register_buffers(buffers, count));
  }
  int unregister_buffers() noexcept override { return answer(ForwardingRing::unregister_buffers()); }
  int register_file(int fd) noexcept override { return answer(ForwardingRing::register_file(fd)); }
  int close_descriptor(int fd) noexcept override {
    const int result = answer(ForwardingRing::close_descriptor(fd));
    if (result >= 0) journal_.forget(fd);
    return result;
  }

 private:
  int answer(int result) noexcept {
    if (journal_.is_here())
      journal_.write(journal_.blank(Kind::call).number(0).number(0).signed_number(result).number(0));
    return result;
  }

  // Hands the kernel's completions over; with `event`, writes them down.
  int pass_on(int result, Event* event) noexcept {
    const Rings& kernel = real().rings();
    const std::uint32_t end = load(kernel.cq_tail);
    std::uint32_t at = *kernel.cq_head;
    const std::uint32_t room = kernel.cq_entries - (tail_ - head_);
    const std::uint32_t count = std::min(end - at, room);
    if (event != nullptr) event->number(count);
    for (std::uint32_t i = 0; i < count; ++i, ++at) {
      const io_uring_cqe& from = kernel.cqes[at & (kernel.cq_entries - 1)];
      io_uring_cqe& to = completions_[tail_ & (kernel.cq_entries - 1)];
      to.user_data = from.user_data;
      to.res = from.res;
      to.flags = from.flags;
      std::atomic_ref(tail_).store(tail_ + 1, std::memory_order_release);
      if (event != nullptr) note(*event, from);
    }
    std::atomic_ref(*kernel.cq_head).store(at, std::memory_order_release);
    if (event == nullptr) flags_ = load(kernel.sq_flags) & IORING_SQ_CQ_OVERFLOW;
    return result;
  }

  void note(Event& event, const io_uring_cqe& completion) {
    const Operation* operation = operations_.find(completion.user_data);
    event.number(operation == nullptr ? 0 : operation->number)
        .signed_number(completion.res)
        .number(completion.flags);
    if (operation == nullptr) {
      event.number(completion.user_data);
      return;
    }
    operations_.save(event, *operation, completion.res, completion.flags);
    if ((completion.flags & IORING_CQE_F_MORE) == 0) operations_.remove(*operation);
  }

  Journal& journal_;
  Operations operations_{journal_};
  Event event_{Kind::enter};
  std::vector<io_uring_cqe> completions_;
  std::uint32_t head_ = 0;
  std::uint32_t tail_ = 0;
  std::uint32_t flags_ = 0;
  std::uint32_t noted_ = 0;  // entries up to here are known
  std::uint64_t quiet_ = 0;  // enters in a row in which nothing happened
};

// --- Replaying --------------------------------------------------------------------------------------------------------

class ReplayingRing final : public Ring {
 public:
  explicit ReplayingRing(Journal& journal) : journal_(journal) {
    Cursor& cursor = journal_.expect(Kind::ring, "a reactor begins");
    name_ = cursor.text();
    const auto entries = static_cast<std::uint32_t>(cursor.number());
    const auto room = static_cast<std::uint32_t>(cursor.number());
    constexpr std::uint32_t kMost = 1U << 16;
    if (cursor.broken() || entries == 0 || room == 0 || entries > kMost || room > kMost)
      journal_.differs("a ring of an impossible size: the file is damaged", "a reactor begins");
    entries_.resize(entries);
    completions_.resize(room);
    rings_.sqes = entries_.data();
    rings_.sq_entries = entries;
    rings_.sq_head = &sq_head_;
    rings_.sq_tail = &sq_tail_;
    rings_.cqes = completions_.data();
    rings_.cq_entries = room;
    rings_.cq_head = &head_;
    rings_.cq_tail = &tail_;
    rings_.sq_flags = &flags_;
  }

  [[nodiscard]] const char* name() const noexcept override { return name_.c_str(); }

  int enter(std::uint32_t, std::uint32_t min_complete, std::int64_t) noexcept override {
    operations_.look_at_groups();
    const auto now = [&] { return describe(min_complete); };
    if (noted_ == sq_tail_ && (journal_.next_kind() != Kind::enter || quiet_ < quiet_before_next())) {
      ++quiet_;
      return 0;
    }
    Cursor& cursor = journal_.expect(Kind::enter, now);
    const std::uint64_t quiet = cursor.number();
    if (quiet != quiet_)
      journal_.differs(fmt::format("{} looks of the loop before this one, in which nothing happened", quiet),
                       fmt::format("{} of them, then {}", quiet_, now()));
    quiet_ = 0;
    submit(cursor);
    const auto result = static_cast<int>(cursor.signed_number());
    if (result < 0 && result != -EINTR && result != -EAGAIN && result != -EBUSY && result != -ENOMEM)
      journal_.differs("a failure that no kernel gives: the file is damaged", now());
    const auto consumed = static_cast<std::uint32_t>(cursor.number());
    if (consumed > noted_ - sq_head_)
      journal_.differs("more operations than there are: the file is damaged", now());
    sq_head_ += consumed;
    flags_ = static_cast<std::uint32_t>(cursor.number());
    const std::uint64_t count = cursor.number();
    for (std::uint64_t i = 0; i < count && !cursor.broken(); ++i) complete(cursor);
    if (cursor.broken()) journal_.differs("an event that cannot be read: the file is damaged", now());
    return result;
  }

  int pollable_fd() noexcept override { return -ENOSYS; }
  void clear_pollable() noexcept override {}
  bool send_completion(std::uint64_t) noexcept override { return true; }  // nothing sleeps
  int register_buffer_ring(io_uring_buf_ring* ring, std::uint32_t entries,
                           std::uint16_t group) noexcept override {
    const int result = answer("buffers are registered");
    if (result >= 0) operations_.register_group(ring, entries, group);
    return result;
  }
  int unregister_buffer_ring(std::uint16_t group) noexcept override {
    operations_.unregister_group(group);
    return answer("buffers are unregistered");
  }
  int register_buffers(const iovec*, unsigned) noexcept override { return answer("buffers are registered"); }
  int unregister_buffers() noexcept override { return answer("buffers are unregistered"); }
  int register_file(int) noexcept override { return answer("a file is registered"); }
  int close_descriptor(int fd) noexcept override {
    const int result = answer("a descriptor is closed");
    if (result >= 0) journal_.forget(fd);
    return result;
  }

 private:
  int answer(const char* now) noexcept {
    if (!journal_.is_here()) return 0;
    Cursor& cursor = journal_.expect(Kind::call, now);
    if (cursor.number() != 0) journal_.differs("a system call", now);
    static_cast<void>(cursor.number());
    const auto result = static_cast<int>(cursor.signed_number());
    static_cast<void>(cursor.number());
    return result;
  }

  [[nodiscard]] std::string describe(std::uint32_t min_complete) const {
    if (noted_ != sq_tail_) return operations_.wish(entries_[noted_ & (entries_.size() - 1)]).to_string();
    return min_complete > 0 ? "the loop waits" : "the loop looks for completions";
  }

  // How many looks the recorded loop had before its next event of a ring, in which nothing happened.
  [[nodiscard]] std::uint64_t quiet_before_next() const noexcept {
    Cursor next = journal_.peek();
    next.take_kind();
    return next.number();
  }

  void submit(Cursor& cursor) {
    const std::uint64_t count = cursor.number();
    for (std::uint64_t i = 0; i < count; ++i, ++noted_) {
      const Wish recorded = read_wish(cursor);
      if (noted_ == sq_tail_) journal_.differs(recorded.to_string(), "no further operation");
      const io_uring_sqe& entry = entries_[noted_ & (entries_.size() - 1)];
      const Wish wish = operations_.wish(entry);
      if (wish != recorded) {
        const std::string text = recorded.to_string();
        journal_.differs(text == wish.to_string() ? text + " (with other bytes or flags)" : text,
                         wish.to_string());
      }
      show(entry);
      operations_.add(entry);
    }
    if (noted_ != sq_tail_)
      journal_.differs("no further operation",
                       operations_.wish(entries_[noted_ & (entries_.size() - 1)]).to_string());
  }

  // What the program says is seen again.
  void show(const io_uring_sqe& entry) noexcept {
    if ((entry.flags & IOSQE_FIXED_FILE) != 0 || !is_transfer(entry.opcode, Direction::out)) return;
    const int stream = journal_.standard_stream(entry.fd);
    if (stream < 0) return;
    each_region(entry, [&](const Region& region) {
      if (!region.is_payload) return;
      [[maybe_unused]] const ssize_t ignored = ::write(stream, region.data, region.size);
    });
  }

  // A forged log must not complete what the program has forgotten.
  static bool comes_again(const io_uring_sqe& entry) noexcept {
    return (entry.opcode == IORING_OP_RECV && (entry.ioprio & IORING_RECV_MULTISHOT) != 0) ||
           (entry.opcode == IORING_OP_ACCEPT && (entry.ioprio & IORING_ACCEPT_MULTISHOT) != 0);
  }

  void complete(Cursor& cursor) {
    const std::uint64_t number = cursor.number();
    io_uring_cqe& completion = completions_[tail_ & (completions_.size() - 1)];
    completion.res = static_cast<std::int32_t>(cursor.signed_number());
    completion.flags = static_cast<std::uint32_t>(cursor.number());
    if (tail_ - head_ >= completions_.size())
      journal_.differs("more completions than there is room for: the file is damaged", "the ring is full");
    if (number == 0) {
      completion.user_data = cursor.number();
      if (completion.user_data != kNobody)
        journal_.differs("somebody's operation completes: the file is damaged", "there is no such operation");
    } else {
      const Operation* operation = operations_.numbered(number);
      if (operation == nullptr)
        journal_.differs(fmt::format("operation {} completes", number), "there is no such operation");
      completion.user_data = operation->entry.user_data;
      if ((completion.flags & IORING_CQE_F_MORE) != 0 && !comes_again(operation->entry))
        journal_.differs("an operation completes more than once: the file is damaged", "it completes once");
      if (!operations_.restore(cursor, *operation, completion.res, completion.flags))
        journal_.differs(fmt::format("{} completes with other bytes than it has room for",
                                     operations_.wish(operation->entry).to_string()),
                         "its room is another");
      if ((completion.flags & IORING_CQE_F_MORE) == 0) operations_.remove(*operation);
    }
    std::atomic_ref(tail_).store(tail_ + 1, std::memory_order_release);
  }

  Journal& journal_;
  Operations operations_{journal_};
  std::string name_;
  std::vector<io_uring_sqe> entries_;
  std::vector<io_uring_cqe> completions_;
  std::uint32_t sq_head_ = 0, sq_tail_ = 0;
  std::uint32_t head_ = 0, tail_ = 0;
  std::uint32_t flags_ = 0;
  std::uint32_t noted_ = 0;
  std::uint64_t quiet_ = 0;  // looks since the last event, in which nothing happened
};

}  // namespace

Result<Backend> recording(Journal& journal, Backend real) {
  Backend front;
  front.ring = std::make_shared<RecordingRing>(journal, std::move(real.ring));
  front.clock = std::make_shared<RecordingClock>(journal, std::move(real.clock));
  front.system = journal_system(journal, std::move(real.system));
  front.journal = &journal;
  return front;
}

Result<Backend> replaying(Journal& journal) {
  Backend ground;
  ground.ring = std::make_shared<ReplayingRing>(journal);
  ground.clock = std::make_shared<ReplayingClock>(journal);
  ground.system = journal_system(journal, System::kernel());
  ground.journal = &journal;
  return ground;
}

}  // namespace horus::HORUS_ABI::io::replay
