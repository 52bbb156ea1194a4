// SPDX-License-Identifier: Apache-2.0
// Texts that come from elsewhere, as JSON and on a terminal. Any thread.
#pragma once

#include <string>
#include <string_view>

namespace horus::cli {

/// With its quotation marks. What is no UTF-8 becomes U+FFFD.
std::string json_string(std::string_view text);
/// For people: control characters, which could command the terminal, and what is no UTF-8 become U+FFFD.
std::string printable(std::string_view text);
/// Whether it is one value of JSON and nothing else, nested at most 256 deep.
bool is_json(std::string_view text);

}  // namespace horus::cli
