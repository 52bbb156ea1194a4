// SPDX-License-Identifier: Apache-2.0
// Internal. What makes a reactor pollable from another loop: an epoll set of the backend's descriptor and a timer.
// One thread, the reactor's.
#pragma once

#include <cstdint>

#include <sys/timerfd.h>
#include <unistd.h>

#include <horus/base/clock.hpp>
#include <horus/io/reactor.hpp>

namespace horus::HORUS_ABI::io {

struct Reactor::Embedding {
  int set = -1;
  int timer = -1;
  std::int64_t armed_for = kNever;  // 1: at once

  Embedding() = default;
  Embedding(const Embedding&) = delete;
  Embedding& operator=(const Embedding&) = delete;
  ~Embedding() {
    if (set >= 0) ::close(set);
    if (timer >= 0) ::close(timer);
  }
  void arm(std::int64_t deadline) noexcept {
    if (deadline == armed_for) return;
    armed_for = deadline;
    itimerspec spec{};
    if (deadline != kNever) {
      spec.it_value.tv_sec = deadline / 1'000'000'000;
      spec.it_value.tv_nsec = deadline % 1'000'000'000;
    }
    ::timerfd_settime(timer, TFD_TIMER_ABSTIME, &spec, nullptr);
  }
};

}  // namespace horus::HORUS_ABI::io
