// SPDX-License-Identifier: Apache-2.0
// Channels: a pipeline of three tasks. Each stage waits when the next one is slower, so nothing piles up.
#include <horus/horus.hpp>

using namespace horus::literals;

using Numbers = horus::Channel<int>;

horus::Task<> produce(Numbers& out) {
  for (int n = 1; n <= 20; ++n) {
    auto sent = co_await out.send(n);  // waits while the channel is full
    if (!sent) co_return;              // closed: nobody wants more
  }
  out.close();  // what is queued still arrives
}

horus::Task<> square(Numbers& in, Numbers& out) {
  while (true) {
    auto number = co_await in.recv();
    if (!number) break;  // closed and empty
    auto sent = co_await out.send(*number * *number);
    if (!sent) break;
  }
  out.close();
}

horus::Task<> consume(Numbers& in, const Numbers& waiting) {
  int sum = 0;
  std::size_t longest_queue = 0;
  while (true) {
    auto number = co_await in.recv();
    if (!number) break;
    sum += *number;
    longest_queue = std::max(longest_queue, waiting.size());
    co_await horus::sleep(1ms);  // the slow stage: the others keep its pace
  }
  fmt::print("sum of the squares of 1 to 20: {}\n", sum);
  fmt::print("values waiting before the second stage: at most {} of 4\n", longest_queue);
}

int main() {
  Numbers numbers(4);
  Numbers squares(4);
  horus::io::run([&]() -> horus::Task<> {
    co_await horus::when_all(produce(numbers), square(numbers, squares), consume(squares, numbers));
  });
}
