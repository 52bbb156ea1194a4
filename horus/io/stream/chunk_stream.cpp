// SPDX-License-Identifier: Apache-2.0
#include <horus/io/chunk_stream.hpp>

#include <chrono>

#include <sys/socket.h>

#include <fmt/format.h>

#include <horus/base/log.hpp>

namespace horus::HORUS_ABI::io {
namespace {

// Receives in a row that found no buffer although the pool had some: so many are a race, more are a fault.
constexpr std::uint32_t kRefusalsBeforeRest = 8;
constexpr Duration kRefusalRest(std::chrono::milliseconds(8));
constexpr std::uint32_t kRefusalsPerWarning = 128;  // about one a second

}  // namespace

// --- Receiving --------------------------------------------------------------------------------------------------------

ChunkReader::State::State(int descriptor, BufferPool& buffers) noexcept : pool(buffers), fd(descriptor) {
  complete = [](CompletionHandler& handler, std::int32_t result, std::uint32_t flags) noexcept {
    static_cast<State&>(handler).completed(result, flags);
  };
}

ChunkReader::ChunkReader(int fd, BufferPool& pool) : state_(new State(fd, pool)) {}

ChunkReader::~ChunkReader() {
  if (state_ == nullptr) return;
  HORUS_ASSERT(state_->waiter == nullptr, "a ChunkReader died while a task waited for its next chunk");
  state_->drop_arrived();
  state_->ListHook<StarvedTag>::unlink();
  if (state_->pending()) Reactor::current()->timers().cancel(*state_);
  if (!state_->armed) {
    delete state_;
    return;
  }
  // The last completion frees the state.
  state_->abandoned = true;
  Reactor::current()->cancel_handler(*state_);
}

void ChunkReader::State::arm() noexcept {
  armed = true;
  Reactor::current()->submit_handler(
      *this, [this](io_uring_sqe& entry) { fill::receive_chunks(entry, fd, pool.group()); });
}

void ChunkReader::State::buffer_available() noexcept {
  if (!armed && !pending() && error == 0) arm();
}

// The kernel finds no buffer where there are some: its buffer ring does not work. Not a spin, and not in silence.
void ChunkReader::State::rest() noexcept {
  Reactor& reactor = *Reactor::current();
  if (refusals % kRefusalsPerWarning == kRefusalsBeforeRest + 1) {
    log_warning(fmt::format(
        "read fd {}: the kernel finds no buffer in a ring with {} of them, {} times in a row; trying "
        "again every {} ms (buffer group {})",
        fd, pool.available(), refusals, kRefusalRest.count() / 1'000'000, pool.group()));
  }
  expired = [](Timer& timer) noexcept { static_cast<State&>(timer).arm(); };
  reactor.timers().insert(*this, saturating_add(reactor.now_ns(), kRefusalRest.count()));
}

void ChunkReader::State::completed(std::int32_t result, std::uint32_t flags) noexcept {
  if ((flags & IORING_CQE_F_MORE) == 0) armed = false;
  if ((flags & IORING_CQE_F_BUFFER) != 0) {
    pool.take();
    arrived.push(pool, static_cast<std::uint16_t>(flags >> IORING_CQE_BUFFER_SHIFT),
                 result > 0 ? static_cast<std::uint32_t>(result) : 0);
    if (result <= 0) static_cast<void>(arrived.pop(pool));  // an empty buffer goes back
  }
  if (abandoned) {
    drop_arrived();
    if (!armed) delete this;
    return;
  }
  if (result == -ENOBUFS) {
    // Back-pressure. If a buffer came back since the kernel looked, go on at once.
    if (pool.available() > 0) {
      ++refusals <= kRefusalsBeforeRest ? arm() : rest();
    } else {
      pool.wait_for_buffer(*this);
    }
    return;
  }
  refusals = 0;
  if (result <= 0) error = result == 0 ? static_cast<int>(kEndOfStream) : -result;
  if (waiter != nullptr) std::exchange(waiter, nullptr)->make_ready();
}

void ChunkReader::State::drop_arrived() noexcept {
  while (!arrived.empty()) static_cast<void>(arrived.pop(pool));
}

// --- Sending ----------------------------------------------------------------------------------------------------------

ChunkWriter::State::State(int descriptor, std::uint32_t most) noexcept : limit(most), fd(descriptor) {
  complete = [](CompletionHandler& handler, std::int32_t result, std::uint32_t) noexcept {
    static_cast<State&>(handler).completed(result);
  };
}

ChunkWriter::ChunkWriter(int fd, std::uint32_t limit) : state_(new State(fd, limit)) {}

ChunkWriter::~ChunkWriter() {
  if (state_ == nullptr) return;
  HORUS_ASSERT(state_->waiter == nullptr, "a ChunkWriter died while a task waited for it");
  while (!state_->queued.empty()) static_cast<void>(state_->queued.pop(*state_->pool));
  if (!state_->in_flight) {
    delete state_;
    return;
  }
  state_->abandoned = true;
  if (state_->blocking) Reactor::current()->cancel_handler(*state_);
}

void ChunkWriter::State::queue(Chunk chunk) noexcept {
  if (chunk.empty()) return;
  if (current.empty()) return start(std::move(chunk));
  HORUS_ASSERT(pool == nullptr || pool == chunk.pool_, "the chunks of one ChunkWriter come from one pool");
  pool = std::exchange(chunk.pool_, nullptr);  // the list owns the buffer now
  queued.push(*pool, chunk.buffer_, chunk.size_);
  ++queued_count;
}

void ChunkWriter::State::start(Chunk chunk) noexcept {
  current = std::move(chunk);
  sent = 0;
  blocking = false;
  submit();
}

// First without waiting: such a send ends while it is submitted, and the loop need not wake for it. Only when the
// socket's buffer is full does the kernel wait.
void ChunkWriter::State::submit() noexcept {
  in_flight = true;
  const auto size = static_cast<std::uint32_t>(current.size()) - sent;
  const auto prepare = [this, size](io_uring_sqe& entry) {
    const unsigned at_once = blocking ? 0 : static_cast<unsigned>(MSG_DONTWAIT);
    fill::send(entry, fd, current.data() + sent, size, MSG_NOSIGNAL | MSG_WAITALL | at_once);
  };
  Reactor& reactor = *Reactor::current();
  if (blocking) {
    reactor.submit_handler(*this, prepare);
  } else {
    reactor.submit_immediate(*this, static_cast<std::int32_t>(size), prepare);
  }
}

void ChunkWriter::State::completed(std::int32_t result) noexcept {
  in_flight = false;
  if (abandoned) {
    delete this;
    return;
  }
  if (result > 0) sent += static_cast<std::uint32_t>(result);
  if (result == -EAGAIN || result == -EINTR || (result > 0 && sent < current.size())) {
    blocking = true;
    return submit();
  }
  if (result <= 0) return fail(result == 0 ? EPIPE : -result);
  current.reset();
  if (!queued.empty()) {
    --queued_count;
    start(queued.pop(*pool));
  }
  if (waiter != nullptr && (waits_for_idle ? idle() : has_room()))
    std::exchange(waiter, nullptr)->make_ready();
}

void ChunkWriter::State::fail(int code) noexcept {
  error = code;
  current.reset();
  while (!queued.empty()) static_cast<void>(queued.pop(*pool));
  queued_count = 0;
  if (waiter != nullptr) std::exchange(waiter, nullptr)->make_ready();
}

}  // namespace horus::HORUS_ABI::io
