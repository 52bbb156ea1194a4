// SPDX-License-Identifier: Apache-2.0
// What every configuration has to go through, of either format: text, limits, positions.
#include <horus/config/document.hpp>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <sys/stat.h>

#include <doctest/doctest.h>

#include <horus/config/reader.hpp>

using horus::Result;
using horus::config::Document;
using horus::config::Format;

namespace {

std::string toml_error(std::string_view text) {
  const auto document = Document::parse(text, "x.toml", Format::toml);
  return document ? "no error" : document.error().message();
}
std::string yaml_error(std::string_view text) {
  const auto document = Document::parse(text, "x.yaml", Format::yaml);
  return document ? "no error" : document.error().message();
}

std::string repeated(std::string_view part, std::size_t times) {
  std::string text;
  for (std::size_t i = 0; i < times; ++i) text += part;
  return text;
}

// One line for a whole tree, to compare two.
std::string shown(const horus::config::Section& section);
std::string shown(const horus::config::Value& value) {
  if (const auto* inner = std::get_if<horus::config::Section>(&value.is)) return shown(*inner);
  const auto* list = std::get_if<horus::config::List>(&value.is);
  if (list == nullptr) return horus::config::describe(value);
  std::string line = "[";
  for (const auto& element : *list) line += shown(element) + " ";
  return line + "]";
}
std::string shown(const horus::config::Section& section) {
  std::string line = "{";
  for (const auto& entry : section)
    line += entry.key + "@" + std::to_string(entry.line) + "=" + shown(entry.value) + " ";
  return line + "}";
}

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "horus-config-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path_); }
  [[nodiscard]] std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace

TEST_SUITE("config/document") {
  TEST_CASE("both formats give the same tree, with the lines of their keys") {
    const auto toml = Document::parse(
        "[hub.base]\nmode = \"tcp\"\nlimit = 5\nrate = 0.5\nloud = true\npeers = [\"a:1\", "
        "\"b:2\"]\n\n[node.gps]\nx = -1\n",
        "x.toml", Format::toml);
    REQUIRE(toml.ok());
    CHECK(shown(toml->root()) ==
          "{hub@1={base@1={mode@2=the text \"tcp\" limit@3=5 rate@4=0.5 loud@5=true peers@6=[the text "
          "\"a:1\" the text "
          "\"b:2\" ] } } node@8={gps@8={x@9=-1 } } }");
    if (!horus::config::reads_yaml()) return;
    const auto yaml = Document::parse(
        "hub: {base: {\n  mode: tcp,\n  limit: 5,\n  rate: 0.5,\n  loud: true,\n  peers: ['a:1', "
        "\"b:2\"]\n}}\nnode: {gps: "
        "{\n  x: -1}}\n",
        "x.yaml", Format::yaml);
    REQUIRE(yaml.ok());
    CHECK(shown(yaml->root()) == shown(toml->root()));
    CHECK(yaml->names("hub") == std::vector<std::string>{"base"});
  }

  TEST_CASE("empty files are empty sections") {
    for (const char* text : {"", "\n", "# only a comment\n", "\xef\xbb\xbf"}) {
      CHECK(Document::parse(text, "x.toml", Format::toml).value().root().empty());
      if (horus::config::reads_yaml())
        CHECK(Document::parse(text, "x.yaml", Format::yaml).value().root().empty());
    }
  }

  TEST_CASE("what is not text is named with its line") {
    const std::string zero("a = 1\nb\0 = 2\n", 13);
    CHECK(toml_error(zero) == "x.toml:2: byte 0x00 is not text (UTF-8)");
    CHECK(toml_error("a = 1\n\n# \xff\n") == "x.toml:3: byte 0xff is not text (UTF-8)");
    CHECK(toml_error("a = \"\xc0\x80\"") == "x.toml:1: byte 0xc0 is not text (UTF-8)");      // a long zero
    CHECK(toml_error("a = \"\xed\xa0\x80\"") == "x.toml:1: byte 0xed is not text (UTF-8)");  // half a pair
    CHECK(toml_error("a = \"\xf4\x90\x80\x80\"") ==
          "x.toml:1: byte 0xf4 is not text (UTF-8)");                                    // beyond Unicode
    CHECK(toml_error("a = \"\xe2\x82\"") == "x.toml:1: byte 0xe2 is not text (UTF-8)");  // cut off
    CHECK(toml_error("a = \"\xe2\x82\xac \xf0\x9f\xa4\x96\"") == "no error");
    CHECK(yaml_error("a: \x01") == "x.yaml:1: byte 0x01 is not text (UTF-8)");
  }

  TEST_CASE("what does not follow the format is named with its line") {
    CHECK(toml_error("a = 1\n[hub\n").starts_with("x.toml:2: "));
    CHECK(toml_error("a = 1\nb = 2\na = 3\n").starts_with("x.toml:3: "));  // twice
    CHECK(toml_error("a = \"no end").starts_with("x.toml:1: "));
    CHECK(toml_error("a =n\n").find('\n') == std::string::npos);
    CHECK(toml_error("a = 1\n\n[ = \nb = 2\n").starts_with("x.toml:3: "));
    CHECK(toml_error("a = 1\n[ =").starts_with("x.toml:2: "));
    if (!horus::config::reads_yaml()) return;
    CHECK(yaml_error("a: 1\nb: [1, 2\n").starts_with("x.yaml:"));
    CHECK(yaml_error("a: 1\nb: 2\na: 3\n") == "x.yaml:3: the key \"a\" stands here twice, first in line 1");
    CHECK(yaml_error("a: {b: 1, b: 2}") == "x.yaml:1: the key \"b\" stands here twice, first in line 1");
    CHECK(yaml_error("just text") == "x.yaml:1: expected sections, found the text \"just text\"");
    CHECK(yaml_error("- a\n- b\n") == "x.yaml:1: expected sections, found a list");
    CHECK(yaml_error("a: &x 1\nb: *x\n") == "x.yaml:1: anchors and aliases are not taken here: write it out");
    CHECK(yaml_error("a: !!int 1\n") == "x.yaml:1: tags are not taken here: \"tag:yaml.org,2002:int\"");
    CHECK(yaml_error("[a, b]: 1\n") == "x.yaml:1: a key must be text");
    CHECK(yaml_error("? {a: b}\n: 1\n") == "x.yaml:1: a key must be text");
    CHECK(yaml_error("a: 1\n---\nb: 2\n") == "x.yaml:2: a second document begins; one is all there may be");
  }

  TEST_CASE("YAML's plain values are what they look like; words of older versions are text") {
    if (!horus::config::reads_yaml()) return;
    const auto yaml = Document::parse(
        "a: [1, +2, -3, 0x10, 0o17, 1.5, -2.5e3, .5, true, False, yes, '5', ~, null, 127.0.0.1:80, 10ms, "
        "inf, -, 1_000, "
        "99999999999999999999]",
        "x.yaml", Format::yaml);
    REQUIRE(yaml.ok());
    CHECK(shown(yaml->root()) ==
          "{a@1=[1 2 -3 16 15 1.5 -2500 0.5 true false the text \"yes\" the text \"5\" nothing nothing the "
          "text "
          "\"127.0.0.1:80\" the text \"10ms\" the text \"inf\" the text \"-\" the text \"1_000\" 1e+20 ] }");
  }

  TEST_CASE("letters beyond ASCII are for strings and comments") {
    constexpr const char* kOutside =
        "x.toml:2: a character beyond ASCII outside of a string and a comment; quote it";
    CHECK(toml_error("\n[a\xef\xbb\xbb]") == kOutside);
    CHECK(toml_error("\na = \xef\xbb\xbb") == kOutside);
    const std::string quoted = "\xef\xbb\xbf# \xef\xbb\xbb\n\"\xef\xbb\xbb\" = '\xef\xbb\xbb'\n";
    CHECK(toml_error(quoted + "a = \"\"\"\n\xef\xbb\xbb\"\"\"\n") == "no error");
  }

  // Otherwise the parser would meet, outside of a string, what the guard took for a part of one.
  TEST_CASE("strings begin and end where TOML says, whatever quotes stand around them") {
    const std::string deep = ", {" + repeated("a.", 100'000) + "a = 1}]";
    for (const char* before : {R"(["""x"""")", R"(["""x""""")", "['''x''''", "['''x'''''", "[\"\"\"\"\"\"",
                               "[\"\"", R"(["\\")", R"(['\')", "[\"\"\"\\\"\"\"\""}) {
      CAPTURE(before);
      CHECK(toml_error("a = " + (before + deep)) == "x.toml:1: nested more than 16 deep");
    }
    constexpr const char* kMiddle = "x.toml:2: a quote in the middle of a key or value";
    const std::string letter = "\xef\xb7\xb7";
    CHECK(toml_error("\na = [\"\"\"x\"\"\"\"\"\"" + deep) == kMiddle);
    CHECK(toml_error("\na = 1\"" + letter) == kMiddle);
    CHECK(toml_error("\na = 1987-07-05 \"" + letter + "\"") == kMiddle);
    CHECK(toml_error("\na\"" + letter + "\" = 1") == kMiddle);
    CHECK(toml_error("\na = \"b\"'c'") == kMiddle);
    CHECK(toml_error("\na = [[]\"b\"]") == kMiddle);
    CHECK(toml_error("\na = \"" + letter + "\n") == "x.toml:2: a string without its end");
    CHECK(toml_error("\na = \"\"\"\n\n" + letter + "\"\"") == "x.toml:2: a string without its end");

    const auto document = Document::parse(
        "a = \"\"\"x\"\"\"\"\"\nb = '''y''''\nc.\"d e\".'f' = [\"\", '', \"'\",\n\"\\\"\", \"\"\"\n\n\"\"\"] "
        "# \"\n",
        "x.toml", Format::toml);
    REQUIRE(document.ok());
    CHECK(shown(document->root()) ==
          "{a@1=the text \"x\"\"\" b@2=the text \"y'\" c@3={d e@3={f@3=[the text \"\" the text \"\" the text "
          "\"'\" the "
          "text \"\"\" the text \"\\x0a\" ] } } }");
  }

  TEST_CASE("nesting is bounded, however it is written") {
    const std::string most = repeated("[", 16) + repeated("]", 16);
    CHECK(toml_error("a = " + repeated("[", 15) + repeated("]", 15)) == "no error");
    CHECK(toml_error("a = " + repeated("[", 17) + repeated("]", 17)) == "x.toml:1: nested more than 16 deep");
    CHECK(toml_error("\na = " + repeated("[", 100'000)) == "x.toml:2: nested more than 16 deep");
    CHECK(toml_error("[" + repeated("a.", 300'000) + "a]") == "x.toml:1: nested more than 16 deep");
    CHECK(toml_error(repeated("a.", 300'000) + "a = 1") == "x.toml:1: nested more than 16 deep");
    CHECK(toml_error(repeated("\"a\" . ", 100'000) + "a = 1") == "x.toml:1: nested more than 16 deep");
    CHECK(toml_error("a = " + repeated("{a.a.a.a.a = ", 16)) != "no error");
    // Dots and brackets in text and comments nest nothing.
    const std::string dots = repeated(".[", 100);
    CHECK(toml_error("a = \"" + dots + "\" # " + dots) == "no error");
    CHECK(toml_error("a = '" + dots + "'\nb = '''\n" + dots + "\n'''\nc = \"\"\"\\\"" + dots + "\"\"\"") ==
          "no error");
    CHECK(toml_error("\"" + dots + "\" = 1") == "no error");
    if (!horus::config::reads_yaml()) return;
    CHECK(yaml_error("a: " + repeated("[", 15) + repeated("]", 15)) == "no error");
    CHECK(yaml_error("a: " + repeated("[", 16) + repeated("]", 16)) == "no error");
    CHECK(yaml_error("a: " + repeated("[", 17) + repeated("]", 17)) == "x.yaml:1: nested more than 16 deep");
    CHECK(yaml_error("a: " + repeated("[", 100'000)) != "no error");
    CHECK(yaml_error(repeated("- ", 1000) + "a") == "x.yaml:1: nested more than 16 deep");
  }

  TEST_CASE("values are bounded") {
    CHECK(toml_error("a = [" + repeated("1,", 65000) + "]") == "no error");
    CHECK(toml_error("a = [" + repeated("1,", 66000) + "]") == "x.toml:1: more than 65536 values");
    if (horus::config::reads_yaml())
      CHECK(yaml_error("a: [" + repeated("1,", 66000) + "]") == "x.yaml:1: more than 65536 values");
  }

  TEST_CASE("a file is read by its extension, and bounded") {
    const Folder folder;
    std::ofstream(folder / "rover.toml") << "[hub.a]\nmode = \"shm\"\n";
    CHECK(Document::load(folder / "rover.toml").value().names("hub") == std::vector<std::string>{"a"});
    std::ofstream(folder / "huge.toml") << std::string((1 << 20) + 1, '\n');
    CHECK(Document::load(folder / "huge.toml").error().message() ==
          (folder / "huge.toml") + ": more than 1048576 bytes");
    std::ofstream(folder / "large.toml") << std::string(1 << 20, '\n');
    CHECK(Document::load(folder / "large.toml").ok());
    CHECK(Document::load(folder / "rover.ini").error().message() ==
          (folder / "rover.ini") + ": the name of a configuration ends in .toml, .yaml or .yml");
    CHECK(Document::load(folder / "none.toml").error().message() ==
          "read the configuration " + (folder / "none.toml") +
              ": no such file or directory (check the path)");
    CHECK(Document::load(folder / "none.toml").error().code() == ENOENT);
    std::filesystem::create_directory(folder / "folder.toml");
    CHECK(Document::load(folder / "folder.toml").error().code() == EISDIR);
    REQUIRE(::mkfifo((folder / "pipe.toml").c_str(), 0600) == 0);
    CHECK(Document::load(folder / "pipe.toml").error().code() == EINVAL);  // and does not wait for a writer
    std::ofstream(folder / "rover.yml") << "hub: {b: {mode: shm}}\n";
    if (horus::config::reads_yaml()) {
      CHECK(Document::load(folder / "rover.yml").value().names("hub") == std::vector<std::string>{"b"});
    } else {
      CHECK(Document::load(folder / "rover.yml").error().message().find("was built without YAML") !=
            std::string::npos);
    }
  }

  TEST_CASE("sections and their names are looked up with a word about what is near") {
    const auto file =
        Document::parse("[hub.sensors]\n[hub.wheels]\n[node]\ngps = 3\n", "x.toml", Format::toml).value();
    constexpr std::string_view known[] = {"hub", "node", "scheduler"};
    CHECK(file.check_sections(known).ok());
    CHECK(file.section("hub", "sensors").ok());
    CHECK(
        file.section("hub", "sensor").error().message() ==
        "x.toml: there is no section [hub.sensor] (did you mean [hub.sensors]? there are: sensors, wheels)");
    CHECK(file.section("hub", "camera").error().message() ==
          "x.toml: there is no section [hub.camera] (there are: sensors, wheels)");
    CHECK(file.section("log", "a").error().message() == "x.toml: there is no section [log.a]");
    CHECK(file.section("node", "gps").error().message() == "x.toml:4: node.gps: expected a section, found 3");
    CHECK(file.section("scheduler").ok());  // an empty one
    const auto problem = [&](std::string_view text) {
      const auto document = Document::parse(text, "x.toml", Format::toml);
      return document.value().check_sections(known).error().message();
    };
    CHECK(problem("[hub.a]\n[hubs.b]\n") ==
          "x.toml:2: hubs: unknown section (did you mean \"hub\"? known: hub, node, scheduler)");
    CHECK(problem("[wheels]\n") == "x.toml:1: wheels: unknown section (known: hub, node, scheduler)");
    CHECK(problem("hub = 3\n") == "x.toml:1: hub: expected a section, found 3");
    CHECK(problem("mode = \"tcp\"\n") ==
          "x.toml:1: mode: a key outside of every section (did you mean \"node\"? known: hub, node, "
          "scheduler)");
  }
}
