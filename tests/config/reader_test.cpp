// SPDX-License-Identifier: Apache-2.0
#include <horus/config/reader.hpp>

#include <chrono>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <horus/config/document.hpp>

using namespace std::chrono_literals;
using horus::config::Document;
using horus::config::Format;
using horus::config::Reader;

namespace {

enum class Gear { forward, reverse };

struct Settings {
  bool loud = false;
  std::string name = "unset";
  std::vector<std::string> peers;
  std::uint32_t count = 3;
  double ratio = 0.5;
  horus::Duration limit = 2s;
  Gear gear = Gear::forward;
};

horus::Result<> read(Reader& reader, Settings& into) {
  reader.flag("loud", into.loud);
  reader.text("name", into.name);
  reader.texts("peers", into.peers, 2);
  reader.integer("count", into.count, 1, 10);
  reader.number("ratio", into.ratio, 0, 1);
  reader.milliseconds("limit_ms", into.limit, 1ms, 10s);
  reader.choice("gear", into.gear, {{"forward", Gear::forward}, {"reverse", Gear::reverse}});
  reader.refuse("wings", "is not used with wheels");
  return reader.finish();
}

std::string problem(const std::string& keys, Settings* read_into = nullptr) {
  const auto file = Document::parse("[rover.base]\n" + keys, "x.toml", Format::toml).or_throw();
  auto reader = file.section("rover", "base").or_throw();
  Settings settings;
  const auto result = read(reader, settings);
  if (read_into != nullptr) *read_into = settings;
  return result ? "" : result.error().message();
}

}  // namespace

TEST_SUITE("config/reader") {
  TEST_CASE("keys that are there are taken, others keep their values") {
    Settings settings;
    CHECK(problem("loud = true\nname = 'x'\npeers = ['a', 'b']\ncount = 10\nratio = 1\nlimit_ms = 2.5\ngear "
                  "= 'reverse'\n",
                  &settings)
              .empty());
    CHECK(settings.loud);
    CHECK(settings.name == "x");
    CHECK(settings.peers == std::vector<std::string>{"a", "b"});
    CHECK(settings.count == 10);
    CHECK(settings.ratio == 1);
    CHECK(settings.limit == 2500us);
    CHECK(settings.gear == Gear::reverse);
    CHECK(problem("", &settings).empty());
    CHECK(settings.count == 3);
    CHECK(settings.limit == 2s);
  }

  TEST_CASE("every mistake is named with file, line, key and what was expected") {
    const std::string name = "x.toml:2: rover.base.";
    const struct {
      const char* keys;
      const char* message;
    } cases[] = {
        {"loud = 1", "loud: expected true or false, found 1"},
        {"loud = 'yes'", "loud: expected true or false, found the text \"yes\""},
        {"name = 5", "name: expected a text, found 5"},
        {"name = 1979-05-27", "name: expected a text, found a date"},
        {"name = ['x']", "name: expected a text, found a list"},
        {"name = {x = 1}", "name: expected a text, found a section"},
        {"peers = 'a'", "peers: expected a list of texts, found the text \"a\""},
        {"peers = ['a', 'b', 'c']", "peers: expected a list of at most 2 texts, found 3"},
        {"peers = ['a', 2]", "peers: expected a list of texts, found in it 2"},
        {"count = 0", "count: expected a whole number from 1 to 10, found 0"},
        {"count = 11", "count: expected a whole number from 1 to 10, found 11"},
        {"count = -1", "count: expected a whole number from 1 to 10, found -1"},
        {"count = 2.5", "count: expected a whole number from 1 to 10, found 2.5"},
        {"count = '2'", "count: expected a whole number from 1 to 10, found the text \"2\""},
        {"ratio = 1.5", "ratio: expected a number from 0 to 1, found 1.5"},
        {"ratio = nan", "ratio: expected a number from 0 to 1, found nan"},
        {"ratio = -inf", "ratio: expected a number from 0 to 1, found -inf"},
        {"limit_ms = 0", "limit_ms: expected 1 to 10000 milliseconds, found 0"},
        {"limit_ms = 9223372036854775807",
         "limit_ms: expected 1 to 10000 milliseconds, found 9223372036854775807"},
        {"limit_ms = '2s'", "limit_ms: expected 1 to 10000 milliseconds, found the text \"2s\""},
        {"gear = 'revers'",
         "gear: expected one of \"forward\", \"reverse\", found the text \"revers\" (did you mean "
         "\"reverse\"?)"},
        {"gear = 2", "gear: expected one of \"forward\", \"reverse\", found 2"},
        {"wings = 2", "wings: is not used with wheels"},
        {"cuont = 2",
         "cuont: unknown key (did you mean \"count\"? known: loud, name, peers, count, ratio, limit_ms, "
         "gear)"},
        {"limit = 2",
         "limit: unknown key (did you mean \"limit_ms\"? known: loud, name, peers, count, ratio, limit_ms, "
         "gear)"},
        {"colour = 2", "colour: unknown key (known: loud, name, peers, count, ratio, limit_ms, gear)"},
        {"name.first = 'x'", "name: expected a text, found a section"},
    };
    for (const auto& [keys, message] : cases) {
      CAPTURE(std::string(keys));
      CHECK(problem(keys) == name + message);
    }
  }

  TEST_CASE("of several mistakes the first in the file is told") {
    CHECK(problem("gear = 'x'\ncuont = 1\nloud = 5\n").starts_with("x.toml:2: rover.base.gear"));
    CHECK(problem("loud = true\ncuont = 1\ngear = 'x'\n").starts_with("x.toml:3: rover.base.cuont"));
    CHECK(problem("count = 1\npeers = ['a',\n  5]\n") ==
          "x.toml:4: rover.base.peers: expected a list of texts, found in it 5");
  }

  TEST_CASE("a value that was refused changes nothing") {
    Settings settings;
    CHECK_FALSE(problem("count = 11\npeers = ['a', 5]", &settings).empty());
    CHECK(settings.count == 3);
    CHECK(settings.peers.empty());
  }

  TEST_CASE("odd and long texts are shown in a line") {
    CHECK(problem("loud = \"a\\nb\\u0007\\\"\"") ==
          "x.toml:2: rover.base.loud: expected true or false, found the text \"a\\x0ab\\x07\"\"");
    CHECK(problem("loud = \"" + std::string(100, 'x') + "\"") ==
          "x.toml:2: rover.base.loud: expected true or false, found the text \"" + std::string(60, 'x') +
              "…\"");
    CHECK(problem("\"a\\nb\" = 1").starts_with("x.toml:2: rover.base.a\\x0ab: unknown key ("));
    CHECK(problem("\"" + std::string(1000, 'x') + "\" = 1").find("unknown key (known: ") !=
          std::string::npos);
  }

  TEST_CASE("a missing key that must be there is told at its section") {
    const auto file = Document::parse("\n[rover.base]\nloud = true\n", "x.toml", Format::toml).or_throw();
    auto reader = file.section("rover", "base").or_throw();
    reader.require("loud", "true or false");
    CHECK(reader.so_far().ok());
    reader.require("name", "a text");
    CHECK(reader.so_far().error().message() == "x.toml:2: rover.base: the key \"name\" is missing: a text");
  }
}
