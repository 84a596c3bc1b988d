#include "errors.h"

#include <array>
#include <optional>
#include <sstream>

#include <google/protobuf/util/time_util.h>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace cogreel_caller {
namespace {

using google::protobuf::util::TimeUtil;

// By number. The library has none of these names.
constexpr std::array kCodes = {"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
                               "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
                               "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
                               "UNAUTHENTICATED"};

// The detail of a type, if the error has it. The library leaves all of them as the bytes of a google.rpc.Status.
template <typename Detail>
std::optional<Detail> detail_of(const grpc::Status& status) {
  google::rpc::Status full;
  if (!full.ParseFromString(status.error_details())) return std::nullopt;
  Detail found;
  for (const auto& detail : full.details()) {
    if (detail.UnpackTo(&found)) return found;
  }
  return std::nullopt;
}

}  // namespace

CallError::CallError(const grpc::Status& status)
    : std::runtime_error(joined(explain(status), "\n")), status(status) {}

std::chrono::milliseconds retry_after(const grpc::Status& status) {
  const auto info = detail_of<google::rpc::RetryInfo>(status);
  return std::chrono::milliseconds(info ? TimeUtil::DurationToMilliseconds(info->retry_delay()) : 0);
}

std::vector<std::string> explain(const grpc::Status& status) {
  const size_t code = status.error_code();
  const std::string name = code < kCodes.size() ? kCodes[code] : std::to_string(code);
  std::vector<std::string> lines = {name + ": " + status.error_message()};
  if (const auto info = detail_of<google::rpc::ErrorInfo>(status)) {
    lines.push_back("reason " + info->reason());
    for (const auto& [key, value] : info->metadata()) lines.push_back(key + " " + value);
  }
  if (const auto request = detail_of<google::rpc::BadRequest>(status)) {
    for (const auto& violation : request->field_violations()) {
      lines.push_back("field " + violation.field() + ": " + violation.description());
    }
  }
  if (detail_of<google::rpc::RetryInfo>(status)) {
    std::ostringstream line;
    line << "try again after " << retry_after(status).count() / 1000.0 << " s";
    lines.push_back(line.str());
  }
  return lines;
}

std::string joined(const std::vector<std::string>& lines, const std::string& between) {
  std::string text;
  for (const auto& line : lines) text += (text.empty() ? "" : between) + line;
  return text;
}

}  // namespace cogreel_caller
