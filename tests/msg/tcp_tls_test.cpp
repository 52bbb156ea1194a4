// SPDX-License-Identifier: Apache-2.0
// Hubs over TCP that encrypt: who meets whom, and what those that do not meet are told.
#include <cerrno>
#include <fstream>
#include <string>

#include <doctest/doctest.h>

#include <horus/io/certificate.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/tcp.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/hub.hpp>

#include "../support/captured_log.hpp"
#include "../support/eventually.hpp"
#include "../support/temporary_directory.hpp"

namespace {

using namespace std::chrono_literals;
using horus::Hub;
using horus::HubTls;
using horus::Task;
using horus::TcpHubOptions;
using horus::TcpRole;
using horus::io::Certificate;
using horus::io::CertificateRequest;
using horus::io::make_certificate;
using horus::testing::CapturedLog;
using horus::testing::eventually;

TcpHubOptions with(HubTls tls) { return TcpHubOptions().with_retry(5ms, 20ms).with_tls(std::move(tls)); }
Hub listening(std::string name, TcpHubOptions options) {
  return Hub::tcp("127.0.0.1:0", std::move(name), options.with_role(TcpRole::listen)).or_throw();
}
Hub connecting(const Hub& to, std::string name, TcpHubOptions options) {
  return Hub::tcp(to.address(), std::move(name), options.with_role(TcpRole::connect)).or_throw();
}

struct Fleet {
  Certificate authority = make_certificate(CertificateRequest("our fleet").as_authority()).or_throw();
  [[nodiscard]] HubTls member(const std::string& name) const {
    const Certificate own = make_certificate(CertificateRequest(name), authority).or_throw();
    return HubTls::certificates(own.certificate, own.private_key, authority.certificate);
  }
};

// Messages of every size go both ways between the two.
Task<> talk(const Hub& one, const Hub& other) {
  auto out = one.advertise<std::string>("there");
  auto in = other.subscribe<std::string>("there");
  auto back_out = other.advertise<std::string>("back");
  auto back_in = one.subscribe<std::string>("back");
  auto meeting = eventually([&] { return out.subscribers() == 1 && back_out.subscribers() == 1; });
  const bool met = co_await meeting;
  REQUIRE(met);
  for (const std::size_t size : {0, 1, 100, 16'000, 17'000, 300'000}) {
    CAPTURE(size);
    const std::string text(size, 'x');
    CHECK(out.send(text));
    auto there = in.recv();
    const auto heard = co_await there;
    CHECK(*heard.value() == text);
    CHECK(back_out.send(text));
    auto back = back_in.recv();
    const auto answered = co_await back;
    CHECK(*answered.value() == text);
  }
}

// They do not meet; each is told why in these words.
Task<> stay_apart(const Hub& one, std::string_view told_one, const Hub& other, std::string_view told_other) {
  const auto is_told = [](const Hub& hub, std::string_view words) {
    for (const auto& peer : hub.connection_state().peers) {
      if (peer.problem.find(words) != std::string::npos) return true;
    }
    return words.empty();
  };
  auto waiting = eventually([&] { return is_told(one, told_one) && is_told(other, told_other); });
  const bool told = co_await waiting;
  CHECK(told);
  CHECK_FALSE(one.connection_state().connected);
  CHECK_FALSE(other.connection_state().connected);
}

TEST_SUITE("msg/tcp_tls") {
  TEST_CASE("hubs with a key in common meet, and one with another key does not") {
    const CapturedLog log;
    horus::io::run([]() -> Task<> {
      const std::string secret(32, 's');
      HubTls several = HubTls::key("fleet", secret);
      several.keys.emplace_back("service", std::string(32, 't'));
      const Hub rover = listening("rover", with(several));
      {
        const Hub base = connecting(rover, "base", with(HubTls::key("service", std::string(32, 't'))));
        auto talking = talk(rover, base);
        co_await talking;
      }
      auto leaving = eventually([&] { return !rover.connection_state().connected; });
      const bool left = co_await leaving;
      CHECK(left);
      {
        const Hub other = connecting(rover, "other", with(HubTls::key("fleet", std::string(32, 'x'))));
        auto apart =
            stay_apart(rover, "the peer's key of this identity is another one", other, "no key in common");
        co_await apart;
      }
      const Hub stranger = connecting(rover, "stranger", with(HubTls::key("drone", secret)));
      auto apart = stay_apart(rover, "the peer's key drone is unknown here", stranger, "no key in common");
      co_await apart;
    });
  }

  TEST_CASE("hubs with certificates of one authority meet, when their names are allowed") {
    const CapturedLog log;
    horus::io::run([]() -> Task<> {
      const Fleet fleet;
      const Hub rover = listening("rover", with(fleet.member("rover-7").allow("base")));
      {
        const Hub base = connecting(rover, "base", with(fleet.member("base").allow("rover-*")));
        auto talking = talk(base, rover);
        co_await talking;
      }
      {
        const Hub other = connecting(rover, "other", with(fleet.member("arm")));
        auto apart =
            stay_apart(rover, "is for arm; allowed here: base", other, "the peer refused our certificate");
        co_await apart;
      }
      {
        const Hub picky = connecting(rover, "picky", with(fleet.member("base").allow("rover-8")));
        auto apart = stay_apart(rover, "", picky, "is for rover-7; allowed here: rover-8");
        co_await apart;
      }
      const Fleet others;
      const Hub stranger = connecting(rover, "stranger", with(others.member("base")));
      auto apart = stay_apart(rover, "the peer", stranger, "");
      co_await apart;
    });
  }

  TEST_CASE("a hub that encrypts and one that does not have nothing to say to each other") {
    const CapturedLog log;
    horus::io::run([]() -> Task<> {
      const auto plain = TcpHubOptions().with_retry(5ms, 20ms);
      const Hub rover = listening("rover", with(HubTls::key("fleet", std::string(32, 's'))));
      {
        const Hub base = connecting(rover, "base", plain);
        auto apart = stay_apart(rover, "does not speak TLS here", base, "");
        co_await apart;
      }
      const Hub open = listening("open", plain);
      const Hub base = connecting(open, "base", with(HubTls::key("fleet", std::string(32, 's'))));
      auto apart = stay_apart(open, "", base, "shake hands with");
      co_await apart;
    });
  }

  TEST_CASE("an address that other machines reach needs TLS, and settings that cannot work are refused") {
    const CapturedLog log;
    horus::io::run([]() -> Task<> {
      const auto refusal = [](const TcpHubOptions& options) {
        const auto hub = Hub::tcp("0.0.0.0:0", "rover", options);
        return hub ? std::string() : hub.error().message();
      };
      CHECK(refusal({}).find("with_tls()") != std::string::npos);
      CHECK(refusal(with(HubTls::key("fleet", std::string(32, 's')))).empty());
      CHECK(refusal(with(HubTls::key("fleet", "short"))).find("16 to 64") != std::string::npos);
      CHECK(refusal(with(HubTls())).find("neither a shared key nor a certificate") != std::string::npos);
      HubTls mixed = Fleet().member("rover");
      mixed.private_key = Fleet().member("rover").private_key;
      CHECK(refusal(with(mixed)).find("the private key is not that of the certificate") != std::string::npos);
      co_return;
    });
  }

  TEST_CASE("keys and certificates come from files, and a wrong line is named") {
    const TemporaryDirectory folder;
    const auto write = [&](const std::string& name, const std::string& text) {
      const std::string path = folder / name;
      std::ofstream(path) << text;
      return path;
    };
    const auto keys = HubTls::key_file(
        write("fleet.key", "# of the fleet\nfleet 000102030405060708090a0b0c0d0e0fFF\n\nservice " +
                               std::string(64, 'a') + "\n"));
    REQUIRE(keys.ok());
    REQUIRE(keys->keys.size() == 2);
    CHECK(keys->keys[0].first == "fleet");
    CHECK(keys->keys[0].second.size() == 17);
    CHECK(keys->keys[0].second.back() == '\xff');
    for (const char* wrong : {"fleet", "fleet 00", "fleet 000102030405060708090a0b0c0d0e0g", "",
                              " 000102030405060708090a0b0c0d0e0f"}) {
      CAPTURE(wrong);
      const auto refused = HubTls::key_file(write("wrong.key", std::string("# comment\n") + wrong));
      CHECK(refused.code() == EINVAL);
      if (*wrong != '\0') CHECK(refused.error().message().find("wrong.key:2") != std::string::npos);
    }
    CHECK(HubTls::key_file("/nowhere/fleet.key").code() == ENOENT);

    const Fleet fleet;
    const HubTls own = fleet.member("rover");
    const auto read =
        HubTls::certificate_files(write("rover.pem", own.certificate), write("own.key", own.private_key),
                                  write("ca.pem", own.authority));
    REQUIRE(read.ok());
    CHECK(read->private_key == own.private_key);

    const auto configured = [&](const std::string& keys_of_file) {
      const auto hub = Hub::from_config(
          write("hub.toml", "[hub.rover]\nmode = \"tcp\"\naddress = \"0.0.0.0:0\"\n" + keys_of_file),
          "rover");
      return hub ? std::string() : hub.error().message();
    };
    const std::string at = "tls_certificate = \"" + (folder / "rover.pem") + "\"\n";
    const std::string rest = "tls_private_key = \"" + (folder / "own.key") + "\"\ntls_authority = \"" +
                             (folder / "ca.pem") + "\"\n";
    CHECK(configured(at + rest + "tls_allow = [\"base\"]\n") == "");
    CHECK(configured("tls_key = \"" + (folder / "fleet.key") + "\"\n") == "");
    CHECK(configured(at).find("all three") != std::string::npos);
    CHECK(configured(at + rest + "tls_key = \"x\"\n").find("leave one out") != std::string::npos);
    CHECK(configured("tls_key = \"/nowhere/fleet.key\"\n").find("/nowhere/fleet.key") != std::string::npos);
  }
}

}  // namespace
