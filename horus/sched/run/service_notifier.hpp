// SPDX-License-Identifier: Apache-2.0
// Tells the service manager how a service is: ready, alive, stopping. The protocol of sd_notify(3), without its library.
// One thread.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include <horus/base/clock.hpp>
#include <horus/base/export.hpp>
#include <horus/io/address.hpp>

namespace horus::HORUS_ABI {

/// Sends datagrams to $NOTIFY_SOCKET, which systemd sets for a unit with Type=notify. Where it is not set, every call
/// does nothing.
///
/// Semantics: no call blocks. What the manager's queue had no room for goes with the next call, but for watchdog(): the
/// next one says the same. The environment is read once, when this is made.
/// Errors: none; the first that occurs is a line of the log.
/// Thread safety: one thread.
/// Example:
/// ```
/// horus::ServiceNotifier service;
/// service.ready();
/// if (auto every = service.watchdog_interval()) { /* service.watchdog(), so often */ }
/// ```
/// Source: sd_notify(3), sd_watchdog_enabled(3), systemd.service(5).
class HORUS_API ServiceNotifier {
 public:
  static constexpr std::size_t kMaxStatusBytes = 512;  ///< of a status; the rest is cut off

  ServiceNotifier();
  ServiceNotifier(const ServiceNotifier&) = delete;
  ServiceNotifier& operator=(const ServiceNotifier&) = delete;
  ~ServiceNotifier();

  /// True when a supervisor listens.
  [[nodiscard]] bool active() const noexcept { return socket_ >= 0; }
  /// READY=1: the start is over. Units that come after this one may start.
  void ready();
  /// STOPPING=1: the end has begun; TimeoutStopSec runs.
  void stopping();
  /// STATUS=…: one line for people, which `systemctl status` shows. Line ends in it become blanks.
  void status(std::string_view text);
  /// WATCHDOG=1: alive.
  void watchdog();
  /// How often watchdog() is to be called: half of WatchdogSec, as its makers advise. Nothing where no
  /// watchdog waits for this process ($WATCHDOG_USEC, $WATCHDOG_PID).
  [[nodiscard]] std::optional<Duration> watchdog_interval() const noexcept { return interval_; }

 private:
  void send_owed(std::string_view further);
  void complain(int error);

  io::Address address_;
  int socket_ = -1;
  std::optional<Duration> interval_;
  bool owes_ready_ = false;
  bool owes_stopping_ = false;
  std::optional<std::string> owed_status_;
  bool complained_ = false;
};

}  // namespace horus::HORUS_ABI
