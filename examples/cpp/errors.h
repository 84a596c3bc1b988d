// What an error of the service says beyond its code: google.rpc messages among its details.
#pragma once

#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

namespace cogreel_caller {

// A call that failed for good.
class CallError : public std::runtime_error {
 public:
  explicit CallError(const grpc::Status& status);
  const grpc::Status status;
};

// How long the service asks to wait before another try.
std::chrono::milliseconds retry_after(const grpc::Status& status);

// The error in full, a line for each of its parts. ErrorInfo carries a reason out of cogreel::v1::ErrorReason.
std::vector<std::string> explain(const grpc::Status& status);

// Those lines as one text.
std::string joined(const std::vector<std::string>& lines, const std::string& between);

}  // namespace cogreel_caller
