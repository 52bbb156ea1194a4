// SPDX-License-Identifier: Apache-2.0
#include <horus/bag/source.hpp>

#include <cstring>
#include <utility>

#include <horus/io/file.hpp>

namespace horus::bag {
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

std::unique_ptr<Source> in_memory(std::span<const std::byte> bytes, std::string name) {
  return std::make_unique<MemorySource>(bytes, std::move(name));
}

}  // namespace horus::bag
