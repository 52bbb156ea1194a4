// SPDX-License-Identifier: Apache-2.0
// The binary form of a message's description, which may come from anybody: what is accepted keeps all limits, encodes to the
// same bytes, and can be asked everything.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include <horus/msg/description.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto decoded = horus::Description::decode(bytes);
  if (!decoded) return 0;
  if (!std::ranges::equal(decoded->encode(), bytes) || !decoded->check()) std::abort();
  for (const horus::Description::Type& type : decoded->types) {
    for (const horus::Description::Member& member : type.members) {
      if (decoded->alignment_of(member) == 0 || member.count() * decoded->size_of(member) > type.size)
        std::abort();
    }
  }
  if (decoded->layout().element_bytes != decoded->tail_bytes()) std::abort();
  return 0;
}
