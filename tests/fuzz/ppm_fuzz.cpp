// SPDX-License-Identifier: Apache-2.0
// The rover's reader of pictures over any bytes of a camera's pipe: pictures are as large as their headers say, and how the
// bytes were cut makes no difference.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "ppm.hpp"

namespace {

using rover::PpmError;
using rover::PpmReader;

constexpr std::uint64_t kMostPixels = 4096;

void must(bool holds) {
  if (!holds) std::abort();
}

struct Seen {
  std::size_t pictures = 0;
  std::uint64_t sum = 0;  // of everything that the pictures say
  PpmError error = PpmError::kNone;
  bool at_border = true;

  bool operator==(const Seen&) const = default;
};

Seen read(std::span<const std::uint8_t> bytes, std::size_t piece) {
  Seen seen;
  PpmReader reader(kMostPixels);
  while (!bytes.empty()) {
    const auto part = bytes.first(std::min(piece, bytes.size()));
    bytes = bytes.subspan(part.size());
    const PpmError error =
        reader.feed(part, [&](const rover::PpmHeader& header, std::span<const std::uint8_t> pixels) {
          must(header.width > 0 && header.height > 0 && header.largest_sample > 0 &&
               header.largest_sample <= 65535);
          must(std::uint64_t{header.width} * header.height <= kMostPixels);
          must(pixels.size() == header.pixel_bytes());
          ++seen.pictures;
          for (const std::uint8_t byte : pixels) seen.sum = seen.sum * 31 + byte;
          seen.sum = seen.sum * 31 + header.width;
        });
    must(!rover::describe(error).empty());
    must(seen.error == PpmError::kNone || error == seen.error);  // it stays
    seen.error = error;
  }
  seen.at_border = reader.at_border();
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::span<const std::uint8_t> bytes(data + 1, size - 1);
  const Seen whole = read(bytes, std::max<std::size_t>(1, bytes.size()));
  must(read(bytes, 1 + data[0] % 64) == whole);
  must(read(bytes, 1) == whole);
  return 0;
}
