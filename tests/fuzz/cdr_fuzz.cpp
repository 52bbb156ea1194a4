// SPDX-License-Identifier: Apache-2.0
// Messages in CDR that may come from anybody, of known types (the first byte says which) and of types whose description comes
// as well (255, then the description's length in two bytes). What is accepted can be written, and reads as the same again.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include <horus/msg/cdr.hpp>
#include <horus/msg/messages.hpp>
#include <horus/msg/ros.hpp>

namespace {

using Bytes = std::span<const std::byte>;

struct Fault {
  horus::Text<6> what;
  std::uint16_t code;
  horus::Sequence<bool, 3> flags;
};
HORUS_MESSAGE(Fault, what, code, flags);
struct Parcel {
  horus::Stamp stamp;
  horus::Sequence<Fault, 4> faults;
  std::array<horus::Text<4>, 2> words;
  double value;
  using Tail = std::array<Fault, 2>;
};
HORUS_MESSAGE(Parcel, stamp, faults, words, value);

void follow(const horus::Cdr& cdr, Bytes wire) {
  std::vector<std::byte> head, tail;
  if (!cdr.read(wire, head, tail)) return;
  std::vector<std::byte> written(cdr.size(head, tail).or_throw());
  cdr.write(head, tail, written).or_throw();
  if (!cdr.read(written, head, tail)) std::abort();
  std::vector<std::byte> again(cdr.size(head, tail).or_throw());
  cdr.write(head, tail, again).or_throw();
  if (again != written) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace horus;
  static const std::array kTypes{&cdr_of<Parcel>(),
                                 &cdr_of<std::string>(),
                                 &cdr_of<std::vector<double>>(),
                                 &cdr_of<messages::Imu>(),
                                 &cdr_of<messages::BatteryState>(),
                                 &cdr_of<messages::JointState>(),
                                 &cdr_of<messages::LaserScan>(),
                                 &cdr_of<messages::NavSatFix>(),
                                 &cdr_of<messages::Image>(),
                                 &cdr_of<messages::PointCloud>()};
  if (size == 0) return 0;
  const Bytes input(reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  if (data[0] != 255) {
    follow(*kTypes[data[0] % kTypes.size()], input);
    return 0;
  }
  if (input.size() < 2) return 0;
  const std::size_t length = std::min<std::size_t>(data[1] + 256U * data[2], input.size() - 2);
  const auto described = Description::decode(input.subspan(2, length));
  constexpr std::uint32_t kEnough = 1 << 16;  // what a description may ask for is bounded elsewhere
  if (!described || described->root().size > kEnough || described->tail_bytes() > kEnough / 256) return 0;
  if (ros2msg(*described).empty() || ros_type_hash(*described).size() != 71) std::abort();
  follow(Cdr(*described), input.subspan(2 + length));
  return 0;
}
