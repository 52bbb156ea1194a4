// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/faulty.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace horus::sim {
namespace {

struct Named {
  const char* name;
  int value;
};

constexpr std::array kOpcodes{
    Named{"any", -1},
    Named{"accept", IORING_OP_ACCEPT},
    Named{"connect", IORING_OP_CONNECT},
    Named{"recv", IORING_OP_RECV},
    Named{"send", IORING_OP_SEND},
    Named{"recvmsg", IORING_OP_RECVMSG},
    Named{"sendmsg", IORING_OP_SENDMSG},
    Named{"read", IORING_OP_READ},
    Named{"write", IORING_OP_WRITE},
    Named{"openat", IORING_OP_OPENAT},
    Named{"statx", IORING_OP_STATX},
    Named{"fsync", IORING_OP_FSYNC},
    Named{"unlinkat", IORING_OP_UNLINKAT},
    Named{"renameat", IORING_OP_RENAMEAT},
    Named{"mkdirat", IORING_OP_MKDIRAT},
    Named{"poll", IORING_OP_POLL_ADD},
    Named{"shutdown", IORING_OP_SHUTDOWN},
};

// Moves bytes into or out of memory, and may say so with fewer than asked for.
bool transfers(std::uint8_t opcode) noexcept {
  switch (opcode) {
    case IORING_OP_RECV:
    case IORING_OP_SEND:
    case IORING_OP_READ:
    case IORING_OP_WRITE: return true;
    default: return false;
  }
}

// Two rings of its own between the reactor's side and the real backend, so that it may hold back what it likes.
class FaultyBackend final : public io::Backend {
 public:
  FaultyBackend(std::unique_ptr<io::Backend> real, const Injection& injection, InjectionRecord& record)
      : real_(std::move(real)),
        injection_(injection),
        record_(record),
        sqes_(new io_uring_sqe[real_->rings().sq_entries]()),
        cqes_(new Completion[real_->rings().cq_entries]()) {
    rings_ = real_->rings();
    rings_.sqes = sqes_.get();
    rings_.sq_head = &sq_head_;
    rings_.sq_tail = &sq_tail_;
    rings_.cqes = reinterpret_cast<io_uring_cqe*>(cqes_.get());
    rings_.cq_head = &cq_head_;
    rings_.cq_tail = &cq_tail_;
    rings_.sq_flags = &sq_flags_;
  }

  [[nodiscard]] const char* name() const noexcept override { return real_->name(); }

  int enter(std::uint32_t to_submit, std::uint32_t min_complete, std::int64_t deadline_ns) noexcept override {
    const std::uint32_t consumed = hand_over(to_submit);
    take_over();
    if (cq_tail_ - cq_head_ >= min_complete) min_complete = 0;
    for (const Kept& kept : kept_) deadline_ns = std::min(deadline_ns, kept.due_ns);
    const int result = real_->enter(0, min_complete == 0 ? 0 : 1, deadline_ns);
    take_over();
    return result < 0 && consumed == 0 ? result : static_cast<int>(consumed);
  }

  int pollable_fd() noexcept override { return real_->pollable_fd(); }
  void clear_pollable() noexcept override { real_->clear_pollable(); }
  int register_buffer_ring(io_uring_buf_ring* ring, std::uint32_t entries,
                           std::uint16_t group) noexcept override {
    return real_->register_buffer_ring(ring, entries, group);
  }
  int unregister_buffer_ring(std::uint16_t group) noexcept override {
    return real_->unregister_buffer_ring(group);
  }
  int register_buffers(const iovec* buffers, unsigned count) noexcept override {
    return real_->register_buffers(buffers, count);
  }
  int unregister_buffers() noexcept override { return real_->unregister_buffers(); }
  int listen(int fd, int backlog) noexcept override { return real_->listen(fd, backlog); }

 private:
  // io_uring_cqe without its flexible array.
  struct Completion {
    std::uint64_t user_data;
    std::int32_t result;
    std::uint32_t flags;
  };
  static_assert(sizeof(Completion) == sizeof(io_uring_cqe));
  struct Kept {
    Completion completion;
    std::int64_t due_ns;
  };

  [[nodiscard]] bool matches(const io_uring_sqe& entry) noexcept {
    const bool closing = entry.opcode == IORING_OP_CLOSE || entry.opcode == IORING_OP_ASYNC_CANCEL;
    const bool of_kind = injection_.opcode < 0 ? !closing : entry.opcode == injection_.opcode;
    return of_kind && !record_.fired && ++record_.matched == injection_.nth;
  }

  // Moves entries from the reactor's ring to the real one.
  std::uint32_t hand_over(std::uint32_t to_submit) noexcept {
    const io::Rings& real = real_->rings();
    std::uint32_t consumed = 0;
    while (consumed < to_submit && sq_head_ != sq_tail_) {
      std::uint32_t batch = 0;
      const std::uint32_t tail = *real.sq_tail;
      while (consumed + batch < to_submit && batch < real.sq_entries && sq_head_ + batch != sq_tail_) {
        const std::uint32_t from = (sq_head_ + batch) & (real.sq_entries - 1);
        io_uring_sqe& to = real.sqes[(tail + batch) & (real.sq_entries - 1)];
        to = sqes_[from];
        ++batch;
        if (matches(to)) inject(to);
      }
      std::atomic_ref(*real.sq_tail).store(tail + batch, std::memory_order_release);
      const int result = real_->enter(batch, 0, 0);
      const std::uint32_t left =
          *real.sq_tail - std::atomic_ref(*real.sq_head).load(std::memory_order_acquire);
      const std::uint32_t taken = batch - std::min(left, batch);
      // What the real backend did not take is given again by the reactor: its tail goes back.
      std::atomic_ref(*real.sq_tail).store(tail + taken, std::memory_order_release);
      sq_head_ += taken;
      consumed += taken;
      take_over();
      if (taken == 0 || result < 0) break;
    }
    return consumed;
  }

