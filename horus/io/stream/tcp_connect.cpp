// SPDX-License-Identifier: Apache-2.0
// Connecting: to one address, or to several with a head start for each (RFC 8305, "happy eyeballs").
#include <cerrno>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include <horus/io/loop/socket.hpp>
#include <horus/io/resolve.hpp>
#include <horus/io/stream/tcp_socket.hpp>
#include <horus/io/tcp.hpp>
#include <horus/io/time.hpp>
#include <horus/task/event.hpp>
#include <horus/task/scope.hpp>

namespace horus::HORUS_ABI::io {
namespace {

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

// The families in turn, beginning with that of the first address; each keeps its order (RFC 8305, section 4).
std::vector<Address> families_in_turn(const std::vector<Address>& addresses) {
  std::vector<Address> first;
  std::vector<Address> others;
  for (const Address& address : addresses) {
    (address.family() == addresses.front().family() ? first : others).push_back(address);
  }
  std::vector<Address> mixed;
  mixed.reserve(addresses.size());
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    if (i < first.size()) mixed.push_back(first[i]);
    if (i < others.size()) mixed.push_back(others[i]);
  }
  return mixed;
}

// What connect() takes, names too, which Address::parse() knows nothing of.
Error not_a_target(const Error& error, std::string_view text) {
  const std::string_view target = error.target();
  if (error.code() != EINVAL || target.find("the port must") != std::string_view::npos)
    return error.on("connect", target);
  return Error(EINVAL, "connect", fmt::format("\"{}\" (expected name:port, IPv4:port or [IPv6]:port)", text));
}

// Whom an error names: "robot (10.0.0.7:80)", and how many others were tried.
std::string shown(const std::string& name, const Address& address, std::size_t addresses) {
  std::string target = address.to_string();
  if (!name.empty()) target = fmt::format("{} ({})", name, target);
  if (addresses > 1) target += fmt::format(" (the last of {} addresses tried)", addresses);
  return target;
}

// Attempts that run side by side until one has a connection.
struct Attempts {
  Event changed;
  std::optional<TcpStream> winner;
  std::optional<Error> failure;  // of the last that failed
  std::size_t running = 0;
  bool failed = false;  // since the last look
};

Task<> wait_for(Event& event) { co_await event.wait(); }

Task<> run_attempt(Attempts& attempts, Task<Result<TcpStream>> connecting) {
  auto connected = co_await connecting;
  --attempts.running;
  if (!connected) {
    attempts.failed = true;
    if (!connected.error().cancelled()) attempts.failure = connected.error();
  } else if (!attempts.winner) {
    attempts.winner = *std::move(connected);
  }
  attempts.changed.set();
}

// Waits for one of the attempts, at most `limit` (0: as long as it takes). ECANCELED: the task was asked to stop.
Task<int> wait_for_change(Event& changed, Duration limit) {
  try {
    if (limit > Duration::zero()) {
      auto waiting = wait_for(changed);
      auto in_time = co_await with_timeout(limit, std::move(waiting));
      co_return in_time.code();
    }
    co_await changed.wait();
  } catch (const Error& error) {
    co_return error.code();
  }
  co_return 0;
}

}  // namespace

Task<Result<TcpStream>> TcpStream::connect(std::string host_and_port, ConnectOptions options) {
  auto address = Address::parse(host_and_port);
  if (address) return connect(*address, std::move(options));
  const std::size_t colon = host_and_port.rfind(':');
  std::string host = host_and_port.substr(0, colon);
  if (colon != std::string::npos && is_name(host)) {
    auto port = Address::parse("0.0.0.0" + host_and_port.substr(colon));
    if (port) return connect_name(std::move(host), port->port(), std::move(options));
  }
  return fail(not_a_target(address.error(), host_and_port));
}

Task<Result<TcpStream>> TcpStream::connect(Address address, ConnectOptions options) {
  return connect(std::vector<Address>{address}, std::move(options));
}

Task<Result<TcpStream>> TcpStream::connect(std::vector<Address> addresses, ConnectOptions options) {
  return connect_any(std::move(addresses), std::move(options), {});
}

