// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/json.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

#include <fmt/format.h>

#include <horus/base/error.hpp>
#include <horus/msg/codec/cdr_stream.hpp>
#include <horus/msg/codec/json_text.hpp>
#include <horus/msg/codec/ros_schema.hpp>

namespace horus::HORUS_ABI {
namespace {

using Bytes = std::span<const std::byte>;
using Code = Description::Code;
using Member = Description::Member;
using Shape = Description::Shape;
using Type = Description::Type;

template <class N>
N number_at(const std::byte* from) noexcept {
  N value;
  std::memcpy(&value, from, sizeof(N));
  return value;
}

class JsonWriter {
 public:
  JsonWriter(const Description& all, JsonStyle style) : all_(all), is_ros_(style == JsonStyle::ros) {}

  std::string run(Bytes head, Bytes tail) {
    const Type& root = all_.root();
    out_ = '{';
    if (root.kind == Description::Kind::opaque && root.size > 0) {
      key("data");
      hexadecimal(head);
    }
    for (std::size_t i = 0; i <= root.members.size(); ++i) {
      if (all_.tail.has_value() && all_.tail->place == i) write_tail(*all_.tail, tail);
      if (i < root.members.size()) field(root.members[i], head.data());
    }
    out_ += '}';
    return std::move(out_);
  }

 private:
  void separate() {
    if (out_.back() != '{' && out_.back() != '[') out_ += ',';
  }
  void key(std::string_view name) {
    separate();
    text(name);
    out_ += ':';
  }

  void text(std::string_view value) { msg::append_json_text(out_, value); }
  void hexadecimal(Bytes bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    out_ += '"';
    for (const std::byte byte : bytes) {
      out_ += kDigits[std::to_integer<unsigned>(byte) >> 4];
      out_ += kDigits[std::to_integer<unsigned>(byte) & 15];
    }
    out_ += '"';
  }
  template <class N>
  void real(N value) {
    msg::append_json_real(out_, value);
  }
  template <class N>
  void integer(N value) {
    fmt::format_to(std::back_inserter(out_), "{}", value);
  }

  void field(const Member& member, const std::byte* base) {
    if (member.hidden) return;
    key(is_ros_ ? member.foreign_name() : member.name);
    const std::uint32_t size = all_.size_of(member);
    const std::byte* first = base + member.offset;
    if (member.shape == Shape::one) {
      value(member, first);
    } else if (member.shape == Shape::sequence) {
      const std::uint32_t count =
          std::min(number_at<std::uint32_t>(base + member.count_offset), member.extents.front());
      list(member, first, size, count);
    } else {
      list(member, first, size, member.count());
    }
  }
  void list(const Member& member, const std::byte* first, std::size_t size, std::uint64_t count) {
    out_ += '[';
    for (std::uint64_t i = 0; i < count; ++i) {
      separate();
      value(member, first + i * size);
    }
    out_ += ']';
  }
  void write_tail(const Description::Tail& tail, Bytes bytes) {
    key(is_ros_ ? tail.element.foreign_name() : tail.element.name);
    if (msg::is_text_tail(tail)) {
      text({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    } else {
      const std::uint32_t size = all_.size_of(tail.element);
      list(tail.element, bytes.data(), size, bytes.size() / size);
    }
  }

  void value(const Member& member, const std::byte* from) {
    if (!is_ros_ && member.type != Description::kNoType && member.code != Code::structure &&
        member.code != Code::opaque && constant(all_.types[member.type], from))
      return;
    switch (member.code) {
      case Code::boolean: out_ += *from != std::byte{0} ? "true" : "false"; break;
      case Code::character:
      case Code::byte:
      case Code::u8: integer(number_at<std::uint8_t>(from)); break;
      case Code::i8: integer(number_at<std::int8_t>(from)); break;
      case Code::i16: integer(number_at<std::int16_t>(from)); break;
      case Code::i32: integer(number_at<std::int32_t>(from)); break;
      case Code::i64: integer(number_at<std::int64_t>(from)); break;
      case Code::u16: integer(number_at<std::uint16_t>(from)); break;
      case Code::u32: integer(number_at<std::uint32_t>(from)); break;
      case Code::u64: integer(number_at<std::uint64_t>(from)); break;
      case Code::f32: real(number_at<float>(from)); break;
      case Code::f64: real(number_at<double>(from)); break;
      case Code::stamp: stamp(number_at<std::int64_t>(from)); break;
      case Code::text: {
        const auto* first = reinterpret_cast<const char*>(from);
        text({first, static_cast<std::size_t>(std::find(first, first + member.text_bytes, '\0') - first)});
        break;
      }
      case Code::structure: {
        out_ += '{';
        for (const Member& inner : all_.types[member.type].members) field(inner, from);
        out_ += '}';
        break;
      }
      case Code::f128:
      case Code::opaque: hexadecimal({from, all_.size_of(member)}); break;
    }
  }
  void stamp(std::int64_t ns) {
    if (is_ros_) {
      const msg::RosTime time = msg::to_ros_time(ns);
      out_ += fmt::format(R"({{"sec":{},"nanosec":{}}})", time.sec, time.nanosec);
    } else {
      integer(ns);
    }
  }
  // False: no constant has this value.
  bool constant(const Type& type, const std::byte* from) {
    for (const Description::Constant& one : type.constants) {
      std::array<std::byte, sizeof one.value> bytes{};
      std::memcpy(bytes.data(), &one.value, sizeof one.value);
      if (!std::equal(from, from + type.size, bytes.begin())) continue;
      text(one.name);
      return true;
    }
    return false;
  }

  const Description& all_;
  bool is_ros_;
  std::string out_;
};

}  // namespace

Result<std::string> to_json(const Description& description, Bytes head, Bytes tail, JsonStyle style) {
  if (auto sound = description.check(); !sound) return sound.error();
  if (head.size() != description.root().size)
    return Error(EINVAL, "write JSON",
                 fmt::format("{}: a struct of {} bytes, not {}", description.root().name,
                             description.root().size, head.size()));
  const std::size_t element = description.tail_bytes();
  if (element == 0 ? !tail.empty() : tail.size() % element != 0)
    return Error(EINVAL, "write JSON",
                 fmt::format("{}: a tail of {} bytes, and each element has {}", description.root().name,
                             tail.size(), element));
  return JsonWriter(description, style).run(head, tail);
}

}  // namespace horus::HORUS_ABI
