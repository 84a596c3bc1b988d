// Files go to the store and come from it by HTTP, past the service.
#pragma once

#include <string>

#include "connection.h"

namespace cogreel_caller {

// Uploads a file. What it returns is an input for later requests.
v1::File upload(const Connection& connection, const std::string& path);

// Downloads a URL to a path, and checks that it came whole.
void download(const std::string& url, const std::string& path, const std::string& sha256);

}  // namespace cogreel_caller
