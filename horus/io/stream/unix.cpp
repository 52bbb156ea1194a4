// SPDX-License-Identifier: Apache-2.0
#include <horus/io/unix.hpp>

#include <cerrno>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <fmt/format.h>

#include <horus/io/loop/awaiter.hpp>
#include <horus/io/loop/socket.hpp>
#include <horus/io/time.hpp>

namespace horus::HORUS_ABI::io {

namespace {

Task<Result<UnixStream>> not_connected(Error error) { co_return error; }

// STATX of the file itself, not of what a link points to.
class KindOfPath : public OperationAwaiter<KindOfPath> {
 public:
  static constexpr const char* kName = "stat";
  explicit KindOfPath(const char* path) noexcept : path_(path) {}
  void prepare(io_uring_sqe& entry) noexcept {
    fill::status(entry, AT_FDCWD, path_, AT_SYMLINK_NOFOLLOW, STATX_TYPE, status_);
  }
  [[nodiscard]] bool await_resume() const noexcept { return result == 0 && S_ISSOCK(status_.stx_mode); }

 private:
  const char* path_;
  struct statx status_{};
};

// Removes a file.
class Unlink : public OperationAwaiter<Unlink> {
 public:
  static constexpr const char* kName = "unlink";
  explicit Unlink(const char* path) noexcept : path_(path) {}
  void prepare(io_uring_sqe& entry) const noexcept { fill::unlink(entry, AT_FDCWD, path_, 0); }
  [[nodiscard]] std::int32_t await_resume() const noexcept { return result; }

