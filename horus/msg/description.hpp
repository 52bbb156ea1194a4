// SPDX-License-Identifier: Apache-2.0
// The description of a message: all that a program needs which was not compiled with the type, as data. Schemas, CDR and tools
// are made from it. Plain values; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/msg/about.hpp>
#include <horus/msg/layout.hpp>

namespace horus::HORUS_ABI {

/// `describe<T>()` gives a type's own; `Description::decode` that of another program.
struct HORUS_API Description {
  /// What one value is. The numbers travel.
  enum class Code : std::uint8_t {
    boolean,
    character,
    byte,
    i8,
    i16,
    i32,
    i64,
    u8,
    u16,
    u32,
    u64,
    f32,
    f64,
    f128,
    stamp,      ///< i64, ns
    text,       ///< `text_bytes` of characters, then zeroes
    structure,  ///< a type of its own
    opaque,     ///< bytes of a type that nobody described
  };
  enum class Shape : std::uint8_t {
    one,
    array,
    sequence,  ///< up to `extents[0]` values; how many, is a u32 at `count_offset`
  };
  enum class Kind : std::uint8_t { structure, enumeration, opaque };

  static constexpr std::uint16_t kNoType = UINT16_MAX;
  static constexpr std::size_t kMostTypes = 256;
  static constexpr std::size_t kMostNested = 16;     ///< structs within structs
  static constexpr std::size_t kMostFields = 4096;   ///< counted through all nested types
  static constexpr std::size_t kMostName = 255;      ///< bytes of a name or unit
  static constexpr std::size_t kMostText = 4096;     ///< bytes of an opaque type's `text`
  static constexpr std::size_t kMostExtents = 8;     ///< of an array of arrays
  static constexpr std::size_t kMostBytes = 65536;   ///< of the binary form
  static constexpr std::size_t kMostHead = 1 << 26;  ///< bytes, as a message may have

  struct Constant {
    std::string name;
    std::int64_t value;  ///< of a u64 the same bits
    bool operator==(const Constant&) const = default;
  };

  struct Member {
    std::string name;
    std::string ros_name;  ///< empty: the same
    std::string unit;
    Code code = Code::opaque;
    Shape shape = Shape::one;
    bool hidden = false;           ///< the count of another member: not a field in ROS
    std::uint16_t type = kNoType;  ///< of a structure, an opaque value or an enumeration: index in `types`
    std::uint32_t offset =
        0;  ///< bytes from the start of the structure; of a sequence where its values begin
    std::uint32_t text_bytes = 0;
    std::uint32_t count_offset = 0;
    std::vector<std::uint32_t> extents;  ///< of an array, outermost first; of a sequence one
    bool operator==(const Member&) const = default;

    /// How many values there are, in arrays of arrays all of them; 1 for one.
    [[nodiscard]] std::uint64_t count() const noexcept;
    [[nodiscard]] const std::string& foreign_name() const noexcept {
      return ros_name.empty() ? name : ros_name;
    }
  };

  struct Type {
    std::string name;      ///< "rover::Drive"
    std::string ros_name;  ///< "rover_msgs/msg/Drive"; empty: none was told
    Kind kind = Kind::structure;
    std::uint32_t size = 0;       ///< bytes; 0: a message that is all tail
    std::uint32_t alignment = 1;  ///< bytes
    Code code = Code::u8;         ///< of an enumeration
    std::string text;  ///< as in Layout::fields, of an opaque type and of a message that is all tail
    std::vector<Member> members;
    std::vector<Constant> constants;
    bool operator==(const Type&) const = default;
  };

  struct Tail {
    Member
        element;  ///< with the extents of an array when the element is one; `offset` is where the tail begins
    std::uint16_t place = 0;  ///< for ROS: so many members stand before it
    bool operator==(const Tail&) const = default;
  };

  std::vector<Type> types;  ///< in order of first use; the first one is the message
  std::optional<Tail> tail;
  bool operator==(const Description&) const = default;

  [[nodiscard]] const Type& root() const noexcept { return types.front(); }
  /// False: nobody described the message's fields.
  [[nodiscard]] bool known() const noexcept { return !types.empty() && root().kind == Kind::structure; }
  /// Bytes of one value of this member.
  [[nodiscard]] std::uint32_t size_of(const Member& member) const noexcept;
  [[nodiscard]] std::uint32_t alignment_of(const Member& member) const noexcept;
  /// Bytes of one element of the tail; 0 without a tail.
  [[nodiscard]] std::uint32_t tail_bytes() const noexcept;

