// SPDX-License-Identifier: Apache-2.0
// The one source that reads JSON; its library knows the grammar, this knows the message.
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>

#include <fmt/format.h>

#include <horus/base/error.hpp>
#include <horus/msg/codec/ros_schema.hpp>
#include <horus/msg/json.hpp>

#include <nlohmann/json.hpp>

namespace horus::HORUS_ABI {
namespace {

using Code = Description::Code;
using Json = nlohmann::ordered_json;
using Member = Description::Member;
using Shape = Description::Shape;
using Type = Description::Type;

struct Refusal {
  std::string text;
};

class JsonReader {
 public:
  JsonReader(const Description& all, std::vector<std::byte>& tail) : all_(all), tail_(tail) {}

  void run(const Json& json, std::byte* head) {
    const Type& root = all_.root();
    path_ = root.name;
    must(json.is_object(), "an object {…} is expected");
    for (const auto& [name, value] : json.items()) {
      if (all_.tail.has_value() && all_.tail->element.name == name) {
        within(name, [&] { read_tail(*all_.tail, value); });
      } else if (root.kind == Description::Kind::opaque && root.size > 0 && name == "data") {
        within(name, [&] { hexadecimal(value, head, root.size); });
      } else {
        field(root, name, value, head);
      }
    }
  }

 private:
  void must(bool holds, std::string_view what) const {
    if (!holds) throw Refusal{fmt::format("{}: {}", path_, what)};
  }
  template <class F>
  void within(std::string_view name, F&& read) {
    const std::size_t length = path_.size();
    path_ += fmt::format(".{}", name);
    read();
    path_.resize(length);
  }

  void structure(const Type& type, const Json& json, std::byte* base) {
    must(json.is_object(), "an object {…} is expected");
    for (const auto& [name, value] : json.items()) field(type, name, value, base);
  }
  void field(const Type& type, const std::string& name, const Json& json, std::byte* base) {
    for (const Member& member : type.members) {
      if (member.name != name || member.hidden) continue;
      within(name, [&] { read(member, json, base); });
      return;
    }
    std::string there;
    for (const Member& member : type.members)
      if (!member.hidden) there += (there.empty() ? "" : ", ") + member.name;
    if (&type == &all_.root() && all_.tail.has_value())
      there += (there.empty() ? "" : ", ") + all_.tail->element.name;
    must(false, fmt::format("there is no field \"{}\" (there are: {})",
                            name.substr(0, Description::kMostName), there));
  }
  void read(const Member& member, const Json& json, std::byte* base) {
    std::byte* first = base + member.offset;
    if (member.shape == Shape::one) {
      value(member, json, first);
      return;
    }
    must(json.is_array(), "a list […] is expected");
    const std::uint64_t room = member.count();
    if (member.shape == Shape::array) {
      must(json.size() == room, fmt::format("a list of {} values is expected, not {}", room, json.size()));
    } else {
      must(json.size() <= room, fmt::format("a list of {} values, and room for {}", json.size(), room));
      put(base + member.count_offset, static_cast<std::uint32_t>(json.size()));
    }
    list(member, json, first);
  }
  void list(const Member& member, const Json& json, std::byte* first) {
    const std::size_t size = all_.size_of(member);
    for (std::size_t i = 0; i < json.size(); ++i) value(member, json[i], first + i * size);
  }
  void read_tail(const Description::Tail& tail, const Json& json) {
    if (msg::is_text_tail(tail)) {
      must(json.is_string(), "text is expected");
      const auto& text = json.get_ref<const std::string&>();
      const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
      tail_.assign(bytes, bytes + text.size());
      return;
    }
    must(json.is_array(), "a list […] is expected");
    const std::uint64_t each = tail.element.count();
    must(json.size() % each == 0, fmt::format("a list of {} values is no multiple of {}", json.size(), each));
    const std::size_t size = all_.size_of(tail.element);
    must(json.size() <= kMostJson / size * 16, "a list that is too long");
    for (std::size_t i = 0; i < json.size(); ++i) {
      tail_.resize((i + 1) * size);
      value(tail.element, json[i], &tail_[i * size]);
    }
  }

