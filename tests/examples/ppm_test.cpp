// SPDX-License-Identifier: Apache-2.0
// The rover's reader of PPM pictures: any cut of the stream, every malformed header.
#include "ppm.hpp"

#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

using rover::PpmError;
using rover::PpmHeader;
using rover::PpmHeaderParser;
using rover::PpmReader;

namespace {

std::span<const uint8_t> bytes_of(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

PpmError error_of(std::string_view header, uint64_t most_pixels = 1'000'000) {
  PpmHeaderParser parser(most_pixels);
  parser.feed(bytes_of(header));
  return parser.error();
}

}  // namespace

TEST_CASE("a header's end is found exactly, pixels are left alone") {
  PpmHeaderParser parser(1'000'000);
  const std::string_view stream = "P6\n# made by hand\n320 240\n255\n\n1";
  CHECK(parser.feed(bytes_of(stream)) == stream.size() - 2);  // the second newline is a pixel already
  CHECK(parser.done());
  CHECK(parser.error() == PpmError::kNone);
  CHECK(parser.header().width == 320);
  CHECK(parser.header().height == 240);
  CHECK(parser.header().largest_sample == 255);
  CHECK(parser.header().pixel_bytes() == 320 * 240 * 3);
  CHECK(parser.feed(bytes_of("more")) == 0);
}

TEST_CASE("white space and comments may stand between any two fields") {
  for (const char* header :
       {"P6 2 3 255\n", "P6\t2\r\n3\n65535 ", "P6\n#\n#P5 9 9\n2 # wide\n3#high\n#\n 300\n"}) {
    CAPTURE(header);
    PpmHeaderParser parser(100);
    parser.feed(bytes_of(header));
    CHECK(parser.done());
    CHECK(parser.header().width == 2);
    CHECK(parser.header().height == 3);
  }
}

TEST_CASE("samples above 255 have two bytes") {
  PpmHeaderParser parser(100);
  parser.feed(bytes_of("P6 2 3 256 "));
  CHECK(parser.header().pixel_bytes() == 2 * 3 * 6);
}

TEST_CASE("every malformed header is refused for its reason") {
  CHECK(error_of("P5 2 2 255\n") == PpmError::kBadMagic);
  CHECK(error_of("\n") == PpmError::kBadMagic);
  CHECK(error_of("P62 2 255\n") == PpmError::kBadHeader);
  CHECK(error_of("P6 -2 2 255\n") == PpmError::kBadHeader);
  CHECK(error_of("P6 2x2 255\n") == PpmError::kBadHeader);
  CHECK(error_of("P6 0 2 255\n") == PpmError::kBadHeader);
  CHECK(error_of("P6 2 00 255\n") == PpmError::kBadHeader);
  CHECK(error_of("P6 2 2 0\n") == PpmError::kBadHeader);
  CHECK(error_of("P6 2 2 65536\n") == PpmError::kBadDepth);
  CHECK(error_of("P6 2 2 99999999999999999999\n") == PpmError::kBadDepth);
  CHECK(error_of("P6 99999999999999999999 2 255\n") == PpmError::kTooLarge);
  CHECK(error_of("P6 1000000 1000000 255\n") == PpmError::kTooLarge);
  CHECK(error_of("P6 11 10 255\n", 100) == PpmError::kTooLarge);
  CHECK(error_of("P6 10 10 255\n", 100) == PpmError::kNone);
  CHECK(error_of("P6 #" + std::string(PpmHeaderParser::kMaxHeader, 'x')) == PpmError::kTooLong);
  CHECK(error_of("P6" + std::string(PpmHeaderParser::kMaxHeader, ' ')) == PpmError::kTooLong);
}

TEST_CASE("pictures come out whole however the bytes arrive") {
  std::string stream;
  std::vector<std::string> pictures;
  for (int i = 0; i < 5; ++i) {
    const std::string pixels(static_cast<size_t>((i + 1) * 4 * 3), static_cast<char>('P' + i));
    stream += "P6\n" + std::to_string(i + 1) + " 4\n255\n" + pixels;
    pictures.push_back(pixels);
  }
  for (size_t piece = 1; piece <= stream.size(); ++piece) {
    PpmReader reader;
    std::vector<std::string> got;
    for (size_t at = 0; at < stream.size(); at += piece) {
      const PpmError error = reader.feed(bytes_of(std::string_view(stream).substr(at, piece)),
                                         [&](const PpmHeader& header, auto pixels) {
                                           CHECK(header.pixel_bytes() == pixels.size());
                                           got.emplace_back(pixels.begin(), pixels.end());
                                         });
      REQUIRE(error == PpmError::kNone);
    }
    REQUIRE(got == pictures);
    REQUIRE(reader.at_border());
  }
}

TEST_CASE("a stream that ends within a picture is not at a border") {
  PpmReader reader;
  const auto ignore = [](const PpmHeader&, auto) {};
  CHECK(reader.at_border());
  reader.feed(bytes_of("P"), ignore);
  CHECK_FALSE(reader.at_border());
  reader.feed(bytes_of("6 1 1 255\nab"), ignore);
  CHECK_FALSE(reader.at_border());
  reader.feed(bytes_of("c"), ignore);
  CHECK(reader.at_border());
}

TEST_CASE("an error stays, with no picture after it") {
  PpmReader reader;
  int pictures = 0;
  const auto count = [&](const PpmHeader&, auto) { ++pictures; };
  CHECK(reader.feed(bytes_of("P6 1 1 255\nabcP7"), count) == PpmError::kBadMagic);
  CHECK(reader.feed(bytes_of("P6 1 1 255\nabc"), count) == PpmError::kBadMagic);
  CHECK(pictures == 1);
}

TEST_CASE("noise never gives more than it is allowed to") {
  std::mt19937 random(5);
  for (int round = 0; round < 20'000; ++round) {
    std::string header = "P6\n12 10\n255\n";
    for (uint32_t changes = random() % 4; changes > 0; --changes) {
      header[random() % header.size()] = static_cast<char>(random() % 128);
    }
    PpmHeaderParser parser(1000);
    parser.feed(bytes_of(header));
    if (parser.done() && parser.error() == PpmError::kNone) {
      REQUIRE(parser.header().pixel_bytes() <= 6000);
      REQUIRE(parser.header().pixel_bytes() > 0);
    }
  }
}