  /// What the ends of a link compare, with its hash: equal to `layout_of<T>()`. Names, types and places of the fields count;
  /// units, constants and ROS' names do not.
  [[nodiscard]] Layout layout() const;
  /// FNV-1a over the binary form: everything counts.
  [[nodiscard]] std::uint64_t identity() const;

  /// The binary form: one for each description, the same from every compiler and machine.
  [[nodiscard]] std::vector<std::byte> encode() const;
  /// Reads a binary form that may come from anybody. An error (kBadInput) says what is wrong with it; what is accepted encodes
  /// to the same bytes, and keeps all limits above.
  static Result<Description> decode(std::span<const std::byte> bytes);
  /// What contradicts itself or exceeds a limit is an error (kBadInput).
  [[nodiscard]] Result<void> check() const;
};

namespace detail {

template <class T>
inline char kTypeKey = 0;  // its address stands for T

template <class T>
concept Enumerated = requires(NoVisitor& visit) { horus_enumerate(static_cast<const T*>(nullptr), visit); };
template <class T>
concept ToldAbout = requires(About& about) { horus_about(about, static_cast<const T*>(nullptr)); };

class HORUS_API DescriptionBuilder {
 public:
  using Code = Description::Code;
  using Kind = Description::Kind;

  struct Place {
    std::uint16_t index;
    bool fresh;  ///< was not there before
  };
  Place type(const void* key, std::string name, Kind kind, std::size_t size, std::size_t alignment);
  Description::Type& at(std::uint16_t index) { return made_.types[index]; }
  Description& made() { return made_; }
  /// Throws Error when the description contradicts itself: two fields in one place, more than a limit allows.
  Description finish();

 private:
  Description made_;
  std::vector<const void*> keys_;
};

template <class T>
constexpr Description::Code scalar_code() {
  using Code = Description::Code;
  switch (scalar_of<T>()) {
    case Scalar::f64: return Code::f64;
    case Scalar::f32: return Code::f32;
    case Scalar::i32: return Code::i32;
    case Scalar::u8: return Code::u8;
    case Scalar::u32: return Code::u32;
    case Scalar::i64: return Code::i64;
    case Scalar::u64: return Code::u64;
    case Scalar::boolean: return Code::boolean;
    case Scalar::character: return Code::character;
    case Scalar::i8: return Code::i8;
    case Scalar::i16: return Code::i16;
    case Scalar::u16: return Code::u16;
    case Scalar::byte: return Code::byte;
    case Scalar::f128: return Code::f128;
    case Scalar::other: return Code::opaque;
  }
  return Code::opaque;
}

struct ConstantLister {
  std::vector<Description::Constant> constants;

  template <class E>
  void constant(const char* name, E value) {
    constants.push_back({name, static_cast<std::int64_t>(value)});
  }
};

template <class T>
std::uint16_t describe_structure(DescriptionBuilder& builder);

template <class T>
void describe_value(DescriptionBuilder& builder, Description::Member& member) {
  using Code = Description::Code;
  if constexpr (std::is_const_v<T>) {
    describe_value<std::remove_const_t<T>>(builder, member);
  } else if constexpr (kTextBytes<T> > 0) {
    member.code = Code::text;
    member.text_bytes = kTextBytes<T>;
  } else if constexpr (kSequenceLength<T> > 0) {
    using Value = typename T::Value;
    static_assert(kSequenceLength<Value> == 0 && (kTextBytes<Value> > 0 || !std::is_array_v<Value>),
                  "a Sequence of sequences or arrays: put the inner one into a struct of its own");
    member.shape = Description::Shape::sequence;
    member.count_offset = member.offset;
    member.offset += static_cast<std::uint32_t>(offsetof(T, items));
    member.extents = {static_cast<std::uint32_t>(kSequenceLength<T>)};
    describe_value<Value>(builder, member);
  } else if constexpr (std::is_array_v<T>) {
    static_assert(kSequenceLength<std::remove_all_extents_t<T>> == 0,
                  "an array of Sequences: put the Sequence into a struct of its own");
    member.shape = Description::Shape::array;
    member.extents.push_back(static_cast<std::uint32_t>(std::extent_v<T>));
    describe_value<std::remove_extent_t<T>>(builder, member);
  } else if constexpr (requires {
                         typename T::value_type;
                         std::tuple_size<T>::value;
                       }) {
    describe_value<typename T::value_type[std::tuple_size<T>::value]>(builder, member);
  } else if constexpr (std::is_same_v<T, Stamp>) {
    member.code = Code::stamp;
  } else if constexpr (std::is_enum_v<T> && Enumerated<T>) {
    member.code = scalar_code<T>();
    const auto place =
        builder.type(&kTypeKey<T>, type_name<T>(), Description::Kind::enumeration, sizeof(T), alignof(T));
    member.type = place.index;
    if (!place.fresh) return;
    ConstantLister lister;
    horus_enumerate(static_cast<const T*>(nullptr), lister);
    builder.at(place.index).code = member.code;
    builder.at(place.index).constants = std::move(lister.constants);
  } else if constexpr (scalar_of<T>() != Scalar::other) {
    member.code = scalar_code<T>();
  } else if constexpr (Described<T>) {
    member.code = Code::structure;
    member.type = describe_structure<T>(builder);
  } else {
    const auto place =
        builder.type(&kTypeKey<T>, type_name<T>(), Description::Kind::opaque, sizeof(T), alignof(T));
    member.code = Code::opaque;
    member.type = place.index;
    if constexpr (std::is_aggregate_v<T>) builder.at(place.index).text = undescribed_fields<T>();
  }
}

struct MemberLister {
  DescriptionBuilder& builder;
  std::vector<Description::Member> members{};

