// SPDX-License-Identifier: Apache-2.0
// Files when things go wrong: missing, refused, full, cancelled, destroyed meanwhile; and whole-file helpers.
#include <array>
#include <memory>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/io/directory.hpp>
#include <horus/io/file.hpp>
#include <horus/io/file_contents.hpp>
#include <horus/io/fs.hpp>
#include <horus/io/time.hpp>
#include <horus/task/event.hpp>

#include "../support/through_backend.hpp"

using horus::Task;
using horus::io::File;
using horus::io::OpenOptions;
using horus::testing::Folder;
using namespace horus::literals;

namespace {

Task<std::string> names_in(std::string path) {
  auto listing = horus::io::fs::read_directory(std::move(path));
  const auto entries = (co_await listing).or_throw();
  std::string names;
  for (const auto& entry : entries) names += entry.name + ' ';
  co_return names;
}

}  // namespace

TEST_CASE("a missing file is one sentence with the path and advice") {
  auto body = []() -> Task<> {
    auto opening = File::open_read("/no/such/file");
    const auto opened = co_await opening;
    CHECK(opened.error().message() == "open /no/such/file: no such file or directory (check the path)");
  };
  horus::io::run(body());
}

TEST_CASE("opening fails with the system's own reason") {
  Folder folder;
  auto body = [&]() -> Task<> {
    auto writable_folder = File::open(folder.path, OpenOptions().write());
    const auto is_folder = co_await writable_folder;
    CHECK(is_folder.code() == EISDIR);
    auto too_long = File::create(folder / std::string(300, 'n'));
    const auto long_name = co_await too_long;
    CHECK(long_name.code() == ENAMETOOLONG);
    auto making = horus::io::write_file(folder / "plain", "text");
    (co_await making).or_throw();
    auto through_file = File::open_read(folder / "plain/below");
    const auto not_folder = co_await through_file;
    CHECK(not_folder.code() == ENOTDIR);
    auto missing_folder = horus::io::write_file(folder / "none/file", "text");
    const auto missing = co_await missing_folder;
    CHECK(missing.code() == ENOENT);
    auto read_folder = horus::io::read_file(folder.path);
    const auto unreadable = co_await read_folder;
    CHECK(unreadable.code() == EISDIR);
    auto linking = horus::io::fs::symlink(folder / "plain", folder / "link");
    (co_await linking).or_throw();
    auto no_follow = File::open(folder / "link", OpenOptions().read().no_follow());
    const auto link = co_await no_follow;
    CHECK(link.code() == ELOOP);
    if (::geteuid() != 0 && !horus::testing::simulated()) {
      horus::testing::system().change_mode((folder / "plain").c_str(), 0);
      auto denied = File::open_read(folder / "plain");
      const auto refused = co_await denied;
      CHECK(refused.code() == EACCES);
    }
  };
  horus::io::run(body());
}

TEST_CASE("a file opened for reading refuses to be written, with its path") {
  Folder folder;
  auto body = [&]() -> Task<> {
    auto making = horus::io::write_file(folder / "f", "text");
    (co_await making).or_throw();
    auto opening = File::open_read(folder / "f");
    const File file = (co_await opening).or_throw();
    const auto written = co_await file.write_at("x", 0);
    CHECK(written.code() == EBADF);
    CHECK(written.error().target() == folder / "f");
  };
  horus::io::run(body());
}

TEST_CASE("a full disk is said on every way to write") {
  auto body = []() -> Task<> {
    auto opening = File::open("/dev/full", OpenOptions().write());
    File file = (co_await opening).or_throw();
    auto streaming = file.write_all("text");
    const auto streamed = co_await streaming;
    CHECK(streamed.error().message() ==
          "write /dev/full: no space left on device (free some space on that disk)");
    const auto positional = co_await file.write_at("text", 0);
    CHECK(positional.code() == ENOSPC);
    auto helper = horus::io::write_file("/dev/full", "text");
    const auto written = co_await helper;
    CHECK(written.code() == ENOSPC);
  };
  horus::io::run(body());
}

