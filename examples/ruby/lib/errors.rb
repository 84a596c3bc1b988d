# What an error of the service says beyond its code: google.rpc messages among its details.
require "google/protobuf/well_known_types"
require "google/rpc/error_details_pb"
require "grpc"

module Errors
  TYPES = [Google::Rpc::ErrorInfo, Google::Rpc::BadRequest, Google::Rpc::RetryInfo].freeze

  module_function

  # The details of an error that are of known types.
  def details(error)
    TYPES.flat_map do |type|
      (error.to_rpc_status&.details || []).select { |detail| detail.is(type) }.map { |detail| detail.unpack(type) }
    end
  end

  # How long the service asks to wait before another try, in seconds.
  def retry_after(error)
    details(error).grep(Google::Rpc::RetryInfo).first&.retry_delay&.to_f || 0
  end

  # The error in full, a line for each of its parts. ErrorInfo carries a reason out of Cogreel::V1::ErrorReason.
  def explain(error)
    ["#{error.class.name.delete_prefix('GRPC::')}: #{error.details}"] + details(error).flat_map do |detail|
      case detail
      when Google::Rpc::ErrorInfo
        ["reason #{detail.reason}", *detail.metadata.to_h.map { |key, value| "#{key} #{value}" }]
      when Google::Rpc::BadRequest
        detail.field_violations.map { |violation| "field #{violation.field}: #{violation.description}" }
      when Google::Rpc::RetryInfo
        ["try again after #{format('%g', detail.retry_delay.to_f)} s"]
      end
    end
  end
end
