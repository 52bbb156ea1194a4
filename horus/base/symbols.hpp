// SPDX-License-Identifier: Apache-2.0
// Addresses of code as names for a person. Internal; any thread that may allocate and wait.
#pragma once

#include <string>

#include <horus/base/thread_look.hpp>

namespace horus::detail {

/// One line for each call, innermost first, without the handler that wrote the stack down:
/// "\n    rover::Camera::tick() (rover+0x4f3a)". Names come from the dynamic symbols, and from the file's own symbol
/// table where it was not stripped.
std::string describe(const Stack& stack);
/// "rover::Camera::tick()" for "_ZN5rover6Camera4tickEv"; other names as they are.
std::string demangled(const char* name);

}  // namespace horus::detail
