// SPDX-License-Identifier: Apache-2.0
#include <horus/base/far_barrier.hpp>

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace horus::HORUS_ABI {
namespace {

bool membarrier(int command) noexcept { return ::syscall(SYS_membarrier, command, 0, 0) == 0; }

}  // namespace

bool admit_far_barriers() noexcept {
  static const bool admitted = membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED);
  return admitted;
}

bool far_barrier() noexcept { return membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED); }

}  // namespace horus::HORUS_ABI
