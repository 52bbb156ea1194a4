// SPDX-License-Identifier: Apache-2.0
// The contract between the two ends of a link: a message's name, size and fields, and a hash of all of them.
// Plain values; any thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/msg/fields.hpp>
#include <horus/msg/format/travels.hpp>
#include <horus/msg/format/undescribed.hpp>

namespace horus::HORUS_ABI {

/// The shape of a message type. A message is a head of fixed size and, for some types, a tail of equal elements.
struct HORUS_API Layout {
  std::string name;  ///< "horus::messages::Imu"; anonymous namespaces are left out
  /// "u64 stamp_ns @0, f64[9] covariance @8", and ", then f32s" for a tail. For a struct without HORUS_MESSAGE it has
  /// only the types of the values, "u64, f64[9]"; empty when not even these are known.
  std::string fields;
  std::uint32_t head_bytes = 0;     ///< 0: only a tail
  std::uint32_t alignment = 1;      ///< of head and tail, in bytes
  std::uint32_t element_bytes = 0;  ///< of one element of the tail; 0: no tail
  std::uint32_t tail_offset = 0;    ///< where the tail begins, in bytes
  std::uint64_t hash = 0;           ///< over all of the above

  /// Fills `hash` from the rest.
  void settle() noexcept;
  /// One line for a person: `Imu {u64 stamp_ns @0, …}, 88 bytes`.
  [[nodiscard]] std::string describe() const;
};

namespace detail {

/// "horus::messages::Imu", the same from every supported compiler.
HORUS_API std::string tidy_type_name(std::string_view pretty_function);

template <class T>
std::string type_name() {
  return tidy_type_name(__PRETTY_FUNCTION__);
}

/// What HORUS_MESSAGE's function gives: whose fields it has listed. A derived struct finds its base's function.
template <class T>
struct FieldsOf {};

/// Looks at no field.
struct NoVisitor {
  template <class F>
  void field(const char* name, std::size_t offset);
};

template <class T>
concept Described = requires(NoVisitor& visit) { horus_describe(static_cast<const T*>(nullptr), visit); };

/// Writes fields as `Layout::fields` has them.
struct HORUS_API FieldWriter {
  std::string line;

  template <class F>
  void field(const char* name, std::size_t offset);

