// SPDX-License-Identifier: Apache-2.0
// OpenSSL with chance from outside: in a simulated world, and where a run is recorded exactly, all chance passes the seam.
#pragma once

#include <horus/io/tls/engine.hpp>

#include <openssl/types.h>

namespace horus::tls {

/// A library context whose every random byte comes from `chance`; null when OpenSSL refuses. One for the whole process, so
/// `chance` has to be the same each time.
OSSL_LIB_CTX* library_with(io::tls::Chance chance) noexcept;

}  // namespace horus::tls
