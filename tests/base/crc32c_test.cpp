// SPDX-License-Identifier: Apache-2.0
#include <horus/base/crc32c.hpp>

#include <array>
#include <cstring>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

namespace {

TEST_SUITE("base/crc32c") {
  TEST_CASE("known vectors, by instruction and by table (RFC 3720, B.4)") {
    std::array<std::byte, 32> zeros{};
    std::array<std::byte, 32> ones;
    ones.fill(std::byte{0xff});
    std::array<std::byte, 32> rising;
    for (std::size_t i = 0; i < rising.size(); ++i) rising[i] = static_cast<std::byte>(i);
    const std::string_view digits = "123456789";
    for (const auto function : {&horus::crc32c, &horus::detail::crc32c_by_table}) {
      CHECK(function({}, 0) == 0);
      CHECK(function(zeros, 0) == 0x8a9136aa);
      CHECK(function(ones, 0) == 0x62a8ab43);
      CHECK(function(rising, 0) == 0x46dd794e);
      CHECK(function(std::as_bytes(std::span(digits)), 0) == 0xe3069283);
    }
  }

  TEST_CASE("pieces give the checksum of the whole, at every length and alignment") {
    std::vector<std::byte> bytes(100);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 37);
    for (std::size_t from = 0; from < 9; ++from) {
      for (std::size_t cut = from; cut <= bytes.size(); ++cut) {
        const auto all = std::span<const std::byte>(bytes).subspan(from);
        const auto whole = horus::crc32c(all);
        CHECK(whole == horus::detail::crc32c_by_table(all));
        CHECK(horus::crc32c(all.subspan(cut - from), horus::crc32c(all.first(cut - from))) == whole);
      }
    }
  }
}

}  // namespace
