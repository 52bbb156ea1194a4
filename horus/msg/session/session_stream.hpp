// SPDX-License-Identifier: Apache-2.0
// The bytes under a session: plain TCP, or whatever encrypts them on the way. One thread. Internal.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include <horus/base/result.hpp>
#include <horus/io/byte_stream.hpp>
#include <horus/io/bytes.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::msg {

/// Bytes in order, both ways. What awaits it keeps it alive.
class SessionStream {
 public:
  SessionStream() = default;
  SessionStream(const SessionStream&) = delete;
  SessionStream& operator=(const SessionStream&) = delete;
  virtual ~SessionStream() = default;

  /// Waits for bytes and takes what there is: at least one. Errors: kEndOfStream; those of ByteStream.
  [[nodiscard]] virtual Task<Result<std::size_t>> read(io::MutableBytes into) = 0;
  /// The same, spread over several buffers; `parts` itself lives as long as they do.
  [[nodiscard]] virtual Task<Result<std::size_t>> read(std::span<const io::MutableBytes> parts) = 0;
  /// Writes everything. `parts` and what they name live until then.
  [[nodiscard]] virtual Task<Result<>> write(std::span<const io::Bytes> parts) = 0;
  /// Ends both with ECANCELED.
  virtual void close() noexcept = 0;
};

/// Over TCP, encrypted or not.
class TcpSessionStream final : public SessionStream {
 public:
  explicit TcpSessionStream(io::ByteStream stream) noexcept : stream_(std::move(stream)) {}
  Task<Result<std::size_t>> read(io::MutableBytes into) override { return stream_.read(into).as_task(); }
  Task<Result<std::size_t>> read(std::span<const io::MutableBytes> parts) override {
    return stream_.read(parts);
  }
  Task<Result<>> write(std::span<const io::Bytes> parts) override {
    return parts.size() == 1 ? stream_.write_all(parts.front()) : stream_.write_all(parts);
  }
  void close() noexcept override { stream_.reset(); }

 private:
  io::ByteStream stream_;
};

}  // namespace horus::HORUS_ABI::msg
