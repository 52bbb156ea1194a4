// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <horus/task/channel.hpp>
#include <horus/task/event.hpp>
#include <horus/task/run_ready.hpp>
#include <horus/task/scope.hpp>

using horus::Channel;
using horus::Scope;
using horus::sync_await;
using horus::Task;

TEST_CASE("Event::set resumes its waiters through the ready list, in order") {
  horus::ReadyScope ready;
  horus::Event event;
  std::vector<int> order;
  auto wait = [&](int n) -> Task<> {
    co_await event;
    order.push_back(n);
  };
  horus::RootChain<void> a(wait(1));
  horus::RootChain<void> b(wait(2));
  a.start();
  b.start();
  event.set();
  CHECK(order.empty());
  ready.run_until_idle();
  CHECK(order == std::vector<int>{1, 2});
}

TEST_CASE("a semaphore hands its permits to waiters first come, first served") {
  auto body = []() -> Task<> {
    horus::Semaphore semaphore(1);
    std::vector<int> order;
    auto use = [&](int n) -> Task<> {
      co_await semaphore.acquire();
      order.push_back(n);
      co_await horus::yield();
      semaphore.release();
    };
    Scope scope;
    for (int i = 0; i < 4; ++i) static_cast<void>(scope.spawn(use(i)));
    co_await scope.join();
    CHECK(order == std::vector<int>{0, 1, 2, 3});
    CHECK(semaphore.available() == 1);
  };
  sync_await(body());
}

TEST_CASE("a mutex excludes across awaits") {
  auto body = []() -> Task<> {
    horus::Mutex mutex;
    int inside = 0;
    auto use = [&]() -> Task<> {
      auto lock = co_await mutex.lock();
      CHECK(++inside == 1);
      co_await horus::yield();
      --inside;
    };
    Scope scope;
    for (int i = 0; i < 3; ++i) static_cast<void>(scope.spawn(use()));
    co_await scope.join();
  };
  sync_await(body());
}

TEST_CASE("a cancelled waiter of a mutex takes nothing and the next one gets it") {
  auto body = []() -> Task<> {
    horus::Mutex mutex;
    bool got = false;
    auto use = [&]() -> Task<> {
      auto lock = co_await mutex.lock();
      got = true;
    };
    Scope scope;
    auto lock = co_await mutex.lock();
    auto first = scope.spawn(use());
    auto second = scope.spawn(use());
    co_await horus::yield();
    first.cancel();
    lock.unlock();
    co_await second;
    CHECK(got);
    CHECK(first.state() == horus::TaskState::cancelled);
    co_await scope.join();
  };
  sync_await(body());
}

TEST_CASE("a channel keeps order, blocks senders when full and ends after close") {
  auto body = []() -> Task<> {
    Channel<int> channel(2);
    int sent = 0;
    auto produce = [&]() -> Task<> {
      for (int i = 0; i < 10; ++i) {
        auto result = co_await channel.send(i);
        CHECK(result.ok());
        ++sent;
      }
      channel.close();
    };
    Scope scope;
    static_cast<void>(scope.spawn(produce()));
    co_await horus::yield();
    CHECK(sent == 2);
    std::vector<int> seen;
    while (true) {
      auto value = co_await channel.recv();
      if (!value) {
        CHECK(value.code() == horus::kChannelClosed);
        break;
      }
      seen.push_back(*value);
    }
    CHECK(seen == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
    auto late = co_await channel.send(1);
    CHECK(late.code() == horus::kChannelClosed);
    CHECK_FALSE(channel.try_send(1));
    co_await scope.join();
  };
  sync_await(body());
}

TEST_CASE("closing a channel wakes waiting receivers and senders") {
  auto body = []() -> Task<> {
    Channel<std::unique_ptr<int>> empty(1);
    Channel<int> full(1);
    CHECK(full.try_send(1));
    Scope scope;
    auto receive = [&]() -> Task<int> {
      auto value = co_await empty.recv();
      co_return value.code();
    };
    auto send = [&]() -> Task<int> {
      auto value = co_await full.send(2);
      co_return value.code();
    };
    auto receiver = scope.spawn(receive());
    auto sender = scope.spawn(send());
    co_await horus::yield();
    empty.close();
    full.close();
    co_await scope.join();
    CHECK(receiver.take() == horus::kChannelClosed);
    CHECK(sender.take() == horus::kChannelClosed);
    CHECK(full.try_recv() == 1);
  };
  sync_await(body());
}

TEST_CASE("a receiver that is cancelled after its value arrived still gets it") {
  auto body = []() -> Task<> {
    Channel<int> channel(1);
    Scope scope;
    auto receive = [&]() -> Task<int> {
      auto value = co_await channel.recv();
      co_return value ? *value : -1;
    };
    auto receiver = scope.spawn(receive());
    co_await horus::yield();
    CHECK(channel.try_send(7));
    receiver.cancel();
    co_await scope.join();
    CHECK(receiver.take() == 7);
  };
  sync_await(body());
}

TEST_CASE("a task can ask whether it should stop") {
  horus::ReadyScope ready;
  bool saw = false;
  auto compute = [&]() -> Task<> {
    while (true) {
      saw = co_await horus::stop_requested();
      if (saw) break;
      co_await horus::yield();
    }
  };
  horus::RootChain<void> root(compute());
  root.start();
  root.request_stop();
  ready.run_until_idle();
  CHECK(root.done());
  CHECK(saw);
}
