// SPDX-License-Identifier: Apache-2.0
#include <horus/bag/source.hpp>

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <horus/base/above_standard.hpp>
#include <horus/io/file.hpp>

namespace horus::HORUS_ABI::bag {
namespace {

class FileSource final : public Source {
 public:
  FileSource(io::File file, std::uint64_t size) : file_(std::move(file)), size_(size) {}
  Task<Result<>> read(io::MutableBytes buffer, std::uint64_t offset) override {
    return file_.read_exact_at(buffer, offset);
  }
  std::uint64_t size() const noexcept override { return size_; }
  const std::string& name() const noexcept override { return file_.path(); }

 private:
  io::File file_;
  std::uint64_t size_;
};

class BlockingSource final : public Source {
 public:
  BlockingSource(int fd, std::uint64_t size, std::string name)
      : fd_(fd), size_(size), name_(std::move(name)) {}
  BlockingSource(const BlockingSource&) = delete;
  BlockingSource& operator=(const BlockingSource&) = delete;
  ~BlockingSource() override { ::close(fd_); }
  Task<Result<>> read(io::MutableBytes buffer, std::uint64_t offset) override {
    for (std::size_t done = 0; done < buffer.size();) {
      const ssize_t count =
          ::pread(fd_, buffer.data() + done, buffer.size() - done, static_cast<off_t>(offset + done));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) co_return Error(errno, "read", name_);
      if (count == 0) co_return Error(kEndOfStream, "read", name_);
      done += static_cast<std::size_t>(count);
    }
    co_return Result<>();
  }
  std::uint64_t size() const noexcept override { return size_; }
  const std::string& name() const noexcept override { return name_; }

 private:
  int fd_;
  std::uint64_t size_;
  std::string name_;
};

class MemorySource final : public Source {
 public:
  MemorySource(std::span<const std::byte> bytes, std::string name) : bytes_(bytes), name_(std::move(name)) {}
  Task<Result<>> read(io::MutableBytes buffer, std::uint64_t offset) override {
    if (offset > bytes_.size() || buffer.size() > bytes_.size() - offset)
      co_return Error(kEndOfStream, "read", name_);
    if (!buffer.empty()) std::memcpy(buffer.data(), bytes_.data() + offset, buffer.size());
    co_return Result<>();
  }
  std::uint64_t size() const noexcept override { return bytes_.size(); }
  const std::string& name() const noexcept override { return name_; }

 private:
  std::span<const std::byte> bytes_;
  std::string name_;
};

}  // namespace

Task<Result<std::unique_ptr<Source>>> open_file(std::string path) {
  auto file = co_await io::File::open_read(std::move(path));
  if (!file) co_return file.error();
  const auto size = co_await file->size();
  if (!size) co_return size.error();
  std::unique_ptr<Source> source = std::make_unique<FileSource>(std::move(*file), *size);
  co_return source;
}

Result<std::unique_ptr<Source>> open_blocking(const std::string& path) {
  const int fd = above_standard(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd < 0) return Error(errno, "open", path);
  struct stat about{};
  if (::fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) {
    const int problem = S_ISDIR(about.st_mode) ? EISDIR : EINVAL;
    ::close(fd);
    return Error(problem, "read", path);
  }
  std::unique_ptr<Source> source =
      std::make_unique<BlockingSource>(fd, static_cast<std::uint64_t>(about.st_size), path);
  return source;
}

std::unique_ptr<Source> in_memory(std::span<const std::byte> bytes, std::string name) {
  return std::make_unique<MemorySource>(bytes, std::move(name));
}

}  // namespace horus::HORUS_ABI::bag
