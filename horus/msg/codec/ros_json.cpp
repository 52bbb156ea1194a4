// SPDX-License-Identifier: Apache-2.0
// CDR as JSON, guided by the definition of a ROS message alone.
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <fmt/format.h>

#include <horus/base/error.hpp>
#include <horus/msg/codec/json_text.hpp>
#include <horus/msg/codec/ros_schema.hpp>
#include <horus/msg/json.hpp>

namespace horus::HORUS_ABI {
namespace {

using RosField = RosDefinition::Field;
using RosShape = RosDefinition::Shape;
using RosType = RosDefinition::Type;

constexpr std::size_t kCdrHeader = 4;  // bytes: the encoding, and two that nobody uses

// What the header of a message says.
struct Encoding {
  bool known = false;
  bool is_second = false;  // XCDR2
  bool big_end_first = false;
};

Encoding encoding_of(std::uint8_t first, std::uint8_t second) {
  if (first != 0) return {};
  switch (second) {
    case 0x00: return {true, false, true};
    case 0x01: return {true, false, false};
    case 0x06:
    case 0x10: return {true, true, true};
    case 0x07:
    case 0x11: return {true, true, false};
    default: return {};
  }
}

// Least bytes of one value; 1 for nested types, which have one byte at least.
std::size_t least_bytes(std::uint8_t id) {
  switch (id) {
    case 4:
    case 5: return 2;
    case 6:
    case 7:
    case 10:
    case msg::kStringId: return 4;
    case 8:
    case 9:
    case 11: return 8;
    default: return 1;
  }
}

// Each function that reads gives false when it could not: `why()` and `path()` tell.
class RosJson {
 public:
  RosJson(const RosDefinition& all, std::span<const std::byte> from, Encoding encoding)
      : all_(all),
        from_(from),
        is_second_(encoding.is_second),
        swapped_(encoding.big_end_first != (std::endian::native == std::endian::big)) {}

  bool run() {
    const RosType& root = all_.root();
    if (!root.fields.empty()) return structure(root);
    out_ = "{}";
    return true;
  }
  [[nodiscard]] std::string& out() noexcept { return out_; }
  [[nodiscard]] const std::string& why() const noexcept { return why_; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] std::size_t position() const noexcept { return at_; }

 private:
  [[nodiscard]] std::size_t left() const noexcept { return from_.size() - at_; }

  bool fail(std::string why) {
    why_ = std::move(why);
    return false;
  }
  // Where it happened, from the inside out.
  bool blame(std::string_view part) {
    const bool is_list = path_.empty() || path_.front() == '[';
    path_.insert(0, is_list ? std::string(part) : fmt::format("{}.", part));
    return false;
  }

  const std::byte* bytes(std::size_t size) {
    if (size > left()) {
      fail("it ends here");
      return nullptr;
    }
    const std::byte* found = from_.data() + at_;
    at_ += size;
    return found;
  }
  template <class N>
  bool number(N& value) {
    const std::size_t alignment = is_second_ ? std::min<std::size_t>(sizeof(N), 4) : sizeof(N);
    if (bytes((0 - at_) & (alignment - 1)) == nullptr) return false;
    const std::byte* found = bytes(sizeof(N));
    if (found == nullptr) return false;
    std::byte turned[sizeof(N)];
    std::memcpy(turned, found, sizeof(N));
    if (swapped_) std::reverse(turned, turned + sizeof(N));
    std::memcpy(&value, turned, sizeof(N));
    return true;
  }

  bool structure(const RosType& type) {  // NOLINT(misc-no-recursion): RosDefinition::kMostNested deep at most
    if (type.fields.empty()) {
      out_ += "{}";
      std::uint8_t nothing = 0;
      return number(nothing);
    }
    out_ += '{';
    for (const RosField& field : type.fields) {
      if (&field != &type.fields.front()) out_ += ',';
      out_ += '"';
      out_ += field.name;
      out_ += "\":";
      if (!(field.shape == RosShape::one ? value(field) : list(field))) return blame(field.name);
    }
    out_ += '}';
    return true;
  }

