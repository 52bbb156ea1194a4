// SPDX-License-Identifier: Apache-2.0
// A part of a source in memory, for walks through it: small reads cost no system call each. Internal; the reader's thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include <horus/bag/format/buffer.hpp>
#include <horus/bag/format/codec.hpp>
#include <horus/bag/source.hpp>

namespace horus::HORUS_ABI::bag {

class Window {
 public:
  explicit Window(Source& source) noexcept : source_(&source) {}

  /// `size` bytes at `offset`, valid until the next call. The caller has checked that the source has them, and that they are
  /// not more than it wants in memory.
  Task<Result<std::span<const std::byte>>> at(std::uint64_t offset, std::size_t size) {
    if (offset < offset_ || offset + size > offset_ + buffer_.size()) {
      const std::uint64_t rest = source_->size() - offset;
      const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(rest, std::max(size, kAhead)));
      if (buffer_.capacity() > 4 * kAhead && wanted <= kAhead) buffer_.release();
      buffer_.clear();
      offset_ = offset;
      const io::MutableBytes room(buffer_.extend(wanted), wanted);
      const auto read = co_await source_->read(room, offset);
      if (!read) {
        buffer_.clear();
        co_return read.error();
      }
    }
    co_return buffer_.bytes().subspan(static_cast<std::size_t>(offset - offset_), size);
  }
  [[nodiscard]] Source& source() const noexcept { return *source_; }

 private:
  static constexpr std::size_t kAhead = std::size_t{256} << 10;

  Source* source_;
  Buffer buffer_;
  std::uint64_t offset_ = 0;
};

}  // namespace horus::HORUS_ABI::bag
