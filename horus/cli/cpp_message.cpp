// SPDX-License-Identifier: Apache-2.0
#include <horus/cli/cpp_message.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include <horus/base/error.hpp>
#include <horus/msg/codec/ready_messages.hpp>
#include <horus/msg/description.hpp>
#include <horus/msg/ros.hpp>

namespace horus::cli {
namespace {

using Constant = RosDefinition::Constant;
using Field = RosDefinition::Field;
using Shape = RosDefinition::Shape;
using Type = RosDefinition::Type;

constexpr std::size_t kMostFields = detail::kMostFields;
constexpr std::string_view kTime = "builtin_interfaces/msg/Time";
constexpr std::string_view kNoFields = "structure_needs_at_least_one_member";  // as ROS calls it

struct Refusal {
  std::string why;
};

[[noreturn]] void refuse(const Type& type, std::size_t line, std::string_view why) {
  throw Refusal{fmt::format("{}, line {}: {}", type.name, line, why)};
}

// --- Names ---------------------------------------------------------------------------------------------------------------

bool is_small(char c) { return c >= 'a' && c <= 'z'; }
bool is_capital(char c) { return c >= 'A' && c <= 'Z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
char lower(char c) { return is_capital(c) ? static_cast<char>(c - 'A' + 'a') : c; }

// As ROS 2 has them: "frame_id".
bool is_field_name(std::string_view name) {
  if (name.empty() || !is_small(name.front()) || name.back() == '_' ||
      name.find("__") != std::string_view::npos)
    return false;
  return std::all_of(name.begin(), name.end(), [](char c) { return is_small(c) || is_digit(c) || c == '_'; });
}

// With a _ behind it where C++ has that word for itself. ROS' name follows from it: ros2msg drops the _.
std::string cpp_name(std::string_view name) {
  static const std::set<std::string_view> kWords{
      "alignas",   "alignof",   "and",       "asm",      "auto",     "bitand",   "bitor",   "bool",
      "break",     "case",      "catch",     "char",     "class",    "compl",    "concept", "const",
      "consteval", "constexpr", "constinit", "continue", "decltype", "default",  "delete",  "do",
      "double",    "else",      "enum",      "explicit", "export",   "extern",   "false",   "float",
      "for",       "friend",    "goto",      "if",       "inline",   "int",      "long",    "mutable",
      "namespace", "new",       "noexcept",  "not",      "nullptr",  "operator", "or",      "private",
      "protected", "public",    "register",  "requires", "return",   "short",    "signed",  "sizeof",
      "static",    "struct",    "switch",    "template", "this",     "throw",    "true",    "try",
      "typedef",   "typeid",    "typename",  "union",    "unsigned", "using",    "virtual", "void",
      "volatile",  "while",     "xor"};
  return kWords.contains(name) ? fmt::format("{}_", name) : std::string(name);
}

// "DRIVE_FAST" → "DriveFast". Empty when ros2msg would not make the same of it again.
std::string enum_name(std::string_view prefix) {
  std::string made;
  bool word_begins = true;
  for (const char c : prefix) {
    if (c == '_') {
      if (word_begins) return {};  // first, or twice
      word_begins = true;
    } else if (is_capital(c) || is_digit(c)) {
      if (word_begins && !is_capital(c)) return {};
      made += word_begins ? c : lower(c);
      word_begins = false;
    } else {
      return {};
    }
  }
  return word_begins ? std::string() : made;
}
// "NO_FIX" → "no_fix", "3D" → "_3d".
std::string enumerator_name(std::string_view name) {
  if (name.empty() || name.front() == '_' || name.back() == '_' || name.find("__") != std::string_view::npos)
    return {};
  std::string made;
  for (const char c : name) {
    if (!is_capital(c) && !is_digit(c) && c != '_') return {};
    made += lower(c);
  }
  return is_digit(made.front()) ? '_' + made : cpp_name(made);
}

// --- Values --------------------------------------------------------------------------------------------------------------

bool is_integer(std::string_view type) { return type.starts_with("int") || type.starts_with("uint"); }
bool is_real(std::string_view type) { return type.starts_with("float"); }

std::string scalar(std::string_view type) {
  if (type == "bool" || type == "char") return std::string(type);
  if (type == "byte") return "std::byte";
  if (type == "float32") return "float";
  if (type == "float64") return "double";
  return fmt::format("std::{}_t", type);
}

// Of a number or truth value; nothing: it is none.
std::optional<std::string> literal(std::string_view type, std::string_view text) {
  if (type == "bool") {
    std::string word;
    for (const char c : text) word += lower(c);
    if (word == "true" || word == "1") return "true";
    if (word == "false" || word == "0") return "false";
    return std::nullopt;
  }
  std::string_view digits = text;
  const bool minus = digits.starts_with('-');
  if (minus || digits.starts_with('+')) digits.remove_prefix(1);
  const char* first = std::to_address(digits.begin());
  const char* end = first + digits.size();
  if (is_real(type)) {
    double value = 0;
    const auto [rest, problem] = std::from_chars(first, end, value);
    if (digits.empty() || (!is_digit(digits.front()) && digits.front() != '.') || problem != std::errc() ||
        rest != end)
      return std::nullopt;
    if (type == "float32" && value > static_cast<double>(std::numeric_limits<float>::max()))
      return std::nullopt;
    const std::string made = fmt::format("{}{}", minus ? "-" : "", value);
    return type == "float32" && made.find_first_of(".e") != std::string::npos ? made + 'F' : made;
  }
  int base = 10;
  if (digits.starts_with("0x") || digits.starts_with("0X")) base = 16;
  if (digits.starts_with("0b") || digits.starts_with("0B")) base = 2;
  if (digits.starts_with("0o") || digits.starts_with("0O")) base = 8;
  if (base != 10) first += 2;
  std::uint64_t value = 0;
  const auto [rest, problem] = std::from_chars(first, end, value, base);
  if (first == end || problem != std::errc() || rest != end) return std::nullopt;
  const unsigned bits = type.ends_with("64") ? 64 : type.ends_with("32") ? 32 : type.ends_with("16") ? 16 : 8;
  const bool is_signed = type.starts_with("int");
  const std::uint64_t most = bits == 64 ? UINT64_MAX : (std::uint64_t{1} << bits) - 1;
  const std::uint64_t limit = is_signed ? most / 2 + (minus ? 1 : 0) : minus ? 0 : most;
  if (value > limit) return std::nullopt;
  if (minus && value == std::uint64_t{1} << 63) return "INT64_MIN";
  if (type == "byte") return fmt::format("std::byte{{{}}}", value);
  if (value == 0) return "0";
  return fmt::format("{}{}{}", minus ? "-" : "", value, value > INT64_MAX ? "U" : "");
}

// What a text in a .msg file stands for: without its quotation marks.
std::string unquoted(std::string_view text) {
  const char mark = text.empty() ? ' ' : text.front();
  if (text.size() < 2 || (mark != '"' && mark != '\'') || text.back() != mark) return std::string(text);
  std::string made;
  for (std::size_t i = 1; i + 1 < text.size(); ++i) {
    if (text[i] == '\\' && i + 2 < text.size()) {
      ++i;
      made += text[i] == 'n' ? '\n' : text[i] == 't' ? '\t' : text[i];
    } else {
      made += text[i];
    }
  }
  return made;
}
// "1, 2" of "[1, 2]"; nothing: it is no such list, or has another length.
std::optional<std::string> list_literal(const Field& field) {
  std::string_view rest = field.preset;
  if (field.shape != Shape::array || !rest.starts_with('[') || !rest.ends_with(']')) return std::nullopt;
  rest = rest.substr(1, rest.size() - 2);
  std::string made;
  std::uint64_t count = 0;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(','), rest.size());
    std::string_view word = rest.substr(0, end);
    word.remove_prefix(std::min(word.find_first_not_of(' '), word.size()));
    word = word.substr(0, word.find_last_not_of(' ') + 1);
    const auto value = literal(field.type, word);
    if (!value.has_value()) return std::nullopt;
    made += (made.empty() ? "" : ", ") + *value;
    ++count;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return count == field.count ? std::optional(made) : std::nullopt;
}
std::string text_literal(std::string_view text) {
  std::string made = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      made += fmt::format("\\{}", c);
    } else if (byte < 0x20 || byte == 0x7f) {
      made += fmt::format("\\{:03o}", byte);
    } else {
      made += c;
    }
  }
  return made + '"';
}

