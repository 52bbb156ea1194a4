// SPDX-License-Identifier: Apache-2.0
#include <horus/record/log_lines.hpp>

#include <new>
#include <utility>

#include <horus/io/reactor.hpp>
#include <horus/io/replay/journal.hpp>

namespace horus::HORUS_ABI::record {

LogLines::LogLines() { detail::observe_log(*this); }
LogLines::~LogLines() { detail::forget_log_observer(*this); }

std::vector<LogLines::Line> LogLines::take(std::uint64_t& lost) {
  const std::lock_guard lock(mutex_);
  lost = std::exchange(lost_, 0);
  return std::exchange(lines_, {});
}

void LogLines::logged(LogLevel level, std::string_view line) noexcept {
  try {
    // An exact recording has no place for who looks on.
    const std::int64_t now = io::Journal::aside([] { return now_ns(); });
    const std::lock_guard lock(mutex_);
    if (lines_.size() >= kMostLines) {
      ++lost_;
    } else {
      lines_.push_back({now, level, std::string(line.substr(0, kMostBytes))});
    }
  } catch (const std::bad_alloc&) {
    const std::lock_guard lock(mutex_);
    ++lost_;
  }
}

}  // namespace horus::HORUS_ABI::record
