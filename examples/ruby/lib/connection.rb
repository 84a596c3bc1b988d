# How to reach the service, and as whom.
$LOAD_PATH.unshift(File.expand_path("../gen", __dir__)) # the stubs require each other from there

require "grpc"
require "cogreel/v1/queue_services_pb"
require "cogreel/v1/storage_services_pb"

# Clients of both services of the contract.
class Connection
  MAX_MESSAGE_BYTES = 32 << 20 # what the service sends and takes: files may travel inline

  OPTIONS = {
    # A watch may be quiet for long. Pings find a dead connection in 15 s; without them nothing does. By default the
    # library sends only two of them without data of its own in between.
    "grpc.keepalive_time_ms" => 10_000,
    "grpc.keepalive_timeout_ms" => 5_000,
    "grpc.http2.max_pings_without_data" => 0,
    "grpc.max_receive_message_length" => MAX_MESSAGE_BYTES, # 4 MiB by default
    "grpc.max_send_message_length" => MAX_MESSAGE_BYTES,
    # While the service is away calls fail at once between two attempts to connect. The default of up to two minutes
    # would outlast our retries.
    "grpc.initial_reconnect_backoff_ms" => 100,
    "grpc.max_reconnect_backoff_ms" => 2_000
  }.freeze

  # Sends a key with each call.
  class Authorization < GRPC::ClientInterceptor
    def initialize(api_key)
      super()
      @value = "Bearer #{api_key}"
    end

    def request_response(metadata:, **)
      metadata["authorization"] = @value
      yield
    end

    alias server_streamer request_response
  end

  attr_reader :queue, :storage

  # `address` is host:port, or https://host:port for TLS. Nothing is dialled before a call.
  def initialize(address, api_key)
    target = address.sub(%r{\Ahttps?://}, "")
    credentials = address.start_with?("https://") ? GRPC::Core::ChannelCredentials.new : :this_channel_is_insecure
    channel = GRPC::Core::Channel.new(target, OPTIONS, credentials) # one connection for both
    options = { channel_override: channel, interceptors: [Authorization.new(api_key)] }
    @queue = Cogreel::V1::QueueService::Stub.new(target, credentials, **options)
    @storage = Cogreel::V1::StorageService::Stub.new(target, credentials, **options)
  end
end
