// SPDX-License-Identifier: Apache-2.0
//
// Random reads through io_uring with a registered file and registered buffers, hand-written.
//
//   file_read_raw_uring --file F --depth N --block 4096 [--direct] --ms M

#include "../common/file_load.hpp"
#include "uring.hpp"

int main(int argc, char** argv) {
  bench::FileLoad load(argc, argv);
  auto depth = static_cast<unsigned>(load.depth());
  bench::Ring ring(depth, 2 * depth);
  int fd = load.fd();
  if (int result = io_uring_register_files(ring.get(), &fd, 1); result < 0)
    bench::fail("register the file", -result);
  iovec memory{load.buffer(0), load.depth() * load.block()};
  if (int result = io_uring_register_buffers(ring.get(), &memory, 1); result < 0)
    bench::fail("register the buffers", -result);

  auto start_read = [&](std::size_t slot) {
    io_uring_sqe* entry = ring.entry();
    io_uring_prep_read_fixed(entry, 0, load.buffer(slot), static_cast<unsigned>(load.block()),
                             load.begin(slot), 0);
    entry->flags |= IOSQE_FIXED_FILE;
    io_uring_sqe_set_data64(entry, slot);
  };

  std::size_t in_flight = load.depth();
  for (std::size_t slot = 0; slot < load.depth(); ++slot) start_read(slot);
  while (in_flight > 0) {
    ring.submit_and_wait(1);
    ring.for_each_completion([&](const io_uring_cqe& completion) {
      if (load.end(completion.user_data, completion.res)) start_read(completion.user_data);
      else --in_flight;
    });
  }
  load.print();
}