  bool list(const RosField& field) {  // NOLINT(misc-no-recursion)
    // In XCDR2, lists of anything but numbers say first how many bytes they take.
    const bool has_size = is_second_ && (field.id == msg::kNestedId || field.id == msg::kStringId);
    std::uint32_t size = 0;
    if (has_size && !number(size)) return false;
    const std::size_t begin = at_;
    std::uint64_t count = field.count;
    if (field.shape != RosShape::array) {
      std::uint32_t told = 0;
      if (!number(told)) return false;
      count = told;
    }
    if (count > left() / least_bytes(field.id))
      return fail(fmt::format("a list of {} values, and {} bytes are left", count, left()));
    out_ += '[';
    for (std::uint64_t i = 0; i < count; ++i) {
      if (i > 0) out_ += ',';
      if (!value(field)) return blame(fmt::format("[{}]", i));
    }
    out_ += ']';
    if (has_size && at_ - begin != size)
      return fail(fmt::format("a list that says it takes {} bytes, and takes {}", size, at_ - begin));
    return true;
  }

  bool value(const RosField& field) {  // NOLINT(misc-no-recursion)
    if (out_.size() > kMostWrittenJson)
      return fail(fmt::format("its JSON is longer than {} bytes", kMostWrittenJson));
    switch (field.id) {
      case msg::kNestedId: return structure(all_.types[field.nested]);
      case 2: return integer<std::int8_t>();
      case 3:
      case 16: return integer<std::uint8_t>();
      case 4: return integer<std::int16_t>();
      case 5: return integer<std::uint16_t>();
      case 6: return integer<std::int32_t>();
      case 7: return integer<std::uint32_t>();
      case 8: return integer<std::int64_t>();
      case 9: return integer<std::uint64_t>();
      case 10: return real<float>();
      case 11: return real<double>();
      case 15: return boolean();
      case msg::kStringId: return text();
      default: return fail("a wstring, whose bytes are not the same in all implementations of ROS");
    }
  }
  template <class N>
  bool integer() {
    N read{};
    if (!number(read)) return false;
    const fmt::format_int digits(read);
    out_.append(digits.data(), digits.size());
    return true;
  }
  template <class N>
  bool real() {
    N read{};
    if (!number(read)) return false;
    msg::append_json_real(out_, read);
    return true;
  }
  bool boolean() {
    std::uint8_t read = 0;
    if (!number(read)) return false;
    out_ += read != 0 ? "true" : "false";
    return true;
  }
  bool text() {
    std::uint32_t size = 0;
    if (!number(size)) return false;
    if (size > left()) return fail(fmt::format("text of {} bytes, and {} are left", size, left()));
    const auto* found = reinterpret_cast<const char*>(bytes(size));
    if (size > 0 && found[size - 1] != '\0') return fail("text without a zero behind it");
    msg::append_json_text(out_, {found, size == 0 ? 0 : size - std::size_t{1}});
    return true;
  }

  const RosDefinition& all_;
  std::span<const std::byte> from_;
  std::size_t at_ = 0;
  bool is_second_;
  bool swapped_;
  std::string out_;
  std::string why_;
  std::string path_;
};

}  // namespace

Result<std::string> cdr_to_json(const RosDefinition& definition, std::span<const std::byte> cdr) {
  constexpr const char* kTask = "read CDR";
  const std::string& name = definition.root().name;
  if (cdr.size() < kCdrHeader)
    return Error(kBadInput, kTask,
                 fmt::format("{}: {} bytes, and its header alone has {}", name, cdr.size(), kCdrHeader));
  const auto first = std::to_integer<std::uint8_t>(cdr[0]);
  const auto second = std::to_integer<std::uint8_t>(cdr[1]);
  const Encoding encoding = encoding_of(first, second);
  if (!encoding.known)
    return Error(kBadInput, kTask,
                 fmt::format("{}: it begins with {:02x} {:02x}, which is neither XCDR1 nor plain XCDR2", name,
                             first, second));
  RosJson reading(definition, cdr.subspan(kCdrHeader), encoding);
  if (reading.run()) return std::move(reading.out());
  return Error(kBadInput, kTask,
               fmt::format("{}, byte {}, {}: {}", name, kCdrHeader + reading.position(), reading.path(),
                           reading.why()));
}

}  // namespace horus::HORUS_ABI
