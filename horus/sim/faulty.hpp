// SPDX-License-Identifier: Apache-2.0
// A real backend whose n-th operation goes wrong: fails with a chosen errno, moves fewer bytes, or ends late.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <horus/base/clock.hpp>
#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/reactor_config.hpp>
#include <horus/io/seam/backend.hpp>

namespace horus::HORUS_ABI::sim {

/// One injected fault. Plain data.
struct Injection {
  std::uint64_t nth = 1;         ///< which of the matching operations, from 1; 0: none
  int opcode = -1;               ///< IORING_OP_…; -1: every operation except closes and cancellations
  int error = 0;                 ///< the errno it fails with, without being tried; 0: none
  std::uint32_t shorten_to = 0;  ///< the most bytes it is asked to move; 0: all of them
  Duration delay{0};             ///< how long its completion is delayed

  /// "recv:3:ECONNRESET" · "write:1:short=1" · "any:2:delay=10ms": kind, number, what. EINVAL with what was expected.
  static HORUS_API Result<Injection> parse(const std::string& text);
};

/// The result of an injection. Plain data.
struct InjectionRecord {
  std::uint64_t matched = 0;  ///< operations of the kind so far
  bool fired = false;
};

/// Puts faults between a reactor and `real`: `Reactor(make_faulty_backend(…), config)`. `record` must outlive it.
///
/// Semantics: the kernel never sees an operation that fails. Multishot operations end with the error. Everything else
/// passes through to `real`.
/// Thread safety: the reactor's thread.
/// Example: tests/sim/faulty_test.cpp.
HORUS_API io::Backend make_faulty_backend(io::Backend real, const Injection& injection,
                                          InjectionRecord& record);

}  // namespace horus::HORUS_ABI::sim
