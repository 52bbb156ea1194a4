// SPDX-License-Identifier: Apache-2.0
// The lines that this process logs, for a recording. Any thread logs; one takes them. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <horus/base/log.hpp>

namespace horus::HORUS_ABI::record {

class LogLines final : private detail::LogObserver {
 public:
  static constexpr std::size_t kMostLines = 1024;  ///< that wait; further ones are lost, and counted
  static constexpr std::size_t kMostBytes = 4096;  ///< of a line; the rest is cut off

  struct Line {
    std::int64_t logged_ns;  ///< CLOCK_MONOTONIC, as the thread's reactor tells it
    LogLevel level;
    std::string text;
  };

  LogLines();
  LogLines(const LogLines&) = delete;
  LogLines& operator=(const LogLines&) = delete;
  ~LogLines();

  /// Those that came since the last call. `lost`: how many did not find room meanwhile.
  [[nodiscard]] std::vector<Line> take(std::uint64_t& lost);

 private:
  void logged(LogLevel level, std::string_view line) noexcept override;

  std::mutex mutex_;
  std::vector<Line> lines_;
  std::uint64_t lost_ = 0;
};

}  // namespace horus::HORUS_ABI::record
