// SPDX-License-Identifier: Apache-2.0
#include <horus/io/loop/socket.hpp>

#include <horus/io/reactor.hpp>

namespace horus::HORUS_ABI::io::detail {

System& current_system() {
  Reactor* reactor = Reactor::current();
  HORUS_ASSERT(reactor != nullptr,
               "a socket was used on a thread that runs no reactor (do it inside a task, or make a "
               "horus::io::Reactor first)");
  return reactor->system();
}

Result<Descriptor> open_socket(const Address& address, int type, const char* operation) {
  const int fd = current_system().socket(address.family(), type, 0);
  if (fd < 0) return Error(-fd, operation, address.to_string());
  return Descriptor(fd);
}

Result<> set_socket_option(int fd, int level, int option, int value, const char* operation,
                           const Address& address) {
  const int result = current_system().set_option(fd, level, option, &value, sizeof value);
  if (result < 0) return Error(-result, operation, address.to_string());
  return {};
}

Result<> bind_and_listen(int fd, const Address& address, int backlog) {
  int result = current_system().bind(fd, address.data(), address.size());
  if (result < 0) return Error(-result, "bind", address.to_string());
  result = current_system().listen(fd, backlog);
  if (result < 0) return Error(-result, "listen", address.to_string());
  return {};
}

Result<Address> local_address_of(int fd) {
  Address address;
  socklen_t size = Address::capacity;
  const int result = current_system().local_address(fd, address.room(), &size);
  if (result < 0) return Error(-result, "local address");
  address.set_size(size);
  return address;
}

Result<Address> peer_address_of(int fd) {
  Address address;
  socklen_t size = Address::capacity;
  const int result = current_system().peer_address(fd, address.room(), &size);
  if (result < 0) return Error(-result, "peer address");
  address.set_size(size);
  return address;
}

}  // namespace horus::HORUS_ABI::io::detail
