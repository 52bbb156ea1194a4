// SPDX-License-Identifier: Apache-2.0
// Files: whole ones, a replacement that survives a power cut, records at an offset, lines.
#include <array>

#include <horus/horus.hpp>

using namespace horus::io;

horus::Task<> run() {
  auto folder = (co_await fs::TemporaryDirectory::create("horus-example")).or_throw();

  // Configuration: readers find the old contents or the new ones, never a half.
  const std::string config = folder.file("robot.conf");
  (co_await replace_file(config, "speed = 0.5\n")).or_throw();
  (co_await replace_file(config, "speed = 0.7\nname = rover\n")).or_throw();
  const std::string text = (co_await read_file(config)).or_throw();
  fmt::print("{}", text);

  // Records of 8 bytes at their places; reads and writes may be in flight together.
  OpenOptions options;
  options.read().write().create();
  auto log = (co_await File::open(folder.file("records"), options)).or_throw();
  for (std::uint64_t i = 0; i < 4; ++i) {
    (co_await log.write_all_at(fmt::format("record{}\n", i), 8 * i)).or_throw();
  }
  (co_await log.sync_data()).or_throw();  // on the disk now
  std::array<char, 8> record;
  (co_await log.read_exact_at(record, 8 * 2)).or_throw();
  fmt::print("third: {}", std::string_view(record.data(), record.size()));

  // Lines, from the start.
  int lines = 0;
  while (true) {
    auto line = co_await log.read_line();
    if (!line) break;  // end of the file
    ++lines;
  }
  fmt::print("{} lines, {} bytes\n", lines, (co_await log.size()).or_throw());
  (co_await log.close()).or_throw();  // a full disk may speak up only here

  // What can go wrong is a value that says what was tried.
  auto missing = co_await read_file("/no/such/file");
  fmt::print("{}\n", missing.error().message());
  (co_await folder.remove()).or_throw();
}

int main() { horus::io::run(run()); }
