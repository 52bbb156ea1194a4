// SPDX-License-Identifier: Apache-2.0
// Plain data as MessagePack: None, bool, int, float, str, bytes, list, tuple, dict, and nothing that could run code. With
// the GIL.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <horus/py/base/bindings.hpp>

namespace horus::python {

inline constexpr int kDeepest = 64;  // levels of lists and dicts
inline constexpr std::size_t kMostValues =
    1U << 20;  // in one message: an object takes a hundred bytes where it took one

/// Appends `message` to `bytes`. Throws TypeError that names what cannot travel and where it is, ValueError for ints
/// beyond 64 bits, more than kDeepest levels or kMostValues values, and more than `most` bytes.
void pack(py::handle message, std::size_t most, std::string& bytes);

/// What pack() made; tuples come back as lists. An empty handle, and no Python error, for bytes that it did not make:
/// `problem` then has a word on it. Throws what Python raises (MemoryError).
py::object unpack(std::string_view bytes, std::string& problem);

}  // namespace horus::python
