// SPDX-License-Identifier: Apache-2.0
// Records that wait for the disk: handed out as one write when there are enough of them, or the oldest is old enough.
// Bounded: while the disk refuses, the oldest records give way. Plain value, one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>

namespace rover {

class LogBatch {
 public:
  static constexpr size_t kFull = 20;                // records that make a write
  static constexpr int64_t kOld_ns = 1'000'000'000;  // age that makes one of fewer
  static constexpr size_t kMost = 2000;              // records kept while the disk refuses

  /// Returns the number of records that gave way, 0 or 1.
  size_t add(std::string record, int64_t now_ns) {
    if (records_.empty()) oldest_ns_ = now_ns;
    records_.push_back(std::move(record));
    if (records_.size() <= kMost) return 0;
    records_.pop_front();
    return 1;
  }
  bool due(int64_t now_ns) const noexcept {
    return records_.size() >= kFull || (!records_.empty() && now_ns - oldest_ns_ >= kOld_ns);
  }
  bool empty() const noexcept { return records_.empty(); }
  size_t size() const noexcept { return records_.size(); }
  /// All of them as one text; they stay until `written(count)`.
  std::string text() const {
    std::string all;
    for (const std::string& record : records_) all += record;
    return all;
  }
  void written(size_t count, int64_t now_ns) {
    records_.erase(records_.begin(), records_.begin() + static_cast<std::ptrdiff_t>(count));
    oldest_ns_ = now_ns;
  }

 private:
  std::deque<std::string> records_;
  int64_t oldest_ns_ = 0;
};

}  // namespace rover
