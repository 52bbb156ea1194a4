// SPDX-License-Identifier: Apache-2.0
#include <horus/io/tcp.hpp>

#include <cerrno>
#include <utility>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <fmt/format.h>

#include <horus/io/resolve.hpp>
#include <horus/io/socket.hpp>
#include <horus/io/time.hpp>

namespace horus::io {

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

Result<Descriptor> open_tcp(const Address& address, const TcpOptions& options, const char* operation) {
  if (!address.is_ip()) {
    return Error(EAFNOSUPPORT, operation,
                 fmt::format("{} (TCP needs an IPv4 or IPv6 address)", address.to_string()));
  }
  auto socket = detail::open_socket(address, SOCK_STREAM, operation);
  if (!socket) return socket;
  auto applied = apply(socket->get(), options, operation, address);
  if (!applied) return applied.error();
  return socket;
}

Error not_open(const char* operation) { return Error(EBADF, operation, "(the stream is not open)"); }

Task<Result<TcpStream>> fail(Error error) { co_return error; }

// A name for the resolver: letters, digits, dots, hyphens, and at least one letter, so that a mistyped number is not
// looked up.
bool is_name(std::string_view host) noexcept {
  bool letter = false;
  for (const char c : host) {
    const bool alphabetic = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c & 0x80) != 0;
    if (!alphabetic && !(c >= '0' && c <= '9') && c != '.' && c != '-' && c != '_') return false;
    letter = letter || alphabetic;
  }
  return letter;
}

}  // namespace

// --- TcpStream --------------------------------------------------------------------------------------------------------

TcpStream::TcpStream(Descriptor descriptor, Ownership ownership)
    : ByteStream(Socket::yes, std::move(descriptor), ownership) {}

Task<Result<TcpStream>> TcpStream::connect(std::string host_and_port, ConnectOptions options) {
  auto address = Address::parse(host_and_port);
  if (address) return connect(*address, std::move(options));
  const std::size_t colon = host_and_port.rfind(':');
  std::string host = host_and_port.substr(0, colon);
  if (colon != std::string::npos && is_name(host)) {
    auto port = Address::parse("0.0.0.0" + host_and_port.substr(colon));
    if (port) return connect_name(std::move(host), port->port(), std::move(options));
  }
  return fail(address.error().on("connect", address.error().target()));
}

Task<Result<TcpStream>> TcpStream::connect(Address address, ConnectOptions options) {
  return connect(std::vector<Address>{address}, std::move(options));
}

Task<Result<TcpStream>> TcpStream::connect(std::vector<Address> addresses, ConnectOptions options) {
  return connect_any(std::move(addresses), std::move(options), {});
}

// The addresses and options live in the frame of connect_any.
Task<Result<TcpStream>> TcpStream::connect_one(const Address& address, const ConnectOptions& options) {
  auto socket = open_tcp(address, options, "connect");
  if (!socket) co_return socket.error();
  if (options.local) {
    const int bound =
        detail::current_backend().bind(socket->get(), options.local->data(), options.local->size());
    if (bound < 0) co_return Error(-bound, "bind", options.local->to_string());
  }
  detail::ConnectSocket connecting(socket->get(), address);
  const std::int32_t result = co_await connecting;
  if (result < 0) co_return Error(-result, "connect", address.to_string());
  // A port of the dynamic range that nobody listens at may be the very one the kernel chose for this end: the socket
  // is then connected to itself (simultaneous open, RFC 9293 section 3.5).
  auto local = detail::local_address_of(socket->get());
  if (local && *local == address) co_return Error(ECONNREFUSED, "connect", address.to_string());
  co_return TcpStream(*std::move(socket), address);
}

Task<Result<TcpStream>> TcpStream::connect_any(std::vector<Address> addresses, ConnectOptions options,
                                               std::string name) {
  if (options.timeout > Duration::zero()) {
    const Duration limit = std::exchange(options.timeout, Duration::zero());
    std::string shown = name;
    if (shown.empty() && !addresses.empty()) shown = addresses.front().to_string();
    auto all = connect_any(std::move(addresses), options, std::move(name));
    auto connected = co_await with_timeout(limit, std::move(all));
    if (connected.code() == ETIMEDOUT && std::string_view(connected.error().operation()) == "with_timeout") {
      co_return Error(ETIMEDOUT, "connect", shown);
    }
    co_return std::move(connected);
  }
  Result<TcpStream> last = Error(EINVAL, "connect", name.empty() ? "(no address was given)" : name);
  for (const Address& address : addresses) {
    auto attempt = connect_one(address, options);
    if (options.attempt_timeout > Duration::zero()) {
      last = co_await with_timeout(options.attempt_timeout, std::move(attempt));
    } else {
      last = co_await attempt;
    }
    if (last || last.error().cancelled()) co_return std::move(last);
    std::string target = address.to_string();
    if (!name.empty()) target = fmt::format("{} ({})", name, target);
    if (addresses.size() > 1) target += fmt::format(" (the last of {} addresses tried)", addresses.size());
    const bool binding = std::string_view(last.error().operation()) == "bind";
    if (!binding) last = last.error().on("connect", target);
  }
  co_return std::move(last);
}

Task<Result<TcpStream>> TcpStream::connect_name(std::string host, std::uint16_t port,
                                                ConnectOptions options) {
  std::string name = fmt::format("{}:{}", host, port);
  if (options.timeout > Duration::zero()) {
    const Duration limit = std::exchange(options.timeout, Duration::zero());
    auto all = connect_name(std::move(host), port, options);
    auto connected = co_await with_timeout(limit, std::move(all));
    if (connected.code() == ETIMEDOUT && std::string_view(connected.error().operation()) == "with_timeout") {
      co_return Error(ETIMEDOUT, "connect", name);
    }
    co_return std::move(connected);
  }
  auto resolving = resolve(std::move(host), port);
  auto addresses = co_await resolving;
  if (!addresses) co_return addresses.error().on("connect", name);
  auto connecting = connect_any(*std::move(addresses), options, std::move(name));
  auto connected = co_await connecting;
  co_return std::move(connected);
}

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
  auto socket = open_tcp(address, options, "listen");
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

}  // namespace horus::io
