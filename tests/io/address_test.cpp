// SPDX-License-Identifier: Apache-2.0
#include <horus/io/address.hpp>

#include <cerrno>
#include <cstring>
#include <string>

#include <netinet/in.h>
#include <sys/un.h>

#include <doctest/doctest.h>

using horus::io::Address;

TEST_CASE("what parse takes is what to_string gives") {
  for (const char* text :
       {"127.0.0.1:80", "0.0.0.0:0", "255.255.255.255:65535", "[::1]:80", "[::]:0", "[fe80::1%lo]:7",
        "unix:/run/x.sock", "unix:relative.sock", "unix:@name", "unix:@a b"}) {
    CAPTURE(text);
    auto address = Address::parse(text);
    REQUIRE(address.ok());
    CHECK(address->to_string() == text);
    CHECK(*address == *Address::parse(text));
  }
}

TEST_CASE("the parts of an address") {
  const auto v4 = Address::parse("10.1.2.3:4567").or_throw();
  CHECK(v4.family() == AF_INET);
  CHECK(v4.port() == 4567);
  CHECK(v4.host() == "10.1.2.3");
  CHECK(v4.size() == sizeof(sockaddr_in));
  const auto v6 = Address::ip("::1", 9).or_throw();
  CHECK(v6.family() == AF_INET6);
  CHECK(v6 == Address::loopback_v6(9));
  CHECK(v6 == Address::ip("[::1]", 9).or_throw());
  CHECK(v6.with_port(10).to_string() == "[::1]:10");
  CHECK(Address::any_v4(1).to_string() == "0.0.0.0:1");
  CHECK(Address::any_v6(1).to_string() == "[::]:1");
  CHECK(Address::loopback_v4(1).to_string() == "127.0.0.1:1");
  CHECK_FALSE(v4 == v6);
  CHECK_FALSE(v4 == v4.with_port(1));
  CHECK(Address::unix_path("/a").or_throw().port() == 0);
  CHECK(Address().family() == AF_UNSPEC);
  CHECK(Address().to_string() == "(none)");
}

TEST_CASE("what is no numeric address is refused with what was expected") {
  for (const char* text : {"",
                           ":",
                           "80",
                           ":80",
                           "localhost:80",
                           "127.0.0.1",
                           "127.0.0.1:",
                           "127.0.0.1:65536",
                           "127.0.0.1:-1",
                           "127.0.0.1:8o",
                           "127.0.0.1: 80",
                           "127.0.0.1:80 ",
                           "1.2.3:80",
                           "1.2.3.4.5:80",
                           "::1:80",
                           "[::1]",
                           "[::1]80",
                           "[127.0.0.1]:80",
                           "[::g]:80",
                           "[]:80",
                           "unix:",
                           "unix:@",
                           "127.0.0.1%lo:80",
                           "127.0.0.1:99999999999999999999"}) {
    CAPTURE(text);
    auto address = Address::parse(text);
    REQUIRE_FALSE(address.ok());
    CHECK(address.code() == EINVAL);
    CHECK(address.error().message().find(text) != std::string::npos);
    CHECK(address.error().message().find("(") != std::string::npos);
  }
  CHECK(Address::parse("[fe80::1%no-such-if]:80").code() == ENODEV);
  CHECK(Address::parse(std::string("127.0.0.1\0:80", 13)).code() == EINVAL);
}

TEST_CASE("Unix paths and abstract names of the greatest length fit, one byte more does not") {
  const std::string longest(107, 'p');
  CHECK(Address::unix_path(longest).or_throw().host() == longest);
  CHECK(Address::unix_abstract(longest).or_throw().host() == "@" + longest);
  CHECK(Address::unix_path(longest + "p").code() == ENAMETOOLONG);
  CHECK(Address::unix_abstract(longest + "p").code() == ENAMETOOLONG);
  CHECK(Address::unix_path(std::string("a\0b", 3)).code() == EINVAL);
}

TEST_CASE("an abstract name is not the path of the same letters, and may hold zeros") {
  const auto name = Address::unix_abstract("x").or_throw();
  CHECK_FALSE(name == Address::unix_path("x").or_throw());
  const auto zeros = Address::unix_abstract(std::string_view("a\0b", 3)).or_throw();
  CHECK(zeros.to_string() == "unix:@a\\x00b");
  CHECK_FALSE(zeros == Address::unix_abstract("a").or_throw());
}

TEST_CASE("an unnamed Unix socket and a path without its zero are understood") {
  sockaddr_un unnamed{};
  unnamed.sun_family = AF_UNIX;
  CHECK(Address::from(reinterpret_cast<sockaddr*>(&unnamed), sizeof(sa_family_t)).to_string() ==
        "unix:(unnamed)");
  std::memset(unnamed.sun_path, 'q', sizeof unnamed.sun_path);
  const auto full = Address::from(reinterpret_cast<sockaddr*>(&unnamed), sizeof unnamed);
  CHECK(full.host() == std::string(sizeof unnamed.sun_path, 'q'));
}
