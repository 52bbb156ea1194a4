// SPDX-License-Identifier: Apache-2.0
// The type of a simulated program, for those who only keep one: what it is made of is in horus/sim/program.hpp. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <functional>

namespace horus::HORUS_ABI {
template <class T>
class Task;
}  // namespace horus::HORUS_ABI

namespace horus::HORUS_ABI::sim {

struct Launch;

/// Plays a program and gives its exit code. It is a process like any other: it has a horus::io and a horus::now() of
/// its own.
using Program = std::function<Task<int>(Launch)>;

}  // namespace horus::HORUS_ABI::sim
