// SPDX-License-Identifier: Apache-2.0
// Where the engine's chance comes from: the seam's in a simulated world, and where a run is recorded exactly. Internal.
#pragma once

#include <horus/io/reactor.hpp>
#include <horus/io/tls/engine.hpp>

namespace horus::HORUS_ABI::io::tls {

/// Null: OpenSSL's own. Otherwise all chance passes the seam, on the loop's thread alone.
inline Chance seam_chance() noexcept {
  Reactor* reactor = Reactor::current();
  if (reactor == nullptr || !reactor->clock().nature().through_seam) return nullptr;
  return [](void* out, std::size_t size) noexcept { System::here().random_bytes(out, size); };
}

}  // namespace horus::HORUS_ABI::io::tls