// --- Structs -------------------------------------------------------------------------------------------------------------

struct Enumeration {
  std::string name;
  std::string lines;                          // "idle = 0, drive = 1"
  std::string names;                          // "idle, drive"
  std::map<std::string, std::string> values;  // "idle" of "0"

  // "Mode::idle", or "Mode{3}" where no constant has that value.
  [[nodiscard]] std::string literal(const std::string& value) const {
    const auto found = values.find(value);
    return found == values.end() ? fmt::format("{}{{{}}}", name, value)
                                 : fmt::format("{}::{}", name, found->second);
  }
};

// A call of a macro, in lines of at most kMostColumns.
std::string macro(std::string_view name, const std::string& arguments) {
  constexpr std::size_t kMostColumns = 110;
  std::string made = fmt::format("{}(", name);
  const std::string indent(made.size(), ' ');
  std::size_t column = made.size();
  std::string_view rest = arguments;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(", "), rest.size());
    const std::string_view word = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 2, rest.size()));
    if (column + word.size() + 2 > kMostColumns) {
      made.pop_back();
      made += '\n' + indent;
      column = indent.size();
    }
    made += word;
    made += rest.empty() ? ");\n" : ", ";
    column += word.size() + 2;
  }
  return made;
}

class Writer {
 public:
  explicit Writer(const CppOptions& options) : options_(options) {}

