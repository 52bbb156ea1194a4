// SPDX-License-Identifier: Apache-2.0
// Hubs from configuration files: `[hub.NAME]`, `[inspect]`.
#include <array>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <horus/config/document.hpp>
#include <horus/config/reader.hpp>
#include <horus/msg/door/door.hpp>
#include <horus/msg/door/insight.hpp>
#include <horus/msg/hub.hpp>
#include <horus/msg/tcp/tcp_limits.hpp>
#include <horus/msg/tcp/tcp_transport.hpp>

namespace horus::HORUS_ABI {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;

// What a configuration may hold; the others' owners look into theirs.
constexpr std::array<std::string_view, 6> kSections{"hub",  "scheduler", "executor",
                                                    "node", "record",    "inspect"};
constexpr std::size_t kMostPeers = 65536;
constexpr std::size_t kMostNames = 1024;  // of peers that are allowed

enum class Mode : std::uint8_t { inproc, shm, tcp, global };

std::string in_ms(std::string_view name) { return std::string(name) + "_ms"; }

void read(config::Reader& section, ShmOptions& options) {
  section.text("directory", options.directory);
  section.integer("max_peers", options.max_peers, 1, 65536);
  section.milliseconds("handshake_limit_ms", options.handshake_limit, milliseconds(1), minutes(10));
  section.milliseconds("idle_limit_ms", options.idle_limit, milliseconds(30), minutes(60));
}

void read_tls(config::Reader& section, TcpHubOptions& options) {
  std::string key;
  std::string certificate;
  std::string private_key;
  std::string authority;
  std::vector<std::string> allowed;
  section.text("tls_key", key);
  section.text("tls_certificate", certificate);
  section.text("tls_private_key", private_key);
  section.text("tls_authority", authority);
  section.texts("tls_allow", allowed, kMostNames);
  const bool certificates = !certificate.empty() || !private_key.empty() || !authority.empty();
  if (key.empty() && !certificates) {
    if (!allowed.empty())
      section.complain("tls_allow", "names are those of certificates: set tls_certificate");
    return;
  }
  if (!key.empty() && (certificates || !allowed.empty()))
    return section.complain("tls_key",
                            "is one way to prove who a hub is, tls_certificate the other: leave one out");
  if (key.empty() && (certificate.empty() || private_key.empty() || authority.empty())) {
    return section.complain("tls_certificate",
                            "a certificate, tls_private_key and tls_authority are needed, all three");
  }
  auto tls =
      key.empty() ? HubTls::certificate_files(certificate, private_key, authority) : HubTls::key_file(key);
  if (!tls) return section.complain(key.empty() ? "tls_certificate" : "tls_key", tls.error().message());
  tls->allowed = std::move(allowed);
  options.tls = *std::move(tls);
}

void read(config::Reader& section, TcpHubOptions& options) {
  section.choice(
      "role", options.role,
      {{"automatic", TcpRole::automatic}, {"listen", TcpRole::listen}, {"connect", TcpRole::connect}});
  section.texts("peers", options.peers, kMostPeers);
  section.flag("insecure", options.insecure);
  read_tls(section, options);
  msg::visit_limits(options, [&](const char* name, auto& limit, auto least, auto most) {
    if constexpr (std::is_same_v<decltype(least), Duration>) {
      section.milliseconds(in_ms(name), limit, least, most);
    } else {
      section.integer(name, limit, least, most);
    }
  });
}

// Keys that only the other modes have: they would be unknown, but there is more to say.
void refuse_others(config::Reader& section, Mode mode) {
  constexpr std::array<std::string_view, 4> kNames{"inproc", "shm", "tcp", "global"};
  const std::string why =
      "is not used with mode = " + config::in_quotes(kNames[static_cast<std::size_t>(mode)]);
  const bool tcp = mode == Mode::tcp;
  const bool shm = mode == Mode::shm || mode == Mode::global;
  if (!tcp) {
    for (const char* key : {"address", "role", "peers", "insecure", "tls_key", "tls_certificate",
                            "tls_private_key", "tls_authority", "tls_allow"})
      section.refuse(key, why);
    TcpHubOptions options;
    msg::visit_limits(options, [&](const char* name, auto&, auto least, auto) {
      const bool time = std::is_same_v<decltype(least), Duration>;
      const bool both = std::string_view(name) == "handshake_limit" || std::string_view(name) == "idle_limit";
      if (!shm || !both) section.refuse(time ? in_ms(name) : name, why);
    });
  }
  if (!shm) {
    for (const char* key : {"directory", "max_peers"}) section.refuse(key, why);
  }
}

}  // namespace

Result<Hub> Hub::from_config(const std::string& path, std::string name) {
  const auto document = config::Document::load(path);
  if (!document) return document.error();
  return from_config(*document, std::move(name));
}

Result<Hub> Hub::from_config(const config::Document& document, std::string name) {
  if (auto known = document.check_sections(kSections); !known) return known.error();
  bool inspect = true;
  bool control = false;
  auto door = document.section("inspect");
  if (!door) return door.error();
  door->flag("enabled", inspect);
  door->flag("control", control);
  if (auto sound = door->finish(); !sound) return sound.error();
  auto section = document.section("hub", name);
  if (!section) return section.error();
  Mode mode = Mode::inproc;
  std::string address;
  TcpHubOptions tcp;
  ShmOptions shm;
  section->require("mode", R"(one of "inproc", "shm", "tcp", "global")");
  section->choice(
      "mode", mode,
      {{"inproc", Mode::inproc}, {"shm", Mode::shm}, {"tcp", Mode::tcp}, {"global", Mode::global}});
  if (!section->so_far()) return section->so_far().error();  // it decides which keys there are
  if (mode == Mode::tcp) {
    section->require("address", R"(where to listen or connect, "127.0.0.1:8080")");
    section->text("address", address);
    read(*section, tcp);
  } else if (mode != Mode::inproc) {
    read(*section, shm);
  }
  refuse_others(*section, mode);
  if (auto sound = section->finish(); !sound) return sound.error();

  if (!inspect) msg::door::permit(false);
  if (control) msg::door::permit_control(true);
  switch (mode) {
    case Mode::inproc: return Hub(std::move(name));
    case Mode::shm: return Hub::shm(std::move(name), shm);
    case Mode::global: return Hub::global_hub(std::move(name), shm);
    case Mode::tcp: break;
  }
  if (auto sound = msg::TcpTransport::check(address, name, tcp); !sound) {
    section->complain("address", sound.error().message());
    return section->finish().error();
  }
  return Hub::tcp(std::move(address), std::move(name), tcp);
}

}  // namespace horus::HORUS_ABI
