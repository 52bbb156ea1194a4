// SPDX-License-Identifier: Apache-2.0
#include <horus/io/directory.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <optional>
#include <system_error>

#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/io/descriptor.hpp>
#include <horus/io/file/file_operations.hpp>
#include <horus/io/file/path_operations.hpp>
#include <horus/io/fs.hpp>
#include <horus/io/offload.hpp>

namespace horus::HORUS_ABI::io::fs {
namespace {

constexpr std::size_t kBatch = std::size_t{16} << 10;  // bytes of one getdents call
constexpr int kRemoveAttempts = 3;                     // for folders that others fill while they are removed
constexpr int kNameAttempts = 16;
constexpr int kOpenFolder = O_RDONLY | O_DIRECTORY | O_CLOEXEC;

int list_now(System* system, int folder, void* buffer, std::size_t size) {
  return system->list_directory(folder, buffer, size);
}

// Walks an open folder in batches. It lives in a frame that awaits `refill`, so the descriptor outlives the pool's use.
class Listing {
 public:
  explicit Listing(Descriptor folder) : folder_(std::move(folder)), buffer_(kBatch) {}
  [[nodiscard]] int fd() const noexcept { return folder_.get(); }

  // True when there is more. Only while next() gives nothing.
  Task<Result<bool>> refill() {
    auto listing = offload_on(ThreadPool::files(), &list_now, &Reactor::current()->system(), folder_.get(),
                              static_cast<void*>(buffer_.data()), buffer_.size());
    const auto bytes = co_await listing;
    if (!bytes) co_return bytes.error();
    if (*bytes < 0) co_return Error(-*bytes, "list");
    next_ = 0;
    end_ = static_cast<std::size_t>(*bytes);
    co_return *bytes > 0;
  }
  std::optional<DirectoryEntry> next() {
    while (next_ < end_) {
      const auto* raw = reinterpret_cast<const dirent64*>(buffer_.data() + next_);
      next_ += raw->d_reclen;
      const std::string_view name = raw->d_name;
      if (name == "." || name == "..") continue;
      DirectoryEntry entry;
      entry.name = name;
      entry.kind = file_kind(DTTOIF(raw->d_type));
      entry.inode = raw->d_ino;
      return entry;
    }
    return std::nullopt;
  }

