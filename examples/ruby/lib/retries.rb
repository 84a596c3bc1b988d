# When to try again, and how long to wait before.
require_relative "errors"

# The retries of one call, or of one interruption of a watch.
class Retries
  WINDOW_S = 60 # for one call with its retries
  FIRST_PAUSE_S = 0.1 # each further one doubles
  LONGEST_PAUSE_S = 5 # unless the service asks for more

  # All calls here may be repeated: reads, cancellations, submissions with an idempotency key. A flooded server refuses
  # its newest calls with CANCELLED.
  WORTH_A_RETRY = [GRPC::Unavailable, GRPC::Cancelled].freeze

  # Makes a call until it is answered. The block gets the deadline of the try.
  def self.of
    retries = new
    begin
      yield retries.deadline
    rescue *WORTH_A_RETRY => error
      retries.after(error)
      retry
    end
  end

  attr_reader :deadline

  def initialize
    @deadline = Time.now + WINDOW_S
    @pause = FIRST_PAUSE_S
  end

  # Waits before the next try; raises the error where that would be too late.
  def after(error)
    # Half fixed, half random: callers that failed together do not come back together.
    pause = Errors.retry_after(error) + (@pause * rand(0.5..1.0))
    raise error if Time.now + pause >= @deadline

    warn "  trying again in #{(pause * 1000).round} ms: #{Errors.explain(error).join('; ')}"
    @pause = [@pause * 2, LONGEST_PAUSE_S].min
    sleep pause
  end
end
