// SPDX-License-Identifier: Apache-2.0
#include <horus/cli/message_json.hpp>

#include <algorithm>
#include <cstdio>
#include <string_view>

#include <fmt/format.h>

#include <horus/base/error.hpp>
#include <horus/cli/json.hpp>
#include <horus/msg/json.hpp>

namespace horus::cli {
namespace {

constexpr std::uint64_t kMostComplaints = 10;

}  // namespace

const Result<RosDefinition>& MessageJson::definition(const bag::Channel& channel) {
  const auto known = definitions_.find(channel.schema);
  if (known != definitions_.end()) return known->second;
  const auto read = [&]() -> Result<RosDefinition> {
    const auto schema = contents_.schemas.find(channel.schema);
    if (schema == contents_.schemas.end()) return Error(kBadInput, "", "it has no schema");
    const bag::Schema& found = schema->second;
    if (found.encoding != "ros2msg")
      return Error(kBadInput, "",
                   fmt::format("its schema {} is in {}, and only ros2msg is read", found.name,
                               found.encoding.empty() ? "no encoding" : found.encoding));
    auto made = parse_ros2msg(found.name, found.data);
    if (!made)
      return Error(kBadInput, "", fmt::format("its schema {}: {}", found.name, made.error().target()));
    return made;
  };
  return definitions_.emplace(channel.schema, read()).first->second;
}

MessageJson::Shown MessageJson::show(const bag::Message& message) {
  const bag::Channel& channel = contents_.channels.at(message.channel);
  if (channel.encoding == "json") {
    const std::string_view data(reinterpret_cast<const char*>(message.data.data()), message.data.size());
    if (!is_json(data)) return {Outcome::bytes, {}};
    // Line ends are white space there: within strings they cannot be.
    std::string text(data);
    std::replace_if(text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
    return {Outcome::json, std::move(text)};
  }
  if (channel.encoding != "cdr") return {Outcome::bytes, {}};
  const Result<RosDefinition>& type = definition(channel);
  if (!type) return {Outcome::no_schema, std::string(type.error().target())};
  auto json = cdr_to_json(*type, message.data);
  if (!json) return {Outcome::damaged, std::string(json.error().target())};
  return {Outcome::json, std::move(*json)};
}

void Complaints::tell(const MessageJson::Shown& shown, const bag::Message& message,
                      const bag::Channel& channel) {
  if (shown.outcome == MessageJson::Outcome::no_schema) {
    if (told_.insert(channel.topic).second)
      fmt::print(stderr, "horus: {}: {}: the messages are shown as bytes: {}\n", printable(file_),
                 printable(channel.topic), printable(shown.text));
  } else if (shown.outcome == MessageJson::Outcome::damaged && ++damages_ <= kMostComplaints) {
    fmt::print(stderr, "horus: {}: {}, the message of {} ns: {}\n", printable(file_),
               printable(channel.topic), message.log_ns, printable(shown.text));
  }
}

void Complaints::finish() {
  if (damages_ > kMostComplaints)
    fmt::print(stderr, "horus: {}: {} more messages are damaged\n", printable(file_),
               damages_ - kMostComplaints);
}

}  // namespace horus::cli
