// SPDX-License-Identifier: Apache-2.0
// A TCP socket before it connects or listens. Internal; the reactor's thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <horus/base/result.hpp>
#include <horus/io/address.hpp>
#include <horus/io/descriptor.hpp>
#include <horus/io/tcp.hpp>

namespace horus::HORUS_ABI::io::detail {

/// Opened, with its options. EAFNOSUPPORT for what is no IP address.
Result<Descriptor> open_tcp(const Address& address, const TcpOptions& options, const char* operation);

}  // namespace horus::HORUS_ABI::io::detail