 private:
  Descriptor folder_;
  std::vector<std::byte> buffer_;
  std::size_t next_ = 0;
  std::size_t end_ = 0;
};

// Some file systems do not keep the kind beside the name.
Task<FileKind> kind_of(int folder, const std::string& name) {
  const auto status = co_await detail::StatusQuery(folder, name, AT_SYMLINK_NOFOLLOW);
  co_return status ? status->kind : FileKind::unknown;
}

Task<Result<std::uint64_t>> remove_entry(int folder, std::string name, std::string shown, bool is_folder,
                                         unsigned depth);

// Everything in an open folder.
Task<Result<std::uint64_t>> remove_contents(Listing& listing, const std::string& shown, unsigned depth) {
  std::uint64_t removed = 0;
  while (true) {
    auto refilling = listing.refill();
    const auto more = co_await refilling;
    if (!more) co_return more.error().on("list", shown);
    if (!*more) break;
    while (auto entry = listing.next()) {
      const bool is_folder = entry->kind == FileKind::directory;
      auto removing = remove_entry(listing.fd(), entry->name, shown + '/' + entry->name, is_folder, depth);
      const auto count = co_await removing;
      if (!count) co_return count.error();
      removed += *count;
    }
  }
  co_return removed;
}

// One name in an open folder. Working on descriptors, it never leaves the tree, whatever others rename meanwhile.
Task<Result<std::uint64_t>> remove_entry(int folder, std::string name, std::string shown, bool is_folder,
                                         unsigned depth) {
  Result<> unlinked = Error(EISDIR, "remove");
  if (!is_folder) unlinked = co_await detail::Unlink(folder, name);
  if (unlinked) co_return std::uint64_t{1};
  if (unlinked.code() == ENOENT) co_return std::uint64_t{0};
  if (unlinked.code() != EISDIR && unlinked.code() != EPERM) co_return unlinked.error().on("remove", shown);
  std::uint64_t removed = 0;
  for (int attempt = 0;; ++attempt) {
    auto opened = co_await detail::FileOpen(folder, name, kOpenFolder | O_NOFOLLOW, 0);
    if (!opened && opened.code() == ENOENT) co_return removed;
    if (!opened && opened.code() == ENOTDIR) co_return unlinked.error().on("remove", shown);
    if (!opened) co_return opened.error().on("remove", shown);
    if (depth == 0) co_return Error(EOVERFLOW, "remove", shown + " (too many folders in folders)");
    Listing listing(*std::move(opened));
    auto emptying = remove_contents(listing, shown, depth - 1);
    const auto count = co_await emptying;
    if (!count) co_return count.error();
    removed += *count;
    const auto gone = co_await detail::Unlink(folder, name, AT_REMOVEDIR);
    if (gone) co_return removed + 1;
    if (gone.code() == ENOENT) co_return removed;
    if (gone.code() != ENOTEMPTY || attempt + 1 == kRemoveAttempts)
      co_return gone.error().on("remove", shown);
  }
}

}  // namespace

AsyncStream<Result<DirectoryEntry>> entries(std::string path) {
  auto opened = co_await detail::FileOpen(AT_FDCWD, path, kOpenFolder, 0);
  if (!opened) {
    co_yield Result<DirectoryEntry>(opened.error().on("list", path));
    co_return;
  }
  Listing listing(*std::move(opened));
  while (true) {
    auto refilling = listing.refill();
    const auto more = co_await refilling;
    if (!more) {
      co_yield Result<DirectoryEntry>(more.error().on("list", path));
      break;
    }
    if (!*more) break;
    while (auto entry = listing.next()) {
      if (entry->kind == FileKind::unknown) {
        auto asking = kind_of(listing.fd(), entry->name);
        entry->kind = co_await asking;
      }
      co_yield Result<DirectoryEntry>(*std::move(entry));
    }
  }
}

namespace {

constexpr std::size_t kSortedHere = 2048;  // entries; more are put together and sorted by a thread

using Entries = std::vector<DirectoryEntry>;

Entries sorted(std::vector<Entries> parts) {
  Entries all = std::move(parts.front());
  std::size_t count = 0;
  for (const Entries& part : parts) count += part.size();
  all.reserve(all.size() + count);
  for (Entries& part : parts) std::move(part.begin(), part.end(), std::back_inserter(all));
  std::sort(all.begin(), all.end(),
            [](const DirectoryEntry& a, const DirectoryEntry& b) { return a.name < b.name; });
  return all;
}

}  // namespace

// In parts, because moving and sorting a hundred thousand names takes the loop's thread tens of milliseconds.
Task<Result<std::vector<DirectoryEntry>>> read_directory(std::string path, std::size_t limit) {
  std::vector<Entries> parts(1);
  std::size_t count = 0;
  auto names = entries(path);
  while (true) {
    auto entry = co_await names.next();
    if (!entry) break;
    if (!*entry) co_return entry->error();
    if (count == limit) {
      co_return Error(EOVERFLOW, "list", fmt::format("{} (more than {} entries)", path, limit));
    }
    ++count;
    if (parts.back().size() == kSortedHere) parts.emplace_back();
    parts.back().push_back(std::move(**entry));
  }
  if (parts.size() == 1) co_return Result<Entries>(sorted(std::move(parts)));
  auto sorting = offload(&sorted, std::move(parts));
  auto all = co_await sorting;
  if (!all) co_return all.error().on("list", path);
  co_return Result<Entries>(*std::move(all));
}

Task<Result<std::uint64_t>> remove_all(std::string path, unsigned depth) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  auto removing = remove_entry(AT_FDCWD, path, path, false, depth);
  auto removed = co_await removing;
  co_return removed;
}

std::string temporary_path() {
  const char* folder = std::getenv("TMPDIR");
  return folder != nullptr && *folder != '\0' ? folder : "/tmp";
}

Task<Result<TemporaryDirectory>> TemporaryDirectory::create(std::string prefix, std::string folder) {
  if (folder.empty()) folder = temporary_path();
  std::string path;
  for (int attempt = 0; attempt < kNameAttempts; ++attempt) {
    std::uint64_t random = 0;
    Reactor::current()->system().random_bytes(&random, sizeof random);
    path = fmt::format("{}/{}-{:016x}", folder, prefix, random);
    const auto made = co_await detail::MakeDirectory(path, 0700);
    if (made) co_return TemporaryDirectory(std::move(path));
    if (made.code() != EEXIST) co_return made.error().on("create directory", path);
  }
  co_return Error(EEXIST, "create directory", path);
}

TemporaryDirectory::~TemporaryDirectory() {
  if (path_.empty()) return;
  if (Reactor* reactor = Reactor::current()) {
    reactor->system().remove_tree(path_.c_str());
    return;
  }
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

namespace {

Task<Result<>> remove_folder(std::string path) {
  auto removing = remove_all(std::move(path));
  const auto removed = co_await removing;
  if (!removed) co_return removed.error();
  co_return Result<>();
}

}  // namespace

Task<Result<>> TemporaryDirectory::remove() { return remove_folder(release()); }

}  // namespace horus::HORUS_ABI::io::fs
