// SPDX-License-Identifier: Apache-2.0
// The failure of one item among many, and a log that a flood of failures cannot fill. One thread.
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <utility>

#include <horus/base/export.hpp>
#include <horus/base/quiet_log.hpp>
#include <horus/base/result.hpp>

namespace horus::HORUS_ABI {

/// The failure of one item, batch or task: as text, and as the exception. A failed Result is kept as its Error.
struct HORUS_API Failure {
  std::string text;              ///< one line for a person
  std::exception_ptr exception;  ///< the exception
  int code = 0;  ///< errno or Condition of a horus::Error; 0: another exception, which is a bug

  Failure() = default;
  explicit Failure(std::exception_ptr thrown);
  explicit Failure(const Error& error);

  /// ECANCELED: the task was asked to stop.
  [[nodiscard]] bool cancelled() const noexcept;
  /// An expected failure as an Error; any other exception is rethrown.
  [[nodiscard]] Error or_rethrow() const;
};

namespace detail {

// Counts failures and logs the first, then at most one line per second.
class HORUS_API FailureLog {
 public:
  // "name: what failed: text"
  void report(const std::string& name, const char* what, const Failure& failure) noexcept;
  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  [[nodiscard]] const std::string& last() const noexcept { return last_; }

 private:
  std::uint64_t count_ = 0;
  QuietLog log_;
  std::string last_;
};

}  // namespace detail
}  // namespace horus::HORUS_ABI
