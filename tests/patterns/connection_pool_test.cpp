// SPDX-License-Identifier: Apache-2.0
#include <horus/patterns/connection_pool.hpp>

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <horus/io/time.hpp>
#include <horus/task/scope.hpp>

#include "virtual_time.hpp"

using horus::Result;
using horus::Scope;
using horus::Task;
using horus::testing::in_virtual_time;
using namespace horus::literals;

namespace {

struct Connection {
  Connection(int id, int& count) : number(id), open(count) { ++open; }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { --open; }
  int number;
  int& open;
  bool well = true;
};

using Pool = horus::ConnectionPool<Connection>;

// A server that connections are made to.
struct Server {
  int made = 0;
  int open = 0;
  bool refuses = false;
  horus::Duration takes{0};

  Pool::Factory factory() {
    return [this]() -> Task<Result<Pool::Connection>> {
      auto connecting = connect();
      co_return co_await connecting;
    };
  }
  Task<Result<Pool::Connection>> connect() {
    if (takes > 0ns) co_await horus::sleep(takes);
    if (refuses) co_return horus::Error(ECONNREFUSED, "connect", "server");
    ++made;
    co_return std::make_unique<Connection>(made, open);
  }
};

Task<bool> look(Connection& connection) {
  co_await horus::sleep(1ms);
  if (connection.number == 13) throw std::runtime_error("no answer");
  co_return connection.well;
}

horus::ConnectionPoolOptions of_size(std::size_t connections, std::size_t waiters = 8) {
  horus::ConnectionPoolOptions options;
  options.max_connections = connections;
  options.max_waiters = waiters;
  return options;
}

}  // namespace

TEST_CASE("a connection is made when it is needed, kept, and lent again") {
  in_virtual_time([]() -> Task<> {
    Server server;
    Pool pool(server.factory(), of_size(2));
    CHECK(server.made == 0);
    {
      auto first = (co_await pool.acquire()).or_throw();
      auto second = (co_await pool.acquire()).or_throw();
      CHECK(first->number == 1);
      CHECK((*second).number == 2);
      CHECK(pool.stats().leased == 2);
    }
    CHECK(pool.stats().idle == 2);
    auto again = (co_await pool.acquire()).or_throw();
    CHECK(again->number == 1);  // the last one given back
    again.release();
    CHECK_FALSE(static_cast<bool>(again));
    CHECK(pool.stats().leased == 0);
    CHECK(pool.stats().created == 2);
    CHECK(pool.stats().reused == 1);
    CHECK(pool.stats().acquired == 3);
    pool.close();
    CHECK(server.open == 0);
  });
}

TEST_CASE("waiters get connections first come, first served") {
  in_virtual_time([]() -> Task<> {
    Server server;
    Pool pool(server.factory(), of_size(1));
    std::vector<int> order;
    auto use = [&](int id) -> Task<> {
      auto lease = (co_await pool.acquire()).or_throw();
      order.push_back(id);
      co_await horus::sleep(10ms);
    };
    Scope scope;
    for (int id = 0; id < 5; ++id) static_cast<void>(scope.spawn(use(id)));
    co_await scope.join();
    CHECK(order == std::vector<int>{0, 1, 2, 3, 4});
    CHECK(server.made == 1);
    CHECK(pool.stats().waiting_high_water == 4);
  });
}

TEST_CASE("a connection that is no longer well is dropped, and another one taken") {
  in_virtual_time([]() -> Task<> {
    Server server;
    server.made = 11;
    Pool pool(server.factory(), of_size(3), look);
    {
      auto a = (co_await pool.acquire()).or_throw();
      auto b = (co_await pool.acquire()).or_throw();  // 13: its check throws
      auto c = (co_await pool.acquire()).or_throw();
      c->well = false;
    }
    CHECK(pool.stats().idle == 3);
    auto held = (co_await pool.acquire()).or_throw();
    CHECK(held->number == 12);
    auto fresh = (co_await pool.acquire()).or_throw();
    auto another = (co_await pool.acquire()).or_throw();
    CHECK(fresh->number + another->number == 15 + 16);
    CHECK(pool.stats().failed_checks == 2);
    CHECK(server.open == 3);
  });
}

TEST_CASE("a discarded connection makes room for a new one") {
  in_virtual_time([]() -> Task<> {
    Server server;
    Pool pool(server.factory(), of_size(1));
    auto lease = (co_await pool.acquire()).or_throw();
    lease.discard();
    CHECK(server.open == 0);
    CHECK(pool.stats().leased == 0);
    auto next = (co_await pool.acquire()).or_throw();
    CHECK(next->number == 2);
    CHECK(pool.stats().discarded == 1);
  });
}

TEST_CASE("a factory that fails gives its error and keeps no place") {
  in_virtual_time([]() -> Task<> {
    Server server;
    server.refuses = true;
    Pool pool(server.factory(), of_size(1));
    for (int i = 0; i < 3; ++i) {
      auto lease = co_await pool.acquire();
      CHECK(lease.code() == ECONNREFUSED);
    }
    CHECK(pool.stats().failed_creations == 3);
    CHECK(pool.stats().leased == 0);
    server.refuses = false;
    auto lease = co_await pool.acquire();
    CHECK(lease.ok());
  });
}

