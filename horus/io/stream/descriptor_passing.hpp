// SPDX-License-Identifier: Apache-2.0
// Messages of Unix sockets that carry descriptors (SCM_RIGHTS). Internal. A message lives in the frame that awaits its
// transfer.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include <sys/socket.h>
#include <sys/uio.h>

#include <horus/io/address.hpp>
#include <horus/io/bytes.hpp>
#include <horus/io/descriptor.hpp>
#include <horus/io/unix.hpp>

namespace horus::HORUS_ABI::io::detail {

/// One message with room for kMaxPassedDescriptors. It points into itself, so it does not move.
class RightsMessage {
 public:
  /// To be sent: the bytes and copies of the descriptors.
  RightsMessage(Bytes bytes, std::span<const int> descriptors) noexcept;
  /// To be received: room for the bytes and for `most` descriptors.
  RightsMessage(MutableBytes into, std::size_t most) noexcept;
  RightsMessage(const RightsMessage&) = delete;
  RightsMessage& operator=(const RightsMessage&) = delete;

  [[nodiscard]] msghdr& header() noexcept { return header_; }
  /// The sender of a datagram.
  [[nodiscard]] Address sender() const noexcept;
  /// What came; to be called once. `complete` is false when some had no room and are closed.
  std::vector<Descriptor> take_descriptors(bool& complete);

 private:
  // The kernel rounds the payload of a control message up, so there is always room for an even number of descriptors:
  // one more than asked for may come in, and is counted as too many.
  static constexpr std::size_t kRoom = CMSG_SPACE(sizeof(int) * kMaxPassedDescriptors);

  msghdr header_{};
  iovec vector_{};
  Address sender_;
  std::size_t most_ = 0;
  alignas(cmsghdr) std::array<char, kRoom> control_{};
};

}  // namespace horus::HORUS_ABI::io::detail
