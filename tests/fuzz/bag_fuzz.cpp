// SPDX-License-Identifier: Apache-2.0
// A recording, which may come from anybody: read by its index and by a scan, in order, within the limits.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <utility>

#include <horus/bag/reader.hpp>
#include <horus/io/reactor.hpp>

namespace {

using namespace horus;

Task<> read_all(std::span<const std::byte> bytes, bool scan) {
  bag::ReaderOptions options;
  options.ignore_index = scan;
  options.memory_bytes = 4096;  // chunks are dropped and unpacked again
  auto reader = co_await bag::Reader::open(bag::in_memory(bytes), options);
  if (!reader) co_return;
  const bag::Contents& contents = reader->contents();
  std::uint64_t last_ns = 0;
  std::size_t failures = 0;
  while (true) {
    const auto message = co_await reader->next();
    if (!message) {
      if (message.code() != kBadInput || ++failures > contents.chunks.size()) break;
      continue;
    }
    if (!contents.channels.contains(message->channel)) std::abort();
    // A scan knows the times of each chunk; an index may lie.
    if (!contents.indexed && message->log_ns < last_ns) std::abort();
    last_ns = message->log_ns;
  }
  for (const auto& index : contents.attachments) static_cast<void>(co_await reader->attachment(index));
  for (const auto& index : contents.metadata) static_cast<void>(co_await reader->metadata(index));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  for (const bool scan : {false, true}) {
    auto reading = read_all(bytes, scan);
    io::run(std::move(reading));
  }
  return 0;
}
