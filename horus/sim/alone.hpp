// SPDX-License-Identifier: Apache-2.0
// A simulated world for one reactor alone, which moves virtual time on while it waits.
#pragma once

#include <cstddef>
#include <memory>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/reactor_config.hpp>
#include <horus/io/seam/backend.hpp>

namespace horus::HORUS_ABI::sim {

/// A backend whose clock, network, disk and pool are simulated, without faults. A reactor that asks for io_uring or
/// epoll by name still gets the kernel's. For code that makes its own reactor:
/// `horus::io::set_backend_maker(&horus::sim::make_backend_alone)`.
///
/// Semantics: one host, 10.0.0.1. Each reactor begins with a new world, except for the disk, which successive
/// reactors of a thread share. Seeds come from HORUS_SIM_SEED (1). With HORUS_SIM_FAULTS set, the seed chooses a
/// subset of Faults::unspecified, except short transfers. This is the only process of its world: it cannot start
/// programs, and a signal that no task waits for ends the real process. Threads do not wake it.
/// Errors: none. A wait that nothing can ever end stops the program with a message.
/// Thread safety: the reactor's thread.
HORUS_API Result<io::Backend> make_backend_alone(const io::ReactorConfig& config);

/// The number of descriptors that the reactors of this thread in such worlds have left open so far.
[[nodiscard]] HORUS_API std::size_t descriptors_left_open() noexcept;

}  // namespace horus::HORUS_ABI::sim
