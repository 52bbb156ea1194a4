// SPDX-License-Identifier: Apache-2.0
#include <horus/cli/topic_echo.hpp>

#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <poll.h>

#include <fmt/format.h>

#include <horus/base/hex.hpp>
#include <horus/cli/bag_command.hpp>
#include <horus/cli/json.hpp>
#include <horus/msg/json.hpp>
#include <horus/msg/message_text.hpp>

namespace horus::cli {
namespace {

constexpr std::size_t kTapBytes = std::size_t{16} << 20;
constexpr std::size_t kShownLine = 240;  // bytes of a line, unless all of it is wanted
constexpr std::size_t kShownBytes = 64;  // of a message that nobody described

struct Source {
  inspect::Topic topic;
  inspect::MessageType type;
  std::uint64_t missed = 0;  // as it was told
};

// One program, and the taps in it by their numbers.
struct Listened {
  inspect::Process process;
  inspect::Client client;
  std::map<std::uint32_t, Source> sources;
};

struct Parts {
  std::span<const std::byte> head, tail;
};

Parts parts_of(const Layout& layout, std::span<const std::byte> bytes) {
  const std::size_t head = std::min<std::size_t>(layout.head_bytes, bytes.size());
  const bool has_tail = layout.element_bytes > 0 && bytes.size() > layout.tail_offset;
  return {bytes.first(head), has_tail ? bytes.subspan(layout.tail_offset) : std::span<const std::byte>()};
}

Result<std::string> json_of(const inspect::MessageType& type, std::span<const std::byte> bytes) {
  if (type.layout.name == kDataLayout) return message_pack_to_json(bytes);
  if (type.description == nullptr)
    return json_string(to_hex(bytes.first(std::min(bytes.size(), kShownBytes))));
  const Parts parts = parts_of(type.layout, bytes);
  return to_json(*type.description, parts.head, parts.tail);
}

// What nobody described is shown as bytes, with what would help.
Result<std::string> text_of(const inspect::MessageType& type, std::span<const std::byte> bytes) {
  if (type.layout.name == kDataLayout) {
    auto json = message_pack_to_json(bytes);
    return json ? Result<std::string>(*json + '\n') : json;
  }
  if (type.description == nullptr) {
    return fmt::format("# {}; HORUS_MESSAGE describes its fields\n{} bytes: {}{}\n", type.layout.describe(),
                       bytes.size(), to_hex(bytes.first(std::min(bytes.size(), kShownBytes))),
                       bytes.size() > kShownBytes ? "..." : "");
  }
  const Parts parts = parts_of(type.layout, bytes);
  return to_text(*type.description, parts.head, parts.tail);
}

std::string folded(const std::string& text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::size_t shown = std::min(end - at, kShownLine);
    while (shown < end - at && shown > 0 && (static_cast<unsigned char>(text[at + shown]) & 0xc0U) == 0x80U)
      --shown;
    out += text.substr(at, shown);
    if (shown < end - at) out += fmt::format("... ({} more characters: --full)", end - at - shown);
    out += '\n';
    at = end + 1;
  }
  return out;
}

std::int64_t time_of_message(const inspect::Process& process, const inspect::Message& message) {
  return message.published_ns + process.unix_offset_ns;
}

bool show(const EchoArguments& arguments, const Listened& from, const Source& source,
          const inspect::Message& message, bool several) {
  const auto complain_of = [&](const Error& error) {
    fmt::print(stderr, "horus: a message of {} cannot be shown: {}\n", printable(source.topic.name),
               printable(error.message()));
    return true;
  };
  if (arguments.visit.json) {
    auto json = json_of(source.type, message.bytes);
    if (!json) return complain_of(json.error());
    return put(fmt::format(
               R"({{"topic": {}, "pid": {}, "publisher": {}, "sequence": {}, "publish_ns": {}, "{}": {}}})"
               "\n",
               json_string(source.topic.name), from.process.pid, source.topic.publisher, message.sequence,
               time_of_message(from.process, message),
               source.type.description == nullptr && source.type.layout.name != kDataLayout ? "bytes"
                                                                                            : "message",
               *json)) &&
           std::fflush(stdout) == 0;
  }
  auto text = text_of(source.type, message.bytes);
  if (!text) return complain_of(text.error());
  const std::string head =
      several ? fmt::format("# {} of {}\n", printable(source.topic.name), name_of(from.process)) : "";
  return put(head + (arguments.in_full ? *text : folded(*text)) + "---\n") && std::fflush(stdout) == 0;
}

// Losses are never silent.
void tell_missed(Listened& from) {
  for (auto& [number, source] : from.sources) {
    const std::uint64_t missed = from.client.missed(number);
    if (missed == source.missed) continue;
    fmt::print(stderr, "horus: {} messages of {} were missed so far: they come faster than they are shown\n",
               missed, printable(source.topic.name));
    source.missed = missed;
  }
}

Result<std::vector<Listened>> listen_to(std::vector<Visit>& visits, const std::vector<Publisher>& publishers,
                                        const ChosenTopics& chosen) {
  std::vector<Listened> all;
  for (Visit& visit : visits) {
    Listened one{visit.process, std::move(visit.client), {}};
    for (const Publisher& publisher : publishers) {
      if (publisher.process.socket != one.process.socket || !is_meant(chosen, publisher)) continue;
      auto type = one.client.describe(publisher.topic.publisher);
      if (!type) return type.error();
      auto tap = one.client.tap(publisher.topic.publisher, kTapBytes);
      if (!tap) return tap.error();
      one.sources.emplace(tap->number, Source{publisher.topic, std::move(*type), 0});
    }
    if (!one.sources.empty()) all.push_back(std::move(one));
  }
  return all;
}

// Shows what one program has sent. False: the last message that was wanted, or nothing more can be written.
Result<bool> show_some(const EchoArguments& arguments, Listened& from, std::uint64_t& shown, bool several) {
  while (true) {
    auto message = from.client.next(Duration(0));
    if (!message) return message.error();
    if (!*message) return true;
    const auto source = from.sources.find((*message)->subscription);
    if (source == from.sources.end()) continue;
    if ((*message)->ended) {
      fmt::print(stderr, "horus: the publisher of {} in {} has gone\n", printable(source->second.topic.name),
                 name_of(from.process));
      from.sources.erase(source);
      continue;
    }
    if (!show(arguments, from, source->second, **message, several)) return false;
    if (arguments.count > 0 && ++shown == arguments.count) return false;
  }
}

}  // namespace

