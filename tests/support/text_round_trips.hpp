// SPDX-License-Identifier: Apache-2.0
// A message that was written as text and read again is the same, for a hundred random ones of a type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <doctest/doctest.h>

#include <horus/msg/description.hpp>

#include "random_message.hpp"

namespace horus::test {

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return {reinterpret_cast<const std::byte*>(&value), sizeof(T)};
}

/// `write(description, head, tail)` gives a Result of text, `read(description, text, head, tail)` a Result.
template <class T, class Write, class Read>
void check_text_round_trips(std::uint64_t seed, Write write, Read read) {
  MessageMaker maker(seed);
  RandomMessage back;
  for (int i = 0; i < 100; ++i) {
    const auto message = maker.make(describe<T>());
    const std::string text = write(describe<T>(), message.head, message.tail).or_throw();
    const auto got = read(describe<T>(), text, back.head, back.tail);
    REQUIRE_MESSAGE(got.ok(), got.error().what());
    REQUIRE_MESSAGE(back == message, text);
  }
}

}  // namespace horus::test
