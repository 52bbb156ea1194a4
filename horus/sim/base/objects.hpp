// SPDX-License-Identifier: Apache-2.0
// What descriptors of simulated processes refer to, and the smallest of them, the counter. One thread, the world's.
// Descriptors and events in flight share them; the last descriptor's end closes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <horus/io/address.hpp>
#include <horus/io/seam/provider.hpp>

namespace horus::HORUS_ABI::sim::detail {

class Engine;
class Held;
class Transcript;
struct Host;

// Bytes and addresses of messages.
[[nodiscard]] msghdr message_of(iovec* parts, std::size_t count) noexcept;
[[nodiscard]] std::size_t size_of(const msghdr& message) noexcept;
/// At most `limit` bytes out of the parts of a message.
[[nodiscard]] std::string gather(const msghdr& message, std::size_t limit);
/// Copies `data` into the parts of a message: how many bytes fitted.
std::size_t scatter(std::string_view data, msghdr& message) noexcept;
/// As getsockname does; -ENOTCONN when there is none.
int copy_address(const io::Address* from, sockaddr* to, socklen_t* size) noexcept;
/// 0.0.0.0 or ::.
[[nodiscard]] bool is_any(const io::Address& address);

/// Who refers to objects by descriptor numbers.
class Referrer {
 public:
  /// What it can do may have changed.
  virtual void touch(int fd) noexcept = 0;

 protected:
  ~Referrer() = default;
};

/// Base of all: who refers to it, and what it can do. What it cannot gives the kernel's error.
class Object : public std::enable_shared_from_this<Object> {
 public:
  using Kind = io::DescriptorTraits::Kind;

  explicit Object(Engine& engine) noexcept : engine_(engine) {}
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object() = default;

  [[nodiscard]] virtual Kind kind() const noexcept = 0;
  /// EPOLL* that hold now.
  [[nodiscard]] virtual std::uint32_t ready() const noexcept = 0;
  // Attempts: bytes, or -errno; -EAGAIN when it would block.
  virtual ssize_t receive(msghdr& message, int flags);
  virtual ssize_t send(const msghdr& message, int flags);
  virtual int shutdown(int how);
  /// The last descriptor is gone.
  virtual void closed() {}

  // Of sockets.
  virtual int bind(Host& host, const io::Address& address);
  virtual int listen(int backlog);
  virtual int connect(Host& host, const io::Address& address);
  virtual int connect_result();
  virtual int set_option(int level, int option, const void* value, socklen_t size);
  virtual int get_option(int level, int option, void* value, socklen_t* size);
  /// The next connection, or null when none waits.
  virtual std::shared_ptr<Object> accept(int& error);
  [[nodiscard]] virtual const io::Address* local() const noexcept { return nullptr; }
  [[nodiscard]] virtual const io::Address* peer() const noexcept { return nullptr; }

  /// Descriptors that travel with a message (SCM_RIGHTS). What cannot carry any drops them.
  virtual ssize_t send_with(const msghdr& message, int flags, std::vector<Held>&& rights);
  virtual ssize_t receive_with(msghdr& message, int flags, std::vector<Held>& rights);
  /// Its receive() fills the message's control data and says how much; what others say there counts for nothing.
  [[nodiscard]] virtual bool writes_control() const noexcept { return false; }
  /// What it receives and sends may be cut anywhere.
  [[nodiscard]] virtual bool is_byte_stream() const noexcept { return false; }
  /// What its operations give and take, for the checks at the seam. Null where the bytes of several senders mix, and
  /// while there is no connection.
  [[nodiscard]] virtual Transcript* incoming() const noexcept { return nullptr; }
  [[nodiscard]] virtual Transcript* outgoing() const noexcept { return nullptr; }

  /// O_NONBLOCK and the like, as F_GETFL gives them.
  [[nodiscard]] virtual int flags() const noexcept { return O_RDWR | flags_; }
  void set_flags(int flags) noexcept { flags_ = flags; }
  void opened_as(Referrer& kernel, int fd);
  void closed_as(Referrer& kernel, int fd);
  [[nodiscard]] Engine& engine() const noexcept { return engine_; }

 protected:
  /// Its readiness may have changed: whoever watches it looks again.
  void changed() noexcept;

 private:
  friend class Held;
  struct Reference {
    Referrer* kernel;
    int fd;
  };
  void let_go();

  Engine& engine_;
  int flags_ = 0;
  std::vector<Reference> references_;
  int held_ = 0;
};

/// Keeps an object open without a descriptor: on its way to another process.
class Held {
 public:
  Held() noexcept = default;
  explicit Held(std::shared_ptr<Object> object) noexcept : object_(std::move(object)) {
    if (object_) ++object_->held_;
  }
  Held(Held&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Held& operator=(Held&& other) noexcept {
    if (this != &other) {
      reset();
      object_ = std::exchange(other.object_, nullptr);
    }
    return *this;
  }
  ~Held() { reset(); }
  void reset() noexcept {
    if (const auto object = std::exchange(object_, nullptr)) object->let_go();
  }
  [[nodiscard]] const std::shared_ptr<Object>& object() const noexcept { return object_; }

 private:
  std::shared_ptr<Object> object_;
};

/// eventfd.
class Counter final : public Object {
 public:
  Counter(Engine& engine, std::uint64_t initial) noexcept : Object(engine), count_(initial) {}
  [[nodiscard]] Kind kind() const noexcept override { return Kind::counter; }
  [[nodiscard]] std::uint32_t ready() const noexcept override;
  ssize_t receive(msghdr& message, int flags) override;
  ssize_t send(const msghdr& message, int flags) override;

 private:
  std::uint64_t count_;
};

}  // namespace horus::HORUS_ABI::sim::detail
