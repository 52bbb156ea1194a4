// SPDX-License-Identifier: Apache-2.0
// The terminal while the live view is on it: another page of the screen, which goes away on every way out, and the
// program's log lines as notices instead of text across the picture. One at a time; main's thread.
#pragma once

#include <cstddef>
#include <mutex>
#include <string>
#include <vector>

#include <horus/base/log.hpp>

#include "view.hpp"

namespace rover {

/// Takes the terminal over while it lives. Text between is written by whoever draws.
class LiveScreen {
 public:
  LiveScreen();
  LiveScreen(const LiveScreen&) = delete;
  LiveScreen& operator=(const LiveScreen&) = delete;
  ~LiveScreen() { close(); }

  /// Gives the terminal back, and then tells the notices once more, as ordinary lines.
  void close();
  /// The last notice and when it came (CLOCK_MONOTONIC); empty when there was none.
  std::string latest_notice(int64_t& when_ns) const;

  /// False once the terminal was given back: an error that had to be seen came up.
  static bool shown() noexcept;
  /// False when standard output is no terminal.
  static bool possible() noexcept;
  static Screen size() noexcept;
  /// Gives the terminal back at once. Safe in signal handlers, and when there is nothing to give back.
  static void restore() noexcept;

 private:
  static constexpr size_t kMostNotices = 50;

  void take_line(horus::LogLevel level, std::string_view line);

  mutable std::mutex mutex_;
  std::vector<std::string> notices_;
  size_t dropped_ = 0;
  int64_t latest_ns_ = 0;
  bool open_ = true;
  horus::LogSink previous_;
};

}  // namespace rover
