// SPDX-License-Identifier: Apache-2.0
#include <horus/io/unix_datagram.hpp>

#include <cerrno>

#include <sys/socket.h>

#include <fmt/format.h>

#include <horus/io/loop/socket.hpp>
#include <horus/io/stream/descriptor_passing.hpp>

namespace horus::HORUS_ABI::io {

using detail::StreamHold;

namespace {

Error socket_not_open(const char* operation) { return Error(EBADF, operation, "(the socket is not open)"); }

Task<Result<std::size_t>> send_one(StreamHold state, Bytes bytes, Address to, std::vector<int> descriptors) {
  constexpr const char* kOperation = "send a datagram";
  if (!state || state->closed) co_return socket_not_open(kOperation);
  state->owner.check("UnixDatagram");
  const std::string target = to.family() == AF_UNSPEC ? state->name() : to.to_string();
  if (descriptors.size() > kMaxPassedDescriptors) {
    co_return Error(EINVAL, kOperation,
                    fmt::format("{} (at most {} descriptors)", target, kMaxPassedDescriptors));
  }
  detail::RightsMessage message(bytes, descriptors);
  if (to.family() != AF_UNSPEC) {
    message.header().msg_name = to.room();
    message.header().msg_namelen = to.size();
  }
  detail::MessageTransfer sending(state->fd(), true, message.header(), MSG_NOSIGNAL);
  const std::int32_t count = co_await sending;
  if (count < 0) co_return Error(-count, kOperation, target);
  co_return static_cast<std::size_t>(count);
}

// `descriptors` null: none are wanted.
Task<Result<Datagram>> receive_one(StreamHold state, MutableBytes into, std::vector<Descriptor>* descriptors,
                                   std::size_t most) {
  constexpr const char* kOperation = "receive a datagram";
  if (!state || state->closed) co_return socket_not_open(kOperation);
  state->owner.check("UnixDatagram");
  detail::RightsMessage message(into, most);
  detail::MessageTransfer receiving(state->fd(), false, message.header(), MSG_CMSG_CLOEXEC);
  const std::int32_t count = co_await receiving;
  if (count < 0) co_return state->error(-count, kOperation);
  bool complete = true;
  auto received = message.take_descriptors(complete);
  if (descriptors != nullptr) {
    if (!complete) {
      co_return state->error(EMSGSIZE, kOperation,
                             "it came with more descriptors than there was room for; they are closed");
    }
    *descriptors = std::move(received);
  }
  Datagram datagram;
  datagram.size = static_cast<std::size_t>(count);
  datagram.truncated = (message.header().msg_flags & MSG_TRUNC) != 0;
  datagram.from = message.sender();
  co_return datagram;
}

Task<Result<>> connect_to(StreamHold state, Result<Address> peer) {
  if (!state || state->closed) co_return socket_not_open("connect");
  state->owner.check("UnixDatagram");
  if (!peer) co_return peer.error().on("connect", peer.error().target());
  detail::ConnectSocket connecting(state->fd(), *peer);
  const std::int32_t result = co_await connecting;
  if (result < 0) co_return Error(-result, "connect", peer->to_string());
  state->label = peer->to_string();
  co_return Result<>();
}

Result<Descriptor> open_datagram(const Address& address) {
  if (!address.is_unix()) {
    return Error(EAFNOSUPPORT, "bind", fmt::format("{} (a Unix address was expected)", address.to_string()));
  }
  return detail::open_socket(address, SOCK_DGRAM, "bind");
}

// No name at all: bind then chooses one.
Address unnamed() noexcept {
  sockaddr address{};
  address.sa_family = AF_UNIX;
  return Address::from(&address, sizeof address.sa_family);
}

}  // namespace

UnixDatagram::UnixDatagram(Descriptor descriptor, std::string label) : state_(new detail::StreamState) {
  state_->descriptor = std::move(descriptor);
  state_->label = std::move(label);
}

UnixDatagram& UnixDatagram::operator=(UnixDatagram&& other) noexcept {
  if (this != &other) {
    reset();
    state_ = std::move(other.state_);
  }
  return *this;
}

Result<UnixDatagram> UnixDatagram::bind(std::string_view name) {
  auto address = detail::unix_address(name);
  if (!address) return address.error().on("bind", address.error().target());
  return bind(*address);
}

Result<UnixDatagram> UnixDatagram::bind(const Address& address) {
  auto socket = open_datagram(address);
  if (!socket) return socket.error();
  const int bound = detail::current_system().bind(socket->get(), address.data(), address.size());
  if (bound < 0) return Error(-bound, "bind", address.to_string());
  auto local = detail::local_address_of(socket->get());
  if (!local) return local.error();
  return UnixDatagram(*std::move(socket), local->to_string());
}

Result<UnixDatagram> UnixDatagram::bind_any() { return bind(unnamed()); }

Result<UnixDatagram> UnixDatagram::open() {
  auto socket = open_datagram(unnamed());
  if (!socket) return socket.error();
  return UnixDatagram(*std::move(socket), "an unnamed Unix socket");
}

Result<std::pair<UnixDatagram, UnixDatagram>> UnixDatagram::pair() {
  int ends[2];
  const int result = detail::current_system().socket_pair(ends, AF_UNIX, SOCK_DGRAM);
  if (result < 0) return Error(-result, "socket pair");
  return std::pair(UnixDatagram(Descriptor(ends[0]), "a socket pair"),
                   UnixDatagram(Descriptor(ends[1]), "a socket pair"));
}

Task<Result<>> UnixDatagram::connect(Address peer) { return connect_to(state_, peer); }
Task<Result<>> UnixDatagram::connect(std::string_view peer) {
  return connect_to(state_, detail::unix_address(peer));
}

Task<Result<std::size_t>> UnixDatagram::send_to(Bytes bytes, const Address& to,
                                                std::span<const int> descriptors) const {
  return send_one(state_, bytes, to, std::vector<int>(descriptors.begin(), descriptors.end()));
}
Task<Result<std::size_t>> UnixDatagram::send(Bytes bytes, std::span<const int> descriptors) const {
  return send_one(state_, bytes, Address(), std::vector<int>(descriptors.begin(), descriptors.end()));
}
Task<Result<Datagram>> UnixDatagram::recv_from(MutableBytes into) const {
  return receive_one(state_, into, nullptr, 0);
}
Task<Result<Datagram>> UnixDatagram::recv_from(MutableBytes into, std::vector<Descriptor>& descriptors,
                                               std::size_t most) const {
  return receive_one(state_, into, &descriptors, most);
}

Result<Address> UnixDatagram::local_address() const {
  if (!is_open()) return socket_not_open("local address");
  return detail::local_address_of(fd());
}

Task<Result<>> UnixDatagram::close() {
  Descriptor descriptor;
  if (state_) {
    const StreamHold state = std::move(state_);
    state->closed = true;
    descriptor = std::move(state->descriptor);
  }
  return io::close(std::move(descriptor));
}

void UnixDatagram::reset() noexcept {
  if (!state_) return;
  const StreamHold state = std::move(state_);
  state->close();
}

}  // namespace horus::HORUS_ABI::io
