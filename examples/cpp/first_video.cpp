// From a prompt to lighthouse.mp4, with its steps as they happen.
#include <cstdlib>
#include <iostream>

#include "files.h"
#include "submission.h"
#include "watch.h"

using namespace cogreel_caller;

int main() {
  const Connection connection(std::getenv("COGREEL_ADDRESS"), std::getenv("COGREEL_API_KEY"));
  v1::TextToVideoInput wish;
  wish.set_prompt("A lighthouse at dusk");
  const auto request_id = submit(connection, wish);
  watch(connection, request_id, [](const v1::WatchStatusResponse& event) {
    const auto& now = event.progress();
    if (now.total()) std::cout << v1::Stage_Name(now.stage()) << " " << now.step() << " of " << now.total() << std::endl;
  });
  const auto video = result(connection, request_id);
  download(video.video().url(), "lighthouse.mp4", video.sha256());
}
