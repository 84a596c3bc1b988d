// When to try again, and how long to wait before.
#pragma once

#include <chrono>
#include <memory>

#include <grpcpp/grpcpp.h>

#include "connection.h"

namespace cogreel_caller {

// The retries of one call, or of one interruption of a watch.
class Retries {
 public:
  // Waits before the next try; throws a CallError where a retry would be wrong or too late.
  void after(const grpc::Status& status);

  // The end of the window, which is the deadline of each try.
  std::chrono::system_clock::time_point deadline() const { return deadline_; }

 private:
  std::chrono::system_clock::time_point deadline_ = std::chrono::system_clock::now() + std::chrono::seconds(60);
  std::chrono::milliseconds pause_{100};  // each further one doubles
};

// Makes a unary call until it is answered. `method` is one of a stub, such as &v1::QueueService::Stub::Submit.
template <typename Stub, typename Request, typename Response>
Response retrying(const Connection& connection, const std::unique_ptr<Stub>& stub,
                  grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                  const Request& request) {
  Retries retries;
  for (;;) {
    Response response;
    const auto context = connection.context();
    context->set_deadline(retries.deadline());
    const grpc::Status status = (stub.get()->*method)(context.get(), request, &response);
    if (status.ok()) return response;
    retries.after(status);
  }
}

}  // namespace cogreel_caller
