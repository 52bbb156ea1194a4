// SPDX-License-Identifier: Apache-2.0
// The types of the values in a struct that nobody described with HORUS_MESSAGE: a struct whose int has become a float is
// another message, although its name and size are the same. Compile time; any thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/msg/format/travels.hpp>

namespace horus::HORUS_ABI::detail {

// C++20 lists no fields. But `T{anything, anything, only_a_double}` compiles only where the third value, counted through
// nested structs and arrays, is a double. Names and offsets stay unknown. Structs with a constructor stay opaque; so does
// what comes after kMostFieldsLookedAt values, or after a field of a class with a constructor.
enum class Scalar : std::uint8_t {
  f64,
  f32,
  i32,
  u8,
  u32,
  i64,
  u64,
  boolean,
  character,
  i8,
  i16,
  u16,
  byte,
  f128,
  other
};

template <class U>
constexpr Scalar scalar_of() {
  if constexpr (std::is_same_v<U, bool>) {
    return Scalar::boolean;
  } else if constexpr (std::is_same_v<U, char>) {
    return Scalar::character;
  } else if constexpr (std::is_same_v<U, std::byte>) {
    return Scalar::byte;
  } else if constexpr (std::is_enum_v<U>) {
    return scalar_of<std::underlying_type_t<U>>();
  } else if constexpr (std::is_floating_point_v<U>) {
    return sizeof(U) == 4 ? Scalar::f32 : sizeof(U) == 8 ? Scalar::f64 : Scalar::f128;
  } else if constexpr (std::is_integral_v<U>) {
    constexpr bool kSigned = std::is_signed_v<U>;
    switch (sizeof(U)) {
      case 1: return kSigned ? Scalar::i8 : Scalar::u8;
      case 2: return kSigned ? Scalar::i16 : Scalar::u16;
      case 4: return kSigned ? Scalar::i32 : Scalar::u32;
      case 8: return kSigned ? Scalar::i64 : Scalar::u64;
      default: return Scalar::other;
    }
  } else {
    return Scalar::other;
  }
}

template <Scalar wanted>
struct OnlyScalar {
  template <class U>
    requires(std::is_scalar_v<U> && scalar_of<U>() == wanted)
  operator U() const noexcept;  // NOLINT(google-explicit-constructor): that is its purpose
};

template <class T, Scalar kind, std::size_t... I>
constexpr bool has_after(std::index_sequence<I...> /*before*/) {
  return requires { T{Each<AnyScalar, I>{}..., OnlyScalar<kind>{}}; };
}
template <class T, std::size_t N, Scalar kind = Scalar{}>
constexpr Scalar search_scalar() {
  if constexpr (kind == Scalar::other || has_after<T, kind>(std::make_index_sequence<N>())) {
    return kind;
  } else {
    return search_scalar<T, N, static_cast<Scalar>(static_cast<std::uint8_t>(kind) + 1)>();
  }
}
/// The kind of value N. In an array it is that of the value before.
template <class T, std::size_t N>
constexpr Scalar scalar_at() {
  if constexpr (N == 0) {
    return search_scalar<T, 0>();
  } else if constexpr (constexpr Scalar kBefore = scalar_at<T, N - 1>();
                       kBefore != Scalar::other && has_after<T, kBefore>(std::make_index_sequence<N>())) {
    return kBefore;
  } else {
    return search_scalar<T, N>();
  }
}

/// "f64[3], i32", with ", ..." where there is more that cannot be seen; empty when there is nothing.
HORUS_API std::string name_scalars(const std::vector<Scalar>& values, bool all);

template <class T, std::size_t... I>
std::string name_fields(std::index_sequence<I...> taken) {
  constexpr bool kAll =
      sizeof...(I) < kMostFieldsLookedAt && !takes<T, Probe::scalars, AnyScalar, Anything>(taken);
  return name_scalars({scalar_at<T, I>()...}, kAll);
}

template <class T>
std::string undescribed_fields() {
  if constexpr (std::is_aggregate_v<T>) {
    return name_fields<T>(
        std::make_index_sequence<fields_taken<T, Probe::scalars, AnyScalar, kMostFieldsLookedAt>()>());
  } else {
    return name_scalars({}, false);
  }
}

}  // namespace horus::HORUS_ABI::detail
