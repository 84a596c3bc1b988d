#include "retry.h"

#include <algorithm>
#include <iostream>
#include <random>
#include <thread>

#include "errors.h"

namespace cogreel_caller {
namespace {

constexpr std::chrono::milliseconds kLongestPause{5'000};  // unless the service asks for more

// All calls here may be repeated: reads, cancellations, submissions with an idempotency key. A flooded server refuses
// its newest calls with CANCELLED.
bool is_worth_a_retry(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::UNAVAILABLE || status.error_code() == grpc::StatusCode::CANCELLED;
}

}  // namespace

void Retries::after(const grpc::Status& status) {
  // Half fixed, half random: callers that failed together do not come back together.
  static std::mt19937 random{std::random_device{}()};
  const int half = static_cast<int>(pause_.count() / 2);
  const auto jitter = std::chrono::milliseconds(std::uniform_int_distribution<>(0, half)(random));
  const auto pause = retry_after(status) + pause_ / 2 + jitter;
  if (!is_worth_a_retry(status) || std::chrono::system_clock::now() + pause >= deadline_) throw CallError(status);
  std::cerr << "  trying again in " << pause.count() << " ms: " << joined(explain(status), "; ") << std::endl;
  pause_ = std::min(pause_ * 2, kLongestPause);
  std::this_thread::sleep_for(pause);
}

}  // namespace cogreel_caller
