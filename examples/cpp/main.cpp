// A tour of the contract: a refusal, an upload, a video with its log and progress, a cancellation.
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <stdexcept>

#include <getopt.h>
#include <google/protobuf/util/time_util.h>

#include "connection.h"
#include "errors.h"
#include "files.h"
#include "retry.h"
#include "submission.h"
#include "watch.h"

using namespace cogreel_caller;

namespace {

constexpr char kUsage[] = "usage: caller [--steps N] [--size WIDTHxHEIGHT] [--upload FILE] [--out FILE] PROMPT";

struct Options {
  v1::TextToVideoInput wish;
  std::string upload;
  std::string out = "video.mp4";
};

// The name of an enum's value without the prefix that all of them have.
std::string name_of(const std::string& value, const std::string& prefix) { return value.substr(prefix.size()); }

std::string state_of(const v1::RequestStatus& status) {
  return name_of(v1::RequestState_Name(status.state()), "REQUEST_STATE_");
}

// One event on one line; empty for those that only keep the stream alive.
std::string describe(const v1::WatchStatusResponse& response) {
  std::ostringstream line;
  switch (response.event_case()) {
    case v1::WatchStatusResponse::kState:
      line << "state " << state_of(response.state()) << ", attempt " << response.state().attempt();
      if (response.state().has_failure()) line << ": " << response.state().failure().message();
      break;
    case v1::WatchStatusResponse::kPosition:
      line << response.position().position() << " before it in the queue";
      break;
    case v1::WatchStatusResponse::kProgress: {
      const auto& progress = response.progress();
      line << name_of(v1::Stage_Name(progress.stage()), "STAGE_");
      if (progress.total() > 0) line << " " << progress.step() << "/" << progress.total();
      if (progress.has_eta()) {
        const auto left = google::protobuf::util::TimeUtil::DurationToMilliseconds(progress.eta());
        line << std::fixed;
        line.precision(1);
        line << ", " << static_cast<double>(left) / 1000 << " s left";
      }
      break;
    }
    case v1::WatchStatusResponse::kLog:
      line << "log " << name_of(v1::LogLevel_Name(response.log().level()), "LOG_LEVEL_") << " "
           << response.log().message();
      break;
    case v1::WatchStatusResponse::kLogTruncated:
      line << "older lines have expired";
      break;
    default:
      break;
  }
  return line.str();
}

void tour(const Connection& connection, const Options& options) {
  std::cout << "A submission that is refused:\n";
  try {
    v1::TextToVideoInput wrong = options.wish;
    wrong.set_prompt(" ");
    wrong.set_num_inference_steps(51);
    submit(connection, wrong);
    throw std::runtime_error("a blank prompt was taken");
  } catch (const CallError& error) {
    if (error.status.error_code() != grpc::StatusCode::INVALID_ARGUMENT) throw;
    for (const auto& line : explain(error.status)) std::cout << "  " << line << "\n";
  }

  if (!options.upload.empty()) {
    std::cout << "An upload of " << options.upload << ":\n";
    try {
      std::cout << "  stored as " << upload(connection, options.upload).url() << "\n";
    } catch (const CallError& error) {
      if (error.status.error_code() != grpc::StatusCode::UNIMPLEMENTED) throw;
      std::cout << "  this service takes no uploads\n";
    }
  }

  const auto request_id = submit(connection, options.wish);
  std::cout << "Request " << request_id << ":\n";
  watch(connection, request_id, [](const v1::WatchStatusResponse& response) {
    if (const auto line = describe(response); !line.empty()) std::cout << "  " << line << "\n";
  });
  const auto video = result(connection, request_id);
  download(video.video().url(), options.out, video.sha256());
  std::cout << "  " << options.out << ": " << video.frames() << " frames, SHA-256 " << video.sha256()
            << " as promised\n";

  v1::CancelRequest unwanted;
  unwanted.set_request_id(submit(connection, options.wish));
  const auto cancelled = retrying(connection, connection.queue(), &v1::QueueService::Stub::Cancel, unwanted);
  std::cout << "Request " << unwanted.request_id() << ":\n  state " << state_of(cancelled.status()) << "\n";
}

Options parse(int count, char** arguments) {
  static const option known[] = {{"steps", required_argument, nullptr, 's'},
                                 {"size", required_argument, nullptr, 'z'},
                                 {"upload", required_argument, nullptr, 'u'},
                                 {"out", required_argument, nullptr, 'o'},
                                 {}};
  Options options;
  options.wish.set_num_inference_steps(20);
  for (int name; (name = getopt_long(count, arguments, "", known, nullptr)) != -1;) {
    int width = 0;
    int height = 0;
    if (name == 's') {
      options.wish.set_num_inference_steps(std::atoi(optarg));
    } else if (name == 'z' && std::sscanf(optarg, "%dx%d", &width, &height) == 2) {
      auto* size = options.wish.mutable_video_size()->mutable_dimensions();
      size->set_width(width);
      size->set_height(height);
    } else if (name == 'u') {
      options.upload = optarg;
    } else if (name == 'o') {
      options.out = optarg;
    } else {
      throw std::runtime_error(kUsage);
    }
  }
  if (count - optind != 1) throw std::runtime_error(kUsage);
  options.wish.set_prompt(arguments[optind]);
  return options;
}

}  // namespace

int main(int count, char** arguments) {
  std::cout << std::unitbuf;  // each line as it comes, also into a pipe
  try {
    const Options options = parse(count, arguments);
    const char* address = std::getenv("COGREEL_ADDRESS");
    const char* api_key = std::getenv("COGREEL_API_KEY");
    if (!address || !api_key) throw std::runtime_error("set COGREEL_ADDRESS and COGREEL_API_KEY");
    tour(Connection(address, api_key), options);
  } catch (const std::exception& error) {
    std::cerr << error.what() << std::endl;
    return 1;
  }
}
