// SPDX-License-Identifier: Apache-2.0
//
// Random reads through Asio's random_access_file (io_uring), one coroutine per read in flight.
//
//   file_read_asio_uring --file F --depth N --block 4096 [--direct] --ms M

#include "../common/file_load.hpp"
#include "net.hpp"

static net::awaitable<void> read_blocks(bench::FileLoad& load, net::random_access_file& file,
                                        std::size_t slot) {
  std::size_t received = 0;
  do {
    std::uint64_t offset = load.begin(slot);
    received = co_await file.async_read_some_at(offset, net::buffer(load.buffer(slot), load.block()),
                                                net::use_awaitable);
  } while (load.end(slot, static_cast<std::int64_t>(received)));
}

int main(int argc, char** argv) {
  bench::FileLoad load(argc, argv);
  net::io_context context(1);
  net::random_access_file file(context, load.fd());
  for (std::size_t slot = 0; slot < load.depth(); ++slot)
    net::co_spawn(context, read_blocks(load, file, slot), [](std::exception_ptr error) {
      if (error) std::rethrow_exception(error);
    });
  context.run();
  load.print();
}
