// SPDX-License-Identifier: Apache-2.0
// The seam of the calling thread: its reactor's; the kernel's when the thread has no reactor.
#include <horus/io/reactor.hpp>
#include <horus/io/seam/clock.hpp>
#include <horus/io/seam/system.hpp>

horus::io::System& horus::io::System::here() noexcept {
  Reactor* reactor = Reactor::current();
  return reactor != nullptr ? reactor->system() : *kernel();
}

std::int64_t horus::wall_clock_ns() noexcept {
  io::Reactor* reactor = io::Reactor::current();
  return reactor != nullptr ? reactor->clock().wall_clock_ns() : io::Clock::kernel()->wall_clock_ns();
}
