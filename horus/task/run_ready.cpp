// SPDX-License-Identifier: Apache-2.0
#include <horus/task/run_ready.hpp>

namespace horus::HORUS_ABI {

ReadyScope::ReadyScope() noexcept
    : previous_ready_(std::exchange(detail::thread_state.ready, &ready_)),
      previous_roots_(std::exchange(detail::thread_state.roots, &roots_)) {}

ReadyScope::~ReadyScope() {
  detail::thread_state.ready = previous_ready_;
  detail::thread_state.roots = previous_roots_;
}

std::size_t ReadyScope::run_until_idle() noexcept {
  std::size_t resumed = 0;
  while (Ready* next = ready_.pop()) {
    ++resumed;
    next->handle.resume();
  }
  return resumed;
}

}  // namespace horus::HORUS_ABI
