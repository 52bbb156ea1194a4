// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <string>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>
#include <horus/base/result.hpp>

using horus::Error;
using horus::Result;

TEST_CASE("an error says what was tried, on what, what happened and what to do") {
  const Error error(ECONNREFUSED, "connect", "127.0.0.1:9000");
  CHECK(error.message() ==
        "connect 127.0.0.1:9000: connection refused (is the server running, and listening there?)");
  CHECK(std::string(error.what()) == error.message());
  CHECK(error.code() == ECONNREFUSED);
  CHECK(error.target() == "127.0.0.1:9000");
}

TEST_CASE("an error without a target still reads as a sentence") {
  CHECK(Error(horus::kEndOfStream, "read").message() == "read: end of stream");
  CHECK(Error(ECANCELED).message() == "cancelled");
}

TEST_CASE("copies of an error share their text and survive each other") {
  auto* first = new Error(ENOENT, "open", "/no/such");
  Error second = *first;
  Error third(1);
  third = second;
  delete first;
  second = Error(EIO, "read");
  CHECK(third.message() == "open /no/such: no such file or directory (check the path)");
  CHECK(std::string(second.what()) == "read: input/output error");
}

TEST_CASE("a result is a value or an error") {
  Result<std::string> good = std::string("hello");
  REQUIRE(good.ok());
  CHECK(*good == "hello");
  CHECK(good->size() == 5);
  CHECK(std::move(good).or_throw() == "hello");
  Result<std::string> bad = Error(EIO, "read", "disk");
  CHECK_FALSE(bad);
  CHECK(bad.code() == EIO);
  CHECK_THROWS_AS(bad.value(), Error);
  Result<std::string> copy = bad;
  copy = std::string("now good");
  CHECK(copy.ok());
  CHECK(std::move(bad).value_or("fallback") == "fallback");
}

TEST_CASE("a void result carries only success or failure") {
  Result<> good;
  CHECK(good.ok());
  Result<> bad = Error(EPIPE, "write");
  CHECK(bad.code() == EPIPE);
  good = bad;
  CHECK(good.error().code() == EPIPE);
  CHECK_THROWS_AS(std::move(bad).or_throw(), Error);
}

TEST_CASE("log lines go to the sink at and above the level") {
  std::string seen;
  auto previous = horus::set_log_sink([&](horus::LogLevel, std::string_view line) { seen += line; });
  horus::set_log_level(horus::LogLevel::warning);
  horus::log_info("quiet");
  horus::log_warning("loud");
  horus::set_log_level(horus::LogLevel::info);
  horus::set_log_sink(std::move(previous));
  CHECK(seen == "loud");
}
