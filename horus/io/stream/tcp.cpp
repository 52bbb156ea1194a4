// SPDX-License-Identifier: Apache-2.0
#include <horus/io/tcp.hpp>

#include <cerrno>
#include <utility>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <fmt/format.h>

#include <horus/io/loop/socket.hpp>
#include <horus/io/stream/tcp_socket.hpp>

namespace horus::HORUS_ABI::io {

using detail::set_socket_option;

namespace {

int whole_seconds(Duration time) noexcept {
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(time).count();
  return seconds < 1 ? 1 : seconds > 32767 ? 32767 : static_cast<int>(seconds);
}

Result<> apply(int fd, const KeepAlive& settings, const char* operation, const Address& address) {
  struct Option {
    int level;
    int name;
    int value;
  };
  for (const Option& option :
       {Option{IPPROTO_TCP, TCP_KEEPIDLE, whole_seconds(settings.idle)},
        Option{IPPROTO_TCP, TCP_KEEPINTVL, whole_seconds(settings.interval)},
        Option{IPPROTO_TCP, TCP_KEEPCNT, settings.count}, Option{SOL_SOCKET, SO_KEEPALIVE, 1}}) {
    auto set = set_socket_option(fd, option.level, option.name, option.value, operation, address);
    if (!set) return set;
  }
  return {};
}

Result<> apply(int fd, const TcpOptions& options, const char* operation, const Address& address) {
  struct Option {
    bool wanted;
    int level;
    int name;
    int value;
  };
  for (const Option& option :
       {Option{options.no_delay, IPPROTO_TCP, TCP_NODELAY, 1},
        Option{options.send_buffer > 0, SOL_SOCKET, SO_SNDBUF, options.send_buffer},
        Option{options.receive_buffer > 0, SOL_SOCKET, SO_RCVBUF, options.receive_buffer}}) {
    if (!option.wanted) continue;
    auto set = set_socket_option(fd, option.level, option.name, option.value, operation, address);
    if (!set) return set;
  }
  if (options.keep_alive) return apply(fd, *options.keep_alive, operation, address);
  return {};
}

Error not_open(const char* operation) { return Error(EBADF, operation, "(the stream is not open)"); }

}  // namespace

namespace detail {

Result<Descriptor> open_tcp(const Address& address, const TcpOptions& options, const char* operation) {
  if (!address.is_ip()) {
    return Error(EAFNOSUPPORT, operation,
                 fmt::format("{} (TCP needs an IPv4 or IPv6 address)", address.to_string()));
  }
  auto socket = open_socket(address, SOCK_STREAM, operation);
  if (!socket) return socket;
  auto applied = apply(socket->get(), options, operation, address);
  if (!applied) return applied.error();
  return socket;
}

}  // namespace detail

// --- TcpStream --------------------------------------------------------------------------------------------------------

TcpStream::TcpStream(Descriptor descriptor, Ownership ownership)
    : ByteStream(Socket::yes, std::move(descriptor), ownership) {}

const Address& TcpStream::peer_address() const noexcept {
  static const Address none;
  return state_ ? state_->peer : none;
}

Result<Address> TcpStream::local_address() const {
  if (!is_open()) return not_open("local address");
  return detail::local_address_of(fd());
}

Result<> TcpStream::set_no_delay(bool on) {
  if (!is_open()) return not_open("set no_delay");
  return set_socket_option(fd(), IPPROTO_TCP, TCP_NODELAY, on ? 1 : 0, "set no_delay", peer_address());
}
Result<> TcpStream::set_keep_alive(const KeepAlive& settings) {
  if (!is_open()) return not_open("set keep_alive");
  return apply(fd(), settings, "set keep_alive", peer_address());
}
Result<> TcpStream::set_keep_alive(bool on) {
  if (!is_open()) return not_open("set keep_alive");
  return set_socket_option(fd(), SOL_SOCKET, SO_KEEPALIVE, on ? 1 : 0, "set keep_alive", peer_address());
}

// --- TcpListener ------------------------------------------------------------------------------------------------------

Result<TcpListener> TcpListener::listen(std::string_view address, const ListenOptions& options) {
  auto parsed = Address::parse(address);
  if (!parsed) return parsed.error().on("listen", parsed.error().target());
  return listen(*parsed, options);
}

Result<TcpListener> TcpListener::listen(const Address& address, const ListenOptions& options) {
  if (options.accept_queue == 0 || options.backlog < 1) {
    return Error(EINVAL, "listen",
                 fmt::format("{} (backlog and accept_queue must be at least 1)", address.to_string()));
  }
  auto socket = detail::open_tcp(address, options, "listen");
  if (!socket) return socket.error();
  struct Option {
    bool wanted;
    int level;
    int name;
    int value;
  };
  for (const Option& option :
       {Option{true, SOL_SOCKET, SO_REUSEADDR, options.reuse_address ? 1 : 0},
        Option{options.reuse_port, SOL_SOCKET, SO_REUSEPORT, 1},
        Option{address.family() == AF_INET6, IPPROTO_IPV6, IPV6_V6ONLY, options.only_v6 ? 1 : 0}}) {
    if (!option.wanted) continue;
    auto set = set_socket_option(socket->get(), option.level, option.name, option.value, "listen", address);
    if (!set) return set.error();
  }
  auto listening = detail::bind_and_listen(socket->get(), address, options.backlog);
  if (!listening) return listening.error();
  auto local = detail::local_address_of(socket->get());
  if (!local) return local.error();
  TcpListener listener;
  listener.local_ = *local;
  listener.acceptor_ =
      std::make_shared<detail::Acceptor>(*std::move(socket), local->to_string(), options.accept_queue);
  return listener;
}

TcpListener& TcpListener::operator=(TcpListener&& other) noexcept {
  if (this != &other) {
    reset();
    acceptor_ = std::move(other.acceptor_);
    local_ = std::exchange(other.local_, Address());
  }
  return *this;
}

void TcpListener::reset() noexcept {
  if (const auto acceptor = std::move(acceptor_)) {
    const Descriptor listener = acceptor->drop();
  }
}

Task<Result<>> TcpListener::close() {
  Descriptor listener;
  if (const auto acceptor = std::move(acceptor_)) listener = acceptor->drop();
  return io::close(std::move(listener));
}

Task<Result<TcpStream>> TcpListener::accept_from(std::shared_ptr<detail::Acceptor> acceptor) {
  auto accepting = detail::Acceptor::accept(std::move(acceptor));
  auto connection = co_await accepting;
  if (!connection) co_return connection.error();
  auto peer = detail::peer_address_of(connection->get());
  co_return TcpStream(*std::move(connection), peer ? *peer : Address());
}

AsyncStream<Result<TcpStream>> TcpListener::accept_each(std::shared_ptr<detail::Acceptor> acceptor) {
  bool going_on = true;
  while (going_on) {
    auto accepting = accept_from(acceptor);
    auto connection = co_await accepting;
    going_on = connection.ok();
    co_yield std::move(connection);
  }
}

Task<Result<TcpStream>> TcpListener::accept() const { return accept_from(acceptor_); }
AsyncStream<Result<TcpStream>> TcpListener::connections() const { return accept_each(acceptor_); }

}  // namespace horus::HORUS_ABI::io
