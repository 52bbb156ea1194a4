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
    for (const auto function :
         {&horus::crc32c, &horus::detail::crc32c_by_words, &horus::detail::crc32c_by_table}) {
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

  TEST_CASE("long ones, which are summed in several pieces at once, give the same as the table") {
    std::vector<std::byte> bytes(12'000);
    std::uint32_t noise = 1;
    for (std::byte& byte : bytes) {
      noise = noise * 1'664'525 + 1'013'904'223;
      byte = static_cast<std::byte>(noise >> 24);
    }
    for (const std::size_t around : {384U, 768U, 1024U, 1280U, 3072U, 3456U, 6144U, 9999U}) {
      for (std::size_t size = around - 3; size <= around + 9; ++size) {
        for (const std::size_t from : {0U, 1U, 7U}) {
          const auto part = std::span<const std::byte>(bytes).subspan(from, size);
          const std::uint32_t expected = horus::detail::crc32c_by_table(part, 0x1234567);
          CHECK(horus::crc32c(part, 0x1234567) == expected);
          CHECK(horus::detail::crc32c_by_words(part, 0x1234567) == expected);
        }
      }
    }
  }
}

}  // namespace
