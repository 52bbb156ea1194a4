// SPDX-License-Identifier: Apache-2.0
// The frames with which two processes agree to share memory: whatever decodes, encodes to the same bytes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include <horus/msg/shm_frames.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace shm = horus::msg::shm;
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto frame = shm::decode(bytes);
  if (!frame) return 0;
  const auto* hello = std::get_if<shm::Hello>(&*frame);
  if (hello != nullptr && hello->version != shm::kVersion) return 0;  // only its version was read
  const auto* publishes = std::get_if<shm::Publishes>(&*frame);
  const std::vector<std::byte> again = shm::encode(*frame);
  const auto twice = shm::decode(std::span(again).subspan(4));
  if (!twice || shm::encode(*twice) != again) std::abort();
  if (publishes == nullptr &&
      (again.size() != size + 4 || !std::equal(bytes.begin(), bytes.end(), again.begin() + 4)))
    std::abort();
  return 0;
}
