// SPDX-License-Identifier: Apache-2.0
//
// Random reads of one file through Horus, one coroutine per read in flight.
//
//   file_read --file F --depth N --block 4096 [--direct] --ms M [--backend uring|epoll]
//
// Direct reads go into registered buffers. Cached ones do not: the copy into a registered page is 4 % slower.

#include <optional>
#include <string>
#include <vector>

#include <horus/io/file.hpp>
#include <horus/task/scope.hpp>

#include "common/file_load.hpp"

namespace {

int outcome(const horus::Result<std::size_t>& size) { return size ? static_cast<int>(*size) : -size.code(); }

horus::Task<> read_fixed(bench::FileLoad& load, const horus::io::File& file, horus::io::FixedBuffer buffer,
                         std::size_t slot) {
  while (true) {
    const auto size = co_await file.read_fixed_at(buffer, load.begin(slot));
    if (!load.end(slot, outcome(size))) break;
  }
}

horus::Task<> read_plain(bench::FileLoad& load, const horus::io::File& file, std::size_t slot) {
  const std::span<std::byte> buffer(load.buffer(slot), load.block());
  while (true) {
    const auto size = co_await file.read_at(buffer, load.begin(slot));
    if (!load.end(slot, outcome(size))) break;
  }
}

horus::Task<> read_all(bench::FileLoad& load) {
  const horus::io::File file(horus::io::Descriptor(load.fd()), "the data file");
  std::optional<horus::io::FixedBuffers> buffers;
  if (load.direct()) {
    auto made = horus::io::FixedBuffers::over({load.buffer(0), load.depth() * load.block()}, load.depth());
    buffers.emplace(std::move(made).or_throw());
  }
  horus::Scope readers("readers");
  for (std::size_t slot = 0; slot < load.depth(); ++slot) {
    static_cast<void>(readers.spawn(buffers ? read_fixed(load, file, (*buffers)[slot], slot)
                                            : read_plain(load, file, slot)));
  }
  co_await readers.join();
}

}  // namespace

int main(int argc, char** argv) {
  bench::Arguments extra(argc, argv);
  const std::string backend = extra.text("--backend", "auto");
  bench::FileLoad load(argc, argv, &extra);
  horus::io::ReactorConfig config;
  if (backend == "uring") config.backend = horus::io::BackendChoice::uring;
  if (backend == "epoll") config.backend = horus::io::BackendChoice::epoll;
  horus::io::Reactor reactor(config);
  auto reading = read_all(load);
  reactor.run(std::move(reading));
  load.print();
}
