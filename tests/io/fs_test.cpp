// SPDX-License-Identifier: Apache-2.0
#include <horus/io/fs.hpp>

#include <set>
#include <string>

#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/io/directory.hpp>
#include <horus/io/file_contents.hpp>
#include <horus/io/reactor.hpp>

#include "../support/real_kernel.hpp"

namespace fs = horus::io::fs;
using fs::TemporaryDirectory;
using horus::Task;
using horus::io::FileKind;

namespace {

Task<TemporaryDirectory> temporary() {
  auto creating = TemporaryDirectory::create("fs-test");
  auto folder = co_await creating;
  co_return std::move(folder).or_throw();
}

Task<> touch(std::string path) {
  auto writing = horus::io::write_file(std::move(path), "x");
  (co_await writing).or_throw();
}

Task<bool> is_there(std::string path) {
  auto asking = fs::link_status(std::move(path));
  const auto status = co_await asking;
  co_return status.ok();
}

}  // namespace

TEST_CASE("directories are made one by one or with those above, and removed when empty") {
  auto body = []() -> Task<> {
    auto making_folder = temporary();
    auto folder = co_await making_folder;
    auto one = fs::create_directory(folder.file("one"));
    const auto made = co_await one;
    CHECK(made.ok());
    auto again = fs::create_directory(folder.file("one"));
    const auto taken = co_await again;
    CHECK(taken.code() == EEXIST);
    auto orphan = fs::create_directory(folder.file("no/parent"));
    const auto missing = co_await orphan;
    CHECK(missing.error().message() ==
          "create directory " + folder.file("no/parent") + ": no such file or directory (check the path)");
    auto deep = fs::create_directories(folder.file("a//b/ü c/d/"));
    const auto all = co_await deep;
    CHECK(all.ok());
    auto twice = fs::create_directories(folder.file("a/b/ü c/d"));
    const auto there = co_await twice;
    CHECK(there.ok());
    auto full = fs::remove_directory(folder.file("a"));
    const auto refused = co_await full;
    CHECK(refused.code() == ENOTEMPTY);
    auto empty = fs::remove_directory(folder.file("a/b/ü c/d"));
    const auto removed = co_await empty;
    CHECK(removed.ok());
    auto touching = touch(folder.file("file"));
    co_await touching;
    auto through = fs::create_directories(folder.file("file/below"));
    const auto not_folder = co_await through;
    CHECK(not_folder.code() == ENOTDIR);
    auto same_name = fs::create_directories(folder.file("file"));
    const auto is_file = co_await same_name;
    CHECK(is_file.code() == EEXIST);
    auto too_long = fs::create_directories(folder.file(std::string(300, 'n')));
    const auto long_name = co_await too_long;
    CHECK(long_name.code() == ENAMETOOLONG);
    auto nothing = fs::create_directories("");
    const auto no_name = co_await nothing;
    CHECK(no_name.code() == ENOENT);
    auto root = fs::create_directories("///");
    const auto slash = co_await root;
    CHECK(slash.ok());
  };
  horus::io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("rename replaces a file in one step and says both names when it fails") {
  auto body = []() -> Task<> {
    auto making_folder = temporary();
    auto folder = co_await making_folder;
    auto first = horus::io::write_file(folder.file("a"), "from a");
    (co_await first).or_throw();
    auto second = touch(folder.file("b"));
    co_await second;
    auto renaming = fs::rename(folder.file("a"), folder.file("b"));
    const auto renamed = co_await renaming;
    CHECK(renamed.ok());
    auto reading = horus::io::read_file(folder.file("b"));
    const auto text = co_await reading;
    CHECK(*text == "from a");
    auto failing = fs::rename(folder.file("none"), folder.file("c"));
    const auto failed = co_await failing;
    CHECK(failed.code() == ENOENT);
    CHECK(failed.error().target() == folder.file("none") + " -> " + folder.file("c"));
  };
  horus::io::run(body());
}

TEST_CASE("links: a symbolic one may dangle, a hard one is the same file") {
  auto body = []() -> Task<> {
    auto making_folder = temporary();
    auto folder = co_await making_folder;
    auto dangling = fs::symlink("nowhere", folder.file("link"));
    const auto made = co_await dangling;
    CHECK(made.ok());
    auto reading = fs::read_link(folder.file("link"));
    const auto target = co_await reading;
    CHECK(*target == "nowhere");
    auto asking = fs::exists(folder.file("link"));
    const auto exists = co_await asking;
    CHECK_FALSE(*exists);
    auto looking = fs::link_status(folder.file("link"));
    const auto link = co_await looking;
    CHECK(link->is_symlink());
    auto following = fs::status(folder.file("link"));
    const auto nothing = co_await following;
    CHECK(nothing.code() == ENOENT);
    auto touching = touch(folder.file("file"));
    co_await touching;
    auto linking = fs::link(folder.file("file"), folder.file("second name"));
    const auto linked = co_await linking;
    CHECK(linked.ok());
    auto one = fs::status(folder.file("file"));
    const auto first = co_await one;
    auto two = fs::status(folder.file("second name"));
    const auto second = co_await two;
    CHECK(first->inode == second->inode);
    CHECK(first->links == 2);
    auto not_link = fs::read_link(folder.file("file"));
    const auto refused = co_await not_link;
    CHECK(refused.code() == EINVAL);
  };
  horus::io::run(body());
}

TEST_CASE("status tells kind, size, mode and a modification time of about now") {
  auto body = []() -> Task<> {
    auto making_folder = temporary();
    auto folder = co_await making_folder;
    auto writing = horus::io::write_file(folder.file("f"), "12345", 0600);
    (co_await writing).or_throw();
    auto asking = fs::status(folder.file("f"));
    const auto status = co_await asking;
    CHECK(status->size == 5);
    CHECK(status->kind == FileKind::regular);
    CHECK(status->mode == 0600);
    if (!horus::testing::simulated()) {  // where everybody is root, and the world's clock begins near 1970
      CHECK(status->owner == ::geteuid());
      const auto age = std::chrono::system_clock::now() - status->modified;
      CHECK(age < std::chrono::hours(1));
      CHECK(age > std::chrono::hours(-1));
    }
    auto device = fs::status("/dev/null");
    const auto null = co_await device;
    CHECK(null->kind == FileKind::character_device);
    auto self = fs::status(folder.path());
    const auto own = co_await self;
    CHECK(own->is_directory());
    CHECK(own->mode == 0700);
  };
  horus::io::run(body());
}

TEST_CASE("exists and access ask without opening") {
  auto body = []() -> Task<> {
    auto making_folder = temporary();
    auto folder = co_await making_folder;
    auto touching = touch(folder.file("f"));
    co_await touching;
    auto there = fs::exists(folder.file("f"));
    const auto yes = co_await there;
    CHECK(*yes);
    auto below = fs::exists(folder.file("f/below"));
    const auto no = co_await below;
    CHECK_FALSE(*no);
    auto readable = fs::access(folder.file("f"), R_OK | W_OK);
    const auto allowed = co_await readable;
    CHECK(allowed.ok());
    auto executable = fs::access(folder.file("f"), X_OK);  // also denied to root: nobody may
    const auto denied = co_await executable;
    CHECK(denied.code() == EACCES);
    CHECK(denied.error().target() == folder.file("f"));
  };
  horus::io::run(body());
}

TEST_CASE("a directory lists sorted, with kinds, and no more than its limit") {
  auto body = []() -> Task<> {
    auto making_folder = temporary();
    auto folder = co_await making_folder;
    auto file = touch(folder.file("b file"));
    co_await file;
    auto sub = fs::create_directory(folder.file("a folder"));
    (co_await sub).or_throw();
    auto link = fs::symlink("x", folder.file("c link"));
    (co_await link).or_throw();
    auto listing = fs::read_directory(folder.path());
    const auto entries = co_await listing;
    REQUIRE(entries->size() == 3);
    CHECK((*entries)[0].name == "a folder");
    CHECK((*entries)[0].kind == FileKind::directory);
    CHECK((*entries)[1].kind == FileKind::regular);
    CHECK((*entries)[2].kind == FileKind::symlink);
    auto limited = fs::read_directory(folder.path(), 2);
    const auto refused = co_await limited;
    CHECK(refused.code() == EOVERFLOW);
    auto missing = fs::read_directory(folder.file("none"));
    const auto nothing = co_await missing;
    CHECK(nothing.error().message() ==
          "list " + folder.file("none") + ": no such file or directory (check the path)");
    auto not_folder = fs::read_directory(folder.file("b file"));
    const auto plain = co_await not_folder;
    CHECK(plain.code() == ENOTDIR);
  };
  horus::io::run(body());
}

TEST_CASE("a directory of more than one batch is streamed completely, and the stream may be dropped early") {
  auto body = []() -> Task<> {
    auto making_folder = temporary();
    auto folder = co_await making_folder;
    constexpr int kFiles = 1000;
    for (int i = 0; i < kFiles; ++i) {
      auto touching = touch(folder.file("a rather long name for file number " + std::to_string(i)));
      co_await touching;
    }
    std::set<std::string> seen;
    auto names = fs::entries(folder.path());
    while (true) {
      const auto entry = co_await names.next();
      if (!entry) break;
      seen.insert((*entry)->name);
    }
    CHECK(seen.size() == kFiles);
    auto some = fs::entries(folder.path());
    const auto first = co_await some.next();
    CHECK(first->ok());
    auto removing = folder.remove();
    const auto removed = co_await removing;
    CHECK(removed.ok());
    auto asking = is_there(folder.path());
    const bool there = co_await asking;
    CHECK_FALSE(there);
  };
  horus::io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("remove_all takes a tree, not what its links point to, and knows its depth") {
  auto body = []() -> Task<> {
    auto making_folder = temporary();
    auto folder = co_await making_folder;
    auto outside = fs::create_directories(folder.file("outside"));
    (co_await outside).or_throw();
    auto precious = touch(folder.file("outside/precious"));
    co_await precious;
    auto deep = fs::create_directories(folder.file("tree/a/b/c"));
    (co_await deep).or_throw();
    auto leaf = touch(folder.file("tree/a/b/leaf"));
    co_await leaf;
    auto link = fs::symlink(folder.file("outside"), folder.file("tree/a/link"));
    (co_await link).or_throw();
    auto shallow = fs::remove_all(folder.file("tree"), 2);
    const auto too_deep = co_await shallow;
    CHECK(too_deep.code() == EOVERFLOW);
    auto removing = fs::remove_all(folder.file("tree/"));
    const auto count = co_await removing;
    CHECK(count.ok());
    CHECK(*count >= 4);
    auto asking = is_there(folder.file("outside/precious"));
    const bool kept = co_await asking;
    CHECK(kept);
    auto again = fs::remove_all(folder.file("tree"));
    const auto nothing = co_await again;
    CHECK(*nothing == 0);
    auto file = fs::remove_all(folder.file("outside/precious"));
    const auto one = co_await file;
    CHECK(*one == 1);
    auto via_link = fs::symlink("outside", folder.file("link"));
    (co_await via_link).or_throw();
    auto unlinking = fs::remove_all(folder.file("link"));
    const auto only_link = co_await unlinking;
    CHECK(*only_link == 1);
    auto still = is_there(folder.file("outside"));
    const bool there = co_await still;
    CHECK(there);
  };
  horus::io::run(body());
}

TEST_CASE("a temporary directory removes itself unless it is kept") {
  std::string dropped;
  std::string kept;
  auto body = [&]() -> Task<> {
    auto first = temporary();
    auto one = co_await first;
    dropped = one.path();
    auto inside = touch(one.file("f"));
    co_await inside;
    auto second = temporary();
    auto two = co_await second;
    kept = two.release();
    auto failing = TemporaryDirectory::create("x", "/no/such/folder");
    const auto missing = co_await failing;
    CHECK(missing.code() == ENOENT);
  };
  horus::io::run(body());
  CHECK_FALSE(horus::io::run(is_there(dropped)));
  CHECK(horus::io::run(is_there(kept)));
  auto removing = fs::remove_directory(kept);
  CHECK(horus::io::run(std::move(removing)).ok());
}
