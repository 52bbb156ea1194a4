// SPDX-License-Identifier: Apache-2.0
// Host names to addresses, through the system's resolver on threads of its own. One reactor's thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/address.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::io {

/// The addresses of `host`, in the order in which to try them (RFC 6724), never empty.
///
/// Semantics: a numeric host is converted at once. A name is looked up by the system (files, DNS, as nsswitch.conf
/// says) on threads of the resolver (ThreadPool::names()). A look-up cannot be interrupted and may take as long as
/// resolv.conf allows (options timeout, attempts: 10 s and more). But a task that is asked to stop, or whose time is
/// up, abandons it at once. Tasks that look up the same name at the same time share one look-up, so a silent server
/// costs one thread for each name, not for each attempt.
/// Errors: kNameNotFound; kResolverFailed (no server answered); EMFILE and ENFILE (no descriptor left to ask with);
/// EAGAIN (16 names get no answer and 256 wait already); ECANCELED.
/// Example: `auto addresses = co_await horus::io::resolve("localhost", 80);`
/// Source: getaddrinfo(3).
HORUS_API Task<Result<std::vector<Address>>> resolve(std::string host, std::uint16_t port);

}  // namespace horus::HORUS_ABI::io
