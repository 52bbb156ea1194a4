// SPDX-License-Identifier: Apache-2.0
// The terminal while the live view is on it: another page of the screen, which goes away on every way out, and the
// program's log lines as notices instead of text across the picture. One at a time; main's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <horus/base/log.hpp>

#include "view.hpp"

namespace rover {

/// Writes to a terminal, and gives up after `limit_ms` (-1: never): one that nobody reads (Ctrl-S, a stopped ssh session)
/// must keep no rover from ending. False when it took too little. Safe in signal handlers.
bool write_within(int descriptor, std::string_view text, int limit_ms) noexcept;

/// An error may be the last thing that we say: give the terminal back for it. Or it is what the drive is about.
enum class OnError : uint8_t { kGiveUp, kNotice };

/// Takes the terminal over while it lives. Text between is written by whoever draws.
class LiveScreen {
 public:
  explicit LiveScreen(OnError on_error);
  LiveScreen(const LiveScreen&) = delete;
  LiveScreen& operator=(const LiveScreen&) = delete;
  ~LiveScreen() { close(); }

  /// Gives the terminal back, and then tells the notices once more, as ordinary lines.
  void close();
  /// The last few notices that came at `since_ns` (CLOCK_MONOTONIC) or later, oldest first; of each the first line.
  std::vector<std::string> latest_notices(int64_t since_ns) const;

  /// False once the terminal was given back: an error that had to be seen came up.
  static bool shown() noexcept;
  /// False when standard output is no terminal.
  static bool possible() noexcept;
  static Screen size() noexcept;
  /// Gives the terminal back at once. Safe in signal handlers, and when there is nothing to give back.
  static void restore() noexcept;

 private:
  static constexpr size_t kMostNotices = 50;
  static constexpr size_t kMostLatest = 4;

  void take_line(horus::LogLevel level, std::string_view line);

  mutable std::mutex mutex_;
  struct Notice {
    int64_t at_ns;
    std::string line;
  };
  OnError on_error_;
  std::vector<Notice> notices_;
  size_t dropped_ = 0;
  bool open_ = true;
  horus::LogSink previous_;
};

}  // namespace rover
