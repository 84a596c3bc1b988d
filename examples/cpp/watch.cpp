#include "watch.h"

#include <optional>

#include "retry.h"

namespace cogreel_caller {
namespace {

bool is_terminal(v1::RequestState state) {
  return state == v1::REQUEST_STATE_COMPLETED || state == v1::REQUEST_STATE_FAILED ||
         state == v1::REQUEST_STATE_CANCELLED;
}

}  // namespace

void watch(const Connection& connection, const std::string& request_id,
           const std::function<void(const v1::WatchStatusResponse&)>& show) {
  v1::WatchStatusRequest request;
  request.set_request_id(request_id);
  std::optional<Retries> interruption;
  for (;;) {
    // A watch has no deadline: it lasts as long as the request. Keepalive ends it where the connection is dead.
    const auto context = connection.context();
    const auto stream = connection.queue()->WatchStatus(context.get(), request);
    v1::WatchStatusResponse response;
    while (stream->Read(&response)) {
      interruption.reset();
      request.set_cursor(response.cursor());
      show(response);
      if (is_terminal(response.state().state())) {
        context->TryCancel();
        stream->Finish();
        return;
      }
    }
    grpc::Status status = stream->Finish();
    if (status.ok()) status = {grpc::StatusCode::UNAVAILABLE, "the stream ended before the request"};
    if (!interruption) interruption.emplace();
    interruption->after(status);
  }
}

}  // namespace cogreel_caller
