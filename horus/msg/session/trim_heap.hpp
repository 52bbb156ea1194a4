// SPDX-License-Identifier: Apache-2.0
// Memory that a peer made us take goes back to the system when the peer has gone, not only to this process. Any thread.
// Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstdlib>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace horus::HORUS_ABI::msg {

/// A few milliseconds for tens of MiB: only after a peer that had very much. Source: malloc_trim(3).
inline void trim_heap() noexcept {
#if defined(__GLIBC__)
  static_cast<void>(::malloc_trim(0));
#endif
}

}  // namespace horus::HORUS_ABI::msg