  template <class F>
  void field(const char* name, std::size_t offset) {
    Description::Member member;
    member.name = name;
    member.offset = static_cast<std::uint32_t>(offset);
    describe_value<F>(builder, member);
    members.push_back(std::move(member));
  }
};

template <class T>
void tell_about(DescriptionBuilder& builder, std::uint16_t type) {
  if constexpr (ToldAbout<T>) {
    About about(builder.made(), type, requires { typename T::Tail; });
    horus_about(about, static_cast<const T*>(nullptr));
  }
}

template <class T>
std::uint16_t list_members(DescriptionBuilder& builder) {
  NoVisitor* none = nullptr;
  static_assert(std::is_same_v<decltype(horus_describe(static_cast<const T*>(nullptr), *none)), FieldsOf<T>>,
                "HORUS_MESSAGE describes this struct's base alone: describe the struct, too");
  const auto place =
      builder.type(&kTypeKey<T>, type_name<T>(), Description::Kind::structure, sizeof(T), alignof(T));
  if (!place.fresh) return place.index;
  MemberLister lister{builder};
  horus_describe(static_cast<const T*>(nullptr), lister);
  builder.at(place.index).members = std::move(lister.members);
  return place.index;
}

template <class T>
std::uint16_t describe_structure(DescriptionBuilder& builder) {
  const std::size_t before = builder.made().types.size();
  const std::uint16_t index = list_members<T>(builder);
  if (index >= before) tell_about<T>(builder, index);
  return index;
}

}  // namespace detail

/// The description of a message type; made once. The first call throws Error (kBadInput) when the type's `horus_about` names
/// what is not there, or when two of its fields lie in one place.
template <Message T>
const Description& describe() {
  using Head = typename MessageShape<T>::Head;
  using Element = typename MessageShape<T>::Element;
  static const Description description = [] {
    detail::DescriptionBuilder builder;
    if constexpr (std::is_void_v<Head>) {
      builder.type(nullptr, layout_of<T>().name, Description::Kind::structure, 0, 1);
      if constexpr (!detail::Described<Element>) builder.at(0).text = layout_of<T>().fields;
    } else if constexpr (detail::Described<Head>) {
      detail::list_members<Head>(builder);
    } else {
      builder.type(&detail::kTypeKey<Head>, detail::type_name<Head>(), Description::Kind::opaque,
                   sizeof(Head), alignof(Head));
      builder.at(0).text = detail::undescribed_fields<Head>();
    }
    if constexpr (!std::is_void_v<Element>) {
      Description::Tail tail;
      tail.element.name = std::is_void_v<Head> ? "data" : "tail";
      tail.element.offset = layout_of<T>().tail_offset;
      static_assert(detail::kSequenceLength<Element> == 0,
                    "a tail of Sequences: put the Sequence into a struct of its own");
      detail::describe_value<Element>(builder, tail.element);
      tail.place = static_cast<std::uint16_t>(builder.at(0).members.size());
      builder.made().tail = std::move(tail);
    }
    if constexpr (detail::Described<Head>) detail::tell_about<Head>(builder, 0);
    if constexpr (std::is_same_v<T, std::string>) builder.at(0).ros_name = "std_msgs/msg/String";
    return builder.finish();
  }();
  return description;
}

}  // namespace horus::HORUS_ABI
