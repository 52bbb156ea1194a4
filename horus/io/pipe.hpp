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

namespace horus::io {

/// The end of a pipe that bytes come out of. A ByteStream; kEndOfStream when every writer has closed.
class PipeReader : public ByteStream {
 public:
  using ByteStream::ByteStream;
  /// Makes room for `bytes` that nobody has read yet, at least a page; 64 KiB is usual. Errors: EPERM (more than
  /// /proc/sys/fs/pipe-max-size), EBUSY (more lies in it), EBADF.
  HORUS_API Result<> set_room(std::size_t bytes);
};

/// The end of a pipe that bytes go into. A ByteStream; EPIPE when every reader has closed, never a SIGPIPE. Writes of
/// up to 4096 bytes are not interleaved with those of other writers. `close()` is how the reader learns of the end.
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

/// The program's standard input, output and error: copies of 0, 1 and 2, so that closing the stream leaves those open.
/// Their flags are shared with other programs (the shell's terminal) and never changed. Errors: EBADF where the program
/// was started without one; EMFILE.
HORUS_API Result<PipeReader> standard_input();
HORUS_API Result<PipeWriter> standard_output();
HORUS_API Result<PipeWriter> standard_error();

/// What a reader of a FIFO sees when the last writer has closed.
enum class FifoEnd : bool {
  ends,  ///< kEndOfStream
  stays  ///< nothing: it waits for the next writer, for ever (commands from `echo go > /run/robot/commands`)
};

/// Named pipes.
///
/// Semantics: opening never blocks the reactor. All calls can be bounded with `with_timeout`; stopping one leaves
/// nothing open.
/// Errors: values with the path: ENOENT, EACCES, EEXIST (create), EINVAL when the path is no FIFO, ECANCELED.
/// Thread safety: a thread with a reactor.
/// Example: `auto commands = co_await horus::io::Fifo::open_read("/run/robot/commands", horus::io::FifoEnd::stays);`
/// Source: fifo(7), mkfifo(3).
class HORUS_API Fifo {
 public:
  /// Makes one; `mode` is reduced by the umask.
  static Task<Result<>> create(std::string path, unsigned mode = 0600);
  /// Opens for reading. With FifoEnd::ends it ends when the first writer has written or closed; with FifoEnd::stays
  /// at once.
  static Task<Result<PipeReader>> open_read(std::string path, FifoEnd end = FifoEnd::ends);
  /// Opens for writing; waits until somebody has it open for reading (looks every 5 ms: the kernel tells nobody).
  static Task<Result<PipeWriter>> open_write(std::string path);
};

}  // namespace horus::io
