// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/run/service_notifier.hpp>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <system_error>
#include <utility>

#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/above_standard.hpp>
#include <horus/base/error.hpp>
#include <horus/base/log.hpp>

namespace horus::HORUS_ABI {
namespace {

std::string_view manager_variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view{} : value;
}

std::optional<std::int64_t> manager_number(const char* name) {
  const std::string_view text = manager_variable(name);
  std::int64_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<Duration> half_of_watchdog_limit() {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max() / 1000;
  const auto limit_us = manager_number("WATCHDOG_USEC");
  if (!limit_us || *limit_us <= 0 || *limit_us > kMost) return std::nullopt;
  if (!manager_variable("WATCHDOG_PID").empty() && manager_number("WATCHDOG_PID") != ::getpid())
    return std::nullopt;
  return std::chrono::microseconds(*limit_us) / 2;
}

// At most `limit` bytes, on one line, and no half of a UTF-8 sequence at the end.
std::string one_line(std::string_view text, std::size_t limit) {
  if (text.size() > limit) {
    while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xC0U) == 0x80U) --limit;
    text = text.substr(0, limit);
  }
  std::string line(text);
  for (char& letter : line) {
    if (letter == '\n' || letter == '\r' || letter == '\0') letter = ' ';
  }
  return line;
}

}  // namespace

ServiceNotifier::ServiceNotifier() {
  const std::string_view name = manager_variable("NOTIFY_SOCKET");
  if (name.empty()) return;
  auto address = name.front() == '@' ? io::Address::unix_abstract(name.substr(1))
                 : name.front() == '/'
                     ? io::Address::unix_path(name)
                     : Result<io::Address>(Error(EAFNOSUPPORT, "NOTIFY_SOCKET", std::string(name)));
  if (!address) {
    log_warning(fmt::format("the service manager gets no notifications: {}", address.error().message()));
    return;
  }
  address_ = *address;
  socket_ = above_standard(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (socket_ < 0) {
    complain(errno);
    return;
  }
  interval_ = half_of_watchdog_limit();
}

ServiceNotifier::~ServiceNotifier() {
  if (socket_ >= 0) ::close(socket_);
}

void ServiceNotifier::ready() {
  owes_ready_ = active();
  send_owed({});
}

void ServiceNotifier::stopping() {
  owes_stopping_ = active();
  send_owed({});
}

void ServiceNotifier::status(std::string_view text) {
  if (!active()) return;
  owed_status_ = one_line(text, kMaxStatusBytes);
  send_owed({});
}

void ServiceNotifier::watchdog() { send_owed("WATCHDOG=1"); }

// One datagram: assignments, one in a line.
void ServiceNotifier::send_owed(std::string_view further) {
  if (!active()) return;
  std::string text;
  const auto add = [&text](std::string_view assignment) {
    if (!text.empty()) text += '\n';
    text += assignment;
  };
  if (owes_ready_) add("READY=1");
  if (owes_stopping_) add("STOPPING=1");
  if (owed_status_) add("STATUS=" + *owed_status_);
  if (!further.empty()) add(further);
  const ssize_t sent =
      ::sendto(socket_, text.data(), text.size(), MSG_NOSIGNAL, address_.data(), address_.size());
  if (sent < 0) {
    if (errno != EAGAIN && errno != EINTR) complain(errno);
    return;
  }
  owes_ready_ = false;
  owes_stopping_ = false;
  owed_status_.reset();
}

void ServiceNotifier::complain(int error) {
  if (std::exchange(complained_, true)) return;
  log_warning(
      fmt::format("cannot notify the service manager at {}: {}", address_.to_string(), describe_code(error)));
}

}  // namespace horus::HORUS_ABI