 private:
  void add(std::string_view type, const char* name, std::size_t offset);
};

template <class T>
std::string described_fields() {
  FieldWriter writer;
  horus_describe(static_cast<const T*>(nullptr), writer);
  return std::move(writer.line);
}

template <class T>
std::string type_code() {
  if constexpr (std::is_same_v<T, bool>) {
    return "bool";
  } else if constexpr (std::is_same_v<T, char>) {
    return "char";
  } else if constexpr (std::is_same_v<T, std::byte>) {
    return "byte";
  } else if constexpr (std::is_enum_v<T>) {
    return type_code<std::underlying_type_t<T>>();
  } else if constexpr (std::is_integral_v<T>) {
    return (std::is_signed_v<T> ? "i" : "u") + std::to_string(8 * sizeof(T));
  } else if constexpr (std::is_floating_point_v<T>) {
    return "f" + std::to_string(8 * sizeof(T));
  } else if constexpr (std::is_same_v<T, Stamp>) {
    return "i64";
  } else if constexpr (kTextBytes<T> > 0) {
    return "char[" + std::to_string(kTextBytes<T>) + "]";
  } else if constexpr (kSequenceLength<T> > 0) {
    return type_code<typename T::Value>() + "[<=" + std::to_string(kSequenceLength<T>) + "]";
  } else if constexpr (std::is_array_v<T>) {
    return type_code<std::remove_extent_t<T>>() + "[" + std::to_string(std::extent_v<T>) + "]";
  } else if constexpr (requires {
                         typename T::value_type;
                         std::tuple_size<T>::value;
                       }) {
    return type_code<typename T::value_type>() + "[" + std::to_string(std::tuple_size<T>::value) + "]";
  } else if constexpr (Described<T>) {
    return "{" + described_fields<T>() + "}";
  } else if constexpr (std::is_aggregate_v<T>) {
    const std::string fields = undescribed_fields<T>();
    return fields.empty() ? "bytes[" + std::to_string(sizeof(T)) + "]" : "{" + fields + "}";
  } else {
    return "bytes[" + std::to_string(sizeof(T)) + "]";
  }
}

template <class F>
void FieldWriter::field(const char* name, std::size_t offset) {
  add(type_code<F>(), name, offset);
}

template <class T>
std::string fields_of() {
  if constexpr (Described<T>) {
    return described_fields<T>();
  } else {
    return undescribed_fields<T>();
  }
}

}  // namespace detail

/// How a type travels. `Head` is its fixed part (void: none), `Element` the type of its tail's elements (void: no
/// tail).
///
/// Any trivially copyable struct without pointers travels as it is. A struct that names a `Tail` type travels with a
/// tail of such elements: `struct Scan { …; using Tail = float; };`. A std::string, or a std::vector of trivially
/// copyable elements, is sent as a tail alone.
template <class T>
struct MessageShape {
  using Head = T;
  using Element = void;
};
template <class T>
  requires requires { typename T::Tail; }
struct MessageShape<T> {
  using Head = T;
  using Element = typename T::Tail;
};
template <>
struct MessageShape<std::string> {
  using Head = void;
  using Element = char;
};
template <class E>
struct MessageShape<std::vector<E>> {
  using Head = void;
  using Element = E;
};

namespace detail {

template <class T>
inline constexpr std::size_t kSize = sizeof(T);
template <>
inline constexpr std::size_t kSize<void> = 0;
template <class T>
inline constexpr std::size_t kAlignment = alignof(T);
template <>
inline constexpr std::size_t kAlignment<void> = 1;

}  // namespace detail

/// A type that can be published: see MessageShape. For any other type the compiler's error says what to use instead.
template <class T>
concept Message =
    detail::travels<typename MessageShape<T>::Head>() && detail::travels<typename MessageShape<T>::Element>();

/// The layout of a message type; computed once.
template <Message T>
const Layout& layout_of() {
  using Head = typename MessageShape<T>::Head;
  using Element = typename MessageShape<T>::Element;
  static const Layout layout = [] {
    Layout made;
    if constexpr (std::is_same_v<T, std::string>) {
      made.name = "text";
    } else if constexpr (std::is_void_v<Head>) {
      made.name = "vector of " +
                  (detail::Described<Element> || std::is_class_v<Element> ? detail::type_name<Element>()
                                                                          : detail::type_code<Element>());
    } else {
      made.name = detail::type_name<T>();
      made.fields = detail::fields_of<T>();
      if constexpr (!std::is_void_v<Element>) {
        if (!made.fields.empty()) made.fields += ", then " + detail::type_code<Element>() + "s";
      }
    }
    if constexpr (std::is_void_v<Head> && std::is_class_v<Element>)
      made.fields = detail::fields_of<Element>();
    made.head_bytes = static_cast<std::uint32_t>(detail::kSize<Head>);
    made.element_bytes = static_cast<std::uint32_t>(detail::kSize<Element>);
    constexpr std::size_t kElement = detail::kAlignment<Element>;
    made.alignment = static_cast<std::uint32_t>(std::max(detail::kAlignment<Head>, kElement));
    made.tail_offset = static_cast<std::uint32_t>((detail::kSize<Head> + kElement - 1) / kElement * kElement);
    made.settle();
    return made;
  }();
  return layout;
}

}  // namespace horus::HORUS_ABI

// --- HORUS_MESSAGE ---------------------------------------------------------------------------------------------------

namespace horus::HORUS_ABI::detail {

inline constexpr std::size_t kMostFields = 64;

/// Of a macro's list, as text: names do not contain commas.
constexpr std::size_t count_names(std::string_view list) {
  return static_cast<std::size_t>(std::count(list.begin(), list.end(), ',')) + 1;
}

}  // namespace horus::HORUS_ABI::detail

// 85 repetitions: more than kMostFields.
#define HORUS_DETAIL_EXPAND(...) \
  HORUS_DETAIL_EXPAND1(HORUS_DETAIL_EXPAND1(HORUS_DETAIL_EXPAND1(HORUS_DETAIL_EXPAND1(__VA_ARGS__))))
