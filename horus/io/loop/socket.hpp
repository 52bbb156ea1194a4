// SPDX-License-Identifier: Apache-2.0
// What TCP and Unix sockets share: opening, options, connecting, listening. Internal; the reactor's thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include <horus/base/clock.hpp>
#include <horus/base/result.hpp>
#include <horus/io/address.hpp>
#include <horus/io/descriptor.hpp>
#include <horus/io/loop/awaiter.hpp>

namespace horus::HORUS_ABI::io::detail {

/// The backend of this thread's reactor. `what` is told to whoever has none.
System& current_system();

Result<Descriptor> open_socket(const Address& address, int type, const char* operation);
Result<> set_socket_option(int fd, int level, int option, int value, const char* operation,
                           const Address& address);
/// Binds and listens; the socket is open and has its options.
Result<> bind_and_listen(int fd, const Address& address, int backlog);
Result<Address> local_address_of(int fd);
Result<Address> peer_address_of(int fd);

/// CONNECT: 0, or -errno. The address is the caller's and must live as long as this.
class ConnectSocket : public OperationAwaiter<ConnectSocket> {
 public:
  static constexpr const char* kName = "connect";
  ConnectSocket(int descriptor, const Address& peer) noexcept : OperationAwaiter(descriptor), peer_(peer) {}
  void prepare(io_uring_sqe& entry) const noexcept { fill::connect(entry, fd, peer_.data(), peer_.size()); }
  [[nodiscard]] std::int32_t await_resume() const noexcept { return result == -EINTR ? -ECANCELED : result; }

 private:
  const Address& peer_;
};

}  // namespace horus::HORUS_ABI::io::detail
