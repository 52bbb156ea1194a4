// SPDX-License-Identifier: Apache-2.0
// A recording as it is told by `horus bag`. Any thread.
#pragma once

#include <string>

#include <horus/bag/contents.hpp>
#include <horus/cli/message_json.hpp>

namespace horus::cli {

/// What is in a recording, as a table for people.
std::string to_text(const bag::Contents& contents, const std::string& name);
/// The same for programs. Times are nanoseconds.
std::string to_json(const bag::Contents& contents, const std::string& name);
/// One message as one line of JSON; one that cannot be shown as JSON as its length and its first bytes.
std::string to_line(const bag::Message& message, const bag::Channel& channel,
                    const MessageJson::Shown& shown);

}  // namespace horus::cli
