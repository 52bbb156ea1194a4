// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include <doctest/doctest.h>

#if __has_include(<absl/status/statusor.h>)
#include <horus/absl.hpp>

using horus::Error;
using horus::Result;

TEST_CASE("a result becomes a status-or with its value or its message") {
  auto good = horus::to_status_or(Result<std::unique_ptr<int>>(std::make_unique<int>(7)));
  REQUIRE(good.ok());
  CHECK(**good == 7);
  const auto bad = horus::to_status_or(Result<int>(Error(ENOENT, "open", "/no/such")));
  CHECK(bad.status().code() == absl::StatusCode::kNotFound);
  CHECK(bad.status().message() == "open /no/such: no such file or directory (check the path)");
}

TEST_CASE("errors that errno has no number for find a canonical code too") {
  CHECK(horus::to_status(Result<>()).ok());
  CHECK(horus::to_status(Error(horus::kEndOfStream, "read")).code() == absl::StatusCode::kOutOfRange);
  CHECK(horus::to_status(Error(ECANCELED, "read")).code() == absl::StatusCode::kCancelled);
  CHECK(horus::to_status(Error(ETIMEDOUT, "read")).code() == absl::StatusCode::kDeadlineExceeded);
}
#endif
