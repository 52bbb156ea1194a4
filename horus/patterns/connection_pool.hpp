// SPDX-License-Identifier: Apache-2.0
// ConnectionPool<T>: a few connections that many tasks share; a task has one to itself while it holds the lease. One
// reactor's thread. Pool, leases and running acquire() calls share the ownership of the connections; the last one
// frees them.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <horus/base/assert.hpp>
#include <horus/base/result.hpp>
#include <horus/io/time.hpp>
#include <horus/patterns/bounded_semaphore.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI {

struct ConnectionPoolOptions {
  std::string name = "connections";  ///< for errors
  std::size_t max_connections = 8;   ///< 1 or more; open at once, idle ones included
  std::size_t max_waiters = 256;     ///< tasks that may wait for a connection
};

/// A snapshot of a ConnectionPool. The counts are since its construction.
struct ConnectionPoolStatistics {
  std::size_t idle = 0;    ///< open and not lent
  std::size_t leased = 0;  ///< lent, or being opened or checked for a borrower
  std::size_t waiting = 0;
  std::size_t waiting_high_water = 0;
  std::uint64_t acquired = 0;  ///< leases given
  std::uint64_t created = 0;   ///< connections that the factory made
  std::uint64_t reused = 0;    ///< leases of an existing connection
  std::uint64_t failed_creations = 0;
  std::uint64_t failed_checks = 0;  ///< connections dropped because their health check failed
  std::uint64_t discarded = 0;      ///< connections that their leases discarded
  std::uint64_t refused = 0;        ///< calls refused because too many were waiting, or the pool was closed
  std::uint64_t timeouts = 0;
  std::uint64_t cancelled = 0;  ///< acquire() calls that were asked to stop
};

/// Lends connections: `auto lease = (co_await pool.acquire(1s)).or_throw();  co_await lease->query(…);`
///
/// Semantics: `factory` opens connections when they are needed, and they are kept when their lease ends; the last one
/// used is lent first. `check` may test a connection before it is lent again: a broken one is dropped, and the next
/// one is tried or a new one opened. Waiters are served first come, first served. A call that is stopped or late
/// gives its place to the next. A health check that is stopped half-way drops its connection. `close()` ends all
/// waits and closes idle connections, and leased ones when their lease ends; the destructor closes.
/// Errors: the constructor throws Error(EINVAL) for an empty factory and for 0 connections. `acquire`: the factory's
/// error, EAGAIN (`max_waiters` wait already), ETIMEDOUT, kChannelClosed (the pool was closed), ECANCELED. An
/// exception of the factory that is no horus::Error is rethrown; a check that throws counts as a broken connection.
/// Thread safety: one reactor's thread. What `factory` and `check` refer to must live as long as calls run.
/// Example: examples/connection_pool.
template <class T>
class ConnectionPool {
  struct Core;

 public:
  using Connection = std::unique_ptr<T>;
  using Factory = std::function<Task<Result<Connection>>()>;
  using HealthCheck = std::function<Task<bool>(T&)>;

  /// A connection that belongs to the holder until the lease is destroyed or moved away.
  class [[nodiscard]] Lease {
   public:
    Lease() noexcept = default;
    Lease(Lease&& other) noexcept
        : core_(std::move(other.core_)), connection_(std::move(other.connection_)) {}
    Lease& operator=(Lease&& other) noexcept {
      std::swap(core_, other.core_);
      std::swap(connection_, other.connection_);
      return *this;
    }
    ~Lease() { release(); }

    explicit operator bool() const noexcept { return connection_ != nullptr; }
    T& operator*() const noexcept { return checked(); }
    T* operator->() const noexcept { return &checked(); }
    /// Returns the connection now.
    void release() noexcept {
      if (core_ != nullptr) std::exchange(core_, nullptr)->give_back(std::move(connection_));
    }
    /// Drops the connection instead, because it is broken or in a state that no other user should get.
    void discard() noexcept {
      if (core_ == nullptr) return;
      ++core_->statistics.discarded;
      connection_.reset();
      release();
    }

   private:
    friend class ConnectionPool;
    Lease(std::shared_ptr<Core> core, Connection connection) noexcept
        : core_(std::move(core)), connection_(std::move(connection)) {}
    T& checked() const noexcept {
      HORUS_ASSERT(connection_ != nullptr,
                   "a lease was used that holds no connection (released, or moved from?)");
      return *connection_;
    }
    std::shared_ptr<Core> core_;
    Connection connection_;
  };

  explicit ConnectionPool(Factory factory, ConnectionPoolOptions options = {}, HealthCheck check = {}) {
    if (!factory)
      throw Error(EINVAL, "make a connection pool", options.name + " (it needs a factory that connects)");
    if (options.max_connections == 0)
      throw Error(EINVAL, "make a connection pool", options.name + " (max_connections: 1 or more)");
    core_ = std::make_shared<Core>(std::move(factory), std::move(options), std::move(check));
  }
  ConnectionPool(const ConnectionPool&) = delete;
  ConnectionPool& operator=(const ConnectionPool&) = delete;
  ~ConnectionPool() { close(); }

