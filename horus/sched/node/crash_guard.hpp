// SPDX-License-Identifier: Apache-2.0
// Safe states when the program crashes, for those who ask for it. Internal.
#pragma once

#include <horus/base/compiler.hpp>

namespace horus::HORUS_ABI::detail {

class HookHelpers;

/// Semantics: while one lives, SIGSEGV, SIGBUS and SIGABRT have the helpers call the hooks (`at_once` only) for at most
/// 100 ms; then what the signal did before happens, by default a core dump. The handler runs on a stack of its own, so that
/// an overflow of the run's stack is caught too. A forked child's crash calls nothing.
/// Thread safety: made and destroyed on a run's thread; several may live.
class CrashGuard {
 public:
  explicit CrashGuard(HookHelpers& hooks) noexcept;
  CrashGuard(const CrashGuard&) = delete;
  CrashGuard& operator=(const CrashGuard&) = delete;
  ~CrashGuard();

 private:
  int place_ = -1;
};

}  // namespace horus::HORUS_ABI::detail