  template <class N>
  static void put(std::byte* to, N number) {
    std::memcpy(to, &number, sizeof number);
  }
  template <class N>
  void integer(const Json& json, std::byte* to) {
    constexpr N kLeast = std::numeric_limits<N>::min();
    constexpr N kMost = std::numeric_limits<N>::max();
    const std::string expected = fmt::format("a whole number from {} to {} is expected", kLeast, kMost);
    must(json.is_number_integer(), expected);
    if (json.is_number_unsigned()) {
      const auto number = json.get<std::uint64_t>();
      must(number <= static_cast<std::uint64_t>(kMost), expected);
      put(to, static_cast<N>(number));
    } else {
      const auto number = json.get<std::int64_t>();
      must(std::is_signed_v<N> && number >= static_cast<std::int64_t>(kLeast), expected);
      put(to, static_cast<N>(number));
    }
  }
  template <class N>
  void real(const Json& json, std::byte* to) {
    if (json.is_string()) {
      const auto& text = json.get_ref<const std::string&>();
      must(text == "nan" || text == "inf" || text == "-inf",
           R"(a number, "nan", "inf" or "-inf" is expected)");
      constexpr N kInfinity = std::numeric_limits<N>::infinity();
      put(to, text == "nan" ? std::numeric_limits<N>::quiet_NaN() : text == "inf" ? kInfinity : -kInfinity);
      return;
    }
    must(json.is_number(), "a number is expected");
    const auto number = json.get<double>();
    must(std::isfinite(number) && std::isfinite(static_cast<N>(number)), "a number that is too large");
    put(to, static_cast<N>(number));
  }
  void hexadecimal(const Json& json, std::byte* to, std::size_t size) {
    must(json.is_string(), "text of hexadecimal digits is expected");
    const auto& text = json.get_ref<const std::string&>();
    must(text.size() == 2 * size, fmt::format("{} hexadecimal digits are expected", 2 * size));
    for (std::size_t i = 0; i < size; ++i)
      to[i] = static_cast<std::byte>(digit(text[2 * i]) * 16 + digit(text[2 * i + 1]));
  }
  [[nodiscard]] int digit(char c) const {
    if (c >= '0' && c <= '9') return c - '0';
    must(c >= 'a' && c <= 'f', "a digit that is not hexadecimal");
    return c - 'a' + 10;
  }
  void text(const Json& json, std::byte* to, std::size_t room) {
    must(json.is_string(), "text is expected");
    const auto& text = json.get_ref<const std::string&>();
    must(text.size() <= room, fmt::format("text of {} bytes, and room for {}", text.size(), room));
    must(text.find('\0') == std::string::npos, "a zero within text");
    std::memcpy(to, text.data(), text.size());
  }
  // False: it is no name.
  bool constant(const Type& type, const Json& json, std::byte* to) const {
    if (!json.is_string()) return false;
    const auto& name = json.get_ref<const std::string&>();
    std::string there;
    for (const Description::Constant& one : type.constants) {
      if (one.name == name) {
        std::memcpy(to, &one.value, type.size);
        return true;
      }
      there += (there.empty() ? "" : ", ") + one.name;
    }
    must(false, fmt::format("{} has no constant of that name (there are: {})", type.name, there));
    return false;
  }

  void value(const Member& member, const Json& json, std::byte* to) {
    if (member.type != Description::kNoType && member.code != Code::structure &&
        member.code != Code::opaque && constant(all_.types[member.type], json, to))
      return;
    switch (member.code) {
      case Code::boolean:
        must(json.is_boolean(), "true or false is expected");
        put(to, static_cast<std::uint8_t>(json.get<bool>()));
        break;
      case Code::character:
      case Code::byte:
      case Code::u8: integer<std::uint8_t>(json, to); break;
      case Code::i8: integer<std::int8_t>(json, to); break;
      case Code::i16: integer<std::int16_t>(json, to); break;
      case Code::i32: integer<std::int32_t>(json, to); break;
      case Code::stamp:
      case Code::i64: integer<std::int64_t>(json, to); break;
      case Code::u16: integer<std::uint16_t>(json, to); break;
      case Code::u32: integer<std::uint32_t>(json, to); break;
      case Code::u64: integer<std::uint64_t>(json, to); break;
      case Code::f32: real<float>(json, to); break;
      case Code::f64: real<double>(json, to); break;
      case Code::text: text(json, to, member.text_bytes); break;
      case Code::structure: structure(all_.types[member.type], json, to); break;
      case Code::f128:
      case Code::opaque: hexadecimal(json, to, all_.size_of(member)); break;
    }
  }

