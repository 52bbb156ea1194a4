// SPDX-License-Identifier: Apache-2.0
// Two reactors, each with its own thread. Work crosses between them in two ways: posted as a function, or as a
// coroutine that moves to the other thread and comes back.
#include <future>
#include <thread>

#include <horus/horus.hpp>

using namespace horus::literals;

horus::Task<> visit(horus::io::Reactor& home, horus::io::Reactor& other) {
  const auto here = std::this_thread::get_id();
  co_await other.schedule();  // from here on this coroutine runs on the other thread
  fmt::print("moved: {}\n", std::this_thread::get_id() != here);
  co_await horus::sleep(5ms);  // ... and sleeps in the other reactor
  co_await home.schedule();    // a task ends on the thread where it began
  fmt::print("back:  {}\n", std::this_thread::get_id() == here);
}

int main() {
  std::promise<horus::io::Reactor*> made;
  std::thread worker([&] {
    horus::io::Reactor reactor;  // belongs to this thread
    made.set_value(&reactor);
    reactor.run();  // until stop()
  });
  horus::io::Reactor& other = *made.get_future().get();

  // A function for the other thread. False: its mailbox is full, nothing was queued.
  std::promise<int> answer;
  if (!other.post([&] { answer.set_value(42); })) fmt::print("the other reactor is overloaded\n");
  fmt::print("posted: the answer is {}\n", answer.get_future().get());

  horus::io::Reactor home;
  home.run(visit(home, other));

  other.stop();  // from any thread
  worker.join();
}
