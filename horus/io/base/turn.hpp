// SPDX-License-Identifier: Apache-2.0
// Which stretch of resuming a thread's loop is in, and when that began. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstdint>

#include <horus/base/export.hpp>

namespace horus::HORUS_ABI::io {

/// Written by this thread's reactor alone.
struct Turn {
  std::uint64_t number = 1;    ///< of the stretch: whoever sees the same number is still in the same one
  std::uint64_t of_clock = 0;  ///< the stretch for which `clock_ns` was read
  std::int64_t clock_ns = 0;   ///< horus::now_ns() at its beginning, or a little before

  void note_clock(std::int64_t now_ns) noexcept {
    clock_ns = now_ns;
    of_clock = number;
  }
};

// initial-exec: an access is one load, no call, also from another shared object.
extern HORUS_API constinit thread_local Turn current_turn __attribute__((tls_model("initial-exec")));

}  // namespace horus::HORUS_ABI::io
