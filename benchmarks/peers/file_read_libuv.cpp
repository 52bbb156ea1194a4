// SPDX-License-Identifier: Apache-2.0
//
// Random reads through libuv's thread pool (UV_THREADPOOL_SIZE threads, 4 by default).
//
//   file_read_libuv --file F --depth N --block 4096 [--direct] --ms M

#include <uv.h>

#include "../common/file_load.hpp"

struct Read {
  uv_fs_t request;
  bench::FileLoad* load;
  std::size_t slot;
};

static void start_read(Read* read) {
  bench::FileLoad& load = *read->load;
  uv_buf_t buffer =
      uv_buf_init(reinterpret_cast<char*>(load.buffer(read->slot)), static_cast<unsigned>(load.block()));
  auto offset = static_cast<std::int64_t>(load.begin(read->slot));
  read->request.data = read;
  uv_fs_read(uv_default_loop(), &read->request, load.fd(), &buffer, 1, offset, [](uv_fs_t* request) {
    auto* finished = static_cast<Read*>(request->data);
    auto result = static_cast<std::int64_t>(request->result);
    uv_fs_req_cleanup(request);
    if (finished->load->end(finished->slot, result)) start_read(finished);
  });
}

int main(int argc, char** argv) {
  bench::FileLoad load(argc, argv);
  std::vector<Read> reads(load.depth());
  for (std::size_t slot = 0; slot < load.depth(); ++slot) {
    reads[slot].load = &load;
    reads[slot].slot = slot;
    start_read(&reads[slot]);
  }
  uv_run(uv_default_loop(), UV_RUN_DEFAULT);
  load.print();
}
