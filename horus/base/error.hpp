// SPDX-License-Identifier: Apache-2.0
// A failure as a value: the operation, its target, the errno, and advice for a person.
// An Error may be copied and read on any thread.
#pragma once

#include <atomic>
#include <exception>
#include <string>
#include <string_view>

#include <horus/base/export.hpp>

namespace horus::HORUS_ABI {

/// Failures without an errno of their own. They share one number space with errno: `Error::code()` is either an errno
/// (below 4096) or one of these.
enum Condition : int {
  kEndOfStream = 4096,     ///< the peer closed its side; every byte before it has been delivered
  kChannelClosed = 4097,   ///< the channel or queue is closed and empty
  kNameNotFound = 4098,    ///< the resolver knows no such host or service
  kResolverFailed = 4099,  ///< the resolver could not be asked
  kProcessFailed = 4100,   ///< a child process ended with a non-zero status or by a signal
  kBadInput = 4101,        ///< the input does not follow its format
  kTypeMismatch = 4102,    ///< the two ends of a topic disagree about the type of its messages
  /// A configuration file is wrong; the target gives file, line, key and the problem.
  kBadConfiguration = 4103,
  kUntrusted = 4104,  ///< the peer of an encrypted connection did not prove who it is
  /// An encrypted connection ended without its peer's farewell: bytes may be missing.
  kTruncated = 4105,
};

/// A failure: errno or Condition, the attempted operation ("connect") and its target ("127.0.0.1:9000").
///
/// It is a value inside Result<T>, and the exception that `or_throw()` throws. `message()` and `what()` read
/// `connect 127.0.0.1:9000: connection refused (is the server running, and listening there?)`.
/// 32 bytes; building one without a target allocates nothing.
class HORUS_API Error : public std::exception {
 public:
  Error() noexcept = default;
  /// `operation` must be a string literal (it is kept by pointer).
  explicit Error(int code, const char* operation = "") noexcept : code_(code), operation_(operation) {}
  Error(int code, const char* operation, std::string_view target);
  Error(const Error& other) noexcept;
  Error(Error&& other) noexcept;
  Error& operator=(const Error& other) noexcept;
  Error& operator=(Error&& other) noexcept;
  ~Error() override;

  /// errno, or a Condition. 0 never occurs in a Result that failed.
  [[nodiscard]] int code() const noexcept { return code_; }
  [[nodiscard]] const char* operation() const noexcept { return operation_; }
  /// The target of the operation; empty when it was not recorded.
  [[nodiscard]] std::string_view target() const noexcept;

  /// What with_detail() has added; empty: nothing.
  [[nodiscard]] std::string_view detail() const noexcept;

  [[nodiscard]] bool cancelled() const noexcept;  ///< ECANCELED: this task was asked to stop
  [[nodiscard]] bool timed_out() const noexcept;  ///< ETIMEDOUT
  [[nodiscard]] bool end_of_stream() const noexcept { return code_ == kEndOfStream; }

  /// One line for a person: operation, target, cause, and advice where there is any.
  [[nodiscard]] std::string message() const;
  /// The same line; it lives as long as this Error.
  [[nodiscard]] const char* what() const noexcept override;

  /// The same failure with the operation and target of a caller that knows more.
  [[nodiscard]] Error on(const char* operation, std::string_view target) const;
  /// The same failure with more about its cause, for a person: "timed out" becomes "timed out after 1 s". It replaces
  /// the general advice for the code.
  [[nodiscard]] Error with_detail(std::string_view detail) const;

 private:
  struct Text;
  int code_ = 0;
  const char* operation_ = "";
  mutable std::atomic<Text*> text_{nullptr};
};

/// The text for a code: "connection refused", "end of stream".
HORUS_API std::string describe_code(int code);

}  // namespace horus::HORUS_ABI
