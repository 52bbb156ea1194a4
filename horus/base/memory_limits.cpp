// SPDX-License-Identifier: Apache-2.0
#include <horus/base/memory_limits.hpp>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <string_view>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fmt/format.h>

namespace horus::HORUS_ABI::detail {
namespace {

// The beginning of a file of /proc, in a buffer that needs no memory: there may be none.
template <std::size_t kBytes>
class ProcFile {
 public:
  explicit ProcFile(const char* path) noexcept {
    const int file = ::open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    while (size_ < kBytes) {
      const ssize_t more = ::read(file, bytes_.data() + size_, kBytes - size_);
      if (more <= 0) break;
      size_ += static_cast<std::size_t>(more);
    }
    ::close(file);
  }
  [[nodiscard]] std::string_view text() const noexcept { return {bytes_.data(), size_}; }

 private:
  std::array<char, kBytes> bytes_;
  std::size_t size_ = 0;
};

bool read_number(std::string_view text, std::uint64_t& value) noexcept {
  const std::size_t begin = text.find_first_of("0123456789");
  if (begin == std::string_view::npos) return false;
  return std::from_chars(text.data() + begin, text.data() + text.size(), value).ec == std::errc();
}

// "CommitLimit:   123 kB", in bytes.
void read_line(std::string_view text, std::string_view name, std::uint64_t& bytes) noexcept {
  const std::size_t at = text.find(name);
  std::uint64_t kib = 0;
  if (at != std::string_view::npos && read_number(text.substr(at + name.size()), kib)) bytes = kib * 1024;
}

std::uint64_t limit_of(int resource) noexcept {
  rlimit limit{};
  if (::getrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
    return MemoryFacts::kUnlimited;
  return limit.rlim_cur;
}

std::uint64_t count_mappings() noexcept {
  const int file = ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  std::array<char, 4096> bytes;
  std::uint64_t lines = 0;
  while (true) {
    const ssize_t more = ::read(file, bytes.data(), bytes.size());
    if (more <= 0) break;
    for (ssize_t i = 0; i < more; ++i) lines += bytes[static_cast<std::size_t>(i)] == '\n' ? 1 : 0;
  }
  ::close(file);
  return lines;
}

std::uint64_t kib(std::uint64_t bytes) noexcept { return (bytes + 1023) / 1024; }

bool exceeds(std::uint64_t used, std::uint64_t more, std::uint64_t limit) noexcept {
  return limit != MemoryFacts::kUnlimited && (used > limit || more > limit - used);
}

// Both ENOMEM of a mapping and ENOSPC of a file in memory.
std::string machine_limit(std::uint64_t bytes, const MemoryFacts& facts) {
  if (facts.overcommit == 2) {
    return fmt::format(
        "(memory of the machine: vm.overcommit_memory is 2, and of CommitLimit, {} KiB, {} KiB are promised; "
        "{} KiB more do not fit)",
        kib(facts.commit_limit), kib(facts.committed), kib(bytes));
  }
  if (facts.available == MemoryFacts::kUnlimited) return "(the machine or its control group has no memory)";
  return fmt::format(
      "(the machine or its control group has no memory for {} KiB more; MemAvailable is {} KiB)", kib(bytes),
      kib(facts.available));
}

std::string mapping_limit(MemoryCall call, std::uint64_t bytes, const MemoryFacts& facts) {
  if (exceeds(facts.addresses, bytes, facts.address_limit)) {
    return fmt::format(
        "(address space: RLIMIT_AS is {} KiB, {} KiB are mapped, and this takes {} KiB more; raise it with "
        "ulimit -v)",
        kib(facts.address_limit), kib(facts.addresses), kib(bytes));
  }
  if (call == MemoryCall::map_private && exceeds(facts.data, bytes, facts.data_limit)) {
    return fmt::format(
        "(data of the process: RLIMIT_DATA is {} KiB, {} KiB are used, and this takes {} KiB more; raise it "
        "with ulimit -d)",
        kib(facts.data_limit), kib(facts.data), kib(bytes));
  }
  if (exceeds(facts.mappings, 1, facts.mapping_limit)) {
    return fmt::format("(number of mappings: vm.max_map_count is {}, and all are used; raise it with sysctl)",
                       facts.mapping_limit);
  }
  return machine_limit(bytes, facts);
}

}  // namespace

MemoryFacts MemoryFacts::read() {
  MemoryFacts facts;
  facts.address_limit = limit_of(RLIMIT_AS);
  facts.data_limit = limit_of(RLIMIT_DATA);
  facts.file_size_limit = limit_of(RLIMIT_FSIZE);
  facts.lock_limit = limit_of(RLIMIT_MEMLOCK);
  facts.descriptor_limit = limit_of(RLIMIT_NOFILE);
  {
    const ProcFile<4096> status("/proc/self/status");
    read_line(status.text(), "VmSize:", facts.addresses);
    read_line(status.text(), "VmData:", facts.data);
  }
  facts.mappings = count_mappings();
  read_number(ProcFile<32>("/proc/sys/vm/max_map_count").text(), facts.mapping_limit);
  read_number(ProcFile<32>("/proc/sys/vm/overcommit_memory").text(), facts.overcommit);
  const ProcFile<4096> machine("/proc/meminfo");
  read_line(machine.text(), "CommitLimit:", facts.commit_limit);
  read_line(machine.text(), "Committed_AS:", facts.committed);
  read_line(machine.text(), "MemAvailable:", facts.available);
  return facts;
}

std::string memory_limit(int error, MemoryCall call, std::uint64_t bytes, const MemoryFacts& facts) {
  switch (error) {
    case EMFILE:
      return fmt::format("(descriptors: RLIMIT_NOFILE is {}, and all are open; raise it with ulimit -n)",
                         facts.descriptor_limit);
    case ENFILE: return "(descriptors of the whole system: raise fs.file-max with sysctl)";
    case EFBIG:
      return fmt::format(
          "(size of a file: RLIMIT_FSIZE is {} KiB, and this one takes {} KiB; raise it with ulimit -f)",
          kib(facts.file_size_limit), kib(bytes));
    case EAGAIN:
      return fmt::format(
          "(locked memory: RLIMIT_MEMLOCK is {} KiB, and this process locks what it maps; {} KiB more do not "
          "fit; raise it with ulimit -l)",
          kib(facts.lock_limit), kib(bytes));
    case ENOMEM:
      return call == MemoryCall::map_private || call == MemoryCall::map_shared
                 ? mapping_limit(call, bytes, facts)
                 : machine_limit(bytes, facts);
    case ENOSPC: return machine_limit(bytes, facts);
    default: return {};
  }
}

Error memory_error(int error, MemoryCall call, std::uint64_t bytes, const char* operation,
                   std::string_view target) {
  const std::string limit = memory_limit(error, call, bytes, MemoryFacts::read());
  const Error plain(error == EAGAIN ? ENOMEM : error, operation, target);
  return limit.empty() ? plain : plain.with_detail(limit);
}

}  // namespace horus::HORUS_ABI::detail
