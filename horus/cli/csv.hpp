// SPDX-License-Identifier: Apache-2.0
// Messages as a table: one line each, one column for each value within. Any thread.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <horus/base/result.hpp>

namespace horus::cli {

/// The columns of messages, which have to be learnt from all of them before the first is written.
///
/// A column is called after the path of its value, `pose.position.x` or `ranges[3]`, in the order of the messages; a message that
/// is one value has the column `value`. A list has as many columns as its longest one needs, and shorter ones leave theirs
/// empty. A list that is anywhere longer than `list_columns` is one column, and its cells are JSON.
class CsvColumns {
 public:
  static constexpr std::size_t kMostColumns = 65536;

  explicit CsvColumns(std::size_t list_columns) : list_columns_(list_columns) {}

  /// `json` must be JSON. Errors: ENOBUFS (kMostColumns).
  Result<> learn(std::string_view json);
  /// The names of all columns, each behind a comma.
  [[nodiscard]] std::string names() const;
  /// The values of a message that was learnt, each behind a comma.
  [[nodiscard]] std::string cells(std::string_view json) const;

  /// What values were found at one place.
  struct Shape {
    bool is_value = false;
    bool is_whole = false;   ///< a list that is one column
    std::size_t length = 0;  ///< of the longest list
    std::unique_ptr<Shape> element = nullptr;
    std::vector<std::pair<std::string, std::unique_ptr<Shape>>> members = {};
  };

 private:
  std::size_t list_columns_;
  Shape root_;
  std::size_t places_ = 0;
};

/// As RFC 4180 has it: in quotation marks where it needs them.
std::string csv_cell(std::string_view text);

}  // namespace horus::cli
