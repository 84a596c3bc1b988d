#include "connection.h"

namespace cogreel_caller {
namespace {

constexpr int kMaxMessageBytes = 32 << 20;  // what the service sends and takes: files may travel inline

// Takes a prefix off; tells whether it was there.
bool strip(std::string& text, const std::string& prefix) {
  if (text.compare(0, prefix.size(), prefix) != 0) return false;
  text.erase(0, prefix.size());
  return true;
}

}  // namespace

Connection::Connection(std::string address, const std::string& api_key) : authorization_("Bearer " + api_key) {
  const bool tls = strip(address, "https://");
  strip(address, "http://");
  grpc::ChannelArguments options;
  // A watch may be quiet for long. Pings find a dead connection in 15 s; without them nothing does. By default the
  // library sends only two of them without data of its own in between.
  options.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  options.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5'000);
  options.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  options.SetMaxReceiveMessageSize(kMaxMessageBytes);  // 4 MiB by default
  options.SetMaxSendMessageSize(kMaxMessageBytes);
  // While the service is away calls fail at once between two attempts to connect. The default of up to two minutes
  // would outlast our retries.
  options.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  options.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2'000);
  const auto credentials = tls ? grpc::SslCredentials({}) : grpc::InsecureChannelCredentials();
  const auto channel = grpc::CreateCustomChannel(address, credentials, options);
  queue_ = v1::QueueService::NewStub(channel);
  storage_ = v1::StorageService::NewStub(channel);
}

std::unique_ptr<grpc::ClientContext> Connection::context() const {
  auto context = std::make_unique<grpc::ClientContext>();
  context->AddMetadata("authorization", authorization_);
  return context;
}

}  // namespace cogreel_caller
