// SPDX-License-Identifier: Apache-2.0
#include <horus/io/watch.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <sys/inotify.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <horus/io/file.hpp>
#include <horus/io/file/inotify.hpp>
#include <horus/io/file_contents.hpp>
#include <horus/io/seam/forwarding.hpp>
#include <horus/io/time.hpp>

#include "../support/through_backend.hpp"

namespace fs = horus::io::fs;
namespace io = horus::io;
using fs::Watch;
using fs::WatchEvent;
using fs::WatchOptions;
using horus::Result;
using horus::Task;
using horus::testing::Folder;
using namespace horus::literals;
using Kind = WatchEvent::Kind;

namespace {

// "moved a -> b", "created d/".
std::string told(const WatchEvent& event) {
  std::string text = to_string(event.kind);
  if (!event.from.empty()) text += ' ' + event.from + " ->";
  if (!event.name.empty()) text += ' ' + event.name;
  if (event.is_folder) text += '/';
  return text;
}

// The next `count` events.
Task<std::vector<std::string>> take(Watch& watch, std::size_t count) {
  std::vector<std::string> all;
  while (all.size() < count) {
    const auto event = co_await horus::with_timeout(10s, watch.next());
    if (!event) {
      all.push_back(event.error().message());
      break;
    }
    all.push_back(told(*event));
  }
  co_return all;
}

Task<> write(std::string path, std::string text = "x") {
  auto writing = io::write_file(std::move(path), std::move(text));
  (co_await writing).or_throw();
}
Task<> rename(std::string from, std::string to) {
  auto renaming = fs::rename(std::move(from), std::move(to));
  (co_await renaming).or_throw();
}

using Told = std::vector<std::string>;

template <class Body>
void run(Body body) {
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

}  // namespace

TEST_CASE("a folder tells what is made, written, renamed and removed in it, with relative names") {
  const Folder folder;
  const Folder elsewhere;
  run([&]() -> Task<> {
    auto watch = (co_await Watch::folder(folder.path + "//")).or_throw();
    co_await write(folder / "a");
    co_await rename(folder / "a", folder / "b");
    (co_await fs::create_directory(folder / "d")).or_throw();
    co_await write(folder / "d/below");  // not in the folder itself
    co_await rename(folder / "b", elsewhere / "b");
    co_await rename(elsewhere / "b", folder / "c");
    (co_await fs::remove_file(folder / "c")).or_throw();
    (co_await fs::symlink("nowhere", folder / "link")).or_throw();
    const Told all = co_await take(watch, 8);
    CHECK(all == Told{"created a", "written a", "moved a -> b", "created d/", "removed b", "moved c",
                      "removed c", "created link"});
    auto event = watch.try_next();
    CHECK_FALSE(event.has_value());
    co_await write(folder / "last");
    auto last = (co_await watch.next()).or_throw();
    CHECK(last.folder == folder.path);
    CHECK(last.path() == folder / "last");
    (co_await watch.close()).or_throw();
    (co_await fs::remove_all(folder / "d")).or_throw();
  });
}

TEST_CASE("a file is watched by its name: made, written, replaced by a rename, removed, renamed away") {
  const Folder folder;
  run([&]() -> Task<> {
    const std::string path = folder / "config";
    auto watch = (co_await Watch::file(path)).or_throw();  // it need not exist
    co_await write(folder / "other");
    co_await write(path);
    co_await write(folder / "config~");
    co_await rename(folder / "config~", path);
    auto replacing = io::replace_file(path, "whole");
    (co_await replacing).or_throw();
    co_await rename(path, folder / "old");
    co_await write(path);
    (co_await fs::remove_file(path)).or_throw();
    Told all = co_await take(watch, 8);
    REQUIRE(all.size() == 8);
    CHECK(all[3].starts_with("moved "));  // replace_file chooses the name that it writes to
    CHECK(all[3].ends_with("-> config"));
    all.erase(all.begin() + 3);
    CHECK(all == Told{"created config", "written config", "moved config~ -> config", "removed config",
                      "created config", "written config", "removed config"});
  });
}

TEST_CASE("a file in the working directory needs no folder in its path") {
  if (horus::testing::simulated()) return;  // whose working directory is the root
  const Folder folder;
  REQUIRE(::chdir(folder.path.c_str()) == 0);
  run([&]() -> Task<> {
    auto watch = (co_await Watch::file("here")).or_throw();
    co_await write(folder / "here");
    const auto event = (co_await watch.next()).or_throw();
    CHECK(event.path() == "./here");
  });
  REQUIRE(::chdir("/") == 0);
}

TEST_CASE("each write and changed attributes are told to those who ask for them") {
  const Folder folder;
  run([&]() -> Task<> {
    co_await write(folder / "log");
    auto usual = (co_await Watch::folder(folder.path)).or_throw();
    auto options = WatchOptions().with_modifications().with_attributes();
    auto curious = (co_await Watch::folder(folder.path, options)).or_throw();
    {
      auto file = (co_await io::File::open(folder / "log", io::OpenOptions().append())).or_throw();
      (co_await file.write("one")).or_throw();
      const Told one = co_await take(curious, 1);
      CHECK(one == Told{"modified log"});
      (co_await file.write("two")).or_throw();
      (co_await file.close()).or_throw();
    }
    CHECK(horus::testing::system().change_mode((folder / "log").c_str(), 0600) == 0);
    const Told rest = co_await take(curious, 3);
    CHECK(rest == Told{"modified log", "written log", "attributes log"});
    co_await write(folder / "end");
    const Told all = co_await take(usual, 3);
    CHECK(all == Told{"written log", "created end", "written end"});
  });
}

TEST_CASE("one watch has several folders and files") {
  const Folder one;
  const Folder two;
  run([&]() -> Task<> {
    auto watch = (co_await Watch::file(one / "a")).or_throw();
    (co_await watch.add_file(one / "b")).or_throw();
    (co_await watch.add_folder(two.path)).or_throw();
    co_await write(one / "a");
    co_await write(one / "c");
    co_await write(one / "b");
    co_await rename(one / "b", two / "b");  // from one of its folders to another
    const Told all = co_await take(watch, 6);
    CHECK(all == Told{"created a", "written a", "created b", "written b", "removed b", "moved b"});
    (co_await watch.add_folder(one.path)).or_throw();  // all of it from now on
    co_await write(one / "c");
    const auto event = (co_await watch.next()).or_throw();
    CHECK(event.path() == one / "c");
  });
}

TEST_CASE("the end of a watched folder is told, and then nothing is watched any more") {
  const Folder folder;
  run([&]() -> Task<> {
    const std::string path = folder / "logs";
    for (const bool removes : {true, false}) {
      CAPTURE(removes);
      (co_await fs::create_directory(path)).or_throw();
      auto watch = (co_await Watch::folder(path)).or_throw();
      co_await write(path + "/a");
      if (removes) {
        (co_await fs::remove_all(path)).or_throw();
      } else {
        co_await rename(path, folder / "old");
        co_await write(folder / "old/a");  // it is another folder now
      }
      Told expected{"created a", "written a", "removed a", "gone"};
      if (!removes) expected.erase(expected.begin() + 2);
      const Told all = co_await take(watch, expected.size());
      CHECK(all == expected);
      const auto end = co_await watch.next();
      CHECK(end.code() == horus::kEndOfStream);
      (co_await fs::create_directory(path)).or_throw();
      (co_await watch.add_folder(path)).or_throw();
      co_await write(path + "/again");
      const auto again = (co_await watch.next()).or_throw();
      CHECK(told(again) == "created again");
      (co_await fs::remove_all(path)).or_throw();
    }
  });
}

TEST_CASE(
    "names of no interest that are renamed away hold up nothing, and a lone half of a rename holds up only "
    "itself") {
  const Folder folder;
  const Folder elsewhere;
  run([&]() -> Task<> {
    auto watch = (co_await Watch::file(folder / "config")).or_throw();
    for (int i = 0; i < 10; ++i) {
      co_await write(folder / "other");
      co_await rename(folder / "other", elsewhere / "other");
    }
    co_await write(folder / "config");
    // Without a wait between them.
    const auto next = [&] {
      for (int i = 0; i < 20; ++i) {
        if (auto event = watch.try_next()) return told(event->value());
      }
      return std::string("nothing");
    };
    CHECK(next() == "created config");
    CHECK(next() == "written config");
    co_await rename(folder / "config", elsewhere / "config");
    co_await write(folder / "config");
    CHECK(next() == "removed config");
    CHECK(next() == "created config");
  });
}

TEST_CASE(
    "a folder that was renamed and added again by its new name is watched on, after the end of the old one") {
  const Folder folder;
  run([&]() -> Task<> {
    (co_await fs::create_directory(folder / "a")).or_throw();
    auto watch = (co_await Watch::folder(folder / "a")).or_throw();
    co_await write(folder / "a/first");
    co_await rename(folder / "a", folder / "b");
    (co_await watch.add_folder(folder / "b")).or_throw();
    co_await write(folder / "b/second");
    const Told all = co_await take(watch, 4);
    CHECK(all == Told{"created first", "written first", "gone", "created second"});
    auto last = (co_await watch.next()).or_throw();
    CHECK(told(last) == "written second");
    CHECK(last.path() == folder / "b/second");
    (co_await watch.close()).or_throw();
    (co_await fs::remove_all(folder / "b")).or_throw();
  });
}

TEST_CASE("a watch that was moved from says so") {
  const Folder folder;
  run([&]() -> Task<> {
    auto watch = (co_await Watch::folder(folder.path)).or_throw();
    const Watch moved = std::move(watch);
    // NOLINTBEGIN(bugprone-use-after-move): that is what is looked at
    CHECK(watch.try_next()->error().code() == EBADF);
    const auto next = co_await watch.next();
    CHECK(next.error().code() == EBADF);
    const auto ready = co_await watch.ready();
    CHECK(ready.error().code() == EBADF);
    const auto added = co_await watch.add_folder(folder.path);
    CHECK(added.error().code() == EBADF);
    const auto closed = co_await watch.close();
    CHECK(closed.error().code() == EBADF);
    // NOLINTEND(bugprone-use-after-move)
  });
}

TEST_CASE("a folder that is not there, and a path without a name, are errors that name it") {
  const Folder folder;
  run([&]() -> Task<> {
    const auto missing = co_await Watch::folder(folder / "missing");
    CHECK(missing.error().message() ==
          "watch " + (folder / "missing") + ": no such file or directory (check the path)");
    const auto orphan = co_await Watch::file(folder / "missing/file");
    CHECK(orphan.code() == ENOENT);
    CHECK(orphan.error().target() == folder / "missing");
    co_await write(folder / "file");
    const auto file = co_await Watch::folder(folder / "file");
    CHECK(file.code() == ENOTDIR);
    const auto empty = co_await Watch::folder("");
    CHECK(empty.code() == ENOENT);
    for (const char* path : {"/", "/tmp/", ".", "a/.."}) {
      CAPTURE(path);
      const auto nameless = co_await Watch::file(path);
      CHECK(nameless.code() == EINVAL);
    }
  });
}

TEST_CASE("events that nobody takes end in an overflow, and the watch goes on") {
  const Folder folder;
  run([&]() -> Task<> {
    auto watch = (co_await Watch::folder(folder.path)).or_throw();
    (co_await fs::create_directory(folder / "a")).or_throw();
    constexpr int kMany = 17000;  // renames: more than twice what the kernel keeps
    auto& system = horus::testing::system();
    const std::string a = folder / "a";
    const std::string b = folder / "b";
    for (int i = 0; i < kMany; ++i) {
      const bool there = i % 2 == 0;
      CHECK(system.rename((there ? a : b).c_str(), (there ? b : a).c_str()) == 0);
    }
    int count = 0;
    bool lost = false;
    while (!lost) {
      const auto event = (co_await horus::with_timeout(10s, watch.next())).or_throw();
      lost = event.kind == Kind::overflow;
      CHECK((lost || event.kind == Kind::created || event.kind == Kind::moved || count == 8192));
      ++count;
    }
    CHECK(count > 8000);
    CHECK(count < 8300);
    co_await write(folder / "file");
    const Told after = co_await take(watch, 2);
    CHECK(after == Told{"created file", "written file"});
  });
}

TEST_CASE("a wait that is cancelled or closed ends, and loses no event") {
  const Folder folder;
  run([&]() -> Task<> {
    auto watch = (co_await Watch::folder(folder.path)).or_throw();
    const auto nothing = co_await horus::with_timeout(5ms, watch.next());
    CHECK(nothing.code() == ETIMEDOUT);
    {
      horus::Scope scope;
      auto waiting = scope.spawn(watch.ready(), "waits");
      co_await horus::sleep(1ms);
      const auto second = co_await watch.next();
      CHECK(second.code() == EBUSY);
      scope.cancel();
      co_await scope.join();
    }
    co_await write(folder / "a");
    const Told all = co_await take(watch, 2);
    CHECK(all == Told{"created a", "written a"});
    horus::Scope scope;
    Result<WatchEvent> ended = WatchEvent();
    auto wait = [](Watch& one, Result<WatchEvent>& end) -> Task<> { end = co_await one.next(); };
    auto waiting = scope.spawn(wait(watch, ended), "waits");
    co_await horus::sleep(1ms);
    (co_await watch.close()).or_throw();
    co_await scope.join();
    CHECK(ended.code() == ECANCELED);
    const auto closed = co_await watch.next();
    CHECK(closed.code() == ECANCELED);
    const auto added = co_await watch.add_folder(folder.path);
    CHECK(added.code() == ECANCELED);
    const auto twice = co_await watch.close();
    CHECK(twice.code() == EBADF);
  });
}

TEST_CASE("destroying a watch ends the wait of another task") {
  const Folder folder;
  run([&]() -> Task<> {
    horus::Scope scope;
    Result<WatchEvent> ended = WatchEvent();
    {
      auto watch = (co_await Watch::folder(folder.path)).or_throw();
      auto wait = [](Task<Result<WatchEvent>> next, Result<WatchEvent>& end) -> Task<> {
        end = co_await next;
      };
      auto waiting = scope.spawn(wait(watch.next(), ended), "waits");
      co_await horus::sleep(1ms);
    }
    co_await scope.join();
    CHECK(ended.code() == ECANCELED);
  });
}

// --- Limits -----------------------------------------------------------------------------------------------------------

namespace {

// Which does not matter here.
io::Backend a_backend(const io::ReactorConfig& config) {
  auto backend =
      horus::testing::simulated() ? horus::sim::make_backend_alone(config) : io::make_epoll_backend(config);
  return std::move(backend).or_throw();
}

// A system whose watches are used up.
class UsedUp final : public io::ForwardingSystem {
 public:
  UsedUp(std::shared_ptr<io::System> real, int make, int add, int event)
      : ForwardingSystem(std::move(real)), make_(make), add_(add), event_(event) {}
  int make_watch() noexcept override { return make_ != 0 ? make_ : ForwardingSystem::make_watch(); }
  int watch_folder(int watch, const char* path, std::uint32_t events) noexcept override {
    return add_ != 0 ? add_ : ForwardingSystem::watch_folder(watch, path, events);
  }
  int event_fd(unsigned initial, int flags) noexcept override {
    return used_up && event_ != 0 ? event_ : ForwardingSystem::event_fd(initial, flags);
  }

