// SPDX-License-Identifier: Apache-2.0
// The lines of a task dump, for both ways of making one. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <source_location>
#include <string>
#include <string_view>

namespace horus::HORUS_ABI::detail {

/// "camera (asked to stop): waits for read", or "camera: running or ready to run" for null; without the end of the line.
void append_chain(std::string& text, int depth, std::string_view name, bool stop_requested,
                  const char* waits_for);
/// "  at horus::Task<> read_line() (src/gps.cpp:31)\n"
void append_await(std::string& text, int depth, const std::source_location& where);
void append_more_awaits(std::string& text, int depth);

}  // namespace horus::HORUS_ABI::detail
