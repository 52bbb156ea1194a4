// SPDX-License-Identifier: Apache-2.0
// Addresses of code as names for a person. Internal; any thread that may allocate and wait.
#pragma once

#include <string>
#include <string_view>

#include <horus/base/thread_look.hpp>

namespace horus::HORUS_ABI::detail {

/// One line for each call, innermost first, without the handler that wrote the stack down:
/// "\n    rover::Camera::tick() (rover+0x4f3a)". Names come from the dynamic symbols, and from the file's own symbol
/// table where it was not stripped.
std::string describe(const Stack& stack);
/// "horus::io::Reactor" for "horus::v0_1::io::Reactor": people do not write the version (HORUS_ABI), so they do not read it.
std::string without_version(std::string_view text);
/// "rover::Camera::tick()" for "_ZN5rover6Camera4tickEv"; other names as they are.
std::string demangled(const char* name);
/// What a person calls the function. g++ names the part of a coroutine that resumes it
/// "void f(f(int)::_Z1fi.Frame*)", and its middle is the function; other names are as they are. A part of `name`.
std::string_view readable(std::string_view name) noexcept;

}  // namespace horus::HORUS_ABI::detail
