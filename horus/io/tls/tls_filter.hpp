// SPDX-License-Identifier: Apache-2.0
// Encryption between a ByteStream and the one below it. One thread. Internal.
//
// Sealed bytes go out in the order in which they were made, through one buffer: what a cancelled write leaves there, the next
// one sends first. The engine is fed only when it asks for bytes, and sealed into only as far as the buffer is sent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include <sys/uio.h>

#include <horus/base/result.hpp>
#include <horus/io/byte_stream.hpp>
#include <horus/io/stream/stream_state.hpp>
#include <horus/io/tls/engine.hpp>
#include <horus/io/tls/tls_context.hpp>
#include <horus/task/event.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::io::detail {

class TlsFilter final : public StreamFilter {
 public:
  TlsFilter(ByteStream below, std::shared_ptr<TlsContextState> context, std::string peer_name);

  /// Everything up to the first plain byte. It does not look at the time.
  Task<Result<>> shake_hands(StreamHold self);
  [[nodiscard]] tls::Facts facts() const { return session_->facts(); }

  Task<std::int32_t> receive(StreamHold self, MutableBytes into) override;
  Task<std::int32_t> send(StreamHold self, Bytes bytes) override;
  Task<std::int32_t> send_parts(StreamHold self, std::span<const iovec> parts) override;
  Task<std::int32_t> end_writing(StreamHold self) override;
  Task<Result<>> close(StreamHold self) override;
  void abandon() noexcept override { below_.reset(); }
  [[nodiscard]] std::string reason(int code) const override;

 private:
  class Buffer {
   public:
    /// At least `size` bytes; what was in it is gone when it grows.
    std::byte* room(std::size_t size);
    void release() noexcept;
    [[nodiscard]] std::byte* data() const noexcept { return bytes_.get(); }
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

   private:
    std::unique_ptr<std::byte[]> bytes_;
    std::size_t capacity_ = 0;
  };

  Task<Result<tls::Outcome>> step();
  Task<Result<>> fill(StreamHold self);
  /// Sends what is sealed, this call's or an earlier one's: 0 or an errno.
  Task<int> flush(StreamHold self);
  Task<int> drain(StreamHold self);
  Task<Result<>> say_farewell(StreamHold self);
  Task<Result<>> linger(StreamHold self, Duration limit);
  [[nodiscard]] bool has_outgoing() const noexcept { return begin_ < end_ || session_->outgoing() > 0; }
  void keep_ticket();
  [[nodiscard]] int failure_code() const noexcept;
  [[nodiscard]] Error failure() const;

  ByteStream below_;
  std::shared_ptr<TlsContextState> context_;
  std::string peer_name_;
  std::string name_;  // of what is below
  std::unique_ptr<tls::EngineSession> session_;
  Buffer sealed_;  // begin_ to end_ are to be sent
  std::size_t begin_ = 0, end_ = 0;
  Semaphore sending_{1};
  Buffer received_;
  std::size_t read_bytes_ = 0;  // of the next read below
  Buffer joined_;               // small parts of one write
  std::string own_reason_;      // why the peer was given up, where it is not the engine's to know
  bool said_end_ = false;
  bool broken_ = false;  // no farewell: the bytes below are not in order any more
};

}  // namespace horus::HORUS_ABI::io::detail
