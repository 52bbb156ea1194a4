// SPDX-License-Identifier: Apache-2.0
// The fast way to serve many connections. ChunkReader receives into a shared BufferPool with one multishot entry.
// ChunkWriter sends chunks in the background while the coroutine continues. One thread. Neither owns the descriptor.
#pragma once

#include <horus/base/compiler.hpp>

#include <cerrno>
#include <coroutine>
#include <cstdint>
#include <utility>

#include <horus/base/result.hpp>
#include <horus/io/base/owner_thread.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/stream/buffer_pool.hpp>

namespace horus::HORUS_ABI::io {

/// Receives a socket's bytes as chunks of a pool: one submission serves many arrivals.
///
/// Semantics: an idle reader holds no buffer. When the pool is empty, receiving pauses until a chunk is returned
/// (back-pressure); nothing is lost. Do not read from the socket in any other way meanwhile.
/// Errors of next(): kEndOfStream, ECONNRESET and the like, ECANCELED; after an error every later call gives the same
/// error.
/// Thread safety: the thread that made it. Source: io_uring_prep_recv_multishot(3).
/// Example:
/// ```
/// horus::io::ChunkReader reader(stream.fd(), pool);
/// auto chunk = co_await reader.next();
/// ```
class HORUS_API ChunkReader {
 public:
  ChunkReader(int fd, BufferPool& pool);
  ChunkReader(ChunkReader&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  ChunkReader& operator=(ChunkReader&& other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  /// Stops receiving; chunks that have arrived and were not taken are dropped.
  ~ChunkReader();

 private:
  struct State final : CompletionHandler, Starved, Timer {
    State(int descriptor, BufferPool& buffers) noexcept;
    static void* operator new(std::size_t size) { return horus::detail::allocate_frame(size); }
    static void operator delete(void* state, std::size_t size) noexcept {
      horus::detail::free_frame(state, size);
    }
    void arm() noexcept;
    void buffer_available() noexcept override;
    void completed(std::int32_t result, std::uint32_t flags) noexcept;
    void drop_arrived() noexcept;
    void rest() noexcept;

    BufferPool& pool;
    FilledList arrived;
    Waiter* waiter = nullptr;
    detail::OwnerThread owner;
    int fd;
    int error = 0;  // once set, the stream has ended
    bool armed = false;
    bool abandoned = false;
    std::uint32_t refusals = 0;  // ENOBUFS in a row although the pool has buffers
  };

 public:
  struct NextAwaiter : Waiter {
    explicit NextAwaiter(State& state) noexcept : Waiter(&kKind), state_(state) {}
    [[nodiscard]] bool await_ready() const noexcept { return !state_.arrived.empty() || state_.error != 0; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
      if (!suspend(awaiting)) return cancel(*this);
      state_.waiter = this;
      if (!state_.armed && !state_.pending() && !state_.ListHook<StarvedTag>::linked()) state_.arm();
    }
    Result<Chunk> await_resume() {
      if (!state_.arrived.empty()) return state_.arrived.pop(state_.pool);
      return Error(state_.error != 0 ? state_.error : ECANCELED, "recv");
    }

   private:
    static void cancel(Waiter& waiter) noexcept {
      static_cast<NextAwaiter&>(waiter).state_.waiter = nullptr;
      waiter.make_ready();
    }
    static constexpr WaitKind kKind{.name = "recv (multishot)", .cancel = &NextAwaiter::cancel};
    State& state_;
  };
  /// The next bytes that arrived, never empty. One task may wait at a time.
  [[nodiscard]] NextAwaiter next() noexcept {
    state_->owner.check("ChunkReader");
    return NextAwaiter(*state_);
  }

 private:
  State* state_;
};

/// Sends chunks in order without making the coroutine wait for each.
///
/// Semantics: `send` queues a chunk and returns at once; it waits only while `limit` chunks are queued. After a send
/// has failed, every later `send` and `flush` gives its error. Destroying a writer drops queued chunks, so flush it
/// first.
/// Thread safety: the thread that made it.
class HORUS_API ChunkWriter {
 public:
  /// At most `limit` chunks are queued in addition to the one that is being sent.
  explicit ChunkWriter(int fd, std::uint32_t limit = 16);
  ChunkWriter(ChunkWriter&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  ChunkWriter& operator=(ChunkWriter&& other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~ChunkWriter();

 private:
  struct State final : CompletionHandler {
    explicit State(int descriptor, std::uint32_t limit) noexcept;
    static void* operator new(std::size_t size) { return horus::detail::allocate_frame(size); }
    static void operator delete(void* state, std::size_t size) noexcept {
      horus::detail::free_frame(state, size);
    }
    void queue(Chunk chunk) noexcept;
    void start(Chunk chunk) noexcept;
    void submit() noexcept;
    void completed(std::int32_t result) noexcept;
    void fail(int code) noexcept;
    [[nodiscard]] bool has_room() const noexcept { return queued_count < limit || error != 0; }
    [[nodiscard]] bool idle() const noexcept { return current.empty() || error != 0; }

    FilledList queued;
    BufferPool* pool = nullptr;
    Chunk current;           // in flight
    std::uint32_t sent = 0;  // of the current chunk
    std::uint32_t queued_count = 0;
    std::uint32_t limit;
    Waiter* waiter = nullptr;
    detail::OwnerThread owner;
    bool waits_for_idle = false;
    bool in_flight = false;
    bool blocking = false;  // the socket's buffer was full: let the kernel wait
    bool abandoned = false;
    int fd;
    int error = 0;
  };

 public:
  struct Awaiter : Waiter {
    Awaiter(State& state, Chunk chunk, bool flush) noexcept
        : Waiter(&kKind), state_(state), chunk_(std::move(chunk)), flush_(flush) {}
    [[nodiscard]] bool await_ready() const noexcept { return flush_ ? state_.idle() : state_.has_room(); }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
      if (!suspend(awaiting)) return cancel(*this);
      state_.waiter = this;
      state_.waits_for_idle = flush_;
    }
    Result<> await_resume() noexcept {
      if (state_.error != 0) return Error(state_.error, "send");
      if (cancelled_) return Error(ECANCELED, "send");
      if (!flush_) state_.queue(std::move(chunk_));
      return {};
    }

   private:
    static void cancel(Waiter& waiter) noexcept {
      auto& self = static_cast<Awaiter&>(waiter);
      self.state_.waiter = nullptr;
      self.cancelled_ = true;
      self.make_ready();
    }
    static constexpr WaitKind kKind{.name = "send queue", .cancel = &Awaiter::cancel};
    State& state_;
    Chunk chunk_;
    bool flush_;
    bool cancelled_ = false;
  };

  /// Queues `chunk`; waits only for room in the queue. Errors: those of an earlier send (EPIPE, ECONNRESET);
  /// ECANCELED, the chunk was not queued. All chunks of one writer must come from the same pool.
  [[nodiscard]] Awaiter send(Chunk chunk) noexcept {
    state_->owner.check("ChunkWriter");
    return {*state_, std::move(chunk), false};
  }
  /// Waits until everything queued has been handed to the kernel.
  [[nodiscard]] Awaiter flush() noexcept {
    state_->owner.check("ChunkWriter");
    return {*state_, Chunk(), true};
  }

 private:
  State* state_;
};

}  // namespace horus::HORUS_ABI::io
