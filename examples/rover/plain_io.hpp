// SPDX-License-Identifier: Apache-2.0
// Input and output with plain system calls, for the two old ways of driving. Each call blocks its thread as the system
// call under it does; an object belongs to one thread, except where it says otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/socket.h>
#include <sys/types.h>

#include "ppm.hpp"

namespace rover::plain {

/// A descriptor that is closed at the end.
class Handle {
 public:
  Handle() noexcept = default;
  explicit Handle(int fd) noexcept : fd_(fd) {}
  Handle(Handle&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Handle();
  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

/// The camera program behind a pipe.
class CameraPipe {
 public:
  using OnPicture = std::function<void(const PpmHeader&, std::span<const uint8_t> pixels)>;

  explicit CameraPipe(std::vector<std::string> command) : command_(std::move(command)), buffer_(256 * 1024) {}
  ~CameraPipe() { stop(); }
  CameraPipe(const CameraPipe&) = delete;
  CameraPipe& operator=(const CameraPipe&) = delete;

  /// Waits for the next picture; starts the program first when it does not run. False when it ended instead.
  bool read_picture(const OnPicture& on_picture);
  /// Ends the program, which ends a read_picture() of another thread. Any thread.
  void interrupt() noexcept;
  void stop() noexcept;

 private:
  void start();

  std::vector<std::string> command_;
  Handle pipe_;
  std::mutex mutex_;  // of child_
  pid_t child_ = -1;
  PpmReader reader_;
  std::vector<uint8_t> buffer_;
};

/// A TCP connection to HOST:PORT; throws horus::Error.
Handle connect_tcp(const std::string& address);
/// A listening TCP socket on 127.0.0.1 that never blocks; `address` is set to its address.
Handle listen_tcp(std::string& address);
/// A UDP socket on 127.0.0.1 whose receives wait for at most `patience_ms` (0: not at all).
Handle bind_udp(uint16_t port, std::string& address, int patience_ms);
/// What a receive gave: bytes, nothing yet, or the end (errors count as one).
enum class Received : uint8_t { kBytes, kNothing, kEnd };
Received receive(const Handle& socket, std::string& bytes, bool wait);

/// The contents of a small file; empty when it cannot be read.
std::string read_text(const char* path);

/// Makes or empties a file for writing; throws horus::Error.
Handle create_file(const std::string& path);
/// Writes all of it; gives 0 or errno.
int write_all(const Handle& file, std::string_view text) noexcept;

}  // namespace rover::plain
