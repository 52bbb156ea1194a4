// SPDX-License-Identifier: Apache-2.0
// write_recording FILE zstd|none: a recording with 3000 messages of JSON on two topics and 300 of bytes on a third, as the
// Recorder makes it, for readers of others.
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include <horus/bag/recorder.hpp>
#include <horus/io/reactor.hpp>

namespace {

using namespace horus;

Task<> write(std::string path, bool packed) {
  bag::RecorderOptions options;
  options.overwrite = true;
  options.writer.chunk_bytes = 20'000;
  options.writer.compression = packed ? bag::Compression::zstd : bag::Compression::none;
  bag::Recorder recorder(std::move(path), options);
  const auto schema = recorder.add_schema("Status", "jsonschema", R"({"type":"object"})").or_throw();
  const auto left = recorder.add_channel("/left", "json", schema, {{"offered_qos_profiles", ""}}).or_throw();
  const auto right = recorder.add_channel("/right", "json", schema).or_throw();
  const auto raw = recorder.add_channel("/raw", "application/octet-stream", 0).or_throw();
  recorder.add(bag::Metadata{"horus.clock", {{"source", "test"}}}).or_throw();
  recorder.add(bag::Attachment{5, 6, "rover.toml", "application/toml", "rate = 50\n"}).or_throw();
  for (std::uint32_t i = 0; i < 3000; ++i) {
    const std::string data = fmt::format(R"({{"number":{},"text":"{}"}})", i, std::string(i % 97, 'x'));
    bag::Message message;
    message.channel = i % 3 == 0 ? right : left;
    message.sequence = i;
    message.log_ns = 1'764'000'000'000'000'000 + std::uint64_t{i} * 1'000'000;
    message.publish_ns = message.log_ns - 1000;
    message.data = std::as_bytes(std::span(data));
    if (!recorder.record(message)) throw Error(ENOBUFS, "record");
    if (i % 10 != 0) continue;
    message.channel = raw;
    message.log_ns += 1;
    if (!recorder.record(message)) throw Error(ENOBUFS, "record");
  }
  recorder.stop();
  (co_await recorder.run()).or_throw();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  try {
    auto writing = write(argv[1], std::string_view(argv[2]) == "zstd");
    io::run(std::move(writing));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
