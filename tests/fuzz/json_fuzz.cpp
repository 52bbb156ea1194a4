// SPDX-License-Identifier: Apache-2.0
// Messages in JSON, or as text for people, that may come from anybody; the first byte says which, and of which type. What is
// accepted can be written, and reads as the same again.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <horus/msg/json.hpp>
#include <horus/msg/message_text.hpp>
#include <horus/msg/messages.hpp>
#include <horus/msg/more_messages.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace horus;
  static const std::array kTypes{&describe<messages::BatteryState>(),
                                 &describe<messages::DiagnosticArray>(),
                                 &describe<messages::JointState>(),
                                 &describe<messages::Log>(),
                                 &describe<std::string>(),
                                 &describe<messages::CameraInfo>()};
  if (size == 0) return 0;
  const Description& type = *kTypes[data[0] % kTypes.size()];
  std::vector<std::byte> head, tail;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto read = data[0] < 128 ? from_json(type, input, head, tail) : from_text(type, input, head, tail);
  if (!read) return 0;
  const std::string written = to_json(type, head, tail).or_throw();
  if (!from_json(type, written, head, tail) || to_json(type, head, tail).or_throw() != written) std::abort();
  const std::string text = to_text(type, head, tail).or_throw();
  if (!from_text(type, text, head, tail) || to_json(type, head, tail).or_throw() != written) std::abort();
  if (to_json(type, head, tail, JsonStyle::ros).or_throw().empty()) std::abort();
  return 0;
}
