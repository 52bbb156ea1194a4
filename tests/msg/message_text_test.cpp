// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/message_text.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include <horus/msg/json.hpp>
#include <horus/msg/messages.hpp>
#include <horus/msg/more_messages.hpp>

#include "../support/text_round_trips.hpp"

namespace note {

struct Wheel {
  double speed = 0;
  horus::Text<8> name;
};
HORUS_MESSAGE(Wheel, speed, name);
struct Drive {
  Wheel first;
  horus::Sequence<Wheel, 3> others;
  horus::Sequence<horus::Text<8>, 3> words;
  std::uint8_t number = 0;
  using Tail = std::int16_t;
};
HORUS_MESSAGE(Drive, first, others, words, number);

}  // namespace note

namespace {

using horus::describe;
using horus::from_text;
using horus::to_text;
using horus::test::bytes_of;
namespace messages = horus::messages;
using Bytes = std::vector<std::byte>;

template <class T>
void check_round_trips() {
  horus::test::check_text_round_trips<T>(
      13, [](const auto&... message) { return to_text(message...); }, &from_text);
}

// What from_text has understood, as JSON.
std::string understood(std::string_view text) {
  Bytes head, tail;
  const auto read = from_text(describe<note::Drive>(), text, head, tail);
  if (!read) return std::string(read.error().target());
  return horus::to_json(describe<note::Drive>(), head, tail).or_throw();
}

}  // namespace

TEST_SUITE("msg/message_text") {
  TEST_CASE("fields are lines, structs are indented, lists of values stand in one line") {
    note::Drive drive;
    drive.first = {1.5, horus::Text<8>{"left"}};
    drive.others.push_back({2, horus::Text<8>{"true"}});
    drive.others.push_back({-1e300, horus::Text<8>{"a: b"}});
    drive.words.push_back(horus::Text<8>{"12"});
    drive.words.push_back(horus::Text<8>{"/tf"});
    const std::array<std::int16_t, 2> tail{3, -4};
    CHECK(to_text(describe<note::Drive>(), bytes_of(drive), bytes_of(tail)).or_throw() ==
          "first:\n"
          "  speed: 1.5\n"
          "  name: left\n"
          "others:\n"
          "  - speed: 2\n"
          "    name: \"true\"\n"
          "  - speed: -1e+300\n"
          "    name: \"a: b\"\n"
          "words: [\"12\", /tf]\n"
          "number: 0\n"
          "tail: [3, -4]\n");
  }

  TEST_CASE("random messages come back as they were") {
    check_round_trips<note::Drive>();
    check_round_trips<std::string>();
    check_round_trips<messages::Imu>();
    check_round_trips<messages::JointState>();
    check_round_trips<messages::BatteryState>();
    check_round_trips<messages::NavSatFix>();
    check_round_trips<messages::DiagnosticArray>();
    check_round_trips<messages::Log>();
    check_round_trips<messages::TFMessage>();
  }

  TEST_CASE("people write comments, lists in lines and text without quotes") {
    CHECK(
        understood("# a drive\n"
                   "---\n"
                   "first:   # the left one\n"
                   "    name: a b#c  # text\n"
                   "    speed: nan\n"
                   "others:\n"
                   "- speed: 1\n"
                   "  name: \"# no\"\n"
                   "-\n"
                   "  name: x\n"
                   "words: [ a b , \"c,d\" ]\n"
                   "tail:\n"
                   "  - 1\n"
                   "  - -2\r\n") ==
        R"({"first":{"speed":"nan","name":"a b#c"},"others":[{"speed":1,"name":"# no"},{"speed":0,"name":"x"}],)"
        R"("words":["a b","c,d"],"number":0,"tail":[1,-2]})");
    CHECK(understood("") == understood("number: 0\nwords: []\n"));
  }

  TEST_CASE("what is wrong is told with its line, or its field") {
    CHECK(understood("number 1") == "line 1: `name: value` is expected");
    CHECK(understood("\nnumber:\n") ==
          "line 2: a value is expected behind the colon, or indented lines (\"\" is empty text, [] an empty "
          "list)");
    CHECK(understood("first:\n  speed: 1\n    name: a") ==
          "line 3: it is indented more than the line before asks for");
    CHECK(understood("  number: 1\nfirst:\n") == "line 2: it is indented less than the first line");
    CHECK(understood("words: [a, ]") == "line 1: a value is expected behind the comma");
    CHECK(understood("words: [a") == "line 1: a list ends with ]");
    CHECK(understood("words: [[a]]") == "line 1: a value is expected");
    CHECK(understood("words: [\"a\" b]") == "line 1: text in quotes ends with one, and nothing follows");
    CHECK(understood("number: 256") == "note::Drive.number: a whole number from 0 to 255 is expected");
    CHECK(understood("number: 007").find("a whole number") != std::string::npos);
    CHECK(understood("nubmer: 1").find("there is no field \"nubmer\"") != std::string::npos);
    std::string deep;
    for (int i = 0; i < 200; ++i) deep += std::string(static_cast<std::size_t>(i), ' ') + "first:\n";
    CHECK(understood(deep).find("more than 64 deep") != std::string::npos);
  }
}
