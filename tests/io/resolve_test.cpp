// SPDX-License-Identifier: Apache-2.0
#include <horus/io/resolve.hpp>

#include <cerrno>
#include <string>

#include <doctest/doctest.h>

#include <horus/io/reactor.hpp>
#include <horus/io/thread_pool.hpp>

using horus::Task;
namespace io = horus::io;

TEST_CASE("a numeric address is its own answer and never reaches the pool") {
  auto body = []() -> Task<> {
    const std::size_t threads = io::ThreadPool::standard().threads();
    auto four = co_await io::resolve("127.0.0.1", 80);
    REQUIRE(four.ok());
    REQUIRE(four->size() == 1);
    CHECK((*four)[0] == io::Address::loopback_v4(80));
    auto six = co_await io::resolve("::1", 8080);
    REQUIRE(six.ok());
    CHECK((*six)[0] == io::Address::loopback_v6(8080));
    CHECK(io::ThreadPool::standard().threads() == threads);
  };
  io::run(body());
}

TEST_CASE("localhost is this machine, each address once, with the port that was asked for") {
  auto body = []() -> Task<> {
    auto found = co_await io::resolve("localhost", 4321);
    REQUIRE(found.ok());
    CHECK_FALSE(found->empty());
    for (std::size_t i = 0; i < found->size(); ++i) {
      const io::Address& one = (*found)[i];
      CHECK(one.is_ip());
      CHECK(one.port() == 4321);
      for (std::size_t j = 0; j < i; ++j) CHECK_FALSE((*found)[j] == one);
    }
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a name that does not exist is an error that names it and says what to do") {
  auto body = []() -> Task<> {
    auto none = co_await io::resolve("no-such-host.invalid", 80);
    REQUIRE_FALSE(none.ok());
    // Without any name server the resolver cannot even ask.
    CHECK((none.code() == horus::kNameNotFound || none.code() == horus::kResolverFailed));
    CHECK(none.error().message().find("no-such-host.invalid") != std::string::npos);
    auto empty = co_await io::resolve("", 80);
    CHECK(empty.code() == EINVAL);
    auto spaced = co_await io::resolve("not a name", 80);
    REQUIRE_FALSE(spaced.ok());
    CHECK((spaced.code() == horus::kNameNotFound || spaced.code() == horus::kResolverFailed));
  };
  io::run(body());
}
