// SPDX-License-Identifier: Apache-2.0
#include <horus/io/file.hpp>

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/io/directory.hpp>
#include <horus/io/file_contents.hpp>
#include <horus/io/fs.hpp>
#include <horus/io/time.hpp>
#include <horus/task/when_any.hpp>

#include "../support/through_backend.hpp"

using horus::Task;
using horus::io::AlignedBuffer;
using horus::io::File;
using horus::io::FixedBuffers;
using horus::io::OpenOptions;
using horus::testing::Folder;
using namespace horus::literals;

namespace {

// A file with `text` in it, open for reading and writing.
Task<File> made_with(std::string path, std::string_view text) {
  auto opening = File::open(path, OpenOptions().read().write().create_new());
  File file = (co_await opening).or_throw();
  auto writing = file.write_all_at(text, 0);
  (co_await writing).or_throw();
  co_return file;
}

}  // namespace

TEST_CASE("what is written at an offset is read there, short at the end and nothing behind it") {
  Folder folder;
  auto body = [&]() -> Task<> {
    auto making = made_with(folder / "a file with spaces and Ünïcode ☂", "0123456789");
    File file = co_await making;
    std::array<char, 4> buffer{};
    const auto middle = co_await file.read_at(buffer, 3);
    CHECK(*middle == 4);
    CHECK(std::string_view(buffer.data(), 4) == "3456");
    const auto tail = co_await file.read_at(buffer, 8);
    CHECK(*tail == 2);
    const auto behind = co_await file.read_at(buffer, 10);
    CHECK(*behind == 0);
    const auto written = co_await file.write_at("XY", 4);
    CHECK(*written == 2);
    auto asking = file.size();
    const auto size = co_await asking;
    CHECK(*size == 10);
    auto closing = file.close();
    const auto closed = co_await closing;
    CHECK(closed.ok());
    CHECK_FALSE(file);
    const auto after = co_await file.read_at(buffer, 0);
    CHECK(after.code() == EBADF);
  };
  horus::io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("read_exact_at fills the buffer or says that the file ended") {
  Folder folder;
  auto body = [&]() -> Task<> {
    auto making = made_with(folder / "f", "abcdef");
    File file = co_await making;
    std::array<char, 6> all{};
    auto filling = file.read_exact_at(all, 0);
    const auto filled = co_await filling;
    CHECK(filled.ok());
    CHECK(std::string_view(all.data(), 6) == "abcdef");
    auto beyond = file.read_exact_at(all, 1);
    const auto ended = co_await beyond;
    CHECK(ended.code() == horus::kEndOfStream);
    CHECK(ended.error().target() == folder / "f");
  };
  horus::io::run(body());
}

TEST_CASE("offsets above 4 GiB reach a sparse file, and its status tells so") {
  Folder folder;
  auto body = [&]() -> Task<> {
    constexpr std::uint64_t kFar = (std::uint64_t{5} << 30) + 12345;
    auto making = made_with(folder / "sparse", "start");
    File file = co_await making;
    auto writing = file.write_all_at("far away", kFar);
    (co_await writing).or_throw();
    std::array<char, 8> buffer{};
    const auto far = co_await file.read_at(buffer, kFar);
    CHECK(*far == 8);
    CHECK(std::string_view(buffer.data(), 8) == "far away");
    const auto hole = co_await file.read_at(buffer, std::uint64_t{1} << 32);
    CHECK(*hole == 8);
    CHECK(buffer[0] == '\0');
    const auto status = co_await file.status();
    CHECK(status->size == kFar + 8);
    CHECK(status->allocated < 1 << 20);
    CHECK(status->is_regular());
  };
  horus::io::run(body());
}

TEST_CASE("streaming reads and writes move one cursor; its end is the end of the stream") {
  Folder folder;
  auto body = [&]() -> Task<> {
    auto making = made_with(folder / "f", "");
    File file = co_await making;
    auto first = file.write_all("hello ");
    (co_await first).or_throw();
    auto second = file.write_all("world");
    (co_await second).or_throw();
    CHECK(file.position() == 11);
    file.seek(6);
    std::array<char, 64> buffer{};
    const auto size = co_await file.read(buffer);
    CHECK(std::string_view(buffer.data(), *size) == "world");
    const auto end = co_await file.read(buffer);
    CHECK(end.code() == horus::kEndOfStream);
  };
  horus::io::run(body());
}

TEST_CASE("append goes to the end whatever the offset, also behind another writer") {
  Folder folder;
  auto body = [&]() -> Task<> {
    auto opening_first = File::append(folder / "log");
    File first = (co_await opening_first).or_throw();
    auto opening_second = File::append(folder / "log");
    File second = (co_await opening_second).or_throw();
    auto one = first.write_all("one ");
    (co_await one).or_throw();
    auto two = second.write_all("two ");
    (co_await two).or_throw();
    auto three = first.write_all_at("three", 0);
    (co_await three).or_throw();
    auto appending = horus::io::append_file(folder / "log", " four");
    (co_await appending).or_throw();
    auto reading = horus::io::read_file(folder / "log");
    const auto text = co_await reading;
    CHECK(*text == "one two three four");
  };
  horus::io::run(body());
}

TEST_CASE("create empties an existing file, create_new refuses it") {
  Folder folder;
  auto body = [&]() -> Task<> {
    auto writing = horus::io::write_file(folder / "f", "long contents");
    (co_await writing).or_throw();
    auto creating = File::create(folder / "f");
    const auto created = co_await creating;
    auto asking = created->size();
    const auto size = co_await asking;
    CHECK(*size == 0);
    auto again = File::open(folder / "f", OpenOptions().write().create_new());
    const auto refused = co_await again;
    CHECK(refused.code() == EEXIST);
  };
  horus::io::run(body());
}

TEST_CASE("lines come without their ends; a line that is too long is dropped as a whole") {
  Folder folder;
  auto body = [&]() -> Task<> {
    const std::string longer(200'000, 'x');
    auto writing =
        horus::io::write_file(folder / "f", "one\r\n\n" + longer + "\nshort\n" + longer + "\nlast");
    (co_await writing).or_throw();
    auto opening = File::open_read(folder / "f");
    File file = (co_await opening).or_throw();
    std::vector<std::string> lines;
    std::vector<int> codes;
    while (true) {
      auto reading = file.read_line(lines.size() < 2 ? 300'000 : 100);
      const auto line = co_await reading;
      codes.push_back(line.code());
      if (line.ok()) lines.push_back(*line);
      if (line.code() == horus::kEndOfStream) break;
    }
    const std::vector<std::string> expected{"one", "", "short", "last"};
    CHECK(lines == expected);
    const std::vector<int> expected_codes{0, 0, EMSGSIZE, 0, EMSGSIZE, 0, horus::kEndOfStream};
    CHECK(codes == expected_codes);
  };
  horus::io::run(body());
}

TEST_CASE("reads after read_line go on behind the line, and so do writes") {
  Folder folder;
  auto body = [&]() -> Task<> {
    auto making = made_with(folder / "f", "head\nbody and more");
    File file = co_await making;
    auto reading = file.read_line();
    const auto line = co_await reading;
    CHECK(*line == "head");
    CHECK(file.position() == 5);
    std::array<char, 4> buffer{};
    const auto size = co_await file.read(buffer);
    CHECK(*size == 4);
    CHECK(std::string_view(buffer.data(), 4) == "body");
    auto writing = file.write_all(" BUT");
    (co_await writing).or_throw();
    auto whole = horus::io::read_file(folder / "f");
    const auto text = co_await whole;
    CHECK(*text == "head\nbody BUT more");
  };
  horus::io::run(body());
}

TEST_CASE("vectored operations scatter and gather in order") {
  Folder folder;
  auto body = [&]() -> Task<> {
    auto making = made_with(folder / "f", "");
    File file = co_await making;
    char left[] = "left-";
    char right[] = "right";
    const std::array<iovec, 2> out{iovec{left, 5}, iovec{right, 5}};
    const auto written = co_await file.write_vectored_at(out, 2);
    CHECK(*written == 10);
    std::array<char, 4> first{};
    std::array<char, 20> second{};
    const std::array<iovec, 2> in{iovec{first.data(), first.size()}, iovec{second.data(), second.size()}};
    const auto read = co_await file.read_vectored_at(in, 2);
    CHECK(*read == 10);
    CHECK(std::string_view(first.data(), 4) == "left");
    CHECK(std::string_view(second.data(), 6) == "-right");
  };
  horus::io::run(body());
}

TEST_CASE("truncate cuts and extends, allocate reserves") {
  Folder folder;
  auto body = [&]() -> Task<> {
    auto making = made_with(folder / "f", "0123456789");
    File file = co_await making;
    auto cutting = file.truncate(4);
    (co_await cutting).or_throw();
    auto extending = file.truncate(6);
    (co_await extending).or_throw();
    auto reading = horus::io::read_file(folder / "f");
    const auto text = co_await reading;
    CHECK(*text == std::string("0123\0\0", 6));
    const auto allocated = co_await file.allocate(100'000);
    if (!allocated) {
      CHECK(allocated.code() == EOPNOTSUPP);  // not every file system can
    } else {
      const auto status = co_await file.status();
      CHECK(status->size == 100'000);
      CHECK(status->allocated >= 100'000);
    }
    const auto synced = co_await file.sync();
    CHECK(synced.ok());
    const auto data_synced = co_await file.sync_data();
    CHECK(data_synced.ok());
  };
  horus::io::run(body());
}

TEST_CASE("direct I/O goes through aligned buffers, and misalignment is explained") {
  Folder folder;
  auto body = [&]() -> Task<> {
    auto opening = File::open(folder / "f", OpenOptions().read().write().create().direct());
    auto opened = co_await opening;
    if (!opened) {  // some file systems have none
      CHECK(opened.code() == EINVAL);
      CHECK(std::string(opened.error().message()).find("O_DIRECT") != std::string::npos);
      co_return;
    }
    File file = *std::move(opened);
    CHECK(file.alignment() >= 1);
    AlignedBuffer block(8192);
    std::memset(block.data(), 'd', block.size());
    const auto written = co_await file.write_at(block.bytes(), 0);
    CHECK(*written == 8192);
    AlignedBuffer back(8192);
    const auto read = co_await file.read_at(back.bytes(), 0);
    CHECK(*read == 8192);
    CHECK(std::memcmp(block.data(), back.data(), 8192) == 0);
    const auto crooked = co_await file.read_at(back.bytes().subspan(1, 100), 7);
    if (!crooked) {
      CHECK(crooked.code() == EINVAL);
      const std::string message = crooked.error().message();
      CHECK(message.find("multiples of") != std::string::npos);
      CHECK(message.find("offset 7") != std::string::npos);
    }
  };
  horus::io::run(body());
}

TEST_CASE("fixed buffers carry reads and writes; a second set is refused until the first is gone") {
  Folder folder;
  auto body = [&]() -> Task<> {
    auto making = made_with(folder / "f", "");
    File file = co_await making;
    {
      auto buffers = FixedBuffers::create(4, 4096).or_throw();
      CHECK(buffers.count() == 4);
      const auto second = FixedBuffers::create(1, 4096);
      CHECK(second.code() == EBUSY);
      std::memset(buffers[2].data(), 'f', 4096);
      const auto written = co_await file.write_fixed_at(buffers[2], 4096);
      CHECK(*written == 4096);
      const auto read = co_await file.read_fixed_at(buffers[3].first(100), 4096);
      CHECK(*read == 100);
      CHECK(std::memcmp(buffers[3].data(), buffers[2].data(), 100) == 0);
      CHECK(buffers[3].data()[100] == std::byte{0});
    }
    const auto again = FixedBuffers::create(1, 4096);
    CHECK(again.ok());
  };
  horus::io::run(body());
}

TEST_CASE(
    "a file that is read often keeps working through its registered descriptor, also closed and reopened") {
  Folder folder;
  auto body = [&]() -> Task<> {
    for (int round = 0; round < 3; ++round) {
      const std::string text = "round " + std::to_string(round);
      auto writing = horus::io::write_file(folder / std::to_string(round), text);
      (co_await writing).or_throw();
      auto opening = File::open_read(folder / std::to_string(round));
      File file = (co_await opening).or_throw();
      for (int i = 0; i < 200; ++i) {
        std::array<char, 16> buffer{};
        const auto size = co_await file.read_at(buffer, 0);
        REQUIRE(std::string_view(buffer.data(), size.value()) == text);
      }
    }
  };
  horus::io::run(body());
}
