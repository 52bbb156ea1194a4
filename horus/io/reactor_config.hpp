// SPDX-License-Identifier: Apache-2.0
// Settings of a reactor. Plain data; copy freely.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include <horus/base/clock.hpp>
#include <horus/base/export.hpp>

namespace horus::HORUS_ABI::io {

enum class BackendChoice : std::uint8_t {
  /// The backend named in HORUS_IO (uring or epoll); without it io_uring, and epoll where io_uring is forbidden.
  automatic,
  /// io_uring, or an Error that gives the reason why not.
  uring,
  epoll,
};

/// Chainable setters: `ReactorConfig().with_busy_poll(50us)`. (A class with a constructor, not an aggregate: g++ 12
/// destroys aggregate temporaries twice in co_await expressions.)
struct ReactorConfig {
  ReactorConfig() {}

  BackendChoice backend = BackendChoice::automatic;
  std::uint32_t submission_entries = 256;   ///< entries per batch; a power of two, 1 to 4096
  std::uint32_t completion_entries = 8192;  ///< a power of two; more completions at once wait in the kernel
  std::uint32_t max_in_flight = 65536;      ///< operations that the backend owns at once; further ones queue
  std::size_t mailbox_entries = 4096;       ///< posts from other threads that wait; a power of two
  /// How many coroutines are resumed before timers and completions are checked again.
  std::uint32_t resume_budget = 256;
  Duration busy_poll{0};   ///< how long to poll for work before sleeping
  Duration timer_spin{0};  ///< poll instead of sleeping this long before each timer
  /// PR_SET_TIMERSLACK of the thread while the reactor lives: how much later the kernel may wake it to save power. 0
  /// leaves the thread's setting (50 µs by default). Waits of the io_uring backend have no slack in any case.
  std::uint64_t timer_slack_ns = 0;
  Duration drain_limit{std::chrono::seconds(2)};  ///< how long shutdown waits for the last completions

  ReactorConfig& with_backend(BackendChoice choice) & { return backend = choice, *this; }
  ReactorConfig& with_busy_poll(Duration window) & { return busy_poll = window, *this; }
  ReactorConfig& with_timer_spin(Duration margin) & { return timer_spin = margin, *this; }
  ReactorConfig& with_entries(std::uint32_t submission, std::uint32_t completion) & {
    return submission_entries = submission, completion_entries = completion, *this;
  }
  [[nodiscard]] ReactorConfig with_backend(BackendChoice choice) && {
    return std::move(with_backend(choice));
  }
  [[nodiscard]] ReactorConfig with_busy_poll(Duration window) && { return std::move(with_busy_poll(window)); }
  [[nodiscard]] ReactorConfig with_timer_spin(Duration margin) && {
    return std::move(with_timer_spin(margin));
  }
  [[nodiscard]] ReactorConfig with_entries(std::uint32_t submission, std::uint32_t completion) && {
    return std::move(with_entries(submission, completion));
  }
};

}  // namespace horus::HORUS_ABI::io
