// SPDX-License-Identifier: Apache-2.0
// Options of hubs and of their topics, from Python's dicts and arguments. Internal; the interpreter is held.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include <horus/msg/options.hpp>
#include <horus/msg/shm_options.hpp>
#include <horus/msg/tcp_options.hpp>
#include <horus/py/base/bindings.hpp>

namespace horus::python {

/// Loans that a publisher of Python may have at once.
inline constexpr std::uint32_t kMaxLoans = 8;

/// By the names of docs/hub.toml. Throws TypeError and ValueError that name the option.
TcpHubOptions tcp_options(const py::dict& given);
ShmOptions shm_options(const py::dict& given);
SubscribeOptions receive_options(std::uint32_t depth, int overflow, std::optional<double> stale_after_s,
                                 bool keep_in_emergency);
AdvertiseOptions send_options(std::size_t max_bytes, std::uint32_t max_queued);

}  // namespace horus::python
