// SPDX-License-Identifier: Apache-2.0
// Watching files: a configuration that is read again whenever somebody has changed it, and a folder whose files are taken
// as soon as they are whole. `watch FOLDER` prints what happens in that folder.
#include <horus/horus.hpp>

using namespace horus::literals;
namespace fs = horus::io::fs;
using Kind = fs::WatchEvent::Kind;

// Reads the file at the start and after each change.
horus::Task<> follow_config(std::string path) {
  auto watch = (co_await fs::Watch::file(path)).or_throw();
  while (true) {
    auto text = co_await horus::io::read_file(path);  // after the watch has begun: no change is missed
    fmt::print("config: {}\n", text ? std::string(text->begin(), text->end()) : text.error().message());
    bool whole = false;
    while (!whole) {
      auto event = co_await watch.next();
      if (!event) co_return;  // asked to stop, or the folder is gone
      // Written in place, or replaced by a rename; after an overflow nobody knows.
      whole = event->kind == Kind::written || event->kind == Kind::moved || event->kind == Kind::overflow;
    }
  }
}

// Takes what others put into a folder.
horus::Task<> take_uploads(std::string folder) {
  auto watch = (co_await fs::Watch::folder(folder)).or_throw();
  while (true) {
    auto event = co_await watch.next();
    if (!event) co_return;
    if (event->kind == Kind::overflow) fmt::print("uploads: look through the folder\n");
    if (event->kind == Kind::written || event->kind == Kind::moved) fmt::print("uploads: {}\n", event->name);
  }
}

horus::Task<> print_all(std::string folder) {
  auto watch = (co_await fs::Watch::folder(folder, fs::WatchOptions().with_attributes())).or_throw();
  while (true) {
    auto event = (co_await watch.next()).or_throw();
    fmt::print("{:10} {}\n", fs::to_string(event.kind), event.path());
  }
}

horus::Task<> run() {
  auto folder = (co_await fs::TemporaryDirectory::create("horus-example")).or_throw();
  (co_await horus::io::write_file(folder.file("robot.conf"), "speed = 1")).or_throw();
  (co_await fs::create_directory(folder.file("uploads"))).or_throw();
  horus::Scope scope;
  auto config = scope.spawn(follow_config(folder.file("robot.conf")), "config");
  auto uploads = scope.spawn(take_uploads(folder.file("uploads")), "uploads");
  co_await horus::sleep(50ms);

  (co_await horus::io::replace_file(folder.file("robot.conf"), "speed = 2")).or_throw();  // as editors do
  co_await horus::sleep(50ms);
  (co_await horus::io::write_file(folder.file("uploads/map.bin"), "…")).or_throw();
  (co_await horus::io::write_file(folder.file("route.part"), "…")).or_throw();
  (co_await fs::rename(folder.file("route.part"), folder.file("uploads/route.bin"))).or_throw();
  co_await horus::sleep(50ms);

  scope.cancel();
  co_await scope.join();
  (co_await folder.remove()).or_throw();
}

int main(int argc, char** argv) {
  try {
    if (argc > 1) horus::io::run(print_all(argv[1]));
    horus::io::run(run());
  } catch (const horus::Error& error) {
    fmt::print(stderr, "{}\n", error.message());
    return 1;
  }
}
