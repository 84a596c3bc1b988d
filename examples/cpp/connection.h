// How to reach the service, and as whom.
#pragma once

#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

#include "cogreel/v1/queue.grpc.pb.h"
#include "cogreel/v1/storage.grpc.pb.h"

namespace cogreel_caller {

namespace v1 = cogreel::v1;

// Both services of the contract, by one connection. Nothing is dialled before the first call.
class Connection {
 public:
  // `address` is host:port, or https://host:port for TLS.
  Connection(std::string address, const std::string& api_key);

  // The context of a call: each needs a new one.
  std::unique_ptr<grpc::ClientContext> context() const;

  const std::unique_ptr<v1::QueueService::Stub>& queue() const { return queue_; }
  const std::unique_ptr<v1::StorageService::Stub>& storage() const { return storage_; }

 private:
  std::string authorization_;
  std::unique_ptr<v1::QueueService::Stub> queue_;
  std::unique_ptr<v1::StorageService::Stub> storage_;
};

}  // namespace cogreel_caller
