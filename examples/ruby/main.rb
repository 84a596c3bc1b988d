# A tour of the contract: a refusal, an upload, a video with its log and progress, a cancellation.
require "optparse"
require "securerandom"

require_relative "lib/connection"
require_relative "lib/errors"
require_relative "lib/files"
require_relative "lib/retries"
require_relative "lib/watch"

include Cogreel::V1

# Submits a request for a video; returns the request's id.
def submit(queue, prompt, steps:, size:)
  submission = SubmitRequest.new(
    # With a key of its own, a submission can be repeated after a broken call: it never makes a second video.
    idempotency_key: SecureRandom.uuid,
    text_to_video: TextToVideoInput.new(prompt: prompt, num_inference_steps: steps, video_size: size)
  )
  Retries.of { |deadline| queue.submit(submission, deadline: deadline) }.request_id
end

# One event on one line; nil for those that only keep the stream alive.
def describe(response)
  case response.event
  when :state
    state = response.state
    "state #{name_of(state)}, attempt #{state.attempt}#{": #{state.failure.message}" if state.failure}"
  when :position
    "#{response.position.position} before it in the queue"
  when :progress
    progress = response.progress
    line = progress.stage.to_s.delete_prefix("STAGE_")
    line += " #{progress.step}/#{progress.total}" if progress.total.positive?
    line += format(", %.1f s left", progress.eta.to_f) if progress.eta
    line
  when :log
    "log #{response.log.level.to_s.delete_prefix('LOG_LEVEL_')} #{response.log.message}"
  when :log_truncated
    "older lines have expired"
  end
end

def name_of(status)
  status.state.to_s.delete_prefix("REQUEST_STATE_")
end

def parse_size(text)
  width, height = text.match(/\A(\d+)x(\d+)\z/)&.captures&.map(&:to_i)
  raise OptionParser::InvalidArgument, "the size #{text} is not of the form 720x480" unless width

  VideoSize.new(dimensions: ImageSize.new(width: width, height: height))
end

def tour(connection, prompt, options)
  queue = connection.queue
  wish = { steps: options[:steps], size: options[:size] }

  puts "A submission that is refused:"
  begin
    submit(queue, " ", **wish, steps: 51)
    raise "a blank prompt was taken"
  rescue GRPC::InvalidArgument => error
    Errors.explain(error).each { |line| puts "  #{line}" }
  end

  if (path = options[:upload])
    puts "An upload of #{path}:"
    begin
      puts "  stored as #{Files.upload(connection.storage, path).url}"
    rescue GRPC::Unimplemented
      puts "  this service takes no uploads"
    end
  end

  request_id = submit(queue, prompt, **wish)
  puts "Request #{request_id}:"
  watch(queue, request_id) do |response|
    line = describe(response)
    puts "  #{line}" if line
  end
  asked = GetResultRequest.new(request_id: request_id)
  video = Retries.of { |deadline| queue.get_result(asked, deadline: deadline) }.video
  Files.download(video.video.url, options[:out], video.sha256)
  puts "  #{options[:out]}: #{video.frames} frames, SHA-256 #{video.sha256} as promised"

  unwanted = CancelRequest.new(request_id: submit(queue, prompt, **wish))
  status = Retries.of { |deadline| queue.cancel(unwanted, deadline: deadline) }.status
  puts "Request #{unwanted.request_id}:\n  state #{name_of(status)}"
end

options = { steps: 20, out: "video.mp4" }
parser = OptionParser.new do |known|
  known.banner = "usage: ruby main.rb [options] PROMPT"
  known.on("--steps N", Integer, "denoising steps")
  known.on("--size WIDTHxHEIGHT", "left out, it is the model's") { |text| parse_size(text) }
  known.on("--upload FILE", "a file to upload")
  known.on("--out FILE", "where to write the video")
end

$stdout.sync = true # each line as it comes, also into a pipe
begin
  prompt, *rest = parser.parse(ARGV, into: options)
  abort parser.help if prompt.nil? || rest.any?
  address, api_key = ENV.values_at("COGREEL_ADDRESS", "COGREEL_API_KEY")
  abort "set COGREEL_ADDRESS and COGREEL_API_KEY" unless address && api_key
  tour(Connection.new(address, api_key), prompt, options)
rescue GRPC::BadStatus => error
  abort Errors.explain(error).join("\n")
rescue Interrupt
  exit 130 # the request goes on: Ctrl-C ends the program's calls
rescue StandardError => error
  abort error.message
end
