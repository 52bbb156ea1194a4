// SPDX-License-Identifier: Apache-2.0
// The program `horus`. Exit codes: 0, 1 when what was asked for failed, 2 for arguments that cannot be.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <string>

#include <sys/ioctl.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/version.hpp>
#include <horus/cli/bag.hpp>
#include <horus/cli/doctor.hpp>
#include <horus/cli/key.hpp>
#include <horus/cli/msg.hpp>
#include <horus/cli/node.hpp>
#include <horus/cli/play.hpp>
#include <horus/cli/replay.hpp>
#include <horus/cli/report.hpp>
#include <horus/cli/topic.hpp>

#include <CLI/CLI.hpp>

namespace {

// Colour and width of standard output. https://no-color.org
horus::cli::TextStyle style_of_output() {
  horus::cli::TextStyle style;
  if (::isatty(STDOUT_FILENO) == 0) return style;
  const char* no_colour = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  style.colour = (no_colour == nullptr || *no_colour == '\0') &&
                 (terminal == nullptr || std::string(terminal) != "dumb");
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    style.columns = std::min<std::size_t>(size.ws_col, 120);
  return style;
}

int doctor(bool json, const std::string& program) {
  const auto diagnosis = program.empty() ? horus::cli::examine() : horus::cli::examine_program(program);
  const std::string text = json ? to_json(diagnosis) : to_text(diagnosis, style_of_output());
  if (std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0) {
    std::perror("horus: standard output");
    return 1;
  }
  return program.empty() && diagnosis.backend.empty() ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Tools for robots that run on Horus.", "horus");
  app.get_formatter()->column_width(18);
  app.set_version_flag("--version", fmt::format("horus {}", horus::version()), "Print the version and end");
  app.set_help_flag("-h,--help", "Print this text and end");
  app.require_subcommand(1);

  bool json = false;
  CLI::App* examine =
      app.add_subcommand("doctor", "Look whether Horus can run well on this machine, and what would help");
  examine->footer("Exit code: 0 when Horus can run here, else 1.");
  examine->add_flag("--json", json, "The same as JSON");
  std::string program;
  examine->add_option("PROGRAM", program,
                      "Look at this program instead: which of its inputs an exact recording would lack");
  std::function<int()> action = [&json, &program] { return doctor(json, program); };
  horus::cli::add_topic(app, action);
  horus::cli::add_node(app, action);
  horus::cli::add_bag(app, action);
  horus::cli::add_play(app, action);
  horus::cli::add_replay(app, action);
  horus::cli::add_msg(app, action);
  horus::cli::add_key(app, action);

  if (argc < 2) {
    fmt::print(stderr, "{}", app.help());
    return 2;
  }
  const auto is_named = [&](const CLI::App* command) { return command->get_name() == argv[1]; };
  if (argv[1][0] != '-' && app.get_subcommands(is_named).empty()) {
    fmt::print(stderr, "horus: there is no command {} (horus --help lists them)\n", argv[1]);
    return 2;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  try {
    return action();
  } catch (const std::exception& error) {
    fmt::print(stderr, "horus: {}\n", error.what());
    return 1;
  }
}
