// SPDX-License-Identifier: Apache-2.0
// What latest() gives when several publishers send: the newest message of those that live.
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <type_traits>

#include <doctest/doctest.h>

#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/hub.hpp>

#include "../support/eventually.hpp"

namespace {

using namespace std::chrono_literals;
using horus::Hub;
using horus::SubscribeOptions;
using horus::Task;
using horus::testing::eventually;

// One that travels in its queue's entry, and one that lies in the publisher's memory.
struct Order {
  std::int64_t number = 0;
};
struct Plan {
  std::int64_t number = 0;
  double points[60] = {};
};

template <class Message>
std::int64_t newest_of(horus::Subscriber<Message>& in) {
  const auto* sample = in.latest();
  return sample == nullptr ? -1 : (*sample)->number;
}

template <class Message>
Message numbered(std::int64_t number) {
  Message message;
  message.number = number;
  return message;
}

// Publishers on `first` and `second`, of which now the one and now the other sends last and goes.
template <class Message>
Task<> publishers_go(const Hub& first, const Hub& second, const Hub& here, SubscribeOptions options) {
  const std::string topic = std::is_same_v<Message, Order> ? "orders" : "plans";
  auto in = here.subscribe<Message>(topic, options);
  std::optional one(first.template advertise<Message>(topic));
  std::optional other(second.template advertise<Message>(topic));
  const auto comes = [&](std::int64_t number) {
    return eventually([&in, number] { return newest_of(in) == number; });
  };
  const bool met = co_await eventually([&] { return one->subscribers() == 1 && other->subscribers() == 1; });
  REQUIRE(met);
  std::int64_t number = 0;
  for (int round = 0; round < 3; ++round) {
    one->send(numbered<Message>(++number));
    bool came = co_await comes(number);
    CHECK(came);
    co_await horus::sleep(2ms);
    other->send(numbered<Message>(++number));
    came = co_await comes(number);
    CHECK(came);
    other.reset();
    came = co_await comes(number - 1);
    CHECK(came);
    other.emplace(second.template advertise<Message>(topic));
    const bool again = co_await eventually([&] { return other->subscribers() == 1; });
    CHECK(again);
    CHECK(newest_of(in) == number - 1);
  }
  one->send(numbered<Message>(++number));
  const bool last = co_await comes(number);
  CHECK(last);
  one.reset();
  other.reset();
  const bool nobody = co_await comes(-1);
  CHECK(nobody);
}

TEST_SUITE("msg/latest") {
  TEST_CASE("when the publisher that sent last goes, latest gives the newest message of the others") {
    for (const std::uint32_t held : {1, 8}) {
      CAPTURE(held);
      horus::io::run([&]() -> Task<> {
        const Hub hub;
        co_await publishers_go<Order>(hub, hub, hub, SubscribeOptions().with_max_held(held));
        co_await publishers_go<Plan>(hub, hub, hub, SubscribeOptions().with_max_held(held));
      });
    }
  }

  TEST_CASE("the same between processes that share memory") {
    std::string folder = "/tmp/horus-latest-XXXXXX";
    REQUIRE(::mkdtemp(folder.data()) != nullptr);
    for (const std::uint32_t held : {1, 8}) {
      CAPTURE(held);
      horus::io::run([&]() -> Task<> {
        const auto hub = [&] {
          return Hub::shm("robot", horus::ShmOptions().with_directory(folder)).or_throw();
        };
        const Hub one = hub(), other = hub(), here = hub();
        co_await publishers_go<Order>(one, other, here, SubscribeOptions().with_max_held(held));
        co_await publishers_go<Plan>(one, other, here, SubscribeOptions().with_max_held(held));
      });
    }
    std::filesystem::remove_all(folder);
  }

  TEST_CASE("the same over TCP") {
    for (const std::uint32_t held : {1, 8}) {
      CAPTURE(held);
      horus::io::run([&]() -> Task<> {
        const Hub here =
            Hub::tcp("127.0.0.1:0", "here", horus::TcpHubOptions().with_role(horus::TcpRole::listen))
                .or_throw();
        const auto far = horus::TcpHubOptions().with_role(horus::TcpRole::connect);
        const Hub one = Hub::tcp(here.address(), "one", far).or_throw();
        const Hub other = Hub::tcp(here.address(), "other", far).or_throw();
        co_await publishers_go<Order>(one, other, here, SubscribeOptions().with_max_held(held));
        co_await publishers_go<Plan>(one, other, here, SubscribeOptions().with_max_held(held));
      });
    }
  }

  TEST_CASE("what is kept in an emergency is the newest of all, and nothing else is held for it") {
    horus::io::run([&]() -> Task<> {
      const Hub hub;
      auto in = hub.subscribe<Plan>("n", SubscribeOptions().with_keep_in_emergency());
      for (std::int64_t i = 1; i <= 50; ++i) {
        auto out = hub.advertise<Plan>("n");
        out.send(numbered<Plan>(i));
        CHECK(newest_of(in) == i);
      }
      CHECK(newest_of(in) == 50);
      CHECK(in.publishers() == 0);
      co_return;
    });
  }
}

}  // namespace
