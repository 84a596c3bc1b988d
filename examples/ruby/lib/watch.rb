# Everything that happens to a request, over any number of connections.
require_relative "connection"
require_relative "retries"

TERMINAL = %i[REQUEST_STATE_COMPLETED REQUEST_STATE_FAILED REQUEST_STATE_CANCELLED].freeze

# Yields the events of a request until its terminal state: none is lost and none comes twice, whatever breaks meanwhile.
def watch(queue, request_id)
  request = Cogreel::V1::WatchStatusRequest.new(request_id: request_id)
  retries = nil # of the present interruption
  begin
    # A watch has no deadline: it lasts as long as the request. Keepalive ends it where the connection is dead.
    queue.watch_status(request).each do |response|
      retries = nil
      request.cursor = response.cursor
      yield response
      return if TERMINAL.include?(response.state&.state)
    end
    raise GRPC::Unavailable, "the stream ended before the request"
  rescue *Retries::WORTH_A_RETRY => error
    retries ||= Retries.new
    retries.after(error)
    retry
  end
end
