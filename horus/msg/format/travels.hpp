// SPDX-License-Identifier: Apache-2.0
// Which types can be a message: plain bytes that mean the same in another process. What cannot does not compile, with a
// sentence that says what to use. Compile time only.
#pragma once

#include <horus/base/compiler.hpp>

#include <array>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

namespace horus::HORUS_ABI::detail {

// --- What points ------------------------------------------------------------------------------------------------------
// An address, alone or within one of the library's own boxes.
template <class U>
inline constexpr bool kPoints =
    std::is_pointer_v<U> || std::is_member_pointer_v<U> || std::is_null_pointer_v<U>;
template <class C, class R>
inline constexpr bool kPoints<std::basic_string_view<C, R>> = true;
template <class E, std::size_t N>
inline constexpr bool kPoints<std::span<E, N>> = true;
template <class U>
inline constexpr bool kPoints<std::reference_wrapper<U>> = true;
template <class E>
inline constexpr bool kPoints<std::initializer_list<E>> = true;
template <class P>
inline constexpr bool kPoints<std::coroutine_handle<P>> = true;
template <class U, std::size_t N>
inline constexpr bool kPoints<U[N]> = kPoints<U>;
template <class U, std::size_t N>
inline constexpr bool kPoints<std::array<U, N>> = kPoints<U>;
template <class U>
inline constexpr bool kPoints<std::optional<U>> = kPoints<U>;
template <class A, class B>
inline constexpr bool kPoints<std::pair<A, B>> = kPoints<A> || kPoints<B>;
template <class... U>
inline constexpr bool kPoints<std::tuple<U...>> = (kPoints<U> || ...);
template <class... U>
inline constexpr bool kPoints<std::variant<U...>> = (kPoints<U> || ...);
template <class U>
inline constexpr bool kPoints<const U> = kPoints<U>;

// --- The fields of a struct that nobody described -----------------------------------------------------------------------
// C++20 does not list them. But `T{anything, anything, only_a_pointer}` compiles only when the third field takes a
// pointer. Three ways to stand for the fields in front of it find it behind arrays, behind classes, and within nested
// structs. Structs with a base or a constructor stay opaque.
struct OnlyAPointer {
  template <class U>
    requires(kPoints<U>)
  operator U() const noexcept;  // NOLINT(google-explicit-constructor): that is its purpose
};
struct Anything {  // a field; an element of a C array
  template <class U>
  operator U() const noexcept;  // NOLINT(google-explicit-constructor)
};
struct AnyScalar {  // and so one after the other of a nested struct or array
  template <class U>
    requires(std::is_scalar_v<U>)
  operator U() const noexcept;  // NOLINT(google-explicit-constructor)
};
template <class Value>
struct ButNoPointer {
  template <class U>
    requires(!kPoints<U> && std::is_convertible_v<Value, U>)
  operator U() const noexcept;  // NOLINT(google-explicit-constructor)
};

inline constexpr std::size_t kMostFieldsLookedAt = 64;

enum class Probe : std::uint8_t { fields, whole_fields, scalars };
template <class Value, std::size_t>
using Each = Value;

/// True when the first fields take these values, and the next one, where it is asked for, the last.
template <class T, Probe probe, class Value, class... Last, std::size_t... I>
constexpr bool takes(std::index_sequence<I...> /*first*/) {
  if constexpr (probe == Probe::whole_fields) {
    return requires { T{{Each<Value, I>{}}..., Last{}...}; };
  } else {
    return requires { T{Each<Value, I>{}..., Last{}...}; };
  }
}

/// How many fields take a value, at most `limit`. What takes `good` of them but not `bad` takes none from there on, so few
/// numbers need to be tried: the compiler looks at each field of each try.
template <class T, Probe probe, class Value, std::size_t limit, std::size_t good = 0,
          std::size_t bad = limit + 1>
constexpr std::size_t fields_taken() {
  if constexpr (good + 1 == bad) {
    return good;
  } else {
    constexpr std::size_t kTwice = good == 0 ? 1 : 2 * good;
    constexpr std::size_t kTry = bad <= limit ? (good + bad) / 2 : kTwice < limit ? kTwice : limit;
    if constexpr (takes<T, probe, Value>(std::make_index_sequence<kTry>())) {
      return fields_taken<T, probe, Value, limit, kTry, bad>();
    } else {
      return fields_taken<T, probe, Value, limit, good, kTry>();
    }
  }
}

template <class T, Probe probe>
constexpr bool has_pointer() {
  using Value = std::conditional_t<probe == Probe::scalars, AnyScalar, Anything>;
  if constexpr (!takes<T, probe, Value>(std::make_index_sequence<0>())) {  // a reference, which must be given
    return takes<T, probe, Value, OnlyAPointer>(std::make_index_sequence<0>());
  } else {
    constexpr std::make_index_sequence<fields_taken<T, probe, Value, kMostFieldsLookedAt - 1>()> kTaken;
    return !takes<T, probe, ButNoPointer<Value>>(kTaken) || takes<T, probe, Value, OnlyAPointer>(kTaken);
  }
}

template <class T>
constexpr bool holds_pointer() {
  if constexpr (kPoints<T>) {
    return true;
  } else if constexpr (std::is_aggregate_v<T> && std::is_class_v<T>) {
    return has_pointer<T, Probe::fields>() || has_pointer<T, Probe::whole_fields>() ||
           has_pointer<T, Probe::scalars>();
  } else {
    return false;
  }
}

/// Whether `T` can be a message, or a part of one (void: there is no such part). False does not come back: it does not
/// compile, in one line that says what to use.
template <class T>
constexpr bool travels() {
  if constexpr (!std::is_void_v<T>) {
    static_assert(
        std::is_trivially_copyable_v<T>,
        "a message travels as plain bytes, and this type cannot be copied as such: use numbers, std::array, "
        "horus::Text<N> for short text, and a tail for what varies in length (docs/messaging.md); "
        "std::string, std::vector, smart pointers and virtual functions cannot be inside a message");
    static_assert(
        !holds_pointer<T>(),
        "a message holds a pointer or a view, which means nothing in another process: use a number, "
        "std::array, horus::Text<N> for short text, or a tail for what varies in length "
        "(docs/messaging.md)");
    static_assert(
        !std::is_trivially_copyable_v<T> || std::is_copy_assignable_v<T>,
        "a message holds a reference or a const field: what it refers to does not travel, and nothing can be "
        "received into it; hold the value");
    static_assert(alignof(T) <= 64, "a message is aligned to at most 64 bytes");
  }
  return true;
}

/// The same for one field that HORUS_MESSAGE describes.
template <class T>
inline constexpr bool kFieldTravels =
    std::is_trivially_copyable_v<T> && !std::is_reference_v<T> && !holds_pointer<T>();

}  // namespace horus::HORUS_ABI::detail