TEST_CASE("a read that waits for a writer of a FIFO ends when its task is stopped") {
  NEEDS_REAL_KERNEL("a FIFO");
  Folder folder;
  const std::string path = folder / "fifo";
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  auto body = [&]() -> Task<> {
    auto opening = File::open(path, OpenOptions().read().write());
    const File fifo = (co_await opening).or_throw();
    std::array<char, 16> buffer{};
    auto waiting = fifo.read(buffer).as_task();
    const auto nothing = co_await horus::with_timeout(5ms, std::move(waiting));
    CHECK(nothing.code() == ETIMEDOUT);
    auto writing = fifo.write_all("data");
    (co_await writing).or_throw();
    const auto size = co_await fifo.read(buffer);
    CHECK(*size == 4);
  };
  horus::io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("FIFOs whose other end nobody opens hold up neither files nor each other") {
  NEEDS_REAL_KERNEL("a FIFO");
  constexpr int kFifos = 40;  // more than any pool of ours has threads
  Folder folder;
  auto body = [&]() -> Task<> {
    std::vector<File> readers;
    for (int i = 0; i < kFifos; ++i) {
      const std::string path = folder / ("fifo" + std::to_string(i));
      REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
      auto writing = File::open(path, OpenOptions().write());
      const auto nobody_reads = co_await writing;
      CHECK(nobody_reads.code() == ENXIO);
      CHECK(nobody_reads.error().message() == "open " + path +
                                                  ": no such device or address (a FIFO that nobody reads, a "
                                                  "socket, or a device without a driver)");
      auto reading = File::open_read(path);
      readers.push_back((co_await reading).or_throw());
    }
    auto opening = File::create(folder / "file");
    const File file = (co_await opening).or_throw();
    const auto written = co_await file.write_at("x", 0);
    CHECK(*written == 1);
    // Reading and writing wait on them as on others: nothing of the way they were opened has stayed.
    CHECK((::fcntl(readers[0].fd(), F_GETFL) & O_NONBLOCK) == 0);
    auto writing = File::open(folder / "fifo0", OpenOptions().write());
    const File writer = (co_await writing).or_throw();
    CHECK((::fcntl(writer.fd(), F_GETFL) & (O_NONBLOCK | O_ACCMODE)) == O_WRONLY);
    auto sending = writer.write_all("through");
    (co_await sending).or_throw();
    std::array<char, 16> buffer{};
    const auto size = co_await readers[0].read(buffer);
    CHECK(*size == 7);
  };
  horus::io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("destroying a file ends the reads that wait on it, and its descriptor is closed") {
  NEEDS_REAL_KERNEL("a FIFO");
  Folder folder;
  const std::string path = folder / "fifo";
  REQUIRE(::mkfifo(path.c_str(), 0600) == 0);
  const int before = horus::testing::open_descriptors();
  int code = 0;
  auto body = [&]() -> Task<> {
    auto opening = File::open(path, OpenOptions().read().write());
    auto fifo = std::make_unique<File>((co_await opening).or_throw());
    std::array<char, 16> buffer{};
    horus::Scope scope;
    auto reading = scope.spawn(fifo->read(buffer).as_task());
    co_await horus::yield();
    fifo.reset();
    const auto size = co_await reading;
    code = size.code();
    co_await scope.join();
  };
  horus::io::run(body());
  CHECK(code == ECANCELED);
  CHECK(horus::testing::open_descriptors() == before);
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("read_file takes files that do not tell their size, and stops at its limit") {
  Folder folder;
  auto body = [&]() -> Task<> {
    if (!horus::testing::simulated()) {
      auto proc = horus::io::read_file("/proc/self/status");
      const auto status = co_await proc;
      CHECK(status->find("Name:") == 0);
    }
    const std::string text(10'000, 't');
    auto writing = horus::io::write_file(folder / "f", text);
    (co_await writing).or_throw();
    auto exact = horus::io::read_file(folder / "f", 10'000);
    const auto whole = co_await exact;
    CHECK(*whole == text);
    auto short_limit = horus::io::read_file(folder / "f", 9'999);
    const auto refused = co_await short_limit;
    CHECK(refused.code() == EFBIG);
    auto endless = horus::io::read_file("/dev/zero", 100'000);
    const auto stopped = co_await endless;
    CHECK(stopped.code() == EFBIG);
    auto creating = horus::io::write_file(folder / "empty", "");
    (co_await creating).or_throw();
    auto empty = horus::io::read_file(folder / "empty");
    const auto nothing = co_await empty;
    CHECK(nothing->empty());
  };
  horus::io::run(body());
}

TEST_CASE("replace_file keeps the mode, leaves no temporary file, and the old file stays when it fails") {
  Folder folder;
  auto body = [&]() -> Task<> {
    const std::string path = folder / "config";
    auto first = horus::io::replace_file(path, "one", 0640);
    (co_await first).or_throw();
    CHECK(horus::testing::system().change_mode(path.c_str(), 0600) == 0);
    auto second = horus::io::replace_file(path, "two");
    (co_await second).or_throw();
    auto reading = horus::io::read_file(path);
    const auto text = co_await reading;
    CHECK(*text == "two");
    auto asking = horus::io::fs::status(path);
    const auto status = co_await asking;
    CHECK(status->mode == 0600);

    auto making = horus::io::fs::create_directory(folder / "folder");
    (co_await making).or_throw();
    auto over_folder = horus::io::replace_file(folder / "folder", "text");
    const auto refused = co_await over_folder;
    CHECK(refused.code() == EISDIR);
    auto nowhere = horus::io::replace_file(folder / "none/file", "text");
    const auto missing = co_await nowhere;
    CHECK(missing.code() == ENOENT);
    CHECK(missing.error().target() == folder / "none/file");
    auto listing = names_in(folder.path);
    const auto names = co_await listing;
    CHECK(names == "config folder ");
  };
  horus::io::run(body());
}

TEST_CASE("a replace_file that is stopped anywhere leaves the old file or the new one, and no third") {
  Folder folder;
  const std::string path = folder / "config";
  auto setting_up = horus::io::write_file(path, "old");
  horus::io::run(std::move(setting_up)).or_throw();
  for (int turns = 0; turns < 40; ++turns) {
    auto body = [&]() -> Task<> {
      horus::Scope scope;
      auto replacing = scope.spawn(horus::io::replace_file(path, "new"));
      for (int turn = 0; turn < turns; ++turn) co_await horus::yield();
      replacing.cancel();
      co_await scope.join();
      auto reading = horus::io::read_file(path);
      const auto text = co_await reading;
      const bool complete = *text == "old" || *text == "new";
      CHECK(complete);
      auto listing = names_in(folder.path);
      const auto names = co_await listing;
      CHECK(names == "config ");
    };
    horus::io::run(body());
  }
  CHECK(horus::live_frames() == 0);
}
