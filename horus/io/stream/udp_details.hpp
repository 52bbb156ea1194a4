// SPDX-License-Identifier: Apache-2.0
// Between what a user of UdpSocket says and the kernel's control data. Values; any thread. Internal.
#pragma once

#include <cstdint>

#include <sys/socket.h>

#include <horus/base/export.hpp>
#include <horus/io/udp.hpp>

namespace horus::HORUS_ABI::io::detail {

/// Room for all that a UdpSocket may ask for: 288 bytes, and some for what a socket from elsewhere adds.
inline constexpr std::size_t kControlRoom = 512;

/// Fills `details` from the control data of a message that was received. False: a length or a time in it is impossible.
HORUS_API bool read_details(const msghdr& message, DatagramDetails& details);

/// A transmit time, as the error queue of a socket gives it.
struct TransmitTime {
  bool is_time = false;      ///< it is one, and no failure of the network
  int error = 0;             ///< of the network (IP_RECVERR); 0: none
  std::uint32_t number = 0;  ///< of the datagram: counts those that were to have one, from 0
  std::int64_t at_ns = 0;    ///< CLOCK_REALTIME
};
HORUS_API bool read_transmit_time(const msghdr& message, TransmitTime& time);

/// Receives one datagram into `message`, whose control room is what it says.
HORUS_API Task<Result<DatagramDetails>> receive_detailed(int fd, MutableBytes buffer,
                                                         std::size_t control_room = kControlRoom);

}  // namespace horus::HORUS_ABI::io::detail
