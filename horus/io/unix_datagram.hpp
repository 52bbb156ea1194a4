// SPDX-License-Identifier: Apache-2.0
// Unix datagram sockets between processes of one machine: whole messages, none lost while the receiver lives, with
// open descriptors if wanted. A socket belongs to one thread.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/address.hpp>
#include <horus/io/bytes.hpp>
#include <horus/io/stream/stream_state.hpp>
#include <horus/io/udp.hpp>
#include <horus/io/unix.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::io {

/// A Unix datagram socket.
///
/// Semantics: a datagram arrives whole, in order, or is cut to the buffer and marked. A sender waits while the
/// receiver's queue is full. Names are written as for UnixStream. Destroying the socket ends pending calls with
/// ECANCELED. The caller's bytes must live until the awaited call has ended.
/// Errors: ENOENT and ECONNREFUSED (no socket has that name), EMSGSIZE (larger than the send buffer), EADDRINUSE,
/// EBADF.
/// Thread safety: one thread.
/// Example:
/// ```
/// auto log = horus::io::UnixDatagram::bind("/run/rover.log").or_throw();
/// auto datagram = co_await log.recv_from(buffer);
/// ```
/// Source: unix(7).
class HORUS_API UnixDatagram {
 public:
  /// A UnixDatagram without a socket: every call fails with EBADF.
  UnixDatagram() noexcept = default;
  UnixDatagram(UnixDatagram&& other) noexcept = default;
  UnixDatagram& operator=(UnixDatagram&& other) noexcept;
  ~UnixDatagram() { reset(); }

  /// A socket that receives at `name`. A file of that name must not exist; it stays when the socket is closed.
  static Result<UnixDatagram> bind(std::string_view name);
  static Result<UnixDatagram> bind(const Address& address);
  /// A socket at an abstract name that the kernel chooses, so that receivers can answer.
  static Result<UnixDatagram> bind_any();
  /// A socket without a name: it can send, but receivers cannot answer.
  static Result<UnixDatagram> open();
  /// Two sockets that are connected with each other.
  static Result<std::pair<UnixDatagram, UnixDatagram>> pair();

  /// Limits the socket to `peer` from now on.
  [[nodiscard]] Task<Result<>> connect(Address peer);
  [[nodiscard]] Task<Result<>> connect(std::string_view peer);

  /// Sends one datagram with copies of `descriptors`; gives its size in bytes.
  [[nodiscard]] Task<Result<std::size_t>> send_to(Bytes bytes, const Address& to,
                                                  std::span<const int> descriptors = {}) const;
  /// Sends to the peer of a connected socket. ENOTCONN on an unconnected one.
  [[nodiscard]] Task<Result<std::size_t>> send(Bytes bytes, std::span<const int> descriptors = {}) const;
  /// Waits for one datagram. Descriptors that came with it are closed.
  [[nodiscard]] Task<Result<Datagram>> recv_from(MutableBytes into) const;
  /// The same; descriptors that came with the datagram are moved to `descriptors`, which must live until the call has
  /// ended. EMSGSIZE when more than `most` came, or the process had no room for them: all are closed, and the
  /// datagram is dropped.
  [[nodiscard]] Task<Result<Datagram>> recv_from(MutableBytes into, std::vector<Descriptor>& descriptors,
                                                 std::size_t most = kMaxPassedDescriptors) const;

  [[nodiscard]] Result<Address> local_address() const;
  [[nodiscard]] bool is_open() const noexcept { return static_cast<bool>(state_); }
  /// The descriptor; -1 when there is none.
  [[nodiscard]] int fd() const noexcept { return state_ ? state_->fd() : -1; }
  [[nodiscard]] Task<Result<>> close();
  /// Closes in the background.
  void reset() noexcept;

 private:
  explicit UnixDatagram(Descriptor descriptor, std::string label);

  detail::StreamHold state_;
};

}  // namespace horus::HORUS_ABI::io