TEST_CASE("a factory that throws, or gives nothing, keeps no place either") {
  in_virtual_time([]() -> Task<> {
    int calls = 0;
    auto make = [&]() -> Task<Result<Pool::Connection>> {
      if (++calls == 1) throw std::runtime_error("bug");
      if (calls == 2) throw horus::Error(EHOSTUNREACH, "connect", "server");
      co_return Pool::Connection();
    };
    Pool pool(make, of_size(1));
    bool thrown = false;
    try {
      auto lease = co_await pool.acquire();
      CHECK_FALSE(lease.ok());
    } catch (const std::runtime_error&) {
      thrown = true;
    }
    CHECK(thrown);
    auto unreachable = co_await pool.acquire();
    CHECK(unreachable.code() == EHOSTUNREACH);
    auto nothing = co_await pool.acquire();
    CHECK(nothing.code() == EINVAL);
    CHECK(pool.stats().failed_creations == 3);
    CHECK(pool.stats().leased == 0);
  });
}

TEST_CASE("a call that waits too long gives up its place in the queue") {
  in_virtual_time([]() -> Task<> {
    Server server;
    Pool pool(server.factory(), of_size(1));
    auto held = (co_await pool.acquire()).or_throw();
    auto late = co_await pool.acquire(50ms);
    CHECK(late.code() == ETIMEDOUT);
    CHECK(late.error().message() ==
          "acquire a connection connections (all are in use, or making one takes long): timed out");
    CHECK(pool.stats().waiting == 0);
    CHECK(pool.stats().timeouts == 1);
    held.release();
    auto next = co_await pool.acquire(50ms);
    CHECK(next.ok());
  });
}

TEST_CASE("a waiter that is stopped loses nothing, whenever that happens") {
  in_virtual_time([]() -> Task<> {
    // At each step of the way: waiting for a place, having just got it, checking, making a connection.
    for (int step = 0; step < 12; ++step) {
      Server server;
      server.takes = 2ms;
      Pool pool(server.factory(), of_size(1), look);
      auto use = [&]() -> Task<int> {
        auto lease = co_await pool.acquire();
        co_return lease.code();
      };
      Scope scope;
      auto held = (co_await pool.acquire()).or_throw();
      auto stopped = scope.spawn(use());
      auto other = scope.spawn(use());
      co_await horus::yield();
      if (step % 3 == 1) held.discard();
      if (step % 3 == 2) held.release();
      for (int i = 0; i < step / 3; ++i) co_await horus::sleep(700us);
      stopped.cancel();
      if (held) held.release();
      const int other_code = co_await other;
      const int stopped_code = co_await stopped;
      CHECK(other_code == 0);
      CHECK((stopped_code == 0 || stopped_code == ECANCELED));
      CHECK(pool.stats().leased == 0);
      CHECK(pool.stats().waiting == 0);
      CHECK(pool.stats().idle == 1);
      CHECK(server.open == 1);
      co_await scope.join();
    }
  });
}

TEST_CASE("too many waiters are refused") {
  in_virtual_time([]() -> Task<> {
    Server server;
    Pool pool(server.factory(), of_size(1, 1));
    auto held = (co_await pool.acquire()).or_throw();
    auto use = [&]() -> Task<> {
      auto lease = co_await pool.acquire();
      CHECK(lease.ok());
    };
    Scope scope;
    static_cast<void>(scope.spawn(use()));
    co_await horus::yield();
    auto refused = co_await pool.acquire();
    CHECK(refused.code() == EAGAIN);
    CHECK(pool.stats().refused == 1);
    held.release();
    co_await scope.join();
  });
}

TEST_CASE("a closed pool ends its waits and closes what comes back") {
  in_virtual_time([]() -> Task<> {
    Server server;
    std::optional<Pool> pool;
    pool.emplace(server.factory(), of_size(1));
    auto held = (co_await pool->acquire()).or_throw();
    auto use = [&]() -> Task<int> {
      auto lease = co_await pool->acquire();
      co_return lease.code();
    };
    Scope scope;
    auto waiting = scope.spawn(use());
    co_await horus::yield();
    pool->close();
    const int code = co_await waiting;
    CHECK(code == horus::kChannelClosed);
    auto refused = co_await pool->acquire();
    CHECK(refused.code() == horus::kChannelClosed);
    pool.reset();
    CHECK(held->number == 1);  // a lease outlives its pool
    held.release();
    CHECK(server.open == 0);
    co_await scope.join();
  });
}

TEST_CASE("a pool that closes while a connection is made lends it to nobody") {
  in_virtual_time([]() -> Task<> {
    Server server;
    server.takes = 10ms;
    Pool pool(server.factory(), of_size(1));
    auto use = [&]() -> Task<int> {
      auto lease = co_await pool.acquire();
      co_return lease.code();
    };
    Scope scope;
    auto making = scope.spawn(use());
    co_await horus::sleep(5ms);
    pool.close();
    const int code = co_await making;
    CHECK(code == horus::kChannelClosed);
    CHECK(server.made == 1);
    CHECK(server.open == 0);
    co_await scope.join();
  });
}

TEST_CASE("a pool needs a factory and room for a connection") {
  Server server;
  const Pool::Factory none;
  CHECK_THROWS_WITH(
      Pool(none, of_size(1)),
      "make a connection pool connections (it needs a factory that connects): invalid argument");
  CHECK_THROWS_AS(Pool(server.factory(), of_size(0)), horus::Error);
}
