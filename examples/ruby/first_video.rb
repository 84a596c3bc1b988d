# From a prompt to lighthouse.mp4, with its steps as they happen.
require "securerandom"
require_relative "lib/connection"
require_relative "lib/files"
require_relative "lib/watch"

queue = Connection.new(ENV.fetch("COGREEL_ADDRESS"), ENV.fetch("COGREEL_API_KEY")).queue
input = Cogreel::V1::TextToVideoInput.new(prompt: "A lighthouse at dusk")
submission = Cogreel::V1::SubmitRequest.new(text_to_video: input, idempotency_key: SecureRandom.uuid)
id = Retries.of { |deadline| queue.submit(submission, deadline: deadline) }.request_id
watch(queue, id) do |event|
  puts "#{event.progress.stage} #{event.progress.step} of #{event.progress.total}" if event.progress
end
asked = Cogreel::V1::GetResultRequest.new(request_id: id)
video = Retries.of { |deadline| queue.get_result(asked, deadline: deadline) }.video
Files.download(video.video.url, "lighthouse.mp4", video.sha256)
