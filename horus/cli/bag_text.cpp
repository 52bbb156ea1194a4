// SPDX-License-Identifier: Apache-2.0
#include <horus/cli/bag_text.hpp>

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <map>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include <horus/cli/json.hpp>
#include <horus/cli/table.hpp>

namespace horus::cli {
namespace {

constexpr std::size_t kShownBytes = 64;  // of a message that is no JSON
constexpr std::uint64_t kSecond = 1'000'000'000;

std::string time_text(std::uint64_t ns) {
  const auto seconds = static_cast<std::time_t>(ns / kSecond);
  std::tm parts{};
  if (::gmtime_r(&seconds, &parts) == nullptr) return fmt::format("{} ns", ns);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:09} UTC", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, ns % kSecond);
}

double seconds_of(const bag::Contents& contents) {
  const auto& all = contents.statistics;
  return all.last_ns < all.first_ns ? 0 : static_cast<double>(all.last_ns - all.first_ns) / 1e9;
}

const bag::Schema* schema_of(const bag::Contents& contents, const bag::Channel& channel) {
  const auto found = contents.schemas.find(channel.schema);
  return found == contents.schemas.end() ? nullptr : &found->second;
}

std::uint64_t count_of(const bag::Contents& contents, std::uint16_t channel) {
  const auto found = contents.statistics.by_channel.find(channel);
  return found == contents.statistics.by_channel.end() ? 0 : found->second;
}

std::string chunks_text(const bag::Contents& contents) {
  std::map<std::string, std::uint64_t> by_compression;
  std::uint64_t packed = 0;
  std::uint64_t bytes = 0;
  for (const auto& chunk : contents.chunks) {
    ++by_compression[chunk.bare                  ? "outside of chunks"
                     : chunk.compression.empty() ? "plain"
                                                 : chunk.compression];
    packed += chunk.compressed_bytes;
    bytes += chunk.bytes;
  }
  std::string kinds;
  for (const auto& [compression, count] : by_compression)
    kinds += fmt::format("{}{} {}", kinds.empty() ? "" : ", ", count, printable(compression));
  if (kinds.empty()) return "none";
  return fmt::format("{}; {}, unpacked {}", kinds, size_text(packed), size_text(bytes));
}

}  // namespace

std::string to_text(const bag::Contents& contents, const std::string& name) {
  const auto& all = contents.statistics;
  std::vector<std::vector<std::string>> rows = {{"file", printable(name)},
                                                {"size", size_text(contents.file_bytes)},
                                                {"profile", printable(contents.header.profile)},
                                                {"library", printable(contents.header.library)},
                                                {"messages", std::to_string(all.messages)}};
  if (all.messages > 0) {
    rows.push_back({"begin", time_text(all.first_ns)});
    rows.push_back({"end", time_text(all.last_ns)});
    rows.push_back({"duration", fmt::format("{:.3f} s", seconds_of(contents))});
  }
  rows.push_back({"chunks", chunks_text(contents)});
  rows.push_back(
      {"index", contents.indexed ? "yes" : "none: the file was scanned (horus bag recover writes one)"});
  for (const auto& damage : contents.damages)
    rows.push_back({"damage", fmt::format("at byte {}: {}", damage.offset, damage.reason)});
  if (contents.more_damages > 0) rows.push_back({"damage", fmt::format("{} more", contents.more_damages)});
  for (const auto& attachment : contents.attachments)
    rows.push_back(
        {"attachment", fmt::format("{}, {}, {}", printable(attachment.name), printable(attachment.media_type),
                                   size_text(attachment.data_bytes))});
  for (const auto& metadata : contents.metadata) rows.push_back({"metadata", printable(metadata.name)});
  std::string out = table(rows);
  if (contents.channels.empty()) return out;
  rows = {{"topic", "type", "encoding", "messages", "rate"}};
  const double seconds = seconds_of(contents);
  for (const auto& [id, channel] : contents.channels) {
    const bag::Schema* schema = schema_of(contents, channel);
    const std::uint64_t count = count_of(contents, id);
    rows.push_back({printable(channel.topic), schema != nullptr ? printable(schema->name) : "-",
                    printable(channel.encoding), std::to_string(count),
                    count > 1 && seconds > 0
                        ? fmt::format("{:.1f} Hz", static_cast<double>(count - 1) / seconds)
                        : "-"});
  }
  return out + '\n' + table(rows);
}

std::string to_json(const bag::Contents& contents, const std::string& name) {
  const auto& all = contents.statistics;
  std::string out = fmt::format(
      "{{\n  \"file\": {},\n  \"size\": {},\n  \"profile\": {},\n  \"library\": {},\n  \"indexed\": {},\n"
      "  \"messages\": {},\n  \"first_ns\": {},\n  \"last_ns\": {},\n  \"chunks\": {},\n  \"topics\": [",
      json_string(name), contents.file_bytes, json_string(contents.header.profile),
      json_string(contents.header.library), contents.indexed, all.messages, all.first_ns, all.last_ns,
      contents.chunks.size());
  const char* separator = "\n";
  for (const auto& [id, channel] : contents.channels) {
    const bag::Schema* schema = schema_of(contents, channel);
    out += fmt::format(
        "{}    {{\"topic\": {}, \"type\": {}, \"schema_encoding\": {}, \"encoding\": {}, \"messages\": {}}}",
        separator, json_string(channel.topic), schema != nullptr ? json_string(schema->name) : "null",
        schema != nullptr ? json_string(schema->encoding) : "null", json_string(channel.encoding),
        count_of(contents, id));
    separator = ",\n";
  }
  out += "\n  ],\n  \"attachments\": [";
  separator = "\n";
  for (const auto& attachment : contents.attachments) {
    out +=
        fmt::format("{}    {{\"name\": {}, \"media_type\": {}, \"size\": {}}}", separator,
                    json_string(attachment.name), json_string(attachment.media_type), attachment.data_bytes);
    separator = ",\n";
  }
  out += "\n  ],\n  \"metadata\": [";
  separator = "";
  for (const auto& metadata : contents.metadata) {
    out += separator + json_string(metadata.name);
    separator = ", ";
  }
  out += "],\n  \"damages\": [";
  separator = "\n";
  for (const auto& damage : contents.damages) {
    out += fmt::format("{}    {{\"offset\": {}, \"reason\": {}}}", separator, damage.offset,
                       json_string(damage.reason));
    separator = ",\n";
  }
  return out + fmt::format("\n  ],\n  \"more_damages\": {}\n}}\n", contents.more_damages);
}

std::string to_line(const bag::Message& message, const bag::Channel& channel,
                    const MessageJson::Shown& shown) {
  std::string out =
      fmt::format("{{\"topic\": {}, \"sequence\": {}, \"log_ns\": {}, \"publish_ns\": {}, ",
                  json_string(channel.topic), message.sequence, message.log_ns, message.publish_ns);
  if (shown.outcome == MessageJson::Outcome::json) return out + "\"data\": " + shown.text + "}\n";
  out += fmt::format("\"size\": {}, \"hex\": \"", message.data.size());
  for (const std::byte byte : message.data.first(std::min(message.data.size(), kShownBytes)))
    out += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  return out + (message.data.size() > kShownBytes ? "…\"}\n" : "\"}\n");
}

}  // namespace horus::cli