int echo(const EchoArguments& arguments) {
  auto visits = visit(arguments.visit);
  if (!visits) return complain(visits.error());
  auto publishers = publishers_of(*visits);
  if (!publishers) return complain(publishers.error());
  if (complain_of_missing(arguments.chosen, arguments.visit, *publishers)) return 1;
  auto listened = listen_to(*visits, *publishers, arguments.chosen);
  if (!listened) return complain(listened.error());
  std::size_t sources = 0;
  for (const Listened& one : *listened) sources += one.sources.size();
  std::uint64_t shown = 0;
  std::vector<pollfd> polled;
  while (!listened->empty()) {
    for (auto one = listened->begin(); one != listened->end();) {
      auto more = show_some(arguments, *one, shown, sources > 1);
      tell_missed(*one);
      if (more && !*more) return arguments.count > 0 && shown == arguments.count ? 0 : 1;
      if (!more && !has_ended(more.error())) return complain(more.error());
      if (!more) fmt::print(stderr, "horus: {} has ended\n", name_of(one->process));
      one = !more || one->sources.empty() ? listened->erase(one) : one + 1;
    }
    polled.clear();
    for (const Listened& one : *listened) polled.push_back({one.client.descriptor(), POLLIN, 0});
    if (!polled.empty()) static_cast<void>(::poll(polled.data(), polled.size(), -1));
  }
  return 1;
}

}  // namespace horus::cli
