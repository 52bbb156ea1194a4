// SPDX-License-Identifier: Apache-2.0
// Folders: make, list, link, rename, walk through a large one, remove with everything in it.
#include <horus/horus.hpp>

namespace fs = horus::io::fs;

horus::Task<> run() {
  auto folder = (co_await fs::TemporaryDirectory::create("horus-example")).or_throw();
  const std::string logs = folder.file("robot/logs");
  (co_await fs::create_directories(logs)).or_throw();  // with the folders above it
  for (int day = 1; day <= 3; ++day) {
    (co_await horus::io::write_file(fmt::format("{}/day{}.log", logs, day), "all is well\n")).or_throw();
  }
  (co_await fs::symlink("day3.log", logs + "/latest")).or_throw();
  (co_await fs::rename(logs + "/day1.log", logs + "/oldest.log")).or_throw();

  const auto entries = (co_await fs::read_directory(logs)).or_throw();  // sorted by name
  for (const auto& entry : entries) fmt::print("{:10} {}\n", entry.name, horus::io::to_string(entry.kind));
  const auto status = (co_await fs::status(logs + "/latest")).or_throw();  // of what the link leads to
  fmt::print("latest: {} bytes\n", status.size);

  // Folders of any size: one entry at a time.
  int devices = 0;
  auto dev = fs::entries("/dev");
  while (true) {
    auto entry = co_await dev.next();
    if (!entry) break;
    std::move(*entry).or_throw();
    ++devices;
  }
  fmt::print("/dev has entries: {}\n", devices > 0);

  const auto removed = (co_await fs::remove_all(folder.file("robot"))).or_throw();
  fmt::print("removed {} names\n", removed);
  (co_await folder.remove()).or_throw();
}

int main() { horus::io::run(run()); }