  CppText run(const std::vector<RosDefinition>& messages) {
    for (const RosDefinition& message : messages)
      for (const Type& type : message.types)
        for (const Field& field : type.fields)
          if (field.nested != RosDefinition::kNoType) nested_.insert(field.type);
    for (const RosDefinition& message : messages) roots_.insert(message.root().name);
    for (const RosDefinition& message : messages) structure(message, message.root());
    if (!options_.tail.empty() && !has_tail_)
      throw Refusal{
          fmt::format("no message has a list {} without a bound, beside other fields, that could be its tail",
                      options_.tail)};
    std::string text =
        "// Made by `horus msg import`: change the .msg file instead.\n#pragma once\n\n"
        "#include <array>\n#include <cstddef>\n#include <cstdint>\n";
    if (uses_text_) text += "#include <string_view>\n";
    text +=
        "\n#include <horus/msg/about.hpp>\n#include <horus/msg/fields.hpp>\n#include "
        "<horus/msg/layout.hpp>\n";
    if (uses_ready_) text += "#include <horus/msg/messages.hpp>\n#include <horus/msg/more_messages.hpp>\n";
    text += body_;
    if (!open_.empty()) text += fmt::format("\n}}  // namespace {}\n", open_);
    return {std::move(text), std::move(notes_)};
  }

 private:
  [[nodiscard]] std::string space_of(std::string_view ros_name) const {
    if (!options_.space.empty()) return options_.space;
    const std::size_t slash = ros_name.find('/');
    return slash == std::string_view::npos ? "horus_user" : std::string(ros_name.substr(0, slash));
  }
  static std::string own_name(std::string_view ros_name) {
    return std::string(ros_name.substr(ros_name.rfind('/') + 1));
  }
  // From within the namespace of `user`.
  [[nodiscard]] std::string struct_of(const Type& user, std::string_view ros_name) {
    if (ros_name == kTime) return "horus::Stamp";
    if (const auto ready = ready_struct(ros_name); !ready.empty() && !roots_.contains(ros_name)) {
      uses_ready_ = true;
      return std::string(ready);
    }
    const std::string space = space_of(ros_name);
    return space == space_of(user.name) ? own_name(ros_name)
                                        : fmt::format("{}::{}", space, own_name(ros_name));
  }

