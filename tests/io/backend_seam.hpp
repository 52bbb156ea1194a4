// SPDX-License-Identifier: Apache-2.0
// A backend without a reactor, for tests of what every backend promises at the seam. One thread.
#pragma once

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <linux/io_uring.h>

#include <horus/io/reactor_config.hpp>
#include <horus/io/seam/backend.hpp>

namespace seam {

struct Completion {
  std::uint64_t user_data;
  std::int32_t result;
  std::uint32_t flags;
};

/// Fills entries and reads completions as the reactor does.
class Driver {
 public:
  explicit Driver(horus::io::Backend backend) : backend_(std::move(backend)), rings_(backend_.ring->rings()) {
    ::signal(SIGPIPE, SIG_IGN);
  }

  [[nodiscard]] horus::io::Ring& ring() noexcept { return *backend_.ring; }
  [[nodiscard]] horus::io::System& system() noexcept { return *backend_.system; }
  [[nodiscard]] const horus::io::Rings& rings() const noexcept { return rings_; }

  /// The next entry, zeroed; flushes when the ring is full.
  io_uring_sqe& entry(std::uint8_t opcode, int fd, std::uint64_t user_data) {
    if (tail_ - *rings_.sq_head >= rings_.sq_entries) flush();
    io_uring_sqe& entry = rings_.sqes[tail_++ & (rings_.sq_entries - 1)];
    std::memset(&entry, 0, sizeof entry);
    entry.opcode = opcode;
    entry.fd = fd;
    entry.user_data = user_data;
    return entry;
  }
  int flush(std::uint32_t min_complete = 0, std::int64_t wait_ns = 0) {
    *rings_.sq_tail = tail_;
    const std::int64_t deadline = wait_ns == 0 ? 0 : horus::monotonic_ns() + wait_ns;
    return backend_.ring->enter(tail_ - *rings_.sq_head, min_complete, deadline);
  }
  /// Moves what lies in the ring to `seen`. Returns how many came.
  std::size_t reap() {
    std::size_t count = 0;
    for (; *rings_.cq_head != *rings_.cq_tail; ++count) {
      const io_uring_cqe& cqe = rings_.cqes[*rings_.cq_head & (rings_.cq_entries - 1)];
      seen.push_back({cqe.user_data, cqe.res, cqe.flags});
      ++*rings_.cq_head;
    }
    return count;
  }
  /// Enters until a completion of `user_data` has come that was not taken before, at most ten seconds.
  Completion take(std::uint64_t user_data) {
    const std::int64_t limit = horus::monotonic_ns() + 10'000'000'000;
    while (true) {
      for (std::size_t i = 0; i < seen.size(); ++i) {
        if (seen[i].user_data != user_data) continue;
        const Completion found = seen[i];
        seen.erase(seen.begin() + static_cast<std::ptrdiff_t>(i));
        return found;
      }
      if (horus::monotonic_ns() > limit) return {user_data, kNothingCame, 0};
      flush(1, 20'000'000);
      reap();
    }
  }
  /// Whether `user_data` completes within a few turns that do not wait.
  bool completes_now(std::uint64_t user_data) {
    for (int turn = 0; turn < 4; ++turn) {
      flush();
      reap();
    }
    for (const Completion& one : seen) {
      if (one.user_data == user_data) return true;
    }
    return false;
  }

  static constexpr std::int32_t kNothingCame = -100'000;
  std::vector<Completion> seen;

 private:
  horus::io::Backend backend_;
  horus::io::Rings rings_;
  std::uint32_t tail_ = 0;
};

/// The backend that HORUS_IO names; epoll when it names none.
inline horus::Result<horus::io::Backend> make_backend(const horus::io::ReactorConfig& config) {
  const char* wish = std::getenv("HORUS_IO");
#ifdef HORUS_WITH_URING
  if (wish != nullptr && std::string_view(wish) == "uring") return horus::io::make_uring_backend(config);
#endif
  static_cast<void>(wish);
  return horus::io::make_epoll_backend(config);
}

inline std::uint64_t address(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

}  // namespace seam