 private:
  const char* path_;
};

Result<Descriptor> open_unix(const Address& address, const char* operation) {
  if (!address.is_unix()) {
    return Error(EAFNOSUPPORT, operation,
                 fmt::format("{} (a Unix address was expected)", address.to_string()));
  }
  return detail::open_socket(address, SOCK_STREAM, operation);
}

}  // namespace

Result<Address> detail::unix_address(std::string_view name) {
  if (name.starts_with("unix:")) return Address::parse(name);
  if (name.starts_with('@')) return Address::unix_abstract(name.substr(1));
  return Address::unix_path(name);
}

// --- UnixStream -------------------------------------------------------------------------------------------------------

UnixStream::UnixStream(Descriptor descriptor, Ownership ownership)
    : ByteStream(Socket::yes, std::move(descriptor), ownership) {}

Task<Result<UnixStream>> UnixStream::connect(std::string name, Duration timeout) {
  auto address = detail::unix_address(name);
  if (!address) return not_connected(address.error().on("connect", address.error().target()));
  return connect(*address, timeout);
}

Task<Result<UnixStream>> UnixStream::connect(Address address, Duration timeout) {
  return connect_to(address, timeout);
}

Task<Result<UnixStream>> UnixStream::connect_to(Address address, Duration timeout) {
  if (timeout > Duration::zero()) {
    auto connecting = connect_to(address, Duration::zero());
    auto connected = co_await with_timeout(timeout, std::move(connecting));
    if (connected.code() == ETIMEDOUT) co_return Error(ETIMEDOUT, "connect", address.to_string());
    co_return std::move(connected);
  }
  auto socket = open_unix(address, "connect");
  if (!socket) co_return socket.error();
  detail::ConnectSocket connecting(socket->get(), address);
  const std::int32_t result = co_await connecting;
  if (result < 0) co_return Error(-result, "connect", address.to_string());
  co_return UnixStream(*std::move(socket), address, {});
}

Result<std::pair<UnixStream, UnixStream>> UnixStream::pair() {
  int ends[2];
  const int result = detail::current_system().socket_pair(ends, AF_UNIX, SOCK_STREAM);
  if (result < 0) return Error(-result, "socket pair");
  return std::pair(UnixStream(Descriptor(ends[0]), {}, "a socket pair"),
                   UnixStream(Descriptor(ends[1]), {}, "a socket pair"));
}

const Address& UnixStream::peer_address() const noexcept {
  static const Address none;
  return state_ ? state_->peer : none;
}

Result<Address> UnixStream::local_address() const {
  if (!is_open()) return Error(EBADF, "local address", "(the stream is not open)");
  return detail::local_address_of(fd());
}

// --- UnixListener -----------------------------------------------------------------------------------------------------

Result<UnixListener> UnixListener::listen(std::string_view name, const UnixListenOptions& options) {
  auto address = detail::unix_address(name);
  if (!address) return address.error().on("listen", address.error().target());
  return listen(*address, options);
}

Result<UnixListener> UnixListener::listen(const Address& address, const UnixListenOptions& options) {
  if (options.accept_queue == 0 || options.backlog < 1) {
    return Error(EINVAL, "listen",
                 fmt::format("{} (backlog and accept_queue must be at least 1)", address.to_string()));
  }
  auto socket = open_unix(address, "listen");
  if (!socket) return socket.error();
  auto listening = detail::bind_and_listen(socket->get(), address, options.backlog);
  if (!listening) return listening.error();
  UnixListener listener;
  listener.local_ = address;
  listener.acceptor_ =
      std::make_shared<detail::Acceptor>(*std::move(socket), address.to_string(), options.accept_queue);
  return listener;
}

Task<Result<UnixListener>> UnixListener::replace(std::string name, UnixListenOptions options) {
  auto address = detail::unix_address(name);
  if (!address) co_return address.error().on("listen", address.error().target());
  auto listener = listen(*address, options);
  if (listener.code() != EADDRINUSE) co_return std::move(listener);
  // Any file refuses a connection; only a socket may go.
  const std::string path = address->host();
  KindOfPath asking(path.c_str());
  const bool is_socket = co_await asking;
  if (!is_socket) co_return std::move(listener);
  auto probing = UnixStream::connect(*address);
  auto probe = co_await probing;
  if (probe.code() != ECONNREFUSED) co_return std::move(listener);
  Unlink unlinking(path.c_str());
  const std::int32_t result = co_await unlinking;
  if (result < 0 && result != -ENOENT) co_return Error(-result, "unlink", address->to_string());
  co_return listen(*address, options);
}

UnixListener& UnixListener::operator=(UnixListener&& other) noexcept {
  if (this != &other) {
    reset();
    acceptor_ = std::move(other.acceptor_);
    local_ = std::exchange(other.local_, Address());
  }
  return *this;
}

void UnixListener::reset() noexcept {
  if (const auto acceptor = std::move(acceptor_)) {
    const Descriptor listener = acceptor->drop();
  }
}

Task<Result<>> UnixListener::close() {
  Descriptor listener;
  if (const auto acceptor = std::move(acceptor_)) listener = acceptor->drop();
  return io::close(std::move(listener));
}

// A client has no address of its own as a rule, so the listener's names the stream.
Task<Result<UnixStream>> UnixListener::accept_from(std::shared_ptr<detail::Acceptor> acceptor,
                                                   std::string name) {
  auto accepting = detail::Acceptor::accept(std::move(acceptor));
  auto connection = co_await accepting;
  if (!connection) co_return connection.error();
  auto peer = detail::peer_address_of(connection->get());
  co_return UnixStream(*std::move(connection), peer ? *peer : Address(), fmt::format("a client of {}", name));
}

AsyncStream<Result<UnixStream>> UnixListener::accept_each(std::shared_ptr<detail::Acceptor> acceptor,
                                                          std::string name) {
  bool going_on = true;
  while (going_on) {
    auto accepting = accept_from(acceptor, name);
    auto connection = co_await accepting;
    going_on = connection.ok();
    co_yield std::move(connection);
  }
}

Task<Result<UnixStream>> UnixListener::accept() const { return accept_from(acceptor_, local_.to_string()); }
AsyncStream<Result<UnixStream>> UnixListener::connections() const {
  return accept_each(acceptor_, local_.to_string());
}

}  // namespace horus::HORUS_ABI::io