  void note(const Type& type, std::string text) { notes_.push_back(fmt::format("{}: {}", type.name, text)); }

  void structure(const RosDefinition& all,
                 const Type& type) {  // NOLINT(misc-no-recursion): RosDefinition::kMostNested
    if (!done_.insert(type.name).second) return;
    for (const Field& field : type.fields) {
      if (field.nested == RosDefinition::kNoType || field.type == kTime) continue;
      if (ready_struct(field.type).empty() || roots_.contains(field.type))
        structure(all, all.types[field.nested]);
    }
    const std::string own = own_name(type.name);
    if (const auto [at, is_new] = names_.emplace(space_of(type.name) + "::" + own, type.name); !is_new)
      throw Refusal{fmt::format("{} and {} would be one struct in namespace {}: leave out --namespace",
                                at->second, type.name, options_.space)};
    if (type.fields.size() > kMostFields)
      throw Refusal{fmt::format(
          "{}: {} fields, and HORUS_MESSAGE takes at most {}: put some into a message of their own",
          type.name, type.fields.size(), kMostFields)};
    enter(space_of(type.name));
    write(type, own);
  }

  void enter(const std::string& space) {
    if (space == open_) return;
    if (!open_.empty()) body_ += fmt::format("\n}}  // namespace {}\n", open_);
    open_ = space;
    body_ += fmt::format("\nnamespace {} {{\n", space);
  }

  // Null: the message has no tail.
  const Field* tail_of(const Type& type) {
    if (nested_.contains(type.name) || !roots_.contains(type.name) || type.fields.size() < 2) return nullptr;
    const Field* found = nullptr;
    std::size_t lists = 0;
    for (const Field& field : type.fields) {
      if (field.shape != Shape::sequence) continue;
      ++lists;
      if (options_.tail.empty() || options_.tail == field.name) found = &field;
    }
    if (options_.tail.empty() && lists > 1) return nullptr;
    has_tail_ = has_tail_ || found != nullptr;
    return found;
  }

  void write(const Type& type, const std::string& own) {
    const Field* tail = tail_of(type);
    std::string fields, names, enumerations;
    std::set<std::string> used{own};
    for (const Field& field : type.fields)
      if (field.nested != RosDefinition::kNoType) used.insert(own_name(field.type));
    if (type.fields.empty()) {
      fields = fmt::format("  std::uint8_t {} = 0;  // as in ROS\n", kNoFields);
      names = kNoFields;
    }
    std::string place = "first", before;
    for (const Field& field : type.fields) {
      if (!is_field_name(field.name))
        refuse(type, field.line,
               fmt::format("ROS 2 has no field {}: small letters, digits and single _", field.name));
      if (field.type == "wstring")
        refuse(type, field.line,
               fmt::format("{} is a wstring, which no struct can hold: use string", field.name));
      const std::string name = cpp_name(field.name);
      const auto enumeration = enumeration_of(field, used);
      if (enumeration.has_value()) {
        fields += fmt::format("  enum class {} : {} {{ {} }};\n", enumeration->name, scalar(field.type),
                              enumeration->lines);
        enumerations +=
            macro("HORUS_ENUM", fmt::format("{}::{}, {}", own, enumeration->name, enumeration->names));
        used.insert(enumeration->name);
      } else {
        constants(fields, type, field.constants, field.line);
      }
      if (&field == tail) {
        place = before.empty() ? "first" : "after " + before;
        fields += fmt::format("  using Tail = {};  // {}\n", value_of(type, field), field.name);
        continue;
      }
      fields += member(type, field, name, enumeration);
      names += (names.empty() ? "" : ", ") + name;
      before = name;
    }
    constants(fields, type, type.constants, 0);
    body_ += fmt::format("\n/// {} of ROS.\nstruct {} {{\n{}}};\n{}{}", type.name, own, fields, enumerations,
                         macro("HORUS_MESSAGE", fmt::format("{}, {}", own, names)));
    body_ += fmt::format(
        "inline void horus_about(horus::About& about, const {}* /*type*/) {{\n  about.ros(\"{}\");\n", own,
        type.name);
    for (const Field& field : type.fields)
      if (&field != tail && cpp_name(field.name) != field.name)
        body_ += fmt::format("  about.field(\"{}\").ros(\"{}\");\n", cpp_name(field.name), field.name);
    if (tail != nullptr)
      body_ += tail == &type.fields.back()
                   ? fmt::format("  about.tail(\"{}\");\n", cpp_name(tail->name))
                   : fmt::format("  about.tail(\"{}\", \"\", \"{}\");\n", cpp_name(tail->name), place);
    body_ += "}\n";
  }

