// SPDX-License-Identifier: Apache-2.0
//
// Recordings: how much one core writes and reads, in CPU time, without a disk.
//
//   bag [--seconds S]
//
// plain: 1 MB messages, stored as they are; zstd: telemetry of 320 bytes, packed at level 1; small: 64 bytes, plain.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <horus/bag/reader.hpp>
#include <horus/bag/writer.hpp>
#include <horus/io/reactor.hpp>

namespace {

using namespace horus;

double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

struct Rate {
  double messages = 0;  // per CPU second
  double megabytes = 0;
  double ratio = 1;  // bytes of data to bytes of the file
};

// One round of each message, over and over; the file goes into `sink` as it would into the page cache.
Rate write(const std::vector<std::vector<std::byte>>& messages, bag::Compression compression, double seconds,
           std::vector<std::byte>* file) {
  bag::WriterOptions options;
  options.compression = compression;
  bag::Writer writer(options);
  const auto schema = writer.add_schema("Sample", "ros2msg", "uint8[] data").or_throw();
  const auto channel = writer.add_channel("/sample", "cdr", schema).or_throw();
  std::vector<std::byte> sink(std::size_t{4} << 20);
  const auto put = [&](std::span<const std::byte> bytes) {
    if (file != nullptr) {
      file->insert(file->end(), bytes.begin(), bytes.end());
    } else {
      std::memcpy(sink.data(), bytes.data(), std::min(sink.size(), bytes.size()));
    }
  };
  put(writer.begin());
  std::uint64_t count = 0;
  std::uint64_t bytes = 0;
  bag::Chunk spare;
  const double start = cpu_seconds();
  double spent = 0;
  while (true) {
    for (const auto& data : messages) {
      bag::Message message;
      message.channel = channel;
      message.sequence = static_cast<std::uint32_t>(count);
      message.log_ns = message.publish_ns = count;
      message.data = data;
      writer.add(message).or_throw();
      ++count;
      bytes += data.size();
      if (!writer.due(count)) continue;
      bag::Chunk chunk = writer.take(std::move(spare));
      chunk.seal(options.compression, options.level, options.least_saving);
      put(writer.place(chunk));
      spare = std::move(chunk);
    }
    spent = cpu_seconds() - start;
    if (spent >= seconds || (file != nullptr && file->size() > (std::size_t{128} << 20))) break;
  }
  bag::Chunk last = writer.take();
  last.seal(options.compression, options.level, options.least_saving);
  put(writer.place(last));
  put(writer.finish());
  return {static_cast<double>(count) / spent, static_cast<double>(bytes) / spent / 1e6,
          static_cast<double>(bytes) / static_cast<double>(writer.position())};
}

Task<Rate> read(std::span<const std::byte> file) {
  auto reader = (co_await bag::Reader::open(bag::in_memory(file), bag::ReaderOptions())).or_throw();
  Rate rate;
  const double start = cpu_seconds();
  while (true) {
    const auto message = co_await reader.next();
    if (!message) break;
    ++rate.messages;
    rate.megabytes += static_cast<double>(message->data.size()) / 1e6;
  }
  const double spent = cpu_seconds() - start;
  rate.messages /= spent;
  rate.megabytes /= spent;
  co_return rate;
}

std::vector<std::vector<std::byte>> telemetry(std::size_t count, std::size_t size) {
  std::vector<std::vector<std::byte>> messages(count, std::vector<std::byte>(size));
  std::uint32_t chance = 1;
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t at = 60; at + 8 <= size && at < 140; at += 8) {
      chance = chance * 1664525U + 1013904223U;
      const double value =
          std::sin(static_cast<double>(i + at) / 50) + static_cast<double>(chance >> 8) * 1e-9;
      std::memcpy(messages[i].data() + at, &value, sizeof value);
    }
  }
  return messages;
}

void tell(const char* what, const Rate& rate) {
  std::printf("%-11s %8.0f MB/s  %10.0f messages/s  x%.2f\n", what, rate.megabytes, rate.messages,
              rate.ratio);
}

void tell_reading(const char* what, std::span<const std::byte> file) {
  auto reading = read(file);
  tell(what, io::run(std::move(reading)));
}

}  // namespace

int main(int argc, char** argv) {
  double seconds = 2;
  if (argc == 3 && std::string_view(argv[1]) == "--seconds") seconds = std::atof(argv[2]);
  const auto large = telemetry(8, 1'000'000);
  const auto imu = telemetry(2400, 320);
  const auto small = telemetry(10'000, 64);
  tell("write plain", write(large, bag::Compression::none, seconds, nullptr));
  tell("write zstd", write(imu, bag::Compression::zstd, seconds, nullptr));
  tell("write small", write(small, bag::Compression::none, seconds, nullptr));
  std::vector<std::byte> file;
  write(imu, bag::Compression::zstd, seconds, &file);
  tell_reading("read zstd", file);
  file.clear();
  write(small, bag::Compression::none, seconds, &file);
  tell_reading("read small", file);
  return 0;
}