  void inject(io_uring_sqe& entry) noexcept {
    record_.fired = true;
    if (injection_.shorten_to > 0 && transfers(entry.opcode)) {
      entry.len = std::min(entry.len, injection_.shorten_to);
      if (entry.opcode == IORING_OP_SEND || entry.opcode == IORING_OP_RECV) entry.msg_flags &= ~MSG_WAITALL;
    }
    if (injection_.error == 0 && injection_.delay == Duration::zero()) return;
    changed_ = entry.user_data;
    waits_ = true;
    if (injection_.error == 0) return;
    const std::uint64_t user_data = entry.user_data;
    entry = {};
    entry.opcode = IORING_OP_NOP;
    entry.user_data = user_data;
  }

  // Moves completions from the real ring to the reactor's, and those that are due.
  void take_over() noexcept {
    const io::Rings& real = real_->rings();
    std::uint32_t head = *real.cq_head;
    const std::uint32_t tail = std::atomic_ref(*real.cq_tail).load(std::memory_order_acquire);
    while (head != tail && cq_tail_ - cq_head_ < rings_.cq_entries) {
      const io_uring_cqe& from = real.cqes[head & (real.cq_entries - 1)];
      Completion completion{from.user_data, from.res, from.flags};
      ++head;
      if (waits_ && completion.user_data == changed_) {
        if (injection_.error != 0) {
          completion.result = -injection_.error;
          completion.flags = 0;
        }
        waits_ = (completion.flags & IORING_CQE_F_MORE) != 0;
        if (injection_.delay > Duration::zero()) {
          kept_.push_back({completion, monotonic_ns() + injection_.delay.count()});
          continue;
        }
      }
      put(completion);
    }
    std::atomic_ref(*real.cq_head).store(head, std::memory_order_release);
    const std::int64_t now = kept_.empty() ? 0 : monotonic_ns();
    while (!kept_.empty() && kept_.front().due_ns <= now && cq_tail_ - cq_head_ < rings_.cq_entries) {
      put(kept_.front().completion);
      kept_.erase(kept_.begin());
    }
    sq_flags_ = *real.sq_flags | (head != tail ? IORING_SQ_CQ_OVERFLOW : 0U);
  }

  void put(const Completion& completion) noexcept {
    cqes_[cq_tail_ & (rings_.cq_entries - 1)] = completion;
    std::atomic_ref(cq_tail_).store(cq_tail_ + 1, std::memory_order_release);
  }

  std::unique_ptr<io::Backend> real_;
  const Injection injection_;
  InjectionRecord& record_;
  std::unique_ptr<io_uring_sqe[]> sqes_;
  std::unique_ptr<Completion[]> cqes_;
  std::uint32_t sq_head_ = 0, sq_tail_ = 0, cq_head_ = 0, cq_tail_ = 0;
  std::uint32_t sq_flags_ = 0;
  std::uint64_t changed_ = 0;  // the operation whose completion is to be changed
  bool waits_ = false;         // it has not come yet
  std::vector<Kept> kept_;     // completions of one operation, in order
};

Error expected(const std::string& text) {
  std::string kinds;
  for (const Named& one : kOpcodes) kinds += fmt::format("{}{}", kinds.empty() ? "" : " ", one.name);
  return Error(
      EINVAL, "read an injection",
      fmt::format("\"{}\" (expected KIND:NUMBER:WHAT; kinds: {}; what: an errno's name, short=BYTES, "
                  "delay=MILLISECONDSms)",
                  text, kinds));
}

// "ECONNRESET" → 104.
int errno_named(std::string_view name) {
  for (int code = 1; code < 134; ++code) {
    const char* known = ::strerrorname_np(code);
    if (known != nullptr && name == known) return code;
  }
  return 0;
}

bool number_in(std::string_view text, std::uint64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

Result<Injection> Injection::parse(const std::string& text) {
  const std::size_t first = text.find(':');
  const std::size_t second = first == std::string::npos ? first : text.find(':', first + 1);
  if (second == std::string::npos) return expected(text);
  const std::string_view all = text;
  const std::string_view kind = all.substr(0, first);
  std::string_view what = all.substr(second + 1);
  Injection injection;
  const auto known =
      std::find_if(kOpcodes.begin(), kOpcodes.end(), [&](const Named& one) { return kind == one.name; });
  if (known == kOpcodes.end()) return expected(text);
  injection.opcode = known->value;
  if (!number_in(all.substr(first + 1, second - first - 1), injection.nth) || injection.nth == 0)
    return expected(text);
  std::uint64_t value = 0;
  if (what.starts_with("short=")) {
    if (!number_in(what.substr(6), value) || value == 0 || value > UINT32_MAX) return expected(text);
    injection.shorten_to = static_cast<std::uint32_t>(value);
  } else if (what.starts_with("delay=") && what.ends_with("ms")) {
    if (!number_in(what.substr(6, what.size() - 8), value) || value > 3'600'000) return expected(text);
    injection.delay = std::chrono::milliseconds(value);
  } else {
    injection.error = errno_named(what);
    if (injection.error == 0) return expected(text);
  }
  return injection;
}

std::unique_ptr<io::Backend> make_faulty_backend(std::unique_ptr<io::Backend> real,
                                                 const Injection& injection, InjectionRecord& record) {
  return std::make_unique<FaultyBackend>(std::move(real), injection, record);
}

}  // namespace horus::sim
