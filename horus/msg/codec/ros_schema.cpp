// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/codec/ros_schema.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

#include <fmt/format.h>

#include <horus/msg/codec/ready_messages.hpp>
#include <horus/msg/codec/ros_constants.hpp>
#include <horus/msg/format/ros_names.hpp>
#include <horus/msg/ros.hpp>

namespace horus::HORUS_ABI::msg {
namespace {

using Code = Description::Code;
using Kind = Description::Kind;
using Member = Description::Member;
using Shape = Description::Shape;
using Type = Description::Type;

constexpr std::string_view kNoPackage = "horus_user";
constexpr std::string_view kVector = "vector of ";  // before its elements' name: a message that is all tail

using RosShape = RosDefinition::Shape;
using RosField = RosDefinition::Field;
using RosType = RosDefinition::Type;

// As in type_description_interfaces/msg/FieldType; a `char` is a uint8 there. In the order of Description::Code.
constexpr std::array<RosScalar, static_cast<std::size_t>(Code::opaque) + 1> kScalars{{{"bool", 15},
                                                                                      {"char", 3},
                                                                                      {"byte", 16},
                                                                                      {"int8", 2},
                                                                                      {"int16", 4},
                                                                                      {"int32", 6},
                                                                                      {"int64", 8},
                                                                                      {"uint8", 3},
                                                                                      {"uint16", 5},
                                                                                      {"uint32", 7},
                                                                                      {"uint64", 9},
                                                                                      {"float32", 10},
                                                                                      {"float64", 11},
                                                                                      {"uint8", 3},
                                                                                      {kRosTime, 1},
                                                                                      {"string", 17},
                                                                                      {"", 1},
                                                                                      {"uint8", 3}}};

bool is_letter_or_digit(char c) { return is_small(c) || is_capital(c) || is_digit(c); }
char lower(char c) { return is_capital(c) ? static_cast<char>(c - 'A' + 'a') : c; }
char upper(char c) { return is_small(c) ? static_cast<char>(c - 'a' + 'A') : c; }

// "frameId" and "frame-id" are "frame_id", "IMUState" is "imu_state". `fallback` stands where nothing is left, and before a
// digit.
std::string snake(std::string_view name, std::string_view fallback) {
  std::string made;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    if (!is_letter_or_digit(c)) {
      if (!made.empty() && made.back() != '_') made += '_';
      continue;
    }
    const bool word_begins = is_capital(c) && i > 0 &&
                             (is_small(name[i - 1]) || is_digit(name[i - 1]) ||
                              (is_capital(name[i - 1]) && i + 1 < name.size() && is_small(name[i + 1])));
    if (word_begins && !made.empty() && made.back() != '_') made += '_';
    made += lower(c);
  }
  while (!made.empty() && made.back() == '_') made.pop_back();
  if (made.empty() || is_digit(made.front())) made.insert(0, fallback);
  return made;
}

// "rover::arm::Grid<float, 3>" → "rover::arm" and "Grid<float, 3>".
std::pair<std::string_view, std::string_view> split(std::string_view name) {
  int depth = 0;
  std::size_t last = 0;
  for (std::size_t i = 0; i + 1 < name.size(); ++i) {
    if (name[i] == '<' || name[i] == '(' || name[i] == '[') ++depth;
    if (name[i] == '>' || name[i] == ')' || name[i] == ']') --depth;
    if (depth == 0 && name[i] == ':' && name[i + 1] == ':') last = i + 2;
  }
  return {name.substr(0, last < 2 ? 0 : last - 2), name.substr(last)};
}

std::string derived_name(std::string_view cpp_name) {
  const auto [space, own] =
      cpp_name.starts_with(kVector) ? std::pair(std::string_view(), cpp_name) : split(cpp_name);
  std::string type;
  bool word_begins = true;
  for (const char c : own) {
    if (!is_letter_or_digit(c)) {
      word_begins = true;
      continue;
    }
    type += word_begins ? upper(c) : c;
    word_begins = false;
  }
  if (type.empty() || is_digit(type.front())) type.insert(0, "Message");
  const std::string package = space.empty() ? std::string(kNoPackage) : snake(space, "horus_");
  return package + "/msg/" + type;
}

std::string name_of(const Type& type) {
  return type.ros_name.empty() ? derived_name(type.name) : type.ros_name;
}

template <class List, class Name>
std::string unused(const List& list, std::string wanted, const Name& name) {
  const auto is_taken = [&](const std::string& text) {
    return std::any_of(list.begin(), list.end(), [&](const auto& one) { return name(one) == text; });
  };
  std::string made = wanted;
  for (int number = 2; is_taken(made); ++number) made = fmt::format("{}{}", wanted, number);
  return made;
}

class Lister {
 public:
  explicit Lister(const Description& all) : all_(all), made_of_(all.types.size()) {}