  bool used_up = false;  // the reactor has what it needs

 private:
  int make_, add_, event_;
};

std::string refusal(int make, int add, int event = 0) {
  const io::ReactorConfig config;
  auto backend = a_backend(config);
  const auto system = std::make_shared<UsedUp>(backend.system, make, add, event);
  backend.system = system;
  io::Reactor reactor(std::move(backend), config);
  std::string message;
  auto body = [&]() -> Task<> {
    system->used_up = true;
    const auto watch = co_await Watch::folder("/tmp");
    message = watch.error().message();
  };
  reactor.run(body());
  return message;
}

}  // namespace

namespace {

// Reads give one short event at a time, as they do where a reader comes between the two halves of a rename.
class OneByOne final : public io::ForwardingSystem {
 public:
  using ForwardingSystem::ForwardingSystem;
  ssize_t read(int fd, void* data, std::size_t size) noexcept override {
    return ForwardingSystem::read(fd, data, std::min(size, sizeof(inotify_event) + 16));
  }
};

}  // namespace

TEST_CASE(
    "the halves of a rename that come apart are one event, and a half alone waits for its other in vain") {
  const Folder folder;
  const Folder elsewhere;
  const io::ReactorConfig config;
  auto backend = a_backend(config);
  backend.system = std::make_shared<OneByOne>(backend.system);
  io::Reactor reactor(std::move(backend), config);
  auto body = [&]() -> Task<> {
    co_await write(folder / "a");
    auto watch = (co_await Watch::folder(folder.path)).or_throw();
    co_await rename(folder / "a", folder / "b");
    const Told one = co_await take(watch, 1);
    CHECK(one == Told{"moved a -> b"});
    co_await rename(folder / "b", elsewhere / "b");
    auto early = watch.try_next();
    CHECK_FALSE(early.has_value());
    const auto cancelled = co_await horus::with_timeout(100us, watch.next());
    if (horus::testing::simulated()) CHECK(cancelled.code() == ETIMEDOUT);
    const Told away = co_await take(watch, 1);
    if (!cancelled) CHECK(away == Told{"removed b"});
    co_await write(folder / "c");
    const Told last = co_await take(watch, 2);
    CHECK(last.back() == "written c");
  };
  reactor.run(body());
}

namespace {

// Every path may be that of a server.
class OnAServer final : public io::ForwardingSystem {
 public:
  using ForwardingSystem::ForwardingSystem;
  bool path_may_wait(int, const char*) noexcept override { return true; }
};

}  // namespace

TEST_CASE("a folder that a server answers for is added by a thread, and may be closed meanwhile") {
  const Folder folder;
  const io::ReactorConfig config;
  auto backend = a_backend(config);
  backend.system = std::make_shared<OnAServer>(backend.system);
  io::Reactor reactor(std::move(backend), config);
  auto body = [&]() -> Task<> {
    auto watch = (co_await Watch::folder(folder.path)).or_throw();
    co_await write(folder / "a");
    const Told all = co_await take(watch, 2);
    CHECK(all == Told{"created a", "written a"});
    const auto missing = co_await Watch::folder(folder / "missing");
    CHECK(missing.code() == ENOENT);
    horus::Scope scope;
    int code = 0;
    auto add = [](Task<Result<>> adding, int& ended) -> Task<> {
      const auto added = co_await adding;
      ended = added.code();
    };
    auto adding = scope.spawn(add(watch.add_folder(folder.path), code), "adds");
    co_await horus::sleep(0ns);
    (co_await watch.close()).or_throw();
    co_await scope.join();
    CHECK((code == ECANCELED || code == 0));
  };
  reactor.run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("limits of the user are errors that name the setting") {
  const std::string watches = refusal(0, -ENOSPC);
  CHECK(watches.find("watch /tmp: no space left on device") != std::string::npos);
  CHECK(watches.find("fs.inotify.max_user_watches") != std::string::npos);
  const std::string instances = refusal(-EMFILE, 0);
  CHECK(instances.find("watch /tmp: ") != std::string::npos);
  CHECK(instances.find("fs.inotify.max_user_instances") != std::string::npos);
  const std::string descriptors = refusal(-EMFILE, 0, -EMFILE);
  CHECK(descriptors.find("max_user_instances") == std::string::npos);
  CHECK(descriptors.find("ulimit -n") != std::string::npos);
}

TEST_CASE("what is no inotify event is refused, and never read beyond its end") {
  using io::detail::Change;
  using io::detail::parse_changes;
  std::string two(2 * sizeof(inotify_event) + 16, '\0');
  inotify_event head{};
  head.wd = 7;
  head.mask = IN_CREATE;
  head.len = 16;
  std::memcpy(two.data(), &head, sizeof head);
  std::memcpy(two.data() + sizeof head, "no zero behind it", 16);
  head.len = 0;
  std::memcpy(two.data() + sizeof head + 16, &head, sizeof head);
  std::deque<Change> changes;
  CHECK(parse_changes(io::Bytes(two), changes));
  REQUIRE(changes.size() == 2);
  CHECK(changes[0].name == "no zero behind i");
  CHECK(changes[1].name.empty());
  for (std::size_t size = 0; size < two.size(); ++size) {
    const std::vector<char> part(two.begin(), two.begin() + static_cast<std::ptrdiff_t>(size));
    changes.clear();
    const bool whole = size == 0 || size == sizeof head + 16;
    CHECK(parse_changes(io::Bytes(part), changes) == whole);
  }
}
