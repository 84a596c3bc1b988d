// The two ends of a request: what is submitted, and its result.
#pragma once

#include <string>

#include "connection.h"

namespace cogreel_caller {

// Submits a request for a video; returns the request's id.
std::string submit(const Connection& connection, const v1::TextToVideoInput& wish);

// The video of a completed request.
v1::VideoOutput result(const Connection& connection, const std::string& request_id);

}  // namespace cogreel_caller