  RosDefinition run() {
    type(0);
    RosDefinition made{std::move(made_)};
    resolve(made).or_throw();
    return made;
  }

 private:
  // Gives the type's name in ROS.
  std::string type(std::uint16_t index) {
    if (!made_of_[index].empty()) return made_of_[index];
    const Type& from = all_.types[index];
    const std::size_t place = made_.size();
    const std::string wanted = name_of(from);
    std::string name = unused(made_, wanted, [](const RosType& one) { return one.name; });
    made_.push_back({name, {RosField{}}});  // equal to none until it is finished
    made_of_[index] = name;
    std::vector<RosField> fields;
    for (std::size_t i = 0; i <= from.members.size(); ++i) {
      if (index == 0 && all_.tail.has_value() && all_.tail->place == i) add_tail(fields, wanted);
      if (i < from.members.size() && !from.members[i].hidden) add(fields, wanted, from.members[i]);
    }
    if (from.kind == Kind::opaque && from.size > 0) fields.insert(fields.begin(), bytes_of(from));
    const RosType same{wanted, fields};
    if (std::find(made_.begin(), made_.end(), same) != made_.end()) {  // two types here, one in ROS
      made_.erase(made_.begin() + static_cast<std::ptrdiff_t>(place));
      return made_of_[index] = wanted;
    }
    made_[place].fields = std::move(fields);
    return name;
  }

  static RosField bytes_of(const Type& type) {
    RosField field;
    field.name = "data";
    field.type = "uint8";
    field.id = ros_scalar(Code::u8).id;
    field.shape = RosShape::array;
    field.count = type.size;
    return field;
  }

  RosField& add(std::vector<RosField>& fields, const std::string& owner, const Member& member) {
    RosField field;
    field.name = unused(fields, member.ros_name.empty() ? snake(member.name, "field") : member.ros_name,
                        [](const RosField& one) { return one.name; });
    const RosScalar scalar = ros_scalar(member.code);
    field.type = scalar.name;
    field.id = scalar.id;
    field.shape = member.shape == Shape::one     ? RosShape::one
                  : member.shape == Shape::array ? RosShape::array
                                                 : RosShape::sequence;
    field.count = member.shape == Shape::sequence ? 0 : member.count();
    if (member.code == Code::structure) field.type = type(member.type);
    if (member.code == Code::stamp) add_time();
    if (is_raw(member.code) && member.shape != Shape::sequence) {
      field.shape = RosShape::array;
      field.count *= all_.size_of(member);
    }
    if (member.shape == Shape::one && field.shape == RosShape::one) field.count = 0;
    add_constants(fields, owner, member, field);
    fields.push_back(std::move(field));
    return fields.back();
  }

  void add_tail(std::vector<RosField>& fields, const std::string& owner) {
    RosField& field = add(fields, owner, all_.tail->element);
    field.shape = RosShape::sequence;
    field.count = 0;
    if (is_text_tail(*all_.tail)) {
      field.type = ros_scalar(Code::text).name;
      field.id = ros_scalar(Code::text).id;
      field.shape = RosShape::one;
    }
  }

  void add_time() {
    const RosScalar i32 = ros_scalar(Code::i32);
    const RosScalar u32 = ros_scalar(Code::u32);
    RosField sec, nanosec;
    sec.name = "sec", sec.type = i32.name, sec.id = i32.id;
    nanosec.name = "nanosec", nanosec.type = u32.name, nanosec.id = u32.id;
    RosType time{std::string(kRosTime), {std::move(sec), std::move(nanosec)}};
    if (std::find(made_.begin(), made_.end(), time) == made_.end()) made_.push_back(std::move(time));
  }