  // Constants right before the field whose values they are, which ros2msg writes there again.
  static std::optional<Enumeration> enumeration_of(const Field& field, const std::set<std::string>& used) {
    if (field.constants.empty() || field.shape != Shape::one || !is_integer(field.type)) return std::nullopt;
    std::string prefix = field.constants.front().name;
    for (const Constant& one : field.constants) {
      if (one.type != field.type) return std::nullopt;
      const auto [at, other] = std::mismatch(prefix.begin(), prefix.end(), one.name.begin(), one.name.end());
      prefix.erase(at, prefix.end());
    }
    prefix.resize(std::min(prefix.rfind('_') + 1, prefix.size()));
    if (field.constants.size() == 1) {  // its name says where the prefix ends
      prefix.clear();
      for (const char c : field.name) prefix += is_small(c) ? static_cast<char>(c - 'a' + 'A') : c;
      prefix += '_';
      if (!field.constants.front().name.starts_with(prefix)) return std::nullopt;
    }
    if (prefix.empty()) return std::nullopt;
    Enumeration made{enum_name(std::string_view(prefix).substr(0, prefix.size() - 1)), {}, {}, {}};
    if (made.name.empty() || used.contains(made.name) || field.constants.size() > kMostFields)
      return std::nullopt;
    for (const Constant& one : field.constants) {
      const std::string name = enumerator_name(std::string_view(one.name).substr(prefix.size()));
      const auto value = literal(field.type, one.value);
      if (name.empty() || !value.has_value()) return std::nullopt;
      made.lines += fmt::format("{}{} = {}", made.lines.empty() ? "" : ", ", name, *value);
      made.names += (made.names.empty() ? "" : ", ") + name;
      made.values.emplace(*value, name);
    }
    return made;
  }

  void constants(std::string& fields, const Type& type, const std::vector<Constant>& list, std::size_t line) {
    for (const Constant& one : list) {
      const std::string name = cpp_name(one.name);
      if (one.type == "wstring") refuse(type, line, fmt::format("{} is a wstring: use string", one.name));
      if (one.type == "string") {
        uses_text_ = true;
        fields += fmt::format("  static constexpr std::string_view {} = {};\n", name,
                              text_literal(unquoted(one.value)));
        continue;
      }
      const auto value = literal(one.type, one.value);
      if (!value.has_value())
        refuse(type, line, fmt::format("{} is no value of {} {}", one.value, one.type, one.name));
      fields += fmt::format("  static constexpr {} {} = {};\n", scalar(one.type), name, *value);
    }
    if (!list.empty())
      note(type, fmt::format("{} {} of C++ alone: the struct's own definition in ROS has no such",
                             list.front().name,
                             list.size() == 1 ? "is a constant"
                                              : fmt::format("and {} more are constants", list.size() - 1)));
  }

  // The C++ type of one value.
  std::string value_of(const Type& type, const Field& field) {
    if (field.nested != RosDefinition::kNoType) return struct_of(type, field.type);
    if (field.type == "string")
      return fmt::format("horus::Text<{}>", field.text_bytes > 0 ? field.text_bytes : options_.text_bytes);
    if (field.type == "char" && field.shape != Shape::one) {
      note(type,
           fmt::format("{} has numbers of uint8, which ROS takes for the same: a list of char is text here",
                       field.name));
      return "std::uint8_t";
    }
    return scalar(field.type);
  }

