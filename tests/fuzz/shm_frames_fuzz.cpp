// SPDX-License-Identifier: Apache-2.0
// The frames with which two processes agree to share memory: whatever decodes, encodes to what decodes to the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include <horus/msg/shm/shm_frames.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace shm = horus::msg::shm;
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto decoded = shm::decode(bytes);
  if (!decoded) return 0;
  const auto* hello = std::get_if<shm::Hello>(&decoded->frame);
  if (hello != nullptr && hello->hub.empty()) return 0;  // another version's: only its numbers were read
  const std::vector<std::byte> again = shm::encode(decoded->frame);
  const auto twice = shm::decode(std::span(again).subspan(4));
  if (!twice || shm::encode(twice->frame) != again) std::abort();
  return 0;
}
