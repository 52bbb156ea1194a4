// SPDX-License-Identifier: Apache-2.0
//
// The workload of `file_read`: random aligned reads of one file, `--depth` of them in flight, for `--ms`.
//
//   bench::FileLoad load(argc, argv);   // --file F --depth N --block 4096 [--direct] --ms M [--json]
//   for each slot 0 … depth-1: start a read of load.begin(slot) into load.buffer(slot)
//   on completion:             if (load.end(slot, result)) start the next one, else stop
//   load.print();
//
// A slot is one read in flight. One thread calls it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>

#include "arguments.hpp"
#include "measure.hpp"

namespace bench {

class FileLoad {
 public:
  FileLoad(int argc, char** argv, Arguments* extra = nullptr) {
    Arguments own(argc, argv);
    Arguments& arguments = extra != nullptr ? *extra : own;
    path_ = arguments.text("--file", "");
    depth_ = arguments.count("--depth", 32);
    block_ = arguments.count("--block", 4096);
    direct_ = arguments.flag("--direct");
    std::uint64_t duration_ms = arguments.count("--ms", 1000);
    json_ = arguments.flag("--json");
    arguments.finish();
    if (path_.empty()) fail("--file is needed: a file with real data, larger than one block");
    if (depth_ == 0 || block_ == 0) fail("--depth and --block want to be above 0");

    fd_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC | (direct_ ? O_DIRECT : 0));
    if (fd_ < 0) fail("open " + path_, errno);
    struct stat status{};
    if (fstat(fd_, &status) != 0) fail("stat " + path_, errno);
    blocks_ = static_cast<std::uint64_t>(status.st_size) / block_;
    if (blocks_ == 0) fail(path_ + " is smaller than one block");

    constexpr std::size_t kAlignment = 4096;
    std::size_t bytes = (depth_ * block_ + kAlignment - 1) / kAlignment * kAlignment;
    memory_ = static_cast<std::byte*>(std::aligned_alloc(kAlignment, bytes));
    if (memory_ == nullptr) fail("allocate buffers", ENOMEM);
    std::memset(memory_, 0, bytes);
    started_ns_.resize(depth_);
    start_ns_ = monotonic_ns();
    stop_ns_ = start_ns_ + duration_ms * 1'000'000;
    cpu_start_ns_ = process_cpu_ns();
  }

  FileLoad(const FileLoad&) = delete;
  FileLoad& operator=(const FileLoad&) = delete;
  ~FileLoad() { std::free(memory_); }

  int fd() const { return fd_; }
  bool direct() const { return direct_; }
  std::size_t depth() const { return depth_; }
  std::size_t block() const { return block_; }
  std::byte* buffer(std::size_t slot) const { return memory_ + slot * block_; }

  // Starts the clock of a slot and returns the offset to read.
  std::uint64_t begin(std::size_t slot) {
    started_ns_[slot] = monotonic_ns();
    return random_.below(blocks_) * block_;
  }

  // Takes the result of a read (bytes or -errno); false when the time is over and no more shall be started.
  bool end(std::size_t slot, std::int64_t result) {
    if (result != static_cast<std::int64_t>(block_))
      fail("read " + path_ + (result < 0 ? "" : ": short read"), result < 0 ? static_cast<int>(-result) : 0);
    std::uint64_t now = monotonic_ns();
    if (now >= stop_ns_) {
      if (cpu_ns_ == 0) {
        cpu_ns_ = process_cpu_ns() - cpu_start_ns_;
        elapsed_ns_ = now - start_ns_;
      }
      return false;
    }
    latency_.record(now - started_ns_[slot]);
    return true;
  }

  void print() const {
    auto operations = static_cast<double>(latency_.count());
    Report report;
    report.add("kiops", operations / (static_cast<double>(elapsed_ns_) / 1e6));
    report.add("cpu_us_op", static_cast<double>(cpu_ns_) / 1e3 / operations);
    report.add("p50_us", latency_.quantile_us(0.5));
    report.add("p99_us", latency_.quantile_us(0.99));
    report.add("cpu_s", static_cast<double>(cpu_ns_) / 1e9);
    report.print(json_);
  }

 private:
  std::string path_;
  std::size_t depth_ = 0;
  std::size_t block_ = 0;
  bool direct_ = false;
  bool json_ = false;
  int fd_ = -1;
  std::uint64_t blocks_ = 0;
  std::byte* memory_ = nullptr;
  std::vector<std::uint64_t> started_ns_;
  std::uint64_t start_ns_ = 0;
  std::uint64_t stop_ns_ = 0;
  std::uint64_t cpu_start_ns_ = 0;
  std::uint64_t cpu_ns_ = 0;
  std::uint64_t elapsed_ns_ = 0;
  Random random_;
  Histogram latency_;
};

}  // namespace bench