  std::string member(const Type& type, const Field& field, const std::string& name,
                     const std::optional<Enumeration>& enumeration) {
    const std::string value = enumeration.has_value() ? enumeration->name : value_of(type, field);
    if (field.text_bytes > 0 || field.shape == Shape::bounded_sequence)
      note(type, fmt::format("{} has a bound in ROS, which the struct's own definition does not tell: "
                             "the hashes of the types differ",
                             field.name));
    std::string comment;
    const bool is_list = field.shape != Shape::one;
    const bool has_preset = !field.preset.empty();
    const auto values = list_literal(field);
    if (has_preset && is_list && !values.has_value()) {
      comment = fmt::format("  // in ROS: {}", field.preset);
      note(type, fmt::format("{} has a preset in ROS, {}, and none here", field.name, field.preset));
    }
    switch (field.shape) {
      case Shape::array:
        return fmt::format("  std::array<{}, {}> {}{{{}}};{}\n", value, field.count, name,
                           values.value_or(""), comment);
      case Shape::bounded_sequence:
        return fmt::format("  horus::Sequence<{}, {}> {};{}\n", value, field.count, name, comment);
      case Shape::sequence:
        note(type, fmt::format("{} has no bound in ROS, and at most {} values here (--max)", field.name,
                               options_.most));
        return fmt::format("  horus::Sequence<{}, {}> {};  // without a bound in ROS{}\n", value,
                           options_.most, name, has_preset ? "; there " + field.preset : "");
      case Shape::one: break;
    }
    if (field.nested != RosDefinition::kNoType) return fmt::format("  {} {};\n", value, name);
    if (field.type == "string") {
      if (!has_preset) return fmt::format("  {} {};\n", value, name);
      const std::string text = unquoted(field.preset);
      const std::uint32_t room = field.text_bytes > 0 ? field.text_bytes : options_.text_bytes;
      if (text.size() >= room)
        refuse(type, field.line,
               fmt::format("the preset of {} has {} bytes, and there is room for {} (--text)", field.name,
                           text.size(), room - 1));
      return fmt::format("  {} {}{{{}}};\n", value, name, text_literal(text));
    }
    const auto preset = literal(field.type, has_preset ? field.preset : field.type == "bool" ? "false" : "0");
    if (!preset.has_value())
      refuse(type, field.line, fmt::format("{} is no value of {} {}", field.preset, field.type, field.name));
    if (enumeration.has_value())
      return fmt::format("  {} {} = {};\n", value, name, enumeration->literal(*preset));
    return fmt::format("  {} {} = {};\n", value, name, *preset);
  }

  const CppOptions& options_;
  std::set<std::string, std::less<>> nested_;  // types that are fields of others
  std::set<std::string, std::less<>> roots_;
  std::set<std::string> done_;
  std::map<std::string, std::string> names_;  // in C++, of which type of ROS
  std::string open_;                          // namespace
  std::string body_;
  std::vector<std::string> notes_;
  bool has_tail_ = false;
  bool uses_ready_ = false;
  bool uses_text_ = false;
};

// One that is the same in ROS where it is a field.
const Description* ready_description(std::string_view ros_name) {
  for (const Description* one : msg::ready_messages())
    if (one->root().ros_name == ros_name && msg::fits_as_field(*one)) return one;
  return nullptr;
}

}  // namespace

Result<CppText> to_cpp(const std::vector<RosDefinition>& messages, const CppOptions& options) {
  try {
    return Writer(options).run(messages);
  } catch (const Refusal& refusal) {
    return Error(kBadInput, "import", refusal.why);
  }
}

std::string_view ready_struct(std::string_view ros_name) {
  const Description* found = ready_description(ros_name);
  return found == nullptr ? std::string_view() : found->root().name;
}

std::string ready_definition(std::string_view ros_name) {
  const Description* found = ready_description(ros_name);
  return found == nullptr ? std::string() : ros2msg(*found);
}

}  // namespace horus::cli
