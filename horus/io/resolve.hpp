// SPDX-License-Identifier: Apache-2.0
// Host names to addresses, through the system's resolver on a pool thread. One reactor's thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/address.hpp>
#include <horus/task/task.hpp>

namespace horus::io {

/// The addresses of `host`, in the order in which they should be tried (RFC 6724), never empty.
///
/// Semantics: a numeric host gives itself at once; a name asks the system (files, DNS, what nsswitch.conf says) on
/// ThreadPool::standard(), where a look-up that has started cannot be interrupted: a task that is asked to stop then
/// waits for the resolver's own limit (resolv.conf: options timeout, attempts).
/// Errors: kNameNotFound; kResolverFailed (no server answered); EAGAIN (the pool's queue is full); ECANCELED.
/// Example: `auto addresses = co_await horus::io::resolve("localhost", 80);`
/// Source: getaddrinfo(3).
HORUS_API Task<Result<std::vector<Address>>> resolve(std::string host, std::uint16_t port);

}  // namespace horus::io