// The address and options live in the frame of whoever awaits this.
Task<Result<TcpStream>> TcpStream::connect_one(const Address& address, const ConnectOptions& options) {
  auto socket = detail::open_tcp(address, options, "connect");
  if (!socket) co_return socket.error();
  if (options.local) {
    const int bound =
        detail::current_system().bind(socket->get(), options.local->data(), options.local->size());
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

// One attempt, within its own limit; its error names everything.
Task<Result<TcpStream>> TcpStream::try_one(const Address& address, const ConnectOptions& options,
                                           const std::string& name, std::size_t addresses) {
  auto attempt = connect_one(address, options);
  Result<TcpStream> connected = Error(ECANCELED, "connect");
  if (options.attempt_timeout > Duration::zero()) {
    connected = co_await with_timeout(options.attempt_timeout, std::move(attempt));
  } else {
    connected = co_await attempt;
  }
  if (connected || std::string_view(connected.error().operation()) == "bind") co_return std::move(connected);
  co_return connected.error().on("connect", shown(name, address, addresses));
}

// The next address gets its turn when one has failed or the head start is over; the first connection wins, and the other
// attempts are stopped and awaited.
Task<Result<TcpStream>> TcpStream::race(const std::vector<Address>& addresses, const ConnectOptions& options,
                                        const std::string& name) {
  Attempts attempts;
  Scope scope("connect");
  std::size_t next = 0;
  bool due = true;
  bool stopped = false;
  while (!attempts.winner && !stopped && (next < addresses.size() || attempts.running > 0)) {
    if (next < addresses.size() && (due || attempts.running == 0)) {
      auto attempt = try_one(addresses[next++], options, name, addresses.size());
      ++attempts.running;
      static_cast<void>(scope.spawn(run_attempt(attempts, std::move(attempt))));
    }
    attempts.changed.reset();
    attempts.failed = false;
    auto waiting =
        wait_for_change(attempts.changed, next < addresses.size() ? options.attempt_delay : Duration::zero());
    const int waited = co_await waiting;
    due = attempts.failed || waited == ETIMEDOUT;
    stopped = waited == ECANCELED;
  }
  scope.cancel();
  co_await scope.join();
  if (attempts.winner) co_return *std::move(attempts.winner);
  if (stopped || !attempts.failure)
    co_return Error(ECANCELED, "connect", name.empty() ? addresses.front().to_string() : name);
  co_return *attempts.failure;
}

Task<Result<TcpStream>> TcpStream::connect_any(std::vector<Address> addresses, ConnectOptions options,
                                               std::string name) {
  if (options.timeout > Duration::zero()) {
    const Duration limit = std::exchange(options.timeout, Duration::zero());
    auto all = connect_any(std::move(addresses), options, std::move(name));
    auto connected = co_await with_timeout(limit, std::move(all));
    co_return std::move(connected);
  }
  if (addresses.empty()) co_return Error(EINVAL, "connect", name.empty() ? "(no address was given)" : name);
  auto connecting =
      addresses.size() == 1 ? try_one(addresses.front(), options, name, 1) : race(addresses, options, name);
  auto connected = co_await connecting;
  co_return std::move(connected);
}

Task<Result<TcpStream>> TcpStream::connect_name(std::string host, std::uint16_t port,
                                                ConnectOptions options) {
  if (options.timeout > Duration::zero()) {
    const Duration limit = std::exchange(options.timeout, Duration::zero());
    auto all = connect_name(std::move(host), port, options);
    auto connected = co_await with_timeout(limit, std::move(all));
    co_return std::move(connected);
  }
  const std::string name = fmt::format("{}:{}", host, port);
  auto resolving = resolve(std::move(host), port);
  auto addresses = co_await resolving;
  if (!addresses) {
    const bool silent = addresses.error().cancelled();
    co_return addresses.error().on("connect", silent ? name + " (while its name was looked up)" : name);
  }
  auto connecting = connect_any(families_in_turn(*addresses), options, name);
  auto connected = co_await connecting;
  co_return std::move(connected);
}

}  // namespace horus::HORUS_ABI::io
