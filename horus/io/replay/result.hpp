// SPDX-License-Identifier: Apache-2.0
// What an offloaded function gave, as an exact recording keeps it: a replay gives the same without calling the function.
// Internal, but for kRecordable. A pool's thread; at a replay the loop's.
#pragma once

#include <horus/base/compiler.hpp>

#include <array>
#include <cstddef>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/replay/format.hpp>

namespace horus::HORUS_ABI::io {

/// Whether an exact recording keeps values of this type that `offload` gives. Where it does not, a replay calls the function
/// again. Specialise it for a type of your own that can be copied byte by byte and holds no pointer:
/// `template <> inline constexpr bool horus::io::kRecordable<Reading> = true;`
template <class T>
inline constexpr bool kRecordable = std::is_arithmetic_v<T> || std::is_enum_v<T>;
template <>
inline constexpr bool kRecordable<std::string> = true;
template <class T>
inline constexpr bool kRecordable<std::vector<T>> = kRecordable<T>;
template <class T>
inline constexpr bool kRecordable<std::optional<T>> = kRecordable<T>;
template <class T, std::size_t N>
inline constexpr bool kRecordable<std::array<T, N>> = kRecordable<T> && std::is_trivially_copyable_v<T>;

namespace replay {

/// The calling thread does work that is recorded, or replayed.
[[nodiscard]] HORUS_API bool at_work() noexcept;
/// Replay: what this work gave when it was recorded. False: nothing was kept, or this is no replay.
[[nodiscard]] HORUS_API bool given_result(std::vector<std::byte>& result) noexcept;
/// Recording.
HORUS_API void keep_result(std::span<const std::byte> result) noexcept;
/// The same text for ever: an Error keeps the name of its operation by pointer.
HORUS_API const char* literal(std::string text);

template <class T>
void save(Event& event, const T& value) {
  event.raw(&value, sizeof value);
}
inline void save(Event& event, const std::string& value) { event.text(value); }
template <class T>
void save(Event& event, const std::vector<T>& values);
template <class T>
void save(Event& event, const std::optional<T>& value) {
  event.number(value ? 1 : 0);
  if (value) save(event, *value);
}
template <class T>
void save(Event& event, const std::vector<T>& values) {
  event.number(values.size());
  for (const T& value : values) save(event, value);
}

template <class T>
void load(Cursor& cursor, T& value) {
  if (const auto bytes = cursor.raw(sizeof value); bytes.size() == sizeof value)
    std::memcpy(&value, bytes.data(), sizeof value);
}
inline void load(Cursor& cursor, std::string& value) { value = cursor.text(); }
template <class T>
void load(Cursor& cursor, std::vector<T>& values);
template <class T>
void load(Cursor& cursor, std::optional<T>& value) {
  if (cursor.number() != 0) load(cursor, value.emplace());
}
template <class T>
void load(Cursor& cursor, std::vector<T>& values) {
  const std::uint64_t count = cursor.number();
  for (std::uint64_t i = 0; i < count && !cursor.broken(); ++i) {
    T value{};
    load(cursor, value);
    values.push_back(std::move(value));
  }
}

template <class Outcome>
inline constexpr bool kKeepsOutcome = false;
template <>
inline constexpr bool kKeepsOutcome<Result<>> = true;
template <class T>
inline constexpr bool kKeepsOutcome<Result<T>> = kRecordable<T> && std::is_default_constructible_v<T>;

/// With its operation, target and detail.
HORUS_API void save_error(Event& event, const Error& error);
HORUS_API Error load_error(Cursor& cursor);
/// An exception: a horus::Error as what it is, others as a std::runtime_error with the same text.
HORUS_API void save_exception(Event& event, const std::exception_ptr& thrown);
HORUS_API std::exception_ptr load_exception(Cursor& cursor);

enum class Ending : std::uint8_t { value, error, exception };

template <class T>
void keep(const std::optional<Result<T>>& outcome, const std::exception_ptr& thrown) {
  Event event(Kind::result);
  if (!outcome) {
    save_exception(event.number(static_cast<std::uint64_t>(Ending::exception)), thrown);
  } else if (!*outcome) {
    save_error(event.number(static_cast<std::uint64_t>(Ending::error)), outcome->error());
  } else {
    event.number(static_cast<std::uint64_t>(Ending::value));
    if constexpr (!std::is_void_v<T>) save(event, **outcome);
  }
  keep_result(event.bytes().subspan(1));
}

template <class T>
bool give(std::optional<Result<T>>& outcome, std::exception_ptr& thrown) {
  std::vector<std::byte> kept;
  if (!given_result(kept)) return false;
  Cursor cursor(kept);
  switch (static_cast<Ending>(cursor.number())) {
    case Ending::exception: thrown = load_exception(cursor); break;
    case Ending::error: outcome.emplace(load_error(cursor)); break;
    case Ending::value:
      if constexpr (std::is_void_v<T>) {
        outcome.emplace();
      } else {
        T value{};
        load(cursor, value);
        outcome.emplace(std::move(value));
      }
      break;
    default: return false;
  }
  return true;
}

}  // namespace replay
}  // namespace horus::HORUS_ABI::io
