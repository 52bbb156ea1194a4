// SPDX-License-Identifier: Apache-2.0
// A bug that needs a real network: the driver of a range finder takes what one read gives for a whole telegram. Mostly it is.
// Here it is run, recorded exactly, until a telegram comes in two pieces; then the recording brings the bug back, without
// the device, each time.
#include <cstdlib>
#include <filesystem>

#include <unistd.h>

#include <horus/horus.hpp>

using namespace horus::literals;
using namespace horus::io;

namespace {

constexpr int kTelegrams = 200;
constexpr int kMostRuns = 100;

// The device: telegrams of 8 bytes, "R 01500\n", which its line cuts in two now and then.
horus::Task<> device(TcpStream line) {
  for (int i = 0; i < kTelegrams; ++i) {
    const std::string telegram = fmt::format("R {:05}\n", 1500 + i);
    const bool is_cut = horus::now_ns() % 97 == 0;
    const std::size_t first = is_cut ? 3 : telegram.size();
    const auto head = co_await line.write_all(telegram.substr(0, first));
    if (!head) co_return;
    co_await horus::sleep(is_cut ? horus::Duration(1ms) : horus::Duration(50'000));
    if (first == telegram.size()) continue;
    const auto rest = co_await line.write_all(telegram.substr(first));
    if (!rest) co_return;
    co_await horus::sleep(horus::Duration(50'000));
  }
}

// The driver, and its bug.
horus::Task<> driver(std::string address) {
  auto device = (co_await TcpStream::connect(address)).or_throw();
  const std::int64_t begin = horus::now_ns();
  std::array<std::byte, 8> telegram{};
  for (int i = 0; i < kTelegrams; ++i) {
    const std::size_t size = (co_await device.read(telegram)).or_throw();
    const int distance = std::atoi(reinterpret_cast<const char*>(telegram.data()) + 2);
    if (size == telegram.size() && distance == 1500 + i) continue;
    fmt::print("telegram {} after {} µs: {} bytes, distance {} mm\n", i, (horus::now_ns() - begin) / 1000,
               size, distance);
    co_return;
  }
}

horus::Task<std::string> run_driver(std::string address, std::string variable, std::string file) {
  auto options = ProcessOptions("/proc/self/exe", "driver", address).with_variable(variable, file);
  options.arguments.front() = std::filesystem::read_symlink("/proc/self/exe").string();
  auto running = run_process(std::move(options));
  const ProcessOutput output = (co_await running).or_throw();
  if (!output.status.success()) throw horus::Error(horus::kProcessFailed, "run", output.err);
  co_return output.out;
}

horus::Task<int> find_the_bug() {
  const std::string seam =
      fmt::format("{}/bug-{}.seam", std::filesystem::temp_directory_path().string(), ::getpid());
  auto listener = TcpListener::listen("127.0.0.1:0").or_throw();
  const std::string address = listener.local_address().to_string();
  horus::Scope devices;
  auto serving = devices.spawn([](TcpListener& at, horus::Scope& all) -> horus::Task<> {
    while (true) {
      auto line = co_await at.accept();
      if (!line) co_return;
      static_cast<void>(all.spawn(device(*std::move(line)), "device"));
    }
  }(listener, devices));
  std::string seen;
  for (int i = 0; i < kMostRuns && seen.empty(); ++i) {
    std::filesystem::remove(seam);
    auto running = run_driver(address, "HORUS_RECORD_SEAM", seam);
    seen = co_await running;
  }
  devices.cancel();
  co_await devices.join();
  listener = TcpListener();  // the device is gone
  if (seen.empty()) {
    fmt::print("no telegram was cut in {} runs\n", kMostRuns);
    co_return 0;
  }
  fmt::print("in the field: {}", seen);
  int equal = 0;
  for (int i = 0; i < 3; ++i) {
    auto replaying = run_driver(address, "HORUS_REPLAY_SEAM", seam);
    const std::string again = co_await replaying;
    fmt::print("at the desk:  {}", again);
    equal += again == seen ? 1 : 0;
  }
  std::filesystem::remove(seam);
  co_return equal == 3 ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
  if (count == 3) {
    horus::io::run(driver(arguments[2]));
    return 0;
  }
  return horus::io::run(find_the_bug());
}
