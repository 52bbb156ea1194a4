// SPDX-License-Identifier: Apache-2.0
// Pipes, FIFOs and the program's own standard input and output, as byte streams. One thread per end.
#pragma once

#include <string>
#include <utility>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/byte_stream.hpp>
#include <horus/io/descriptor.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::io {

/// The read end of a pipe. A ByteStream; kEndOfStream when every writer has closed.
class PipeReader : public ByteStream {
 public:
  using ByteStream::ByteStream;
  /// Sets the pipe's capacity for unread bytes, at least a page; 64 KiB is usual. Errors: EPERM (more than
  /// /proc/sys/fs/pipe-max-size), EBUSY (more bytes lie unread), EBADF.
  HORUS_API Result<> set_room(std::size_t bytes);
};

/// The write end of a pipe. A ByteStream; EPIPE when every reader has closed, never a SIGPIPE. Writes of up to 4096
/// bytes are not interleaved with those of other writers. `close()` tells the reader that the stream has ended.
class PipeWriter : public ByteStream {
 public:
  using ByteStream::ByteStream;
};

/// Both ends of a pipe. A write waits while 64 KiB lie unread.
struct Pipe {
  PipeReader reader;
  PipeWriter writer;
};

/// A new pipe; children do not inherit it. Errors: EMFILE, ENFILE.
/// Example: `auto [reader, writer] = horus::io::make_pipe().or_throw();`
HORUS_API Result<Pipe> make_pipe();

/// The program's standard input, output and error. Each is a copy of descriptor 0, 1 or 2, so closing the stream
/// leaves that one open. Other programs (the shell's terminal) share the flags of these descriptors, so they are
/// never changed. Errors: EBADF when the program was started without that descriptor; EMFILE.
HORUS_API Result<PipeReader> standard_input();
HORUS_API Result<PipeWriter> standard_output();
HORUS_API Result<PipeWriter> standard_error();

/// How a FIFO behaves for its reader when the last writer has closed.
enum class FifoEnd : bool {
  /// The reader gets kEndOfStream.
  ends,
  /// The reader waits for the next writer, for ever (commands from `echo go > /run/robot/commands`).
  stays
};

/// Named pipes.
///
/// Semantics: opening never blocks the reactor. All calls can be bounded with `with_timeout`; a stopped call leaves
/// nothing open.
/// Errors: values with the path: ENOENT, EACCES, EEXIST (create), EINVAL when the path is no FIFO, ECANCELED.
/// Thread safety: a thread with a reactor.
/// Example: `auto commands = co_await horus::io::Fifo::open_read("/run/robot/commands", horus::io::FifoEnd::stays);`
/// Source: fifo(7), mkfifo(3).
class HORUS_API Fifo {
 public:
  /// Makes a FIFO; its permissions are `mode` less the umask.
  static Task<Result<>> create(std::string path, unsigned mode = 0600);
  /// Opens for reading. With FifoEnd::ends the call completes when the first writer has written or closed; with
  /// FifoEnd::stays at once.
  static Task<Result<PipeReader>> open_read(std::string path, FifoEnd end = FifoEnd::ends);
  /// Opens for writing; waits until a reader has it open. It checks every 5 ms, because the kernel does not report
  /// this.
  static Task<Result<PipeWriter>> open_write(std::string path);
};

}  // namespace horus::HORUS_ABI::io