  /// A connection within `timeout`, which covers the wait for a place, the check and the opening.
  [[nodiscard]] Task<Result<Lease>> acquire(Duration timeout = Duration::max()) {
    return acquire_from(core_, timeout);
  }
  /// Ends all waits with kChannelClosed and lends no more connections.
  void close() noexcept {
    core_->places.close();
    core_->idle.clear();
  }
  [[nodiscard]] bool closed() const noexcept { return core_->places.closed(); }

  [[nodiscard]] ConnectionPoolStatistics stats() const noexcept {
    ConnectionPoolStatistics statistics = core_->statistics;
    statistics.idle = core_->idle.size();
    statistics.leased = core_->options.max_connections - core_->places.available();
    statistics.waiting = core_->places.waiting();
    statistics.waiting_high_water = core_->places.waiting_high_water();
    return statistics;
  }

 private:
  struct Core {
    Core(Factory make, ConnectionPoolOptions given, HealthCheck look)
        : factory(std::move(make)),
          options(std::move(given)),
          check(std::move(look)),
          places(options.max_connections, options.max_waiters) {
      idle.reserve(options.max_connections);
    }
    // Ends a lease, or the making of one; `connection` may be null.
    void give_back(Connection connection) noexcept {
      if (connection != nullptr && !places.closed()) idle.push_back(std::move(connection));
      places.release();
    }
    [[nodiscard]] Error error(int code, const char* more = "") const {
      return {code, "acquire a connection", options.name + more};
    }

    Factory factory;
    ConnectionPoolOptions options;
    HealthCheck check;
    detail::BoundedSemaphore places;  // a place is the right to hold a connection
    std::vector<Connection> idle;     // never more than there are free places
    ConnectionPoolStatistics statistics;
  };

  static Task<Result<Lease>> acquire_from(std::shared_ptr<Core> core, Duration timeout) {
    auto taking = take(core);
    Result<Lease> lease = Lease();
    const std::int64_t limit_ns = saturating_add(horus::now_ns(), timeout.count());
    if (timeout == Duration::max()) {
      lease = co_await taking;
    } else {
      lease = co_await with_timeout(timeout, std::move(taking));
    }
    ConnectionPoolStatistics& statistics = core->statistics;
    if (lease) {
      ++statistics.acquired;
    } else if (lease.error().timed_out() && horus::now_ns() >= limit_ns) {
      ++statistics.timeouts;
      co_return core->error(ETIMEDOUT, " (all are in use, or making one takes long)");
    } else if (lease.error().cancelled()) {
      ++statistics.cancelled;
    }
    co_return lease;
  }

  static Task<Result<Lease>> take(std::shared_ptr<Core> core) {
    auto admitted = co_await core->places.acquire();
    if (!admitted) {
      const int code = admitted.code();
      if (code != ECANCELED) ++core->statistics.refused;
      co_return core->error(code, code == EAGAIN ? " (as many wait already as may)" : "");
    }
    Lease lease(core, nullptr);  // holds the place; whatever happens gives it back
    const bool stopped = co_await stop_requested();
    if (stopped) co_return core->error(ECANCELED);
    while (!core->idle.empty()) {
      lease.connection_ = std::move(core->idle.back());
      core->idle.pop_back();
      bool well = true;
      if (core->check) {
        try {
          auto checking = core->check(*lease.connection_);
          well = co_await checking;
        } catch (...) {
          well = false;
        }
      }
      if (core->places.closed()) co_return core->error(kChannelClosed);
      if (well) {
        ++core->statistics.reused;
        co_return lease;
      }
      lease.connection_.reset();
      const bool stopping = co_await stop_requested();
      if (stopping) co_return core->error(ECANCELED);
      ++core->statistics.failed_checks;
    }
    Result<Connection> made = Connection();
    try {
      auto making = core->factory();
      made = co_await making;
    } catch (const Error& error) {
      made = error;
    } catch (...) {
      ++core->statistics.failed_creations;
      throw;
    }
    if (made && *made == nullptr)
      made = Error(EINVAL, "make a connection", core->options.name + " (the factory gave a null pointer)");
    if (!made) {
      if (!made.error().cancelled()) ++core->statistics.failed_creations;
      co_return made.error();
    }
    ++core->statistics.created;
    if (core->places.closed()) co_return core->error(kChannelClosed);
    lease.connection_ = *std::move(made);
    co_return lease;
  }

  std::shared_ptr<Core> core_;
};

}  // namespace horus::HORUS_ABI
