// SPDX-License-Identifier: Apache-2.0
// For programs that speak Abseil: a Result as absl::StatusOr, an Error as absl::Status. Opt-in, link absl::statusor.
// Plain functions, any thread.
#pragma once

#include <cerrno>
#include <utility>

#include <absl/status/status.h>
#include <absl/status/statusor.h>

#include <horus/base/result.hpp>

namespace horus::HORUS_ABI {

/// The closest canonical code; the message is `error.message()`. absl::Status has no room for errno: keep the Error
/// where the number matters.
inline absl::Status to_status(const Error& error) {
  absl::StatusCode code;
  switch (error.code()) {
    case kEndOfStream: code = absl::StatusCode::kOutOfRange; break;
    case kChannelClosed: code = absl::StatusCode::kFailedPrecondition; break;
    case kNameNotFound: code = absl::StatusCode::kNotFound; break;
    case kResolverFailed: code = absl::StatusCode::kUnavailable; break;
    case kProcessFailed: code = absl::StatusCode::kAborted; break;
    case kBadConfiguration:
    case kBadInput: code = absl::StatusCode::kInvalidArgument; break;
    default: code = absl::ErrnoToStatusCode(error.code()); break;
  }
  return {code, error.message()};
}

inline absl::Status to_status(const Result<>& result) {
  return result.ok() ? absl::OkStatus() : to_status(result.error());
}

template <class T>
absl::StatusOr<T> to_status_or(Result<T> result) {
  if (!result.ok()) return to_status(result.error());
  return *std::move(result);
}

}  // namespace horus::HORUS_ABI
