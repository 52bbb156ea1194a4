// SPDX-License-Identifier: Apache-2.0
// What waits to be sent over one connection, in order: frames one behind the other in one buffer, so that those of a turn
// share a system call. A large message stays in its slot until it is sent; only its place in the order is noted. The
// transport's thread. Internal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <horus/io/bytes.hpp>
#include <horus/msg/link/inlet.hpp>
#include <horus/msg/tcp/wire.hpp>

namespace horus::HORUS_ABI::msg {

class Outgoing {
 public:
  Outgoing() = default;
  Outgoing(const Outgoing&) = delete;
  Outgoing& operator=(const Outgoing&) = delete;
  ~Outgoing() { clear(); }

  /// Other frames are appended here.
  [[nodiscard]] wire::Buffer& frames() noexcept { return frames_; }
  /// A message that is copied.
  void append(std::uint32_t channel, const wire::DataPrefix& prefix, wire::Bytes message);
  /// A message in a slot, which is given back when it has been sent.
  void append_slot(std::uint32_t channel, const wire::DataPrefix& prefix, wire::Bytes message,
                   const Arrival& slot);
  [[nodiscard]] bool empty() const noexcept { return frames_.empty(); }
  /// Bytes of frames other than messages.
  [[nodiscard]] std::size_t control_bytes() const noexcept { return frames_.size() - copied_bytes_; }
  /// So much that no more messages are to be appended for now.
  [[nodiscard]] bool is_full() const noexcept {
    return copied_bytes_ >= kMostCopied || slot_bytes_ >= kMostInSlots;
  }

  /// What is to be sent next, as many `parts` as are filled, at most `most` bytes.
  [[nodiscard]] std::size_t next(std::span<io::Bytes> parts, std::size_t most) noexcept;
  /// What next() gave has been sent. True when slots were given back.
  bool sent() noexcept;
  /// Everything has been sent, or never will be.
  void clear() noexcept;
  void swap(Outgoing& other) noexcept;

 private:
  static constexpr std::size_t kMostCopied = std::size_t{64} << 10;    // bytes
  static constexpr std::size_t kMostInSlots = std::size_t{512} << 10;  // bytes

  struct InSlot {
    std::size_t at = 0;  // of frames_: so much goes before it
    io::Bytes message;
    Arrival slot;
  };

  wire::Buffer frames_;
  std::vector<InSlot> slots_;
  std::size_t copied_bytes_ = 0;  // of frames_: messages with their heads
  std::size_t slot_bytes_ = 0;
  // Given by next(): of frames_, of slots_, and of the first of these that is not whole
  std::size_t frames_given_ = 0;
  std::size_t slots_given_ = 0;
  std::size_t inside_ = 0;
  std::size_t returned_ = 0;  // of slots_
};

}  // namespace horus::HORUS_ABI::msg
