// SPDX-License-Identifier: Apache-2.0
#include <horus/io/tls/tls_filter.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <horus/io/offload.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>

namespace horus::HORUS_ABI::io::detail {
namespace {

using tls::kRecordBytes;
using tls::kRecordOverhead;
using tls::Outcome;

constexpr const char* kHandshake = "shake hands with";
constexpr std::size_t kFirstRead = 4096;                     // bytes; doubled when a read fills them
constexpr std::size_t kMostRead = std::size_t{64} << 10;     // bytes
constexpr std::size_t kMostSealed = std::size_t{64} << 10;   // plain bytes that are sealed before any is sent
constexpr std::size_t kKept = 4096;                          // bytes of buffers that stay while nothing moves
constexpr std::size_t kMostAnswers = std::size_t{64} << 10;  // bytes of answers to a peer that does not read
constexpr std::size_t kMostDrained = std::size_t{256} << 10;        // bytes that are dropped at the end
constexpr Duration kRefusalLimit = std::chrono::milliseconds(250);  // for telling the peer why it is refused

Outcome handshake_of(tls::EngineSession* session) { return session->handshake(); }

}  // namespace

std::byte* TlsFilter::Buffer::room(std::size_t size) {
  if (size > capacity_) {
    bytes_ = std::make_unique_for_overwrite<std::byte[]>(size);
    capacity_ = size;
  }
  return bytes_.get();
}

void TlsFilter::Buffer::release() noexcept {
  bytes_.reset();
  capacity_ = 0;
}

TlsFilter::TlsFilter(ByteStream below, std::shared_ptr<TlsContextState> context, std::string peer_name)
    : below_(std::move(below)),
      context_(std::move(context)),
      peer_name_(std::move(peer_name)),
      name_(below_.name()),
      read_bytes_(kFirstRead) {
  tls::SessionSettings settings;
  settings.peer_name = peer_name_;
  settings.wall_clock_ns = wall_clock_ns();
  if (!context_->server && context_->resume) settings.ticket = context_->tickets.take(peer_name_);
  session_ = context_->engine->session(settings);
}

// --- The handshake ----------------------------------------------------------------------------------------------------

Task<Result<Outcome>> TlsFilter::step() {
  if (!context_->offload) co_return session_->handshake();
  auto stepping = offload(&handshake_of, session_.get());
  auto outcome = co_await stepping;
  co_return outcome;
}

Task<Result<>> TlsFilter::shake_hands(StreamHold self) {
  while (true) {
    auto stepping = step();
    const auto outcome = co_await stepping;
    if (!outcome) co_return outcome.error().on(kHandshake, name_);
    if (self->closed || !below_) co_return Error(ECANCELED, kHandshake, name_);
    if (*outcome == Outcome::failed) {
      auto lingering = linger(self, kRefusalLimit);
      static_cast<void>(co_await lingering);  // the refusal is what counts
      co_return failure();
    }
    auto flushing = flush(self);
    const int failed = co_await flushing;
    if (failed != 0) co_return Error(failed, kHandshake, name_);
    if (*outcome == Outcome::done) break;
    auto filling = fill(self);
    const auto filled = co_await filling;
    if (filled.code() == kEndOfStream || filled.code() == ECONNRESET) {
      co_return Error(ECONNRESET, kHandshake, name_)
          .with_detail(
              "(the peer closed the connection during the handshake: does it speak TLS there, and take us?)");
    }
    if (!filled) co_return filled.error().on(kHandshake, name_);
  }
  keep_ticket();
  co_return Result<>();
}

void TlsFilter::keep_ticket() {
  if (context_->server || !context_->resume) return;
  if (auto ticket = session_->take_ticket()) context_->tickets.keep(peer_name_, std::move(ticket));
}

int TlsFilter::failure_code() const noexcept {
  switch (session_->failure().kind) {
    case tls::Failure::Kind::untrusted: return kUntrusted;
    case tls::Failure::Kind::refused: return EACCES;
    case tls::Failure::Kind::settings: return EINVAL;
    default: return EPROTO;
  }
}

Error TlsFilter::failure() const {
  return Error(failure_code(), kHandshake, name_).with_detail(session_->failure().text);
}

std::string TlsFilter::reason(int code) const {
  if (code == EPROTO && !own_reason_.empty()) return own_reason_;
  return code == failure_code() ? session_->failure().text : std::string();
}

// --- Reading ----------------------------------------------------------------------------------------------------------

// One read below, handed to the engine. Errors: kEndOfStream; those below.
Task<Result<>> TlsFilter::fill(StreamHold self) {
  std::byte* into = received_.room(read_bytes_);
  const std::size_t size = read_bytes_;
  auto reading = below_.read(MutableBytes(into, size));
  const auto count = co_await reading;
  if (self->closed) co_return Error(ECANCELED, "read", name_);
  if (!count) co_return count.error();
  session_->received(into, *count);
  if (*count == size) read_bytes_ = std::min(2 * size, kMostRead);
  co_return Result<>();
}

Task<std::int32_t> TlsFilter::receive(StreamHold self, MutableBytes into) {
  const std::size_t room = std::min(into.size(), kMaxTransfer);
  while (true) {
    if (self->closed) co_return -ECANCELED;
    std::size_t done = 0;
    Outcome outcome = Outcome::done;
    while (outcome == Outcome::done && done < room) {
      std::size_t count = 0;
      outcome = session_->read(into.data() + done, room - done, count);
      done += count;
    }
    keep_ticket();
    if (has_outgoing()) {
      // An answer to the peer: a new key, an alert. Whoever is sending takes it along.
      if (session_->outgoing() > kMostAnswers) {
        broken_ = true;
        own_reason_ = "(the peer asks for answers and does not read them)";
        co_return -EPROTO;
      }
      if (sending_.available() > 0) {
        auto flushing = flush(self);
        const int failed = co_await flushing;
        // What was read is not lost by it; a peer that does not read may still send.
        if (failed == ECANCELED && done == 0) co_return -ECANCELED;
      }
    }
    if (done > 0) co_return static_cast<std::int32_t>(done);
    if (outcome == Outcome::ended) co_return 0;
    if (outcome == Outcome::failed) {
      broken_ = true;
      co_return -failure_code();
    }
    auto filling = fill(self);
    const auto filled = co_await filling;
    if (filled.code() == kEndOfStream) {
      broken_ = true;
      co_return -kTruncated;
    }
    if (!filled) co_return -filled.code();
  }
}

// --- Writing ----------------------------------------------------------------------------------------------------------

Task<int> TlsFilter::flush(StreamHold self) {
  if (!has_outgoing()) co_return 0;
  if (!sending_.try_acquire()) {
    try {
      co_await sending_.acquire();
    } catch (const Error&) {
      co_return ECANCELED;
    }
  }
  int failed = 0;
  while (failed == 0 && has_outgoing()) {
    if (self->closed && !said_end_) {
      failed = ECANCELED;
      break;
    }
    if (begin_ == end_) {
      const std::size_t size = std::min(session_->outgoing(), kMostSealed + 8 * kRecordOverhead);
      begin_ = 0;
      end_ = session_->take(sealed_.room(size), size);
    }
    auto writing = below_.write(Bytes(sealed_.data() + begin_, end_ - begin_));
    const auto count = co_await writing;
    if (count) {
      begin_ += *count;
    } else {
      failed = !below_ ? ECANCELED : count.code();
    }
  }
  if (begin_ == end_ && sealed_.capacity() > kKept) sealed_.release();
  sending_.release();
  co_return failed;
}

Task<std::int32_t> TlsFilter::send(StreamHold self, Bytes bytes) {
  if (self->closed) co_return -ECANCELED;
  if (said_end_) co_return -EPIPE;
  // First what an earlier write has left.
  if (has_outgoing()) {
    auto flushing = flush(self);
    const int failed = co_await flushing;
    if (failed != 0) co_return -failed;
  }
  std::size_t done = 0;
  while (done < bytes.size() && done < kMostSealed) {
    std::size_t count = 0;
    const Outcome outcome = session_->write(bytes.data() + done, bytes.size() - done, count);
    if (outcome != Outcome::done) {
      broken_ = true;
      co_return outcome == Outcome::failed ? -failure_code() : -EPROTO;
    }
    done += count;
  }
  auto flushing = flush(self);
  const int failed = co_await flushing;
  if (failed != 0) co_return -failed;
  co_return static_cast<std::int32_t>(done);
}

// Small parts become one record; a large one is sealed where it lies.
Task<std::int32_t> TlsFilter::send_parts(StreamHold self, std::span<const iovec> parts) {
  const iovec& first = parts.front();
  if (parts.size() == 1 || first.iov_len >= kRecordBytes) {
    auto sending = send(std::move(self), Bytes(first.iov_base, first.iov_len));
    const std::int32_t sent = co_await sending;
    co_return sent;
  }
  std::byte* joined = joined_.room(kRecordBytes);
  std::size_t size = 0;
  for (const iovec& part : parts) {
    const std::size_t count = std::min(part.iov_len, kRecordBytes - size);
    std::memcpy(joined + size, part.iov_base, count);
    size += count;
  }
  auto sending = send(std::move(self), Bytes(joined, size));
  const std::int32_t sent = co_await sending;
  co_return sent;
}

// --- The end ----------------------------------------------------------------------------------------------------------

Task<std::int32_t> TlsFilter::end_writing(StreamHold self) {
  session_->end_writing();
  auto flushing = flush(self);
  const int failed = co_await flushing;
  said_end_ = true;
  co_return -failed;
}

// What the peer has sent and nobody wants: unread, it would make the kernel reset the connection, and the peer would lose what
// is on its way to it.
Task<int> TlsFilter::drain(StreamHold) {
  std::size_t dropped = 0;
  while (below_ && dropped < kMostDrained) {
    std::byte* into = received_.room(kFirstRead);
    auto reading = below_.read(MutableBytes(into, kFirstRead));
    const auto count = co_await reading;
    if (!count) co_return count.code();
    dropped += *count;
  }
  co_return 0;
}

Task<Result<>> TlsFilter::say_farewell(StreamHold self) {
  auto flushing = flush(self);
  const int failed = co_await flushing;
  if (failed != 0) co_return Error(failed, "close", name_);
  auto shutting = below_.shutdown_write();
  const auto shut = co_await shutting;
  if (!shut) co_return shut;                // a pipe: closing it says the same
  if (self->reading) co_return Result<>();  // whoever reads takes what comes
  auto draining = drain(self);
  co_await draining;
  co_return Result<>();
}

// The peer's refusal to listen, or to end, keeps nobody longer than this.
Task<Result<>> TlsFilter::linger(StreamHold self, Duration limit) {
  said_end_ = true;
  if (limit <= Duration::zero()) co_return Result<>();
  auto saying = with_timeout(limit, say_farewell(self));
  auto said = co_await saying;
  co_return said;
}

Task<Result<>> TlsFilter::close(StreamHold self) {
  self->owner.check("stream");
  if (!broken_ && below_ && self->write_turn.available() > 0) {
    session_->end_writing();
    auto lingering = linger(self, context_->close_limit);
    static_cast<void>(co_await lingering);  // a peer that does not listen keeps nobody from closing
  }
  auto closing = below_.close();
  auto closed = co_await closing;
  co_return closed;
}

}  // namespace horus::HORUS_ABI::io::detail
