// SPDX-License-Identifier: Apache-2.0
#include "plain_io.hpp"

#include <cerrno>
#include <csignal>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/error.hpp>

namespace rover::plain {

using horus::Error;

Handle::~Handle() {
  if (fd_ >= 0) ::close(fd_);
}

// --- The camera -----------------------------------------------------------------------------------------------

void CameraPipe::start() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw Error(errno, "pipe");
  pipe_ = Handle(ends[0]);
  const Handle output(ends[1]);
  ::fcntl(ends[0], F_SETPIPE_SZ, 1 << 20);

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, output.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  ::posix_spawnattr_init(&attributes);
  sigset_t none, piping;
  ::sigemptyset(&none);
  ::sigemptyset(&piping);
  ::sigaddset(&piping, SIGPIPE);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &piping);
  ::posix_spawnattr_setpgroup(&attributes, 0);
  ::posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  std::vector<char*> arguments;
  for (std::string& argument : command_) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  pid_t child = -1;
  const int code = ::posix_spawnp(&child, arguments[0], &actions, &attributes, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (code != 0) throw Error(code, "start", command_[0]);
  reader_ = PpmReader();
  const std::lock_guard lock(mutex_);
  child_ = child;
}

bool CameraPipe::read_picture(const OnPicture& on_picture) {
  if (child_ < 0) start();
  bool complete = false;
  while (!complete) {
    const ssize_t count = ::read(pipe_.get(), buffer_.data(), buffer_.size());
    if (count < 0 && errno == EINTR) continue;
    const auto bytes = std::span<const uint8_t>(buffer_).first(count > 0 ? static_cast<size_t>(count) : 0);
    const PpmError error = reader_.feed(bytes, [&](const PpmHeader& header, std::span<const uint8_t> pixels) {
      complete = true;
      on_picture(header, pixels);
    });
    if (count <= 0 || error != PpmError::kNone) {
      stop();
      return false;
    }
  }
  return true;
}

void CameraPipe::interrupt() noexcept {
  const std::lock_guard lock(mutex_);
  if (child_ > 0) ::kill(-child_, SIGKILL);
}

void CameraPipe::stop() noexcept {
  const std::lock_guard lock(mutex_);
  if (child_ < 0) return;
  ::kill(-child_, SIGKILL);
  ::waitpid(child_, nullptr, 0);
  child_ = -1;
}

// --- Sockets --------------------------------------------------------------------------------------------------

namespace {

std::string local_address(int fd) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  return fmt::format("127.0.0.1:{}", ntohs(address.sin_port));
}

Handle bind_loopback(int type, uint16_t port, const char* operation) {
  Handle socket(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
  if (!socket) throw Error(errno, "socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    throw Error(errno, operation, fmt::format("127.0.0.1:{}", port));
  }
  return socket;
}

}  // namespace

Handle connect_tcp(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) throw Error(EINVAL, "connect", address + " (HOST:PORT is wanted)");
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), address.c_str() + colon + 1, &hints, &found) != 0) {
    throw Error(horus::kNameNotFound, "resolve", address);
  }
  int code = 0;
  Handle connected;
  for (const addrinfo* each = found; each != nullptr && !connected; each = each->ai_next) {
    Handle socket(::socket(each->ai_family, each->ai_socktype | SOCK_CLOEXEC, each->ai_protocol));
    if (socket && ::connect(socket.get(), each->ai_addr, each->ai_addrlen) == 0) {
      connected = std::move(socket);
    } else {
      code = errno;
    }
  }
  ::freeaddrinfo(found);
  if (!connected) throw Error(code, "connect", address);
  return connected;
}

Handle listen_tcp(std::string& address) {
  Handle socket = bind_loopback(SOCK_STREAM | SOCK_NONBLOCK, 0, "listen");
  if (::listen(socket.get(), 8) != 0) throw Error(errno, "listen", "127.0.0.1");
  address = local_address(socket.get());
  return socket;
}

Handle bind_udp(uint16_t port, std::string& address, int patience_ms) {
  Handle socket = bind_loopback(SOCK_DGRAM, port, "bind");
  address = local_address(socket.get());
  const timeval patience{.tv_sec = 0, .tv_usec = patience_ms * 1000};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  return socket;
}

Received receive(const Handle& socket, std::string& bytes, bool wait) {
  char buffer[4096];
  const ssize_t count = ::recv(socket.get(), buffer, sizeof buffer, wait ? 0 : MSG_DONTWAIT);
  if (count > 0) {
    bytes.assign(buffer, static_cast<size_t>(count));
    return Received::kBytes;
  }
  return count < 0 && (errno == EAGAIN || errno == EINTR) ? Received::kNothing : Received::kEnd;
}

// --- Files ----------------------------------------------------------------------------------------------------

std::string read_text(const char* path) {
  const Handle file(::open(path, O_RDONLY | O_CLOEXEC));
  if (!file) return {};
  std::string text(16 * 1024, '\0');
  const ssize_t count = ::read(file.get(), text.data(), text.size());
  text.resize(count > 0 ? static_cast<size_t>(count) : 0);
  return text;
}

Handle create_file(const std::string& path) {
  Handle file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!file) throw Error(errno, "open", path);
  return file;
}

int write_all(const Handle& file, std::string_view text) noexcept {
  while (!text.empty()) {
    const ssize_t count = ::write(file.get(), text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno;
    text.remove_prefix(static_cast<size_t>(count));
  }
  return 0;
}

}  // namespace rover::plain
