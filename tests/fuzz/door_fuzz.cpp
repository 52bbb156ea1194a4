// SPDX-License-Identifier: Apache-2.0
// Frames and texts of the door over any bytes, in pieces of any size: those of a visitor, and those that a client is given.
// What is understood must survive being written and read again.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <variant>

#include <horus/msg/door/frames.hpp>
#include <horus/msg/door/talk.hpp>

namespace {

namespace door = horus::msg::door;

void must(bool holds) {
  if (!holds) std::abort();
}

door::FrameBytes bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

void understand(door::FrameBytes text) {
  const auto request = door::read_request(text);
  if (const auto* asked = std::get_if<door::Request>(&request)) {
    const std::string written = door::write_request(*asked);
    const auto again = door::read_request(bytes_of(written));
    must(std::holds_alternative<door::Request>(again));
    must(std::get<door::Request>(again).kind == asked->kind);
    must(door::write_request(std::get<door::Request>(again)) == written);
  } else {
    must(!std::get<door::Refused>(request).why.empty());
    door::Answer refusal;
    refusal.error = std::get<door::Refused>(request).why;
    must(door::write_answer(refusal).size() <= door::kLongestText);
  }
  if (const auto answer = door::read_answer(text)) {
    const std::string written = door::write_answer(*answer);
    const auto again = door::read_answer(bytes_of(written));
    must(again.ok());
    must(door::write_answer(*again) == written);
    if (answer->topics) {
      for (const auto& topic : *answer->topics) {
        door::Answer one;
        one.topics.emplace().push_back(topic);
        must(door::write_answer(one).size() <= door::room_for(topic));
      }
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t piece = std::size_t{data[0]} + 1;
  door::FrameBytes rest = std::as_bytes(std::span(data, size)).subspan(1);
  understand(rest);
  door::FrameReader reader(door::kLongestText);
  while (!rest.empty()) {
    const std::size_t some = std::min(piece, rest.size());
    reader.append(rest.first(some));
    rest = rest.subspan(some);
    while (true) {
      const auto frame = reader.next();
      if (!frame) return 0;
      if (!*frame) break;
      if ((*frame)->kind == door::FrameKind::data) {
        if (const auto message = door::read_data((*frame)->payload))
          must(message->message.size() + door::kDataHead == (*frame)->payload.size());
      } else {
        understand((*frame)->payload);
      }
    }
  }
  return 0;
}
