// SPDX-License-Identifier: Apache-2.0
#include <horus/io/seam/ring.hpp>

#include <atomic>
#include <cerrno>

#include <unistd.h>

namespace horus::HORUS_ABI::io {

Ring::~Ring() = default;

std::uint64_t Ring::next_id() noexcept {
  static std::atomic<std::uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

bool Ring::send_completion(std::uint64_t) noexcept { return false; }
int Ring::register_file(int) noexcept { return -EOPNOTSUPP; }
void Ring::unregister_file(int) noexcept {}
void Ring::may_be_another(int) noexcept {}
int Ring::close_descriptor(int fd) noexcept { return ::close(fd) < 0 ? -errno : 0; }
bool Ring::let_go(int) noexcept { return true; }

}  // namespace horus::HORUS_ABI::io
