// SPDX-License-Identifier: Apache-2.0
// What a thread does between two looks at memory that another CPU writes. Internal.
#pragma once

#include <horus/base/compiler.hpp>

namespace horus::HORUS_ABI::detail {

/// Tells the CPU that this thread spins: 10 to 50 ns.
inline void pause_cpu() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace horus::HORUS_ABI::detail
