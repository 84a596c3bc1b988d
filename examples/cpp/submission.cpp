#include "submission.h"

#include <random>
#include <sstream>

#include "retry.h"

namespace cogreel_caller {
namespace {

// 128 random bits.
std::string random_key() {
  std::random_device random;
  std::ostringstream key;
  for (int i = 0; i < 4; ++i) key << std::hex << random() << "-";
  return key.str();
}

}  // namespace

std::string submit(const Connection& connection, const v1::TextToVideoInput& wish) {
  v1::SubmitRequest submission;
  // With a key of its own, a submission can be repeated after a broken call: it never makes a second video.
  submission.set_idempotency_key(random_key());
  *submission.mutable_text_to_video() = wish;
  return retrying(connection, connection.queue(), &v1::QueueService::Stub::Submit, submission).request_id();
}

v1::VideoOutput result(const Connection& connection, const std::string& request_id) {
  v1::GetResultRequest request;
  request.set_request_id(request_id);
  return retrying(connection, connection.queue(), &v1::QueueService::Stub::GetResult, request).video();
}

}  // namespace cogreel_caller
