// SPDX-License-Identifier: Apache-2.0
#include <horus/record/recorded_type.hpp>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <map>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include <horus/base/hex.hpp>
#include <horus/msg/codec/ready_messages.hpp>
#include <horus/msg/json.hpp>
#include <horus/msg/messages.hpp>
#include <horus/msg/more_messages.hpp>
#include <horus/msg/ros.hpp>

namespace horus::HORUS_ABI::record {
namespace {

constexpr const char* kDescription = "horus.description";  // the binary form, two digits a byte
constexpr const char* kName = "horus.type";                // these of types that nobody described
constexpr const char* kFields = "horus.fields";
constexpr const char* kShape =
    "horus.shape";  // bytes of the head, alignment, bytes of an element, where the tail begins

// --- Metadata ---------------------------------------------------------------------------------------------------------

const std::string* find(const bag::Properties& metadata, const char* key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? nullptr : &found->second;
}

Error damaged(const bag::Channel& channel, std::string_view what) {
  return {kBadInput, "read the type of a recorded topic", fmt::format("{}: {}", channel.topic, what)};
}
Error unknown(const bag::Channel& channel, std::string_view what) {
  return {ENOTSUP, "read the type of a recorded topic", fmt::format("{}: {}", channel.topic, what)};
}

std::optional<Layout> layout_from(const bag::Properties& metadata) {
  const std::string* name = find(metadata, kName);
  const std::string* shape = find(metadata, kShape);
  if (name == nullptr || shape == nullptr) return std::nullopt;
  Layout layout;
  layout.name = *name;
  if (const std::string* fields = find(metadata, kFields)) layout.fields = *fields;
  const char* at = shape->data();
  const char* const end = at + shape->size();
  for (std::uint32_t* number :
       {&layout.head_bytes, &layout.alignment, &layout.element_bytes, &layout.tail_offset}) {
    while (at != end && *at == ' ') ++at;
    const auto [rest, problem] = std::from_chars(at, end, *number);
    if (problem != std::errc()) return std::nullopt;
    at = rest;
  }
  const bool power = layout.alignment != 0 && (layout.alignment & (layout.alignment - 1)) == 0;
  const bool sound =
      at == end && power && layout.alignment <= 64 && layout.head_bytes <= Description::kMostHead &&
      layout.element_bytes <= Description::kMostHead &&
      (layout.element_bytes == 0
           ? layout.tail_offset <= layout.head_bytes + 64
           : layout.tail_offset >= layout.head_bytes && layout.tail_offset <= layout.head_bytes + 64) &&
      (layout.head_bytes > 0 || layout.element_bytes > 0);
  if (!sound) return std::nullopt;
  layout.settle();
  return layout;
}

// --- Definitions of ROS -----------------------------------------------------------------------------------------------

std::string_view last_part(std::string_view name) {
  const std::size_t slash = name.rfind('/');
  return slash == std::string_view::npos ? name : name.substr(slash + 1);
}

struct RosField {
  std::string type;
  std::string name;
  bool operator==(const RosField&) const = default;
};
using RosFields = std::vector<RosField>;

// The fields of each type, without comments, constants, defaults and packages: the message's own under "".
std::map<std::string, RosFields, std::less<>> fields_of(std::string_view definition) {
  std::map<std::string, RosFields, std::less<>> types;
  RosFields* type = &types[""];
  while (!definition.empty()) {
    const std::size_t end = std::min(definition.find('\n'), definition.size());
    std::string_view line = definition.substr(0, end);
    definition.remove_prefix(std::min(end + 1, definition.size()));
    line = line.substr(0, line.find('#'));
    std::vector<std::string_view> words;
    while (true) {
      const std::size_t begin = line.find_first_not_of(" \t\r");
      if (begin == std::string_view::npos) break;
      line.remove_prefix(begin);
      words.push_back(line.substr(0, line.find_first_of(" \t\r")));
      line.remove_prefix(words.back().size());
    }
    if (words.size() < 2) continue;
    if (words[0] == "MSG:") {
      type = &types[std::string(last_part(words[1]))];
    } else if (words[1].find('=') == std::string_view::npos &&
               (words.size() < 3 || !words[2].starts_with('='))) {
      type->push_back({std::string(last_part(words[0])), std::string(words[1])});
    }
  }
  return types;
}

// The first field that differs; empty: none does.
std::string first_difference(std::string_view recorded, std::string_view wanted) {
  const auto there = fields_of(recorded);
  const auto here = fields_of(wanted);
  for (const auto& [name, fields] : here) {
    const std::string in = name.empty() ? "" : " of " + name;
    const auto found = there.find(name);
    if (found == there.end()) return fmt::format("the recording has no type {}", name);
    for (std::size_t i = 0; i < std::max(fields.size(), found->second.size()); ++i) {
      if (i >= fields.size())
        return fmt::format("field {}{} was recorded, and is not wanted", found->second[i].name, in);
      if (i >= found->second.size())
        return fmt::format("field {}{} is wanted, and was not recorded", fields[i].name, in);
      const RosField& old = found->second[i];
      if (old == fields[i]) continue;
      return fmt::format("field {}{}: {} {} was recorded, {} {} is wanted", fields[i].name, in, old.type,
                         old.name, fields[i].type, fields[i].name);
    }
  }
  return {};
}

const Description* find_ready(const bag::Schema& schema) {
  if (schema.encoding != "ros2msg") return nullptr;
  for (const Description* ready : msg::ready_messages()) {
    if (ros_name(*ready) == schema.name && first_difference(schema.data, ros2msg(*ready)).empty())
      return ready;
  }
  return nullptr;
}

std::string type_of(const bag::Schema* schema) {
  return schema == nullptr || schema->name.empty() ? "a type without a name" : schema->name;
}

// The description that a Horus program left. Null: none did.
Result<std::shared_ptr<const Description>> kept_description(const bag::Channel& channel) {
  const std::string* digits = find(channel.metadata, kDescription);
  if (digits == nullptr) return std::shared_ptr<const Description>();
  const auto bytes = from_hex(*digits);
  if (!bytes) return damaged(channel, "its description is no list of hexadecimal digits");
  auto description = Description::decode(*bytes);
  if (!description) return damaged(channel, description.error().message());
  return std::shared_ptr<const Description>(std::make_shared<Description>(std::move(*description)));
}

}  // namespace

void keep_type(const Layout& layout, const Description* description, bag::Properties& metadata) {
  if (description != nullptr && description->layout().hash == layout.hash) {
    metadata.emplace(kDescription, to_hex(description->encode()));
    return;
  }
  metadata.emplace(kName, layout.name);
  metadata.emplace(kFields, layout.fields);
  metadata.emplace(kShape, fmt::format("{} {} {} {}", layout.head_bytes, layout.alignment,
                                       layout.element_bytes, layout.tail_offset));
}

Result<RecordedType> recorded_type(const bag::Channel& channel, const bag::Schema* schema) {
  RecordedType type;
  if (channel.encoding == "json") {
    type.coding = Coding::json;
    type.name = kDataLayout;
    type.layout.name = kDataLayout;
    type.layout.element_bytes = 1;
    type.layout.settle();
    return type;
  }
  if (channel.encoding == "cdr") {
    type.coding = Coding::cdr;
    auto kept = kept_description(channel);
    if (!kept) return kept.error();
    type.description = std::move(*kept);
    if (type.description == nullptr && schema != nullptr) {
      if (const Description* ready = find_ready(*schema))
        type.description = std::shared_ptr<const Description>(ready, [](const Description*) {});
    }
    if (type.description == nullptr)
      return unknown(
          channel,
          fmt::format("the recording has no description of {}, and it is no ready message", type_of(schema)));
    type.layout = type.description->layout();
    type.name = type.layout.name;
    return type;
  }
  if (auto layout = layout_from(channel.metadata)) {
    type.layout = std::move(*layout);
    type.name = type.layout.name;
    return type;
  }
  return unknown(channel,
                 fmt::format("messages of the encoding \"{}\" are not understood", channel.encoding));
}

std::shared_ptr<msg::Port> clock_port(std::string topic) {
  return msg::out_port<messages::Clock>(std::move(topic), AdvertiseOptions());
}

void send_clock(const msg::Port& port, std::int64_t ns) {
  messages::Clock message;
  message.clock.ns = ns;
  static_cast<void>(port.outbox().send(&message, nullptr, 0));
}

OwnType log_type() { return {describe<messages::Log>(), layout_of<messages::Log>()}; }
OwnType diagnostics_type() {
  return {describe<messages::DiagnosticArray>(), layout_of<messages::DiagnosticArray>()};
}

void write_diagnostics(std::vector<std::byte>& cdr, std::int64_t stamp_ns,
                       const std::vector<Diagnostic>& parts) {
  messages::DiagnosticArray array;
  array.header.stamp_ns = stamp_ns;
  std::vector<messages::DiagnosticStatus> statuses(parts.size());
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const Diagnostic& part = parts[i];
    messages::DiagnosticStatus& status = statuses[i];
    status.level = static_cast<std::byte>(part.level);
    status.name.set(part.name);
    status.message.set(part.message);
    for (const auto& [key, value] : part.values) {
      if (status.values.size() == status.values.capacity()) break;
      messages::KeyValue entry;
      entry.key.set(key);
      entry.value.set(value);
      status.values.push_back(entry);
    }
  }
  const auto head = std::as_bytes(std::span(&array, 1));
  const auto tail = std::as_bytes(std::span(statuses));
  const Cdr& converter = cdr_of<messages::DiagnosticArray>();
  cdr.resize(converter.size(head, tail).or_throw());
  converter.write(head, tail, cdr).or_throw();
}