  // Those of ROS' own messages stand in a table; others are called after the enumeration, or after the field where another
  // enumeration's are called so already.
  void add_constants(const std::vector<RosField>& fields, const std::string& owner, const Member& member,
                     RosField& field) const {
    for (const RosExtra& extra : ros_extras()) {
      if (extra.type != owner || extra.field != field.name) continue;
      for (const std::string_view line : extra.constants) field.constants.push_back(ros_constant(line));
      field.preset = extra.preset;
      return;
    }
    if (member.type == Description::kNoType || member.code == Code::structure || is_raw(member.code)) return;
    const Type& from = all_.types[member.type];
    Constants made = constants(from, field.type, shout(split(from.name).second, "ENUM"));
    if (is_there(fields, made)) return;
    if (clashes(fields, made)) made = constants(from, field.type, shout(field.name, "FIELD"));
    if (!clashes(fields, made)) field.constants = std::move(made);
  }
  using Constants = std::vector<RosDefinition::Constant>;
  static Constants constants(const Type& from, const std::string& type, const std::string& prefix) {
    Constants made;
    for (const Description::Constant& constant : from.constants) {
      std::string name = fmt::format("{}_{}", prefix, shout(constant.name, ""));
      if (has(made, name)) continue;  // `idle` and `Idle`
      std::string value = from.code == Code::u64
                              ? fmt::format("{}", static_cast<std::uint64_t>(constant.value))
                          : from.code == Code::boolean ? std::string(constant.value != 0 ? "true" : "false")
                                                       : fmt::format("{}", constant.value);
      made.push_back({type, std::move(name), std::move(value)});
    }
    return made;
  }
  static bool has(const Constants& constants, const std::string& name) {
    return std::any_of(constants.begin(), constants.end(),
                       [&](const RosDefinition::Constant& one) { return one.name == name; });
  }
  static bool is_there(const std::vector<RosField>& fields, const Constants& made) {
    return std::any_of(fields.begin(), fields.end(),
                       [&](const RosField& field) { return !made.empty() && field.constants == made; });
  }
  static bool clashes(const std::vector<RosField>& fields, const Constants& made) {
    return std::any_of(fields.begin(), fields.end(), [&](const RosField& field) {
      return std::any_of(made.begin(), made.end(),
                         [&](const RosDefinition::Constant& one) { return has(field.constants, one.name); });
    });
  }

  const Description& all_;
  std::vector<std::string> made_of_;  // each type's name in ROS, once it has one
  std::vector<RosType> made_;
};

}  // namespace

RosScalar ros_scalar(Code code) noexcept { return kScalars[static_cast<std::size_t>(code)]; }

std::uint8_t ros_scalar_id(std::string_view name) noexcept {
  if (name == "wstring") return kWideStringId;
  for (const RosScalar& one : kScalars)
    if (one.id != kNestedId && name == one.name) return one.id;
  return 0;
}

std::string shout(std::string_view name, std::string_view fallback) {
  std::string made = snake(name, fallback);
  std::transform(made.begin(), made.end(), made.begin(), upper);
  return made;
}

RosDefinition::Constant ros_constant(std::string_view line) {
  const std::size_t space = line.find(' ');
  const std::size_t equals = line.find('=');
  return {std::string(line.substr(0, space)), std::string(line.substr(space + 1, equals - space - 1)),
          std::string(line.substr(equals + 1))};
}

RosDefinition ros_schema(const Description& description) {
  const ReadyMessage* ready = find_ready_message(description);
  return Lister(ready == nullptr ? description : ready->schema()).run();
}

}  // namespace horus::HORUS_ABI::msg

namespace horus::HORUS_ABI {

std::string ros_name(const Description& description) {
  const msg::ReadyMessage* ready = msg::find_ready_message(description);
  return msg::name_of((ready == nullptr ? description : ready->schema()).root());
}

}  // namespace horus::HORUS_ABI
