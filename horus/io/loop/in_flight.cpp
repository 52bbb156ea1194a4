// SPDX-License-Identifier: Apache-2.0
#include <horus/io/loop/in_flight.hpp>

#include <algorithm>

#include <horus/io/loop/operation.hpp>

namespace horus::HORUS_ABI::io {

void InFlightTable::grow(int fd) {
  const std::size_t size = std::max({static_cast<std::size_t>(fd) + 1, 2 * size_, std::size_t{64}});
  auto larger = std::make_unique<Slot[]>(size);
  for (std::size_t i = 0; i < size_; ++i) {
    larger[i] = slots_[i];
    if (larger[i].operations != nullptr) larger[i].operations->place_on_descriptor = &larger[i].operations;
    if (larger[i].handlers != nullptr) larger[i].handlers->place_on_descriptor = &larger[i].handlers;
  }
  slots_ = std::move(larger);
  size_ = size;
}

}  // namespace horus::HORUS_ABI::io