void write_log(std::vector<std::byte>& cdr, LogLevel level, std::int64_t stamp_ns, std::string_view text) {
  constexpr messages::LogLevel kLevels[] = {messages::LogLevel::debug, messages::LogLevel::info,
                                            messages::LogLevel::warn, messages::LogLevel::error};
  messages::Log line;
  line.stamp.ns = stamp_ns;
  line.level = kLevels[static_cast<std::size_t>(level)];
  line.name.set("horus");
  const auto head = std::as_bytes(std::span(&line, 1));
  const auto tail = std::as_bytes(std::span(text));
  cdr.resize(cdr_of<messages::Log>().size(head, tail).or_throw());
  cdr_of<messages::Log>().write(head, tail, cdr).or_throw();
}

// --- Decoder ----------------------------------------------------------------------------------------------------------

Decoder::Decoder(RecordedType type) : coding_(type.coding), layout_(std::move(type.layout)) {
  if (type.description != nullptr) cdr_.emplace(*type.description);
}

Result<Decoder> Decoder::make(const bag::Channel& channel, const bag::Schema* schema, const Wanted& wanted) {
  const auto mismatch = [&](std::string_view recorded, std::string_view difference) {
    return Error(kTypeMismatch, "read topic", channel.topic)
        .with_detail(fmt::format("({} was recorded, and the program wants {}; {})", recorded,
                                 wanted.layout.name, difference));
  };
  Decoder decoder;
  decoder.layout_ = wanted.layout;
  if (channel.encoding == "cdr") {
    decoder.coding_ = Coding::cdr;
    auto kept = kept_description(channel);
    if (!kept) return kept.error();
    const std::shared_ptr<const Description>& old = *kept;
    if (old == nullptr) {  // of another recorder: its definition tells
      if (schema == nullptr || schema->encoding != "ros2msg")
        return mismatch(type_of(schema), "it has no definition to compare");
      const std::string difference = first_difference(schema->data, ros2msg(wanted.description));
      if (!difference.empty()) return mismatch(type_of(schema), difference);
      decoder.cdr_.emplace(wanted.description);
      return decoder;
    }
    const Layout layout = old->layout();
    decoder.cdr_.emplace(*old);
    if (layout.hash == wanted.layout.hash) return decoder;
    auto map = FieldMap::make(*old, wanted.description, wanted.blank_head, wanted.blank_element);
    const auto last = [](std::string_view name) { return name.substr(name.rfind(':') + 1); };
    const bool same_name = last(layout.name) == last(wanted.layout.name) ||
                           ros_name(*old) == ros_name(wanted.description) ||
                           layout.fields == wanted.layout.fields;
    if (!map) return mismatch(layout.name, fmt::format("field {}", map.error().target()));
    if (!same_name) return mismatch(layout.describe(), fmt::format("that is {}", wanted.layout.describe()));
    if (wanted.strict)
      return mismatch(layout.describe(), fmt::format("now it is {}", wanted.layout.describe()));
    decoder.map_.emplace(std::move(*map));
    return decoder;
  }
  if (channel.encoding == "json") {
    if (!wanted.description.known() && wanted.layout.name != kDataLayout)
      return mismatch("JSON", "nobody described its fields");
    decoder.coding_ = Coding::json;
    if (wanted.layout.name != kDataLayout) decoder.json_ = &wanted.description;
    return decoder;
  }
  auto type = recorded_type(channel, schema);
  if (!type) return type.error();
  if (type->layout.hash != wanted.layout.hash)
    return mismatch(type->layout.describe(), fmt::format("that is {}", wanted.layout.describe()));
  return decoder;
}

