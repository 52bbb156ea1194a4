// SPDX-License-Identifier: Apache-2.0
// The lines of the log while it lives, kept off the screen. Any thread may log and ask.
#pragma once

#include <algorithm>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <horus/base/log.hpp>

namespace horus::testing {

class CapturedLog {
 public:
  CapturedLog() = default;
  CapturedLog(const CapturedLog&) = delete;
  CapturedLog& operator=(const CapturedLog&) = delete;
  ~CapturedLog() { set_log_sink(std::move(previous_)); }

  /// Everything that was logged before the call.
  [[nodiscard]] std::vector<std::string> lines() const {
    flush_log(std::chrono::seconds(10));
    const std::lock_guard lock(mutex_);
    return lines_;
  }
  /// Lines that contain `part`.
  [[nodiscard]] int count(std::string_view part) const {
    const auto all = lines();
    return static_cast<int>(std::count_if(all.begin(), all.end(), [part](const std::string& line) {
      return line.find(part) != std::string::npos;
    }));
  }
  [[nodiscard]] bool has(std::string_view part) const { return count(part) > 0; }
  /// The newest line; empty when there is none.
  [[nodiscard]] std::string last() const {
    const auto all = lines();
    return all.empty() ? std::string() : all.back();
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
  LogSink previous_ = set_log_sink([this](LogLevel, std::string_view line) {
    const std::lock_guard lock(mutex_);
    lines_.emplace_back(line);
  });
};

}  // namespace horus::testing