  const Description& all_;
  std::vector<std::byte>& tail_;
  std::string path_;
};

constexpr std::string_view kDeep = "lists and objects within each other, more than 64 deep";

Error refuse(const Description& description, std::string_view why) {
  return {kBadInput, "read JSON", fmt::format("{}: {}", description.root().name, why)};
}

// Bytes, which JSON does not have, become text.
void spell_bytes(Json& json) {
  if (json.is_binary()) {
    std::string digits;
    for (const std::uint8_t byte : json.get_binary()) digits += fmt::format("{:02x}", byte);
    json = std::move(digits);
  } else if (json.is_structured()) {
    for (Json& part : json) spell_bytes(part);
  }
}

}  // namespace

Result<> from_json(const Description& description, std::string_view json, std::vector<std::byte>& head,
                   std::vector<std::byte>& tail) {
  if (auto sound = description.check(); !sound) return sound.error();
  if (json.size() > kMostJson) return refuse(description, "more than 64 MiB of text");
  bool is_deep = false;
  const auto look = [&](int depth, Json::parse_event_t /*event*/, Json& /*part*/) {
    if (depth > static_cast<int>(kMostJsonDepth)) is_deep = true;
    return !is_deep;
  };
  head.assign(description.root().size, std::byte{0});
  tail.clear();
  try {
    const Json parsed = Json::parse(json, look);
    if (is_deep) return refuse(description, kDeep);
    JsonReader(description, tail).run(parsed, head.data());
    return {};
  } catch (const Refusal& refusal) {
    return Error(kBadInput, "read JSON", refusal.text);
  } catch (const Json::parse_error& error) {
    return refuse(description, is_deep ? std::string(kDeep) : fmt::format("no JSON at byte {}", error.byte));
  }
}

Result<std::string> message_pack_to_json(std::span<const std::byte> data) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(data.data());
  Json json = Json::from_msgpack(bytes, bytes + data.size(), true, false);
  if (json.is_discarded()) return Error(kBadInput, "read MessagePack");
  spell_bytes(json);
  const bool is_alone = json.is_object() && json.size() == 1 && json.contains("value");
  if (!json.is_object()) json = Json{{"value", std::move(json)}};
  std::string line = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (is_alone) line.insert(1, 1, ' ');
  return line;
}

Result<std::vector<std::byte>> json_to_message_pack(std::string_view json) {
  const auto refused = [](std::string_view why) {
    return Error(kBadInput, "read JSON", fmt::format("data: {}", why));
  };
  if (json.size() > kMostJson) return refused("more than 64 MiB of text");
  bool is_deep = false;
  const auto look = [&](int depth, Json::parse_event_t /*event*/, Json& /*part*/) {
    if (depth > static_cast<int>(kMostJsonDepth)) is_deep = true;
    return !is_deep;
  };
  try {
    Json parsed = Json::parse(json, look);
    if (is_deep) return refused(kDeep);
    if (parsed.is_object() && parsed.size() == 1 && json.starts_with(R"({"value":)")) {
      Json value = std::move(parsed["value"]);
      parsed = std::move(value);
    }
    const std::vector<std::uint8_t> packed = Json::to_msgpack(parsed);
    const auto bytes = std::as_bytes(std::span(packed));
    return std::vector<std::byte>(bytes.begin(), bytes.end());
  } catch (const Json::parse_error& error) {
    return refused(is_deep ? std::string(kDeep) : fmt::format("no JSON at byte {}", error.byte));
  }
}

}  // namespace horus::HORUS_ABI