Result<> Decoder::split(Bytes message, std::vector<std::byte>& head, std::vector<std::byte>& tail) const {
  const std::size_t least = layout_.element_bytes == 0 ? layout_.head_bytes : layout_.tail_offset;
  if (message.size() < least || (layout_.element_bytes == 0 && message.size() > least) ||
      (layout_.element_bytes != 0 && (message.size() - least) % layout_.element_bytes != 0))
    return Error(kBadInput, "read a recorded message",
                 fmt::format("{}: {} bytes, which it cannot have", layout_.name, message.size()));
  head.assign(message.begin(), message.begin() + layout_.head_bytes);
  tail.assign(message.begin() + static_cast<std::ptrdiff_t>(least), message.end());
  return {};
}

Result<> Decoder::read(Bytes message, std::vector<std::byte>& head, std::vector<std::byte>& tail) {
  if (coding_ == Coding::bytes) return split(message, head, tail);
  if (coding_ == Coding::json) {
    const std::string_view text(reinterpret_cast<const char*>(message.data()), message.size());
    if (json_ != nullptr) return from_json(*json_, text, head, tail);
    head.clear();
    auto packed = json_to_message_pack(text);
    if (!packed) return packed.error();
    tail = std::move(*packed);
    return {};
  }
  if (!map_) return cdr_->read(message, head, tail);
  if (auto read = cdr_->read(message, old_head_, old_tail_); !read) return read;
  return map_->convert(old_head_, old_tail_, head, tail);
}

}  // namespace horus::HORUS_ABI::record
