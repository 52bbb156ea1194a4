// SPDX-License-Identifier: Apache-2.0
// The seam: what a reactor stands on. A simulator, a fault injector or a recorder replaces one part of it, or stands in
// front of one (forwarding.hpp).
#pragma once

#include <horus/base/compiler.hpp>

#include <memory>
#include <string>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/seam/clock.hpp>
#include <horus/io/seam/ring.hpp>
#include <horus/io/seam/system.hpp>

namespace horus::HORUS_ABI::io {

class Journal;

/// The three parts of a reactor's ground. They are all set. A part may hold another one.
struct Backend {
  std::shared_ptr<Ring> ring;
  std::shared_ptr<Clock> clock = Clock::kernel();
  std::shared_ptr<System> system = System::kernel();
  /// Of a run that is recorded or replayed exactly: what else reaches the loop. It outlives the reactor.
  Journal* journal = nullptr;
};

struct ReactorConfig;

/// Makes the backends of all reactors: a fault injector, a recorder, a simulated world. It may stand in front of what
/// make_usual_backend() gives. Null restores the usual choice. Gives the previous one. Any thread; reactors that exist
/// stay.
using BackendMaker = Result<Backend> (*)(const ReactorConfig& config);
HORUS_API BackendMaker set_backend_maker(BackendMaker maker) noexcept;

/// What `config.backend` asks for, and HORUS_IO where that leaves the choice. Errors: EINVAL for an unknown HORUS_IO; what
/// io_uring_setup says where io_uring is required.
HORUS_API Result<Backend> make_usual_backend(const ReactorConfig& config);
/// The same, unless somebody has set a maker.
HORUS_API Result<Backend> make_backend(const ReactorConfig& config);

/// Why io_uring cannot be had here, in words that name the likely cause and the mend.
HORUS_API std::string explain_uring_failure(int error);
/// A kernel ring, or -errno of the attempt as an Error ("io_uring_setup").
HORUS_API Result<Backend> make_uring_backend(const ReactorConfig& config);
/// The interpreter of the same entries over non-blocking calls, epoll and a thread pool.
HORUS_API Result<Backend> make_epoll_backend(const ReactorConfig& config);

}  // namespace horus::HORUS_ABI::io