#define HORUS_DETAIL_EXPAND1(...) \
  HORUS_DETAIL_EXPAND2(HORUS_DETAIL_EXPAND2(HORUS_DETAIL_EXPAND2(HORUS_DETAIL_EXPAND2(__VA_ARGS__))))
#define HORUS_DETAIL_EXPAND2(...) \
  HORUS_DETAIL_EXPAND3(HORUS_DETAIL_EXPAND3(HORUS_DETAIL_EXPAND3(HORUS_DETAIL_EXPAND3(__VA_ARGS__))))
#define HORUS_DETAIL_EXPAND3(...) __VA_ARGS__
#define HORUS_DETAIL_PARENTHESES ()
#define HORUS_DETAIL_FIELDS(type, name, ...)                               \
  visit.template field<decltype(type::name)>(#name, offsetof(type, name)); \
  __VA_OPT__(HORUS_DETAIL_FIELDS_AGAIN HORUS_DETAIL_PARENTHESES(type, __VA_ARGS__))
#define HORUS_DETAIL_FIELDS_AGAIN() HORUS_DETAIL_FIELDS
#define HORUS_DETAIL_CHECKS(type, field, ...)                                                       \
  static_assert(                                                                                    \
      ::horus::detail::kFieldTravels<decltype(type::field)>,                                        \
      "a message travels as plain bytes; " #type "::" #field                                        \
      " holds a pointer, a reference, a view or something that cannot be copied as bytes: use a "   \
      "number, std::array, horus::Text<N> for short text, horus::Sequence<T, N> for a short list, " \
      "or a tail (docs/messaging.md)");                                                             \
  __VA_OPT__(HORUS_DETAIL_CHECKS_AGAIN HORUS_DETAIL_PARENTHESES(type, __VA_ARGS__))
#define HORUS_DETAIL_CHECKS_AGAIN() HORUS_DETAIL_CHECKS
#define HORUS_DETAIL_CONSTANTS(type, name, ...) \
  visit.constant(#name, type::name);            \
  __VA_OPT__(HORUS_DETAIL_CONSTANTS_AGAIN HORUS_DETAIL_PARENTHESES(type, __VA_ARGS__))
#define HORUS_DETAIL_CONSTANTS_AGAIN() HORUS_DETAIL_CONSTANTS
#define HORUS_DETAIL_LIMIT(macro, type, ...)                                                \
  static_assert(::horus::detail::count_names(#__VA_ARGS__) <= ::horus::detail::kMostFields, \
                macro " takes at most 64 names: put some of the fields of " #type           \
                      " into a struct "                                                     \
                      "of their own")

/// Describes a message's fields, so that a type mismatch names them and tools can read the message. Write it next to
/// the struct, in its namespace: `HORUS_MESSAGE(WheelSpeeds, stamp_ns, left, right)`. At most 64 fields; a nested
/// struct counts as one.
#define HORUS_MESSAGE(type, ...)                                                \
  HORUS_DETAIL_LIMIT("HORUS_MESSAGE", type, __VA_ARGS__);                       \
  HORUS_DETAIL_EXPAND(HORUS_DETAIL_CHECKS(type, __VA_ARGS__))                   \
  template <class Visitor>                                                      \
  ::horus::detail::FieldsOf<type> horus_describe(const type*, Visitor& visit) { \
    HORUS_DETAIL_EXPAND(HORUS_DETAIL_FIELDS(type, __VA_ARGS__))                 \
    return {};                                                                  \
  }                                                                             \
  static_assert(true, "a semicolon ends HORUS_MESSAGE")

/// Names an enumeration's constants, so that tools show "drive" instead of 1; beside the enumeration, in its namespace:
/// `HORUS_ENUM(Mode, idle, drive, dock)`. At most 64. It changes nothing about which programs understand each other.
#define HORUS_ENUM(type, ...)                                      \
  HORUS_DETAIL_LIMIT("HORUS_ENUM", type, __VA_ARGS__);             \
  template <class Visitor>                                         \
  void horus_enumerate(const type*, Visitor& visit) {              \
    HORUS_DETAIL_EXPAND(HORUS_DETAIL_CONSTANTS(type, __VA_ARGS__)) \
  }                                                                \
  static_assert(true, "a semicolon ends HORUS_ENUM")
