// SPDX-License-Identifier: Apache-2.0
#include <horus/io/seam/backend.hpp>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <string_view>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/reactor_config.hpp>

namespace horus::HORUS_ABI::io {
namespace {

std::atomic<BackendMaker> backend_maker{nullptr};

Result<BackendChoice> choice_of(const ReactorConfig& config) {
  if (config.backend != BackendChoice::automatic) return config.backend;
  const char* wish = std::getenv("HORUS_IO");
  const std::string_view word = wish == nullptr ? "" : wish;
  if (word.empty() || word == "auto") return BackendChoice::automatic;
  if (word == "uring") return BackendChoice::uring;
  if (word == "epoll") return BackendChoice::epoll;
  return Error(EINVAL, "HORUS_IO", fmt::format("\"{}\" (use uring, epoll or auto)", word));
}

}  // namespace

BackendMaker set_backend_maker(BackendMaker maker) noexcept {
  return backend_maker.exchange(maker, std::memory_order_acq_rel);
}

Result<Backend> make_usual_backend(const ReactorConfig& config) {
  const auto choice = choice_of(config);
  if (!choice) return choice.error();
  if (*choice != BackendChoice::epoll) {
#ifdef HORUS_WITH_URING
    auto uring = make_uring_backend(config);
    if (uring) return uring;
    const std::string why = explain_uring_failure(uring.code());
    if (*choice == BackendChoice::uring) return Error(uring.code(), "io_uring_setup", "(required): " + why);
    static std::once_flag told;
    std::call_once(told, [&] { log_warning("io_uring is not available, using epoll: " + why); });
#else
    if (*choice == BackendChoice::uring)
      return Error(ENOSYS, "io_uring_setup", "(this build has no io_uring backend)");
#endif
  }
  return make_epoll_backend(config);
}

Result<Backend> make_backend(const ReactorConfig& config) {
  const BackendMaker maker = backend_maker.load(std::memory_order_acquire);
  return maker != nullptr ? maker(config) : make_usual_backend(config);
}

}  // namespace horus::HORUS_ABI::io
