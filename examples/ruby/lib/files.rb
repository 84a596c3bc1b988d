# Files go to the store and come from it by HTTP, past the service.
require "digest"
require "net/http"

require_relative "connection"
require_relative "retries"

module Files
  CONTENT_TYPES = { ".png" => "image/png", ".jpg" => "image/jpeg", ".mp4" => "video/mp4" }.freeze

  module_function

  # Uploads a file. What it returns is an input for later requests.
  def upload(storage, path)
    content_type = CONTENT_TYPES.fetch(File.extname(path).downcase, "application/octet-stream")
    description = Cogreel::V1::CreateUploadRequest.new(
      file_name: File.basename(path), content_type: content_type, size: File.size(path)
    )
    place = Retries.of { |deadline| storage.create_upload(description, deadline: deadline) }
    File.open(path, "rb") do |content|
      put = Net::HTTP::Put.new(URI(place.upload_url), place.headers.to_h)
      put.body_stream = content
      put.content_length = content.size
      over_http(put) do |answer|
        raise "the store refused #{path}: HTTP #{answer.code} #{answer.body}" unless answer.is_a?(Net::HTTPSuccess)
      end
    end
    place.file
  end

  # Downloads a URL to a path, and checks that it came whole.
  def download(url, path, sha256)
    digest = Digest::SHA256.new
    over_http(Net::HTTP::Get.new(URI(url))) do |answer|
      raise "the video is not to be had: HTTP #{answer.code}" unless answer.is_a?(Net::HTTPSuccess)

      File.open(path, "wb") { |file| answer.read_body { |chunk| digest << chunk && file.write(chunk) } }
    end
    raise "#{path} has SHA-256 #{digest}, not #{sha256}" if digest.hexdigest != sha256
  end

  def over_http(request, &block)
    uri = request.uri
    Net::HTTP.start(uri.host, uri.port, use_ssl: uri.scheme == "https") { |http| http.request(request, &block) }
  end
end
