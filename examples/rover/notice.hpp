// SPDX-License-Identifier: Apache-2.0
// A trouble that lasts is told once, not with every attempt: one line when it begins or changes, one when it is over.
#pragma once

#include <string>
#include <string_view>

#include <fmt/format.h>

#include <horus/base/log.hpp>

namespace rover {

/// The trouble of one node. One thread.
class Trouble {
 public:
  explicit Trouble(std::string node) : node_(std::move(node)) {}

  void begins(std::string_view line) {
    if (line == line_) return;
    line_ = line;
    horus::log_warning(fmt::format("{}: {}", node_, line_));
  }
  /// The same when somebody else tells it.
  void begins_untold(std::string_view line) { line_ = line; }
  void is_over(std::string_view line) {
    if (line_.empty()) return;
    line_.clear();
    horus::log_info(fmt::format("{}: {}", node_, line));
  }
  const std::string& line() const noexcept { return line_; }

 private:
  std::string node_;
  std::string line_;
};

}  // namespace rover
