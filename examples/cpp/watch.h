// Everything that happens to a request, over any number of connections.
#pragma once

#include <functional>
#include <string>

#include "connection.h"

namespace cogreel_caller {

// Shows the events of a request until its terminal state: none is lost and none comes twice, whatever breaks meanwhile.
void watch(const Connection& connection, const std::string& request_id,
           const std::function<void(const v1::WatchStatusResponse&)>& show);

}  // namespace cogreel_caller
