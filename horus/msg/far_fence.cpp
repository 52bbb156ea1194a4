// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/far_fence.hpp>

#include <cerrno>

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace horus::msg {
namespace {

bool membarrier(int command) noexcept {
  const int saved = errno;
  const bool done = ::syscall(SYS_membarrier, command, 0, 0) == 0;
  errno = saved;
  return done;
}

}  // namespace

bool reached_by_far_fences() noexcept {
  static const bool reached = membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED);
  return reached;
}

bool can_far_fence() noexcept {
  static const bool can = far_fence();
  return can;
}

bool far_fence() noexcept { return membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED); }

}  // namespace horus::msg
