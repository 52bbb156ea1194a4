// SPDX-License-Identifier: Apache-2.0
// The backend for where io_uring is forbidden: the interpreter over epoll.
#include <cerrno>

#include <fcntl.h>

#include <horus/io/backend.hpp>
#include <horus/io/epoll_provider.hpp>
#include <horus/io/interpreter.hpp>
#include <horus/io/reactor_config.hpp>

namespace horus::io {
namespace {

// Constructed before the interpreter and destroyed after it.
struct EpollWorld {
  EpollProvider provider;
};

class EpollBackend final : private EpollWorld, public Interpreter {
 public:
  explicit EpollBackend(const ReactorConfig& config)
      : Interpreter(config.submission_entries, config.completion_entries, EpollWorld::provider) {}

  int set_up() noexcept { return provider.set_up(); }
  [[nodiscard]] const char* name() const noexcept override { return "epoll"; }

  // accept4(2) knows no MSG_DONTWAIT, and a connection may be gone between the event and the call: a listening socket of
  // this process is non-blocking. The sockets it accepts are not.
  int listen(int fd, int backlog) noexcept override {
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return -errno;
    return Backend::listen(fd, backlog);
  }
};

}  // namespace

Result<std::unique_ptr<Backend>> make_epoll_backend(const ReactorConfig& config) {
  auto backend = std::make_unique<EpollBackend>(config);
  const int result = backend->set_up();
  if (result < 0) return Error(-result, "epoll_create1");
  return std::unique_ptr<Backend>(std::move(backend));
}

}  // namespace horus::io
