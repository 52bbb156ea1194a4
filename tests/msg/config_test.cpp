// SPDX-License-Identifier: Apache-2.0
// Hubs from configuration files. What goes wrong in any file is in tests/config.
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <type_traits>

#include <doctest/doctest.h>

#include <horus/config/document.hpp>
#include <horus/config/tree.hpp>
#include <horus/io/reactor.hpp>
#include <horus/msg/hub.hpp>
#include <horus/msg/shm_options.hpp>
#include <horus/msg/tcp/tcp_limits.hpp>

using horus::Hub;
using horus::Task;
using horus::config::Document;
using horus::config::Format;

namespace {

std::string problem(std::string_view keys) {
  const auto file = Document::parse("[hub.base]\n" + std::string(keys), "x.toml", Format::toml).or_throw();
  const auto hub = Hub::from_config(file, "base");
  return hub ? "" : hub.error().message();
}

std::string example() {
  const char* root = std::getenv("HORUS_SOURCE_ROOT");
  return std::string(root == nullptr ? "." : root) + "/docs/hub.toml";
}

}  // namespace

TEST_SUITE("msg/config") {
  TEST_CASE("a mistake is named with its line and what would be right") {
    const std::string tcp = "mode = \"tcp\"\naddress = \"127.0.0.1:0\"\n";
    const struct {
      std::string keys;
      const char* message;
    } cases[] = {
        {"",
         "x.toml:1: hub.base: the key \"mode\" is missing: one of \"inproc\", \"shm\", \"tcp\", \"global\""},
        {"address = 1\nmode = \"tpc\"",
         "x.toml:3: hub.base.mode: expected one of \"inproc\", \"shm\", \"tcp\", \"global\", found the text "
         "\"tpc\" (did "
         "you mean \"tcp\"?)"},
        {"mode = \"tcp\"",
         "x.toml:1: hub.base: the key \"address\" is missing: where to listen or connect, "
         "\"127.0.0.1:8080\""},
        {"mode = \"tcp\"\nadress = \"127.0.0.1:0\"",
         "x.toml:1: hub.base: the key \"address\" is missing: where to listen or connect, "
         "\"127.0.0.1:8080\""},
        {tcp + "adress = \"x\"", "x.toml:4: hub.base.adress: unknown key (did you mean \"address\"? known: "},
        {tcp + "max_conections = 3",
         "x.toml:4: hub.base.max_conections: unknown key (did you mean \"max_connections\"? known: "},
        {tcp + "directory = \"/tmp\"", "x.toml:4: hub.base.directory: is not used with mode = \"tcp\""},
        {tcp + "role = \"server\"",
         "x.toml:4: hub.base.role: expected one of \"automatic\", \"listen\", \"connect\", found the text "
         "\"server\""},
        {tcp + "peers = \"10.0.0.2:80\"",
         "x.toml:4: hub.base.peers: expected a list of texts, found the text \"10.0.0.2:80\""},
        {tcp + "max_message_bytes = 0",
         "x.toml:4: hub.base.max_message_bytes: expected a whole number from 1 to 67108864, found 0"},
        {tcp + "idle_limit_ms = 5",
         "x.toml:4: hub.base.idle_limit_ms: expected 30 to 3600000 milliseconds, found 5"},
        {tcp + "retry_first_ms = 300\nretry_most_ms = 200",
         "x.toml:5: hub.base.retry_most_ms: expected 300 to 3600000 milliseconds, found 200"},
        {tcp + "idle_limit = 5000",
         "x.toml:4: hub.base.idle_limit: unknown key (did you mean \"idle_limit_ms\"? known: "},
        {"mode = \"shm\"\naddress = \"127.0.0.1:0\"",
         "x.toml:3: hub.base.address: is not used with mode = \"shm\""},
        {"mode = \"global\"\nlinger_ms = 50",
         "x.toml:3: hub.base.linger_ms: is not used with mode = \"global\""},
        {"mode = \"inproc\"\nhandshake_limit_ms = 50",
         "x.toml:3: hub.base.handshake_limit_ms: is not used with mode = \"inproc\""},
        {"mode = \"shm\"\nmax_peers = 70000",
         "x.toml:3: hub.base.max_peers: expected a whole number from 1 to 65536, found 70000"},
        {"[hubs.base]",
         "x.toml:2: hubs: unknown section (did you mean \"hub\"? known: hub, scheduler, executor, node, "
         "record, inspect)"},
    };
    for (const auto& [keys, message] : cases) {
      CAPTURE(keys);
      const std::string found = problem(keys);
      // Of a long list of keys, that it is there.
      if (std::string_view(message).ends_with("known: ")) {
        CHECK(found.starts_with(message));
        CHECK(found.find("address, ") != std::string::npos);
      } else {
        CHECK(found == message);
      }
    }
    const std::string open = problem("mode = \"tcp\"\naddress = \"0.0.0.0:80\"");
    CAPTURE(open);
    CHECK(open.starts_with("x.toml:3: hub.base.address: "));
    CHECK(open.find("insecure") != std::string::npos);
  }

  TEST_CASE("sections of others are left alone") {
    CHECK(problem("mode = \"inproc\"\n[scheduler]\nanything = 1\n[executor.a]\n[node.b]\nx = "
                  "2\n[hub.other]\ny = 3")
              .empty());
  }

  TEST_CASE("a hub that is not in the file is not made") {
    const auto file = Document::parse("[hub.base]\nmode = \"inproc\"", "x.toml", Format::toml).or_throw();
    CHECK(Hub::from_config(file, "bas").error().message() ==
          "x.toml: there is no section [hub.bas] (did you mean [hub.base]? there are: base)");
    CHECK(Hub::from_config("/nowhere/x.toml", "base").error().code() == ENOENT);
  }

  TEST_CASE("both formats make the hubs that they describe") {
    const auto check = [](const Document& file) {
      horus::io::run([&]() -> Task<> {
        const Hub hub = Hub::from_config(file, "base").or_throw();
        CHECK(hub.name() == "base");
        CHECK(hub.address().starts_with("127.0.0.1:"));
        CHECK_FALSE(hub.connection_state().connected);
        co_return;
      });
    };
    const char* toml = "[hub.base]\nmode = \"tcp\"\naddress = \"127.0.0.1:0\"\nrole = \"listen\"\n";
    check(Document::parse(toml, "x.toml", Format::toml).or_throw());
    if (!horus::config::reads_yaml()) return;
    const char* yaml = "hub:\n  base:\n    mode: tcp\n    address: 127.0.0.1:0\n    role: listen\n";
    check(Document::parse(yaml, "x.yaml", Format::yaml).or_throw());
  }

  TEST_CASE("hubs of shared memory live in the directory that is named") {
    std::string folder = (std::filesystem::temp_directory_path() / "horus-hubs-XXXXXX").string();
    REQUIRE(::mkdtemp(folder.data()) != nullptr);
    const std::string keys = "[hub.base]\nmode = \"shm\"\ndirectory = \"" + folder + "\"\n";
    const auto file = Document::parse(keys, "x.toml", Format::toml).or_throw();
    horus::io::run([&]() -> Task<> {
      const Hub hub = Hub::from_config(file, "base").or_throw();
      CHECK_FALSE(std::filesystem::is_empty(folder));
      co_return;
    });
    std::filesystem::remove_all(folder);
  }

  TEST_CASE("the documented file has every key, with its default") {
    const auto file = Document::load(example()).or_throw();
    for (const std::string& name : file.names("hub")) {
      CAPTURE(name);
      const auto hub = Hub::from_config(file, name);  // without a reactor nothing is opened
      CHECK_MESSAGE(hub.ok(), (hub ? std::string() : hub.error().message()));
    }
    const auto rover = file.section("hub", "rover").or_throw();
    const auto value = [&](std::string_view key) {
      const auto* entry = horus::config::find(rover.contents(), key);
      return entry == nullptr ? std::string("missing") : horus::config::describe(entry->value);
    };
    horus::TcpHubOptions defaults;
    std::size_t limits = 0;
    horus::msg::visit_limits(defaults, [&](const char* name, auto& limit, auto least, auto) {
      CAPTURE(name);
      ++limits;
      if constexpr (std::is_same_v<decltype(least), horus::Duration>) {
        CHECK(value(std::string(name) + "_ms") == std::to_string(limit.count() / 1'000'000));
      } else {
        CHECK(value(name) == std::to_string(limit));
      }
    });
    CHECK(rover.contents().size() == limits + 10);  // mode, address, role, peers, insecure, tls_*
    const auto camera = file.section("hub", "camera").or_throw();
    CHECK(horus::config::describe(horus::config::find(camera.contents(), "max_peers")->value) ==
          std::to_string(horus::ShmOptions().max_peers));
  }
}
