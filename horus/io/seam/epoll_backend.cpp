// SPDX-License-Identifier: Apache-2.0
// The backend for where io_uring is forbidden: the interpreter over epoll.
#include <cerrno>

#include <fcntl.h>

#include <horus/io/reactor_config.hpp>
#include <horus/io/seam/backend.hpp>
#include <horus/io/seam/epoll_provider.hpp>
#include <horus/io/seam/interpreter.hpp>

namespace horus::HORUS_ABI::io {
namespace {

// Constructed before the interpreter and destroyed after it.
struct EpollWorld {
  EpollProvider provider;
};

class EpollRing final : private EpollWorld, public Interpreter {
 public:
  explicit EpollRing(const ReactorConfig& config)
      : Interpreter(config.submission_entries, config.completion_entries, EpollWorld::provider) {}

  int set_up() noexcept { return provider.set_up(); }
  [[nodiscard]] const char* name() const noexcept override { return "epoll"; }
};

// accept4(2) knows no MSG_DONTWAIT, and a connection may be gone between the event and the call: a listening socket of
// this process is non-blocking. The sockets it accepts are not.
class EpollSystem final : public System {
 public:
  int listen(int fd, int backlog) noexcept override {
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
    return System::listen(fd, backlog);
  }
};

}  // namespace

Result<Backend> make_epoll_backend(const ReactorConfig& config) {
  auto ring = std::make_shared<EpollRing>(config);
  const int result = ring->set_up();
  if (result < 0) return Error(-result, "epoll_create1");
  return Backend{.ring = std::move(ring), .system = std::make_shared<EpollSystem>()};
}

}  // namespace horus::HORUS_ABI::io
